// SPDX-License-Identifier: Apache-2.0
// The parts of zt_gemm on AVX-512.
#pragma once

#include "kernels/gemm.h"

void zt_pack_avx512(const zt_rows *r, const float *const *x, int n);
void zt_quantise_avx512(const zt_bytes *b, int row, const float *x, int K);
void zt_interleave_avx512(const zt_rows *r, const zt_bytes *b, const int32_t *row, int n);
void zt_multiply_avx512(float *y, int64_t step, const zt_rows *r, int quad, int rows, const zt_matrix *w,
                        int panels, const void *const ahead[2]);
void zt_route_avx512(const zt_moe *w, const float *const *x, int n, int C, int32_t *expert, float *gate);
void zt_swiglu_avx512(float *h, int64_t step, const float *u, int rows);
void zt_gather_avx512(float *f, int width, const float *const *y, const float *gate, int k);
void zt_expand_avx512(uint8_t *to, const uint8_t *from, const uint8_t *factor, int units);
