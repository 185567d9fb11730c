// SPDX-License-Identifier: Apache-2.0
// Rows of rms_rope on AVX-512, for whoever goes on with them.
#pragma once

#include "kernels/kernels.h"

// What rms_rope does to every row, with its arguments; without angles D is C, for one head is enough.
typedef struct zt_rope {
    const float *weight, *angle;
    int          C, D;
    float        eps;
} zt_rope;

// Rows [from, to) of x
void zt_rope_rows_avx512(const zt_rope *v, zt_tensor x, int from, int to);
