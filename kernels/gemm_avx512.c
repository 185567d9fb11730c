// SPDX-License-Identifier: Apache-2.0
// The tile that multiplies 12 rows by 32 columns on AVX-512, and the packing of rows it reads.
//
// A unit of K costs a tile 24 dot products (vpdpbusd, vdpbf16ps or vfmadd231ps, one a cycle on
// Zen 4), whose rows are broadcast by the instructions themselves, and 2 loads of weights: 128
// bytes in 24 cycles, which L2 and L3 sustain. Sums stay in 24 registers, each output in one of
// them and in order of K, whatever the height of its tile. At K = 256 quantising 12 rows adds 210
// ns to the 3.4 us of their products with 256 columns; the start and end of the tiles cost 4 %.
//
// Measured, Zen 4, linear with everything, M = 144, share of the instruction's peak on one core
// (470 GOP/s in I8, 235 in BF16, 117 in F32):
//   K x N    256 x 256   256 x 768   768 x 256   1536 x 1536
//   I8          0.87        0.92        0.91        0.96
//   BF16        0.96        0.97        0.96        0.95
//   F32         0.98        0.97        0.97        0.96
#include <immintrin.h>
#include <stdbool.h>

#include "base/base.h"
#include "kernels/gemm_avx512.h"
#include "kernels/lanes_avx512.h"

// Each 128-bit lane of z[0..4) as a 4x4 matrix of units, transposed.
ZT_INLINE void transpose_units(__m512i z[4])
{
    const __m512i a = _mm512_unpacklo_epi32(z[0], z[1]), b = _mm512_unpackhi_epi32(z[0], z[1]);
    const __m512i c = _mm512_unpacklo_epi32(z[2], z[3]), d = _mm512_unpackhi_epi32(z[2], z[3]);
    z[0] = _mm512_unpacklo_epi64(a, c);
    z[1] = _mm512_unpackhi_epi64(a, c);
    z[2] = _mm512_unpacklo_epi64(b, d);
    z[3] = _mm512_unpackhi_epi64(b, d);
}

// The first n of 16 lanes; n may be anything.
ZT_INLINE __mmask16 first(int n)
{
    return n > 0 ? zt_first(n) : 0;
}

// 16 units of a row from element k on
ZT_INLINE __m512i round_units(const bool bf16, const float *x, int k, int K)
{
    const __m512 lo = _mm512_maskz_loadu_ps(first(K - k), x + k);
    if (!bf16)
        return _mm512_castps_si512(lo);
    const __m512 hi = _mm512_maskz_loadu_ps(first(K - k - 16), x + k + 16);
    return (__m512i)_mm512_cvtne2ps_pbh(hi, lo);
}

ZT_INLINE void pack_quad(const bool bf16, int32_t *a, const float *const x[4], int K)
{
    for (int k = 0; k < K; k += bf16 ? 32 : 16, a += 64) {
        __m512i z[4];
        for (int r = 0; r < 4; r++)
            z[r] = round_units(bf16, x[r], k, K);
        transpose_units(z);
        zt_transpose_lanes(z);
        for (int i = 0; i < 4; i++)
            _mm512_store_si512(a + 16 * i, z[i]);
    }
}

static float largest(const float *x, int K)
{
    enum { ABSOLUTE = 0x0b };       // of vrangeps: the larger magnitude, positive
    __m512 m0 = _mm512_setzero_ps(), m1 = m0;
    int k = 0;
    for (; k + 32 <= K; k += 32) {
        m0 = _mm512_range_ps(m0, _mm512_loadu_ps(x + k), ABSOLUTE);
        m1 = _mm512_range_ps(m1, _mm512_loadu_ps(x + k + 16), ABSOLUTE);
    }
    for (; k < K; k += 16)
        m0 = _mm512_range_ps(m0, _mm512_maskz_loadu_ps(first(K - k), x + k), ABSOLUTE);
    return _mm512_reduce_max_ps(_mm512_max_ps(m0, m1));
}

// 64 values as bytes, in the order that the packs make of it: unit u of lane l holds elements
// 16 u + 4 l and so on.
ZT_INLINE __m512i quantise_64(const float *x, __m512 s, int n)
{
    __m512i q[4];
    for (int i = 0; i < 4; i++) {
        const __mmask16 k = n >= 64 ? 0xffff : first(n - 16 * i);
        q[i] = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_maskz_loadu_ps(k, x + 16 * i), s));
    }
    return _mm512_packs_epi16(_mm512_packs_epi32(q[0], q[1]), _mm512_packs_epi32(q[2], q[3]));
}

// The factor that quantises a row of that largest magnitude; its scale
static float row_scale(float max, float *scale)
{
    const bool zero = max < 0x1p-100f;
    *scale = zero ? 0 : max / 127;
    return zero ? 0 : 127 / max;
}

