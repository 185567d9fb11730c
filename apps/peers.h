// SPDX-License-Identifier: Apache-2.0
// Matrix products and attention by other libraries, to compare with.
#pragma once

#include "kernels/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

// A library, as a benchmark uses it.
typedef struct zt_peer {
    const char *(*name)(void);          // with its version, "onednn 2.6.3"; static
    // out f32 [M][N] = x [M][K] w + bias, x and w of that type, I8 with a scale for each column; random values, w laid
    // out as the library likes it best. NULL: not with this type, or no memory.
    void       *(*create)(enum zt_type type, int M, int N, int K, int threads);
    void        (*run)(void *product);
    void        (*destroy)(void **product);
} zt_peer;

extern const zt_peer *const zt_peers[];         // NULL ends the list

typedef struct zt_attention_shape {
    int M, keys, H, D;                  // queries; keys that each meets; heads and their width
} zt_attention_shape;

// The same of out f32 [M][H * D] = softmax(q k / sqrt(D)) v: q, k, v and what is between of that type, F32 or BF16; k and v
// laid out as the library likes them best.
typedef struct zt_attention_peer {
    const char *(*name)(void);
    void       *(*create)(enum zt_type type, const zt_attention_shape *s, int threads);
    void        (*run)(void *attention);
    void        (*destroy)(void **attention);
} zt_attention_peer;

extern const zt_attention_peer *const zt_attention_peers[];     // NULL ends the list

// Values in [-1, 1), the same in every run; I8: -100..100.
void zt_peer_fill(void *data, enum zt_type type, size_t n);

#ifdef __cplusplus
}
#endif
