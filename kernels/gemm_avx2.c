// SPDX-License-Identifier: Apache-2.0
// Products of rows with packed weights on AVX2: tiles of 4 rows by 16 columns.
//
// Without a dot product of bytes, I8 goes through vpmaddwd: a unit of 4 weights becomes two pairs
// of 16 bits, elements 0 and 2 by a mask, 1 and 3 by a shift, and rows are packed to match. bf16
// weights become f32 in the same way, and rows are packed as rounded f32.
//
// Measured, Zen 4, one core, 144 x 256 x 768: I8 162 GOP/s, BF16 and F32 100 to 106 GF/s (the peak
// of vfmadd231ps is 117).
#include <stdbool.h>

#include "base/base.h"
#include "kernels/gemm_avx2.h"
#include "kernels/tile_avx2.h"

// a[k][4 rows] = x, rounded to bf16 or as it is; up to 7 rows of zeros follow
ZT_INLINE void pack_quad(const bool bf16, float *a, const float *const x[4], int K)
{
    for (int k = 0; k < K; k += 8, a += 32) {
        __m256 z[4];
        for (int r = 0; r < 4; r++) {
            z[r] = _mm256_maskload_ps(x[r] + k, zt_first8(K - k));
            if (bf16)
                z[r] = zt_bf16_round8(z[r]);
        }
        const __m256 lo01 = _mm256_unpacklo_ps(z[0], z[1]), hi01 = _mm256_unpackhi_ps(z[0], z[1]);
        const __m256 lo23 = _mm256_unpacklo_ps(z[2], z[3]), hi23 = _mm256_unpackhi_ps(z[2], z[3]);
        z[0] = _mm256_shuffle_ps(lo01, lo23, 0x44);
        z[1] = _mm256_shuffle_ps(lo01, lo23, 0xee);
        z[2] = _mm256_shuffle_ps(hi01, hi23, 0x44);
        z[3] = _mm256_shuffle_ps(hi01, hi23, 0xee);
        for (int i = 0; i < 4; i++) {       // element i in the lower lane, 4 + i in the upper
            _mm_store_ps(a + 4 * i, _mm256_castps256_ps128(z[i]));
            _mm_store_ps(a + 16 + 4 * i, _mm256_extractf128_ps(z[i], 1));
        }
    }
}

static float largest(const float *x, int K)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256 m = _mm256_setzero_ps();
    for (int k = 0; k < K; k += 8)
        m = _mm256_max_ps(m, _mm256_andnot_ps(sign, _mm256_maskload_ps(x + k, zt_first8(K - k))));
    __m128 h = _mm_max_ps(_mm256_castps256_ps128(m), _mm256_extractf128_ps(m, 1));
    h = _mm_max_ps(h, _mm_movehl_ps(h, h));
    return _mm_cvtss_f32(_mm_max_ss(h, _mm_movehdup_ps(h)));
}

static int32_t add_lanes(__m256i v)
{
    __m128i h = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    h = _mm_add_epi32(h, _mm_shuffle_epi32(h, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(h, _mm_shuffle_epi32(h, 0xb1)));
}

// q[0..8) = two units of 4 integers; each becomes the pairs (0, 2), (1, 3) in the lower half of its
// lane
ZT_INLINE __m256i pair_up(__m256i q)
{
    const __m256i upper = _mm256_slli_epi32(_mm256_shuffle_epi32(q, 0xee), 16);
    return _mm256_or_si256(_mm256_and_si256(q, _mm256_set1_epi32(0xffff)), upper);
}

// Two units of four rows, each paired up, interleaved
ZT_INLINE void store_units(int32_t *a, const __m256i z[4])
{
    const __m256i lo = _mm256_unpacklo_epi32(z[0], z[1]), hi = _mm256_unpacklo_epi32(z[2], z[3]);
    const __m256i even = _mm256_unpacklo_epi64(lo, hi), odd = _mm256_unpackhi_epi64(lo, hi);
    _mm256_store_si256((__m256i *)a, _mm256_permute2x128_si256(even, odd, 0x20));
    _mm256_store_si256((__m256i *)a + 1, _mm256_permute2x128_si256(even, odd, 0x31));
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
    __m256 s[4];
    __m256i sum[4];
    for (int r = 0; r < 4; r++) {
        s[r] = _mm256_set1_ps(row_scale(largest(x[r], K), &scale[r]));
        sum[r] = _mm256_setzero_si256();
    }
    for (int k = 0; k < K; k += 8, a += 16) {
        const __m256i tail = zt_first8(K - k);
        __m256i z[4];
        for (int r = 0; r < 4; r++) {
            z[r] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_maskload_ps(x[r] + k, tail), s[r]));
            sum[r] = _mm256_add_epi32(sum[r], z[r]);
            z[r] = pair_up(z[r]);
        }
        store_units(a, z);
    }
    for (int r = 0; r < 4; r++)
        start[r] = -128 * add_lanes(sum[r]);
}