static void quantise_quad(int32_t *a, float *scale, int32_t *start, const float *const x[4], int K)
{
    __m512 s[4];
    for (int r = 0; r < 4; r++)
        s[r] = _mm512_set1_ps(row_scale(largest(x[r], K), &scale[r]));
    const __m512i ones = _mm512_set1_epi8(1);
    __m512i sum = _mm512_setzero_si512();
    for (int k = 0; k < K; k += 64, a += 64) {
        __m512i z[4];
        for (int r = 0; r < 4; r++)
            z[r] = quantise_64(x[r] + k, s[r], K - k);
        transpose_units(z);         // and so vector i, lane l is unit 4 i + l of the four rows
        for (int i = 0; i < 4; i++) {
            _mm512_store_si512(a + 16 * i, z[i]);
            sum = _mm512_dpbusd_epi32(sum, ones, z[i]);
        }
    }
    const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(sum),
                                          _mm512_extracti64x4_epi64(sum, 1));
    const __m128i rows = _mm_add_epi32(_mm256_castsi256_si128(half),
                                       _mm256_extracti128_si256(half, 1));
    _mm_storeu_si128((__m128i *)start, _mm_mullo_epi32(rows, _mm_set1_epi32(-128)));
}

void zt_quantise_avx512(const zt_bytes *b, int row, const float *x, int K)
{
    const __m512 s = _mm512_set1_ps(row_scale(largest(x, K), &b->scale[row]));
    const __m512i ones = _mm512_set1_epi8(1);
    __m512i sum = _mm512_setzero_si512();
    for (int k = 0; k < K; k += 64) {
        const __m512i z = quantise_64(x + k, s, K - k);
        _mm512_store_si512(b->q + row * b->step + k, z);
        sum = _mm512_dpbusd_epi32(sum, ones, z);
    }
    b->start[row] = -128 * _mm512_reduce_add_epi32(sum);
}

void zt_interleave_avx512(const zt_rows *r, const zt_bytes *b, const int32_t *row, int n)
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
        for (int k = 0; k < r->K; k += 64, a += 64) {
            __m512i z[4];
            for (int i = 0; i < 4; i++)
                z[i] = _mm512_load_si512(q[i] + k);
            transpose_units(z);
            for (int i = 0; i < 4; i++)
                _mm512_store_si512(a + 16 * i, z[i]);
        }
    }
}

void zt_pack_avx512(const zt_rows *r, const float *const *x, int n)
{
    for (int m = 0; m < n; m += 4) {
        const float *row[4];
        for (int i = 0; i < 4; i++)
            row[i] = x[m + i < n ? m + i : n - 1];
        int32_t *a = r->a + (size_t)(m / 4) * r->quad;
        if (r->type == ZT_I8)
            quantise_quad(a, r->scale + m, r->start + m, row, r->K);
        else if (r->type == ZT_BF16)
            pack_quad(true, a, row, r->K);
        else
            pack_quad(false, a, row, r->K);
    }
}

void zt_expand_avx512(uint8_t *to, const uint8_t *from, const uint8_t *factor, int units)
{
    const __m512i low = _mm512_set1_epi8(0xf);
    for (int u = 0; u < units; factor += 16) {
        // A column's factor in both 16-bit halves: two products of 4 bits fit into one of 16, since 15 * 15 < 256.
        const __m512i f = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)factor));
        const __m512i f2 = _mm512_or_si512(f, _mm512_slli_epi32(f, 16));
        // 128 - 8 f in every byte
        const __m512i zero = _mm512_sub_epi16(_mm512_set1_epi16(128), _mm512_slli_epi16(f2, 3));
        const __m512i offset = _mm512_or_si512(zero, _mm512_slli_epi16(zero, 8));
        for (const int end = ZT_MIN(u + ZT_GROUP / 8, units); u < end; u++, from += 64, to += 128) {
            const __m512i two = _mm512_loadu_si512(from);
            const __m512i a = _mm512_mullo_epi16(_mm512_and_si512(two, low), f2);
            const __m512i b = _mm512_mullo_epi16(_mm512_and_si512(_mm512_srli_epi16(two, 4), low), f2);
            _mm512_store_si512(to, _mm512_add_epi8(a, offset));
            _mm512_store_si512(to + 64, _mm512_add_epi8(b, offset));
        }
    }
}

// c += w * (*a in every lane). In asm, because gcc 12 spills the sums when it schedules these.
ZT_INLINE __m512i multiply_add(const enum zt_type type, __m512i c, __m512i w, const int32_t *a)
{
    if (type == ZT_I8)
        __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(c) : "v"(w), "m"(*a));
    else if (type == ZT_BF16)
        __asm__("vdpbf16ps %2%{1to16%}, %1, %0" : "+v"(c) : "v"(w), "m"(*a));
    else
        __asm__("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(c) : "v"(w), "m"(*a));
    return c;
}

