// SPDX-License-Identifier: Apache-2.0
// Keys and values of one stream: a slot per frame, pinned first frames, a ring of the latest.
#pragma once

#include "kernels/device.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_cache {
    zt_kv  *kv;                 // [layers]
    int     layers;
    int     sink, window, chunk, slots;     // frames; the window includes sink and own frames
    void   *memory;
    int64_t bytes;
} zt_cache;

// Shape: H, D, type and valid of `like`; keys follow. The ring holds one chunk more than the window, so that the
// frames of a new chunk leave those alone that the one before still needs. 0 or -ENOMEM.
int  zt_cache_init(zt_cache *c, zt_device *d, int layers, const zt_kv *like, int sink, int window, int chunk);
void zt_cache_finish(zt_cache *c, zt_device *d);
int64_t zt_cache_bytes(int layers, const zt_kv *like, int sink, int window, int chunk);

int  zt_cache_slot(const zt_cache *c, int64_t frame);
// Slots of the frames that a chunk ending with frame `last` attends to, by frame number: the sink's, then the latest,
// `window` (clamped to [sink + chunk, the cache's own]) in all. slot has room for c->window. Returns their number.
int  zt_cache_window(const zt_cache *c, int64_t last, int window, int *slot);

#ifdef __cplusplus
}
#endif