float zt_row_scale_avx2(const float *x, int K, float *scale)
{
    return row_scale(largest(x, K), scale);
}

int32_t zt_row_bytes_avx2(int8_t *q, const float *x, int n, float factor)
{
    const __m256 s = _mm256_set1_ps(factor);
    __m256i sum = _mm256_setzero_si256();
    for (int k = 0; k < n; k += 8, q += 8) {
        const __m256i z = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_maskload_ps(x + k, zt_first8(n - k)), s));
        sum = _mm256_add_epi32(sum, z);
        const __m128i half = _mm_packs_epi32(_mm256_castsi256_si128(z), _mm256_extracti128_si256(z, 1));
        _mm_storel_epi64((__m128i *)q, _mm_packs_epi16(half, half));
    }
    return add_lanes(sum);
}

void zt_quantise_avx2(const zt_bytes *b, int row, const float *x, int K)
{
    const float factor = zt_row_scale_avx2(x, K, &b->scale[row]);
    b->start[row] = -128 * zt_row_bytes_avx2(b->q + row * b->step, x, K, factor);
}

// Eight bytes as two units: pairs (0, 2), (1, 3) in the lower half of each lane
ZT_INLINE __m256i load_pairs(const int8_t *q)
{
    return pair_up(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)q)));
}

void zt_interleave_avx2(const zt_rows *r, const zt_bytes *b, const int32_t *row, int n)
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
        for (int k = 0; k < r->K; k += 8, a += 16) {
            __m256i z[4];
            for (int i = 0; i < 4; i++)
                z[i] = load_pairs(q[i] + k);
            store_units(a, z);
        }
    }
}

void zt_pack_avx2(const zt_rows *r, const float *const *x, int n)
{
    for (int m = 0; m < n; m += 4) {
        const float *row[4];
        for (int i = 0; i < 4; i++)
            row[i] = x[m + i < n ? m + i : n - 1];
        int32_t *a = r->a + (size_t)(m / 4) * (size_t)r->quad;
        if (r->type == ZT_I8)
            quantise_quad(a, r->scale + m, r->start + m, row, r->K);
        else if (r->type == ZT_BF16)
            pack_quad(true, (float *)a, row, r->K);
        else
            pack_quad(false, (float *)a, row, r->K);
    }
}

// One panel of a quad
ZT_INLINE void tile_floats(const bool bf16, float *y, int64_t step, const zt_rows *x, int quad,
                           int rows, const zt_matrix *w, int panel)
{
    const char *b = (const char *)w->data + (size_t)panel * (size_t)x->units * 64;
    const float *a = (const float *)(x->a + (size_t)quad * (size_t)x->quad);
    __m256 c[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        c[i] = _mm256_setzero_ps();

    const __m256 upper = _mm256_castsi256_ps(_mm256_set1_epi32((int)0xffff0000));
    for (int u = 0; u < x->units; u++, b += 64, a += bf16 ? 8 : 4) {
        __m256 w0 = _mm256_load_ps((const float *)b), w1 = _mm256_load_ps((const float *)b + 8);
        if (bf16) {
            const __m256i even0 = _mm256_slli_epi32(_mm256_castps_si256(w0), 16);
            const __m256i even1 = _mm256_slli_epi32(_mm256_castps_si256(w1), 16);
            zt_tile_mac8_1(4, c, a, 1, _mm256_castsi256_ps(even0), _mm256_castsi256_ps(even1));
            w0 = _mm256_and_ps(w0, upper);
            w1 = _mm256_and_ps(w1, upper);
        }
        zt_tile_mac8_1(4, c, a + (bf16 ? 4 : 0), 1, w0, w1);
    }

    const float *bias = w->bias ? w->bias + panel * 16 : NULL;
    const __m256 b0 = bias ? _mm256_loadu_ps(bias) : _mm256_setzero_ps();
    const __m256 b1 = bias ? _mm256_loadu_ps(bias + 8) : _mm256_setzero_ps();
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) {
        if (r == rows)
            return;
        _mm256_storeu_ps(y + r * step, _mm256_add_ps(c[2 * r], b0));
        _mm256_storeu_ps(y + r * step + 8, _mm256_add_ps(c[2 * r + 1], b1));
    }
}

// c += a0 b0 + a1 b1 in pairs of 16 bits. In asm, because gcc 12 would keep the sums in memory.
ZT_INLINE __m256i pairs(__m256i c, __m256i a, __m256i b)
{
    __m256i t;
    __asm__("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+x"(c), "=&x"(t) : "x"(a), "x"(b));
    return c;
}

// Elements 0 and 2 of each unit as 16 bits. In asm, because the mask would take a register that there is not.
ZT_INLINE __m256i even_bytes(__m256i w)
{
    static const _Alignas(32) uint16_t mask[16] = { 255, 255, 255, 255, 255, 255, 255, 255,
                                                    255, 255, 255, 255, 255, 255, 255, 255 };
    __m256i even;
    __asm__("vpand %2, %1, %0" : "=x"(even) : "x"(w), "m"(mask));
    return even;
}