// The sums of a tile as floats, row by row: of rows 4 KB apart fewer lines of a set are then on their way at a time
ZT_INLINE void store_tile(const enum zt_type type, const int R, const int C, float *y, int64_t step,
                          const zt_rows *x, int quad, const zt_matrix *w, __m512i c[][2])
{
    __m512 bias[2], scale[2];
#pragma GCC unroll 2
    for (int j = 0; j < C; j++) {
        bias[j] = w->bias ? _mm512_loadu_ps(w->bias + 16 * j) : _mm512_setzero_ps();
        scale[j] = type == ZT_I8 ? _mm512_loadu_ps(w->scale + 16 * j) : bias[j];
    }
#pragma GCC unroll 12
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 2
        for (int j = 0; j < C; j++) {
            __m512 v = _mm512_castsi512_ps(c[r][j]);
            if (type == ZT_I8) {
                const __m512 s = _mm512_mul_ps(_mm512_set1_ps(x->scale[quad * 4 + r]), scale[j]);
                v = _mm512_mul_ps(_mm512_cvtepi32_ps(c[r][j]), s);
            }
            _mm512_storeu_ps(y + r * step + 16 * j, _mm512_add_ps(v, bias[j]));
        }
    }
}

// Fetches a line that will be written: another core may have read it since.
ZT_INLINE void own(float *line)
{
    __asm__ volatile("prefetchw %0" : : "m"(*line));
}

ZT_INLINE void tile(const enum zt_type type, const int R, const int C, float *y, int64_t step,
                    const zt_rows *x, int quad, const zt_matrix *w, const void *const ahead[2])
{
    const int units = x->units;
    const int32_t *a0 = x->a + (size_t)quad * x->quad;
    const int32_t *a1 = R > 4 ? a0 + x->quad : a0, *a2 = R > 8 ? a1 + x->quad : a0;
    const char *w0 = (const char *)w->data;
    const char *w1 = w0 + (size_t)units * 64;
    const char *f0 = ahead[0], *f1 = ahead[1];

    // Rows 4 KB apart fall into the same sets of L1, 12 of them into 8 ways: fetched early, they throw each other out.
    for (int r = 0; r < R && step % 1024; r++) {
        own(y + r * step);
        if (C > 1)
            own(y + r * step + 16);
    }
    __m512i c[12][2];
#pragma GCC unroll 12
    for (int r = 0; r < R; r++)
        c[r][0] = c[r][1] = _mm512_set1_epi32(type == ZT_I8 ? x->start[quad * 4 + r] : 0);

    for (int u = 0; u < units; u++) {
        _mm_prefetch(f0, _MM_HINT_T1);
        _mm_prefetch(f1, _MM_HINT_T1);
        const __m512i v0 = _mm512_load_si512(w0), v1 = C > 1 ? _mm512_load_si512(w1) : v0;
#pragma GCC unroll 12
        for (int r = 0; r < R; r++) {
            const int32_t *a = (r < 4 ? a0 : r < 8 ? a1 : a2) + r % 4;
            c[r][0] = multiply_add(type, c[r][0], v0, a);
            if (C > 1)
                c[r][1] = multiply_add(type, c[r][1], v1, a);
        }
        a0 += 4, a1 += 4, a2 += 4;
        w0 += 64, w1 += 64, f0 += 64, f1 += 64;
    }
    store_tile(type, R, C, y, step, x, quad, w, c);
}

// Whole rows only: a row that fills up a quad costs as much as any.
#define TILES(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)

ZT_INLINE void multiply(const enum zt_type type, float *y, int64_t step, const zt_rows *r, int quad, int rows,
                        const zt_matrix *w, int panels, const void *const ahead[2])
{
    switch (rows * 2 + panels) {
#define X(R) case R * 2 + 1: tile(type, R, 1, y, step, r, quad, w, ahead); break; \
             case R * 2 + 2: tile(type, R, 2, y, step, r, quad, w, ahead); break;
    TILES(X)
#undef X
    }
}

// One function for each type, so that the three are compiled apart.
__attribute__((noinline)) static void multiply_i8(float *y, int64_t step, const zt_rows *r, int quad, int rows,
                                                  const zt_matrix *w, int panels, const void *const ahead[2])
{
    multiply(ZT_I8, y, step, r, quad, rows, w, panels, ahead);
}

__attribute__((noinline)) static void multiply_bf16(float *y, int64_t step, const zt_rows *r, int quad, int rows,
                                                    const zt_matrix *w, int panels, const void *const ahead[2])
{
    multiply(ZT_BF16, y, step, r, quad, rows, w, panels, ahead);
}

__attribute__((noinline)) static void multiply_f32(float *y, int64_t step, const zt_rows *r, int quad, int rows,
                                                   const zt_matrix *w, int panels, const void *const ahead[2])
{
    multiply(ZT_F32, y, step, r, quad, rows, w, panels, ahead);
}

void zt_multiply_avx512(float *y, int64_t step, const zt_rows *r, int quad, int rows, const zt_matrix *w,
                        int panels, const void *const ahead[2])
{
    (r->type == ZT_I8 ? multiply_i8 : r->type == ZT_BF16 ? multiply_bf16 : multiply_f32)
        (y, step, r, quad, rows, w, panels, ahead);
}
