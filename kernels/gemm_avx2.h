// SPDX-License-Identifier: Apache-2.0
// The parts of zt_gemm on AVX2.
#pragma once

#include "kernels/gemm.h"

enum { ZT_PACK_BYTES = 512 };

void zt_pack_avx2(const zt_rows *r, const float *const *x, int n);
void zt_quantise_avx2(const zt_bytes *b, int row, const float *x, int K);
void zt_interleave_avx2(const zt_rows *r, const zt_bytes *b, const int32_t *row, int n);
void zt_multiply_avx2(float *y, int64_t step, const zt_rows *r, int quad, int rows, const zt_matrix *w,
                        int panels, const void *const ahead[2]);
void zt_expand_avx2(uint8_t *to, const uint8_t *from, const uint8_t *factor, int units);
void zt_epilogue_avx2(const zt_epilogue *e, const zt_sums *s);
void zt_route_avx2(const zt_moe *w, const float *const *x, int n, int C, int32_t *expert, float *gate);
void zt_swiglu_avx2(float *h, int64_t step, const float *u, int rows);
void zt_gather_avx2(float *f, int width, const float *const *y, const float *gate, int k);
// The factor that quantises a row, and its scale; n values by that factor as bytes (8 at a time), and their sum.
float   zt_row_scale_avx2(const float *x, int K, float *scale);
int32_t zt_row_bytes_avx2(int8_t *q, const float *x, int n, float factor);