// c[r][0..16) += the unit at w times that at a
ZT_INLINE void multiply_add(__m256i c[8], const char *w, const int32_t *a)
{
    const __m256i w0 = _mm256_load_si256((const __m256i *)w);
    const __m256i w1 = _mm256_load_si256((const __m256i *)w + 1);
    const __m256i even0 = even_bytes(w0), odd0 = _mm256_srli_epi16(w0, 8);
    const __m256i even1 = even_bytes(w1), odd1 = _mm256_srli_epi16(w1, 8);
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) {
        const __m256i even = _mm256_set1_epi32(a[r]), odd = _mm256_set1_epi32(a[4 + r]);
        c[2 * r] = pairs(pairs(c[2 * r], even0, even), odd0, odd);
        c[2 * r + 1] = pairs(pairs(c[2 * r + 1], even1, even), odd1, odd);
    }
}

// float(sum) * (s * scale) + bias
ZT_INLINE __m256 finish(__m256i sum, float s, const float *scale, const float *bias)
{
    const __m256 v = _mm256_mul_ps(_mm256_set1_ps(s), _mm256_loadu_ps(scale));
    const __m256 b = bias ? _mm256_loadu_ps(bias) : _mm256_setzero_ps();
    return _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sum), v), b);
}

static void tile_i8(float *y, int64_t step, const zt_rows *x, int quad, int rows, const zt_matrix *w,
                    int panel)
{
    const char *b = (const char *)w->data + (size_t)panel * (size_t)x->units * 64;
    const int32_t *a = x->a + (size_t)quad * (size_t)x->quad;
    __m256i c[8];
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++)
        c[2 * r] = c[2 * r + 1] = _mm256_set1_epi32(x->start[quad * 4 + r]);
    for (int u = 0; u < x->units; u++)
        multiply_add(c, b + 64 * u, a + 8 * u);

    const float *scale = w->scale + panel * 16, *bias = w->bias ? w->bias + panel * 16 : NULL;
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) {
        if (r == rows)
            return;
        const float s = x->scale[quad * 4 + r];
        _mm256_storeu_ps(y + r * step, finish(c[2 * r], s, scale, bias));
        _mm256_storeu_ps(y + r * step + 8,
                         finish(c[2 * r + 1], s, scale + 8, bias ? bias + 8 : NULL));
    }
}

void zt_expand_avx2(uint8_t *to, const uint8_t *from, const uint8_t *factor, int units)
{
    const __m256i low = _mm256_set1_epi8(0xf);
    for (int i = 0; i < 16; i += 8) {           // half of the columns at a time
        const uint8_t *f8 = factor + i, *two8 = from + 4 * i;
        uint8_t *to8 = to + 4 * i;
        for (int u = 0; u < units; f8 += 16) {
            // A column's factor in both 16-bit halves: two products of 4 bits fit into one of 16, since 15 * 15 < 256.
            const __m256i f = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)f8));
            const __m256i f2 = _mm256_or_si256(f, _mm256_slli_epi32(f, 16));
            // 128 - 8 f in every byte
            const __m256i zero = _mm256_sub_epi16(_mm256_set1_epi16(128), _mm256_slli_epi16(f2, 3));
            const __m256i offset = _mm256_or_si256(zero, _mm256_slli_epi16(zero, 8));
            for (const int end = ZT_MIN(u + ZT_GROUP / 8, units); u < end; u++, two8 += 64, to8 += 128) {
                const __m256i two = _mm256_loadu_si256((const __m256i *)two8);
                const __m256i a = _mm256_mullo_epi16(_mm256_and_si256(two, low), f2);
                const __m256i b = _mm256_mullo_epi16(_mm256_and_si256(_mm256_srli_epi16(two, 4), low), f2);
                _mm256_store_si256((__m256i *)to8, _mm256_add_epi8(a, offset));
                _mm256_store_si256((__m256i *)(to8 + 64), _mm256_add_epi8(b, offset));
            }
        }
    }
}

void zt_multiply_avx2(float *y, int64_t step, const zt_rows *r, int quad, int rows, const zt_matrix *w,
                        int panels, const void *const ahead[2])
{
    (void)ahead;
    for (int p = 0; p < panels; p++) {
        for (int q = 0; 4 * q < rows; q++) {
            float *to = y + 4 * q * step + 16 * p;
            if (r->type == ZT_I8)
                tile_i8(to, step, r, quad + q, rows - 4 * q, w, p);
            else if (r->type == ZT_BF16)
                tile_floats(true, to, step, r, quad + q, rows - 4 * q, w, p);
            else
                tile_floats(false, to, step, r, quad + q, rows - 4 * q, w, p);
        }
    }
}
