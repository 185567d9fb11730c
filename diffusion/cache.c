// SPDX-License-Identifier: Apache-2.0
// Slots of the key and value ring.
#include "diffusion/cache.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/base.h"

static zt_kv shape(const zt_kv *like)
{
    zt_kv kv = *like;
    kv.keys = (int)zt_round_up(like->valid, 16);
    return kv;
}

// of a slot
static int64_t scale_bytes(const zt_kv *kv)
{
    return zt_round_up((int64_t)((size_t)kv->H * zt_kv_scales(kv) * sizeof(float)), 64);
}

int64_t zt_cache_bytes(int layers, const zt_kv *like, int sink, int window, int chunk)
{
    const zt_kv kv = shape(like);
    (void)sink;                                 // inside the window
    const int64_t slot = 2 * zt_round_up((int64_t)zt_kv_slot_bytes(&kv), 64) + scale_bytes(&kv);
    return layers * (int64_t)(window + chunk) * slot;
}

int zt_cache_init(zt_cache *c, zt_device *d, int layers, const zt_kv *like, int sink, int window, int chunk)
{
    assert(sink >= 0 && chunk >= 0 && window >= sink + chunk && window > 0);
    *c = (zt_cache){ .layers = layers, .sink = sink, .window = window, .chunk = chunk, .slots = window + chunk };
    c->bytes = zt_cache_bytes(layers, like, sink, window, chunk);
    c->kv = calloc((size_t)layers, sizeof(*c->kv));
    c->memory = zt_device_alloc(d, (size_t)c->bytes);
    if (!c->kv || !c->memory) {
        zt_cache_finish(c, d);
        return -ENOMEM;
    }
    char *at = c->memory;
    for (int i = 0; i < layers; i++) {
        c->kv[i] = shape(like);
        const size_t bytes = (size_t)c->slots * (size_t)zt_round_up((int64_t)zt_kv_slot_bytes(&c->kv[i]), 64);
        c->kv[i].k = at;
        c->kv[i].v = at + bytes;
        c->kv[i].scale = zt_kv_scales(&c->kv[i]) ? (float *)(at + 2 * bytes) : NULL;
        at += 2 * bytes + (size_t)c->slots * (size_t)scale_bytes(&c->kv[i]);
    }
    return 0;
}

void zt_cache_finish(zt_cache *c, zt_device *d)
{
    zt_device_free(d, c->memory);
    free(c->kv);
    *c = (zt_cache){ 0 };
}

int zt_cache_slot(const zt_cache *c, int64_t frame)
{
    return frame < c->sink ? (int)frame : c->sink + (int)((frame - c->sink) % (c->slots - c->sink));
}

int zt_cache_window(const zt_cache *c, int64_t last, int window, int *slot)
{
    window = ZT_MIN(ZT_MAX(window, c->sink + c->chunk), c->window);
    const int64_t from = ZT_MAX(last - (window - c->sink) + 1, c->sink);
    int n = 0;
    for (int64_t f = 0; f < c->sink && f <= last; f++)
        slot[n++] = zt_cache_slot(c, f);
    for (int64_t f = from; f <= last; f++)
        slot[n++] = zt_cache_slot(c, f);
    return n;
}
