// SPDX-License-Identifier: Apache-2.0
// Matrix products by other libraries, to compare with.
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

// Values in [-1, 1), the same in every run; I8: -100..100.
void zt_peer_fill(void *data, enum zt_type type, size_t n);

#ifdef __cplusplus
}
#endif
