// SPDX-License-Identifier: Apache-2.0
// Weights as integers: of 8 bits with one scale per row, of 4 with a factor for every 64, too.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "diffusion/weights.h"

#ifdef __cplusplus
extern "C" {
#endif

// q[i] = round(x[i] / scale) in -127..127, scale = max|x| / 127 (0 for a zero row). Returns the scale.
float zt_quantize_row(const float *x, int64_t n, int8_t *q);
// x[i] is about q[i] * factor[i / 64] * scale, q in -8..7, factor in 0..15. Returns the scale (0 for a zero row). Of
// each 64 the factor is taken whose error, squared, is least.
float zt_quantize_row4(const float *x, int64_t n, int8_t *q, uint8_t *factor);
// The same as F8_E4M3 bytes: x[i] is about value(q[i]) * scale, scale = max|x| / 448 (0 for a zero row), nearest, half to even.
float zt_quantize_row8f(const float *x, int64_t n, uint8_t *q);
// q + 8 of two neighbours in a byte, the first in its lower half; n is even.
void  zt_pack_row4(const int8_t *q, int64_t n, uint8_t *two);
void  zt_unpack_row4(const uint8_t *two, int64_t n, int8_t *q);

// A matrix as a file has it.
typedef struct zt_quantised {
    const zt_weight *w;         // [rows][k]; U8 [rows][k / 2] with a factor
    const zt_weight *scale;     // [rows] or NULL
    const zt_weight *factor;    // U8 [rows][k / 64 rounded up] or NULL
} zt_quantised;
// out[k] = row r as floats.
void  zt_quantised_read(const zt_quantised *m, int64_t r, int64_t k, float *out);

// Is this tensor one of those that quantised files hold as integers?
bool  zt_quantize_wanted(const char *name);

#ifdef __cplusplus
}
#endif
