// SPDX-License-Identifier: Apache-2.0
// Runs passes of a model that need neither a text encoder nor a decoder, and times them.
#include "apps/estimate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/clock.h"
#include "diffusion/noise.h"

struct run {
    zt_model *m;
    int       h, w, F;                  // latent; frames of a chunk
    zt_cache  cache, text;
    zt_frame_in *in;
    int      *slot;
    float    *latent, *mask, *v, *rows;
};

static zt_kv shape(const zt_model *m, enum zt_type type, int valid)
{
    return (zt_kv){ .type = type, .H = m->c.heads, .D = m->c.dim / m->c.heads, .valid = valid };
}

int64_t zt_estimate_cache(const zt_model *m, int w, int h)
{
    const zt_kv like = shape(m, m->dit.cache_type, w / 16 * (h / 16));
    return m->nets * m->sides * zt_cache_bytes(m->c.layers, &like, m->c.sink_frames, m->c.window_frames, m->c.chunk_frames);
}

// Rows of text: a prompt's, padding included where the family pads.
static int text_rows(const zt_model *m)
{
    return m->c.text.max_tokens ? m->c.text.max_tokens : m->c.text_len;
}

static int prepare(struct run *r, int w, int h)
{
    const zt_config *const c = &r->m->c;
    const int rows = text_rows(r->m);
    r->w = w / 8;
    r->h = h / 8;
    r->F = c->chunk_frames;
    const size_t plane = (size_t)(r->w * r->h), n = (size_t)r->F * (size_t)c->out_dim * plane;
    const size_t text = (size_t)rows * (size_t)r->m->dit.text_dim;
    const zt_kv kv = shape(r->m, r->m->dit.cache_type, w / 16 * (h / 16)), tv = shape(r->m, r->m->dit.text_type, rows);
    r->in = calloc((size_t)r->F, sizeof(*r->in));
    r->slot = calloc((size_t)c->window_frames + (size_t)r->F, sizeof(*r->slot));
    r->latent = calloc(n, sizeof(float));
    r->v = calloc(n, sizeof(float));
    r->mask = calloc(plane + ZT_MAX_CONTROLS, sizeof(float));
    r->rows = calloc(text, sizeof(float));
    if (!r->in || !r->slot || !r->latent || !r->v || !r->mask || !r->rows
        || zt_cache_init(&r->cache, r->m->d, c->layers, &kv, c->sink_frames, c->window_frames, r->F) < 0
        || zt_cache_init(&r->text, r->m->d, c->layers, &tv, 0, 1, 0) < 0)
        return -ENOMEM;
    zt_noise_fill(r->latent, n, 1, 0, 0);
    zt_noise_fill(r->rows, text, 1, 1, 0);
    return zt_dit_text(&r->m->dit, r->text.kv, r->rows, rows, NULL);
}

// Blocks [0, blocks) of a pass over the chunk that begins at frame `first`; ns.
static int pass(struct run *r, int64_t first, float t, int blocks, int64_t *took)
{
    const zt_config *const c = &r->m->c;
    const size_t frame = (size_t)c->out_dim * (size_t)(r->w * r->h);
    for (int i = 0; i < r->F; i++) {
        r->in[i] = (zt_frame_in){ .t = t, .control = r->mask, .v = r->v + (size_t)i * frame,
                                  .place = c->ground.hidden ? r->latent : NULL,
                                  .slot = zt_cache_slot(&r->cache, first + i) };
        for (int k = 0; k <= c->previous; k++)
            r->in[i].latent[k] = r->latent + (size_t)i * frame;
        for (int k = 0; k < c->previous; k++)
            r->in[i].mask[k] = r->mask;
    }
    const int slots = zt_cache_window(&r->cache, first + r->F - 1, c->window_frames, r->slot);
    const zt_segment s = { .frame = r->in, .frames = r->F, .h = r->h, .w = r->w, .first = first, .kv = r->cache.kv,
                           .text = r->text.kv, .slot = r->slot, .slots = slots };
    const int64_t start = zt_now();
    const int err = zt_dit_begin(&r->m->dit, &s, 1);
    if (err)
        return err;
    zt_dit_blocks(&r->m->dit, 0, blocks);
    *took = zt_now() - start;
    zt_dit_end(&r->m->dit);
    return 0;
}

// The window is full at this frame.
static int64_t late(const zt_config *c)
{
    return (int64_t)c->chunk_frames * (c->window_frames / c->chunk_frames + 1);
}

static int measure(struct run *r, bool whole, zt_estimate *out)
{
    const zt_config *const c = &r->m->c;
    const int passes = c->steps + 1, blocks = whole ? c->layers : 1;
    int64_t took = 0, least = INT64_MAX, all = 0;
    for (int i = 0; i < (whole ? passes : 3); i++) {
        const int err = pass(r, late(c), 1000 - 1000 * (float)i / (float)passes, blocks, &took);
        if (err)
            return err;
        least = ZT_MIN(least, took);
        all += took;
    }
    out->pass_ms = (double)least * c->layers / blocks / 1e6;
    const int made = r->m->sides * (c->steps + (zt_model_remembers(r->m) ? r->m->nets : 0));
    out->chunk_ms = made * (whole ? (double)all / 1e6 / passes : out->pass_ms);
    out->cache_bytes = r->cache.bytes + r->text.bytes;
    out->work_bytes = r->m->dit.work.bytes;
    return 0;
}

int zt_estimate_chunk(zt_model *m, int w, int h, bool whole, zt_estimate *out)
{
    struct run r = { .m = m };
    int err = prepare(&r, w, h);
    if (!err)
        err = measure(&r, whole, out);
    zt_cache_finish(&r.cache, m->d);
    zt_cache_finish(&r.text, m->d);
    free(r.in);
    free(r.slot);
    free(r.latent);
    free(r.mask);
    free(r.v);
    free(r.rows);
    return err;
}
