// SPDX-License-Identifier: Apache-2.0
// The text encoder of the Wan family: UMT5, encoder half. Token ids become rows of text.
//
// Formulas: Wan-Video/Wan2.1 wan/modules/t5.py, transformers models/umt5. Pre-norm blocks, x += o(attention(norm1 x)),
// x += fc2(fc1(norm2 x) * gelu(gate(norm2 x))), RMS norms, no biases; attention is not scaled and adds a learnt number
// per head and bucket of key - query distance, different in every block.
#pragma once

#include "diffusion/load.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { ZT_UMT5_BUCKETS = 32, ZT_UMT5_MAX_TOKENS = 4096 };

typedef struct zt_umt5_block {
    const float *norm1, *norm2;         // [dim]
    const float *bias;                  // [32][heads]
    zt_matrix    qkv, o, gate, fc1, fc2;
} zt_umt5_block;

typedef struct zt_umt5 {
    zt_device       *d;
    zt_weights      *w;                 // open: embedding rows are read from the file
    const zt_weight *embedding;         // [vocabulary][dim]
    const float     *norm;
    zt_umt5_block   *block;
    zt_memory        memory;
    uint64_t         hash;              // of all but the embedding, of `type` and the kernels' level
    int              vocabulary, dim, heads, width, ffn, layers;     // width: of all heads
} zt_umt5;

// A file, or a folder with one, with original, transformers or GGUF names; every shape follows from the tensors. Matrices become `type`
// (ZT_F32, ZT_BF16, ZT_I8). 0, -ENOENT, -EINVAL (logged), -ENOMEM, -ENOTSUP. On 0 finish it; borrows the device.
int  zt_umt5_open(zt_umt5 *t, zt_device *d, const char *path, enum zt_type type);
void zt_umt5_finish(zt_umt5 *t);

// What the rows of these ids depend on: the same number, the same bits.
uint64_t zt_umt5_key(const zt_umt5 *t, const int32_t *id, int n);

// rows [n][dim] of the n >= 1 ids, each in [0, vocabulary), end token included, padding not: what the reference gives for
// these rows when the rest is masked. 0, -EINVAL (an id is out of range: logged), -ENOMEM.
int  zt_umt5_encode(zt_umt5 *t, const int32_t *id, int n, float *rows);

// Bucket of a distance key - query.
int  zt_umt5_bucket(int distance);

#ifdef __cplusplus
}
#endif
