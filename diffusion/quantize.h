// SPDX-License-Identifier: Apache-2.0
// Weights as 8-bit integers with one scale per row.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// q[i] = round(x[i] / scale) in -127..127, scale = max|x| / 127 (0 for a zero row). Returns the scale.
float zt_quantize_row(const float *x, int64_t n, int8_t *q);
// Is this tensor one of those that quantised files hold as I8?
bool  zt_quantize_wanted(const char *name);

#ifdef __cplusplus
}
#endif
