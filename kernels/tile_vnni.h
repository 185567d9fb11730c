// SPDX-License-Identifier: Apache-2.0
// linear and moe of 256-bit vectors with a dot product of bytes: the tile of 6 rows by 16 columns and the rows it
// reads.
//
// AVX-VNNI and AVX-512 VL have the same instruction in two encodings; a file for each includes this. A unit costs a
// full tile 12 dot products, 6 broadcasts and 2 loads; sums take 12 of 16 registers. Zen 4, one core, in one run with
// level avx2: 144 x 768 x 256 at 376 GOP/s, not 146.
#pragma once

#include "base/base.h"
#include "kernels/gemm_avx2.h"
#include "kernels/tile_avx2.h"

// c += w * a. Given by the file that includes this.
ZT_INLINE __m256i dot_bytes(__m256i c, __m256i w, __m256i a);

// Eight bytes of four rows, [unit][row]
ZT_INLINE void interleave_units(int32_t *a, const __m128i q[4])
{
    const __m128i lo = _mm_unpacklo_epi32(q[0], q[1]), hi = _mm_unpacklo_epi32(q[2], q[3]);
    _mm_store_si128((__m128i *)a, _mm_unpacklo_epi64(lo, hi));
    _mm_store_si128((__m128i *)a + 1, _mm_unpackhi_epi64(lo, hi));
}

static void interleave(const zt_rows *r, const zt_bytes *b, const int32_t *row, int n)
{
    for (int m = 0; m < n; m += 4) {
        const int8_t *q[4];
        int32_t *a = r->a + (size_t)(m / 4) * (size_t)r->quad;
        for (int i = 0; i < 4; i++) {
            const int32_t from = row[m + i < n ? m + i : n - 1];
            q[i] = b->q + from * b->step;
            r->scale[m + i] = b->scale[from];
            r->start[m + i] = b->start[from];
        }
        for (int k = 0; k < r->K; k += 8, a += 8) {
            __m128i z[4];
            for (int i = 0; i < 4; i++)
                z[i] = _mm_loadl_epi64((const __m128i *)(q[i] + k));
            interleave_units(a, z);
        }
    }
}

// Through bytes of its own, a part of K at a time
static void pack(const zt_rows *r, const float *const *x, int n)
{
    if (r->type != ZT_I8) {
        zt_pack_avx2(r, x, n);
        return;
    }
    _Alignas(32) int8_t q[4 * ZT_PACK_BYTES];
    for (int m = 0; m < n; m += 4) {
        int32_t *const a = r->a + (size_t)(m / 4) * (size_t)r->quad;
        float s[4];
        for (int i = 0; i < 4; i++)
            s[i] = zt_row_scale_avx2(x[m + i < n ? m + i : n - 1], r->K, &r->scale[m + i]);
        int32_t sum[4] = { 0 };
        for (int k = 0; k < r->K; k += ZT_PACK_BYTES) {
            const int part = ZT_MIN(ZT_PACK_BYTES, r->K - k);
            for (int i = 0; i < 4; i++)
                sum[i] += zt_row_bytes_avx2(q + i * ZT_PACK_BYTES, x[m + i < n ? m + i : n - 1] + k, part, s[i]);
            for (int j = 0; j < part; j += 8) {
                __m128i z[4];
                for (int i = 0; i < 4; i++)
                    z[i] = _mm_loadl_epi64((const __m128i *)(q + i * ZT_PACK_BYTES + j));
                interleave_units(a + k + j, z);
            }
        }
        for (int i = 0; i < 4; i++)
            r->start[m + i] = -128 * sum[i];
    }
}

// Rows [first, first + R) of the quads from `quad` on; first is 0 or 6
ZT_INLINE void tile(const int first, const int R, float *y, int64_t step, const zt_rows *x, int quad,
                    const zt_matrix *w, int panel)
{
    const char *b = (const char *)w->data + (size_t)panel * (size_t)x->units * 64;
    const int32_t *a0 = x->a + (size_t)(quad + first / 4) * (size_t)x->quad;
    const int32_t *a1 = a0 + (R + first % 4 > 4 ? x->quad : 0);
    __m256i c[6][2];
#pragma GCC unroll 6
    for (int r = 0; r < R; r++)
        c[r][0] = c[r][1] = _mm256_set1_epi32(x->start[quad * 4 + first + r]);

    for (int u = 0; u < x->units; u++, b += 64, a0 += 4, a1 += 4) {
        const __m256i w0 = _mm256_load_si256((const __m256i *)b), w1 = _mm256_load_si256((const __m256i *)b + 1);
#pragma GCC unroll 6
        for (int r = 0; r < R; r++) {
            const int lane = first % 4 + r;
            const __m256i a = _mm256_set1_epi32((lane < 4 ? a0 : a1)[lane % 4]);
            c[r][0] = dot_bytes(c[r][0], w0, a);
            c[r][1] = dot_bytes(c[r][1], w1, a);
        }
    }

#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        const int n = panel * 16 + i * 8;
        const __m256 scale = _mm256_loadu_ps(w->scale + n);
        const __m256 bias = w->bias ? _mm256_loadu_ps(w->bias + n) : _mm256_setzero_ps();
#pragma GCC unroll 6
        for (int r = 0; r < R; r++) {
            const __m256 s = _mm256_mul_ps(_mm256_set1_ps(x->scale[quad * 4 + first + r]), scale);
            const __m256 v = _mm256_mul_ps(_mm256_cvtepi32_ps(c[r][i]), s);
            _mm256_storeu_ps(y + (first + r) * step + i * 8, _mm256_add_ps(v, bias));
        }
    }
}

ZT_INLINE void tile_rows(const int first, int rows, float *y, int64_t step, const zt_rows *x, int quad,
                         const zt_matrix *w, int panel)
{
    switch (rows) {
    case 1: tile(first, 1, y, step, x, quad, w, panel); break;
    case 2: tile(first, 2, y, step, x, quad, w, panel); break;
    case 3: tile(first, 3, y, step, x, quad, w, panel); break;
    case 4: tile(first, 4, y, step, x, quad, w, panel); break;
    case 5: tile(first, 5, y, step, x, quad, w, panel); break;
    default: tile(first, 6, y, step, x, quad, w, panel); break;
    }
}

static void multiply(float *y, int64_t step, const zt_rows *r, int quad, int rows, const zt_matrix *w, int panels,
                     const void *const ahead[2])
{
    if (r->type != ZT_I8) {
        zt_multiply_avx2(y, step, r, quad, rows, w, panels, ahead);
        return;
    }
    for (int p = 0; p < panels; p++) {
        tile_rows(0, ZT_MIN(rows, 6), y + 16 * p, step, r, quad, w, p);
        if (rows > 6)
            tile_rows(6, rows - 6, y + 16 * p, step, r, quad, w, p);
    }
}

static const zt_gemm gemm = {
    .words = { [ZT_F32] = 1, [ZT_BF16] = 2, [ZT_I8] = 1 },
    .pack = pack,
    .quantise = zt_quantise_avx2,
    .interleave = interleave,
    .expand = zt_expand_avx2,
    .multiply = multiply,
    .epilogue = zt_epilogue_avx2,
    .route = zt_route_avx2,
    .swiglu = zt_swiglu_avx2,
    .gather = zt_gather_avx2,
};
