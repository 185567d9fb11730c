// SPDX-License-Identifier: Apache-2.0
// The parts of zt_gemm on AVX2 that multiply.
#pragma once

#include "kernels/gemm.h"

void zt_pack_avx2(const zt_rows *r, const float *const *x, int n);
void zt_quantise_avx2(const zt_bytes *b, int row, const float *x, int K);
void zt_interleave_avx2(const zt_rows *r, const zt_bytes *b, const int32_t *row, int n);
void zt_multiply_avx2(float *y, int64_t step, const zt_rows *r, int quad, int rows, const zt_matrix *w,
                        int panels, const void *const ahead[2]);
void zt_expand_avx2(uint8_t *to, const uint8_t *from, const uint8_t *factor, int units);
