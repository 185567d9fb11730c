// SPDX-License-Identifier: Apache-2.0
// Attention cut into tiles of a few queries and one head: how every fast level goes about it.
#pragma once

#include "kernels/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

// One head of a few queries, and what a thread works in.
typedef struct zt_attention_tile {
    const zt_span *span;
    int            h;
    const float   *q;               // the first query's head
    float         *out;
    int64_t        q_step, out_step;
    int            rows;            // of q and out
    float         *s;               // [rows of a tile][s_step] for the logits, 64-byte aligned
    ptrdiff_t      s_step;          // floats: keys rounded up to 32, and 16
    float         *spare;           // [rows of a tile][2 D + 2 span->n], 64-byte aligned
} zt_attention_tile;

typedef void zt_attend_fn(const zt_attention_tile *t);

zt_attention_fn zt_attention_avx2, zt_attention_avx512;
zt_attend_fn    zt_attend_i8_avx512;

// attend() on every tile of `rows` queries. The head width is a multiple of 16.
void zt_attention_tiled(struct zt_device *d, zt_tensor out, zt_tensor q, const zt_span *span, int n, int rows,
                        zt_attend_fn *attend);

// Keys a span holds room for, padding included.
static inline int zt_span_keys(const zt_span *s)
{
    return s->n * s->kv->keys;
}

#ifdef __cplusplus
}
#endif
