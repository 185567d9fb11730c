// SPDX-License-Identifier: Apache-2.0
// The parts of zt_gemm on AVX2 that multiply.
#pragma once

#include "kernels/gemm.h"

void zt_pack_avx2(const zt_rows *r, const float *const *x, int n);
void zt_multiply_avx2(float *y, int64_t step, const zt_rows *r, int quad, int quads, const zt_matrix *w,
                        int panels, const void *ahead);
void zt_expand_avx2(uint8_t *to, const uint8_t *from, const uint8_t *factor, int units);
