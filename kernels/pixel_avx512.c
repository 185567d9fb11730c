// SPDX-License-Identifier: Apache-2.0
// Pictures in and out, AVX-512: latents_in, rgb_to_i420. pixel_shuffle is faster in pixel_avx2.c:
// an 8 x 8 transpose in 512 bits took 20 us where pairs of pixels in 256 take 12.
//
// Bound by the cache, microseconds a frame, so they run on the caller's thread.
// Measured, Zen 4: rgb_to_i420 of 256 x 144 10.6 us (42 GB/s read), latents_in of 16 x 18 x 32
// 4 us.
#include <assert.h>

#include "base/base.h"
#include "kernels/device.h"
#include "kernels/exp_avx512.h"
#include "kernels/lanes_avx512.h"

zt_latents_in_fn zt_latents_in_avx512;
zt_rgb_to_i420_fn zt_rgb_to_i420_avx512;

static inline __m512 clamped(__m512 x)
{
    return _mm512_max_ps(_mm512_min_ps(x, _mm512_set1_ps(1)), _mm512_set1_ps(-1));
}

// limit * tanh(x / limit) = limit * (1 - 2 / (exp(2 x / limit) + 1)); absolute error 2e-7 * limit
static inline __m512 soft_limit(__m512 x, float limit)
{
    const __m512 one = _mm512_set1_ps(1);
    const __m512 e = zt_exp512(_mm512_mul_ps(x, _mm512_set1_ps(2 / limit)));
    const __m512 r = _mm512_div_ps(_mm512_set1_ps(2), _mm512_add_ps(e, one));
    return _mm512_mul_ps(_mm512_set1_ps(limit), _mm512_sub_ps(one, r));
}

// 16 channels of 16 pixels of a row, from channel c and column x on.
static void latents_block(zt_tensor out, zt_tensor z, float limit, int c, int y, int x)
{
    const int channels = ZT_MIN(z.n[1] - c, 16), pixels = ZT_MIN(z.n[3] - x, 16);
    __m512i r[16];

    for (int i = 0; i < 16; i++) {
        r[i] = _mm512_setzero_si512();
        if (i >= channels)
            continue;
        const float *from = zt_f32(z) + (c + i) * z.step[1] + y * z.step[2] + x;
        const __m512 v = _mm512_maskz_loadu_ps(zt_first(pixels), from);
        r[i] = (__m512i)(limit > 0 ? soft_limit(v, limit) : v);
    }
    zt_transpose16(r);
    for (int i = 0; i < pixels; i++) {
        const int64_t at = y * out.step[1] + (x + i) * out.step[2] + c;
        const __mmask16 k = zt_first(channels);
        if (out.type == ZT_F32)
            _mm512_mask_storeu_epi32((float *)out.data + at, k, r[i]);
        else
            _mm256_mask_storeu_epi16((uint16_t *)out.data + at, k,
                                     (__m256i)_mm512_cvtneps_pbh((__m512)r[i]));
    }
}

void zt_latents_in_avx512(struct zt_device *d, zt_tensor out, zt_tensor z, float limit)
{
    const int C = z.n[1], h = z.n[2], w = z.n[3];
    assert(out.n[1] == h && out.n[2] == w && out.n[3] == C && limit >= 0);

    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x += 16)
            for (int c = 0; c < C; c += 16)
                latents_block(out, z, limit, c, y, x);
}

// 16 values, not negative, to bytes: halves round up.
static inline void store_bytes(uint8_t *to, __mmask16 k, __m512 x)
{
    const __m512i i = _mm512_cvttps_epi32(_mm512_add_ps(x, _mm512_set1_ps(0.5f)));
    _mm512_mask_cvtepi32_storeu_epi8(to, k, i);
}

// 16 columns of one row of R, G, B in [-1, 1]: its luma; R and B are added to the row pair's sums.
static inline __m512 row_part(zt_tensor rgb, int y, int x, __mmask16 k, __m512 *red, __m512 *blue)
{
    const float *p = zt_f32(rgb) + y * rgb.step[2] + x;
    const __m512 r = clamped(_mm512_maskz_loadu_ps(k, p));
    const __m512 g = clamped(_mm512_maskz_loadu_ps(k, p + rgb.step[1]));
    const __m512 b = clamped(_mm512_maskz_loadu_ps(k, p + 2 * rgb.step[1]));
    __m512 l = _mm512_mul_ps(g, _mm512_set1_ps(0.7152f));
    l = _mm512_fmadd_ps(r, _mm512_set1_ps(0.2126f), l);
    *red = _mm512_add_ps(*red, r);
    *blue = _mm512_add_ps(*blue, b);
    return _mm512_fmadd_ps(b, _mm512_set1_ps(0.0722f), l);
}

// 16 samples of U or V from 32 columns s of B' - Y' or R' - Y', summed over two rows, R'G'B' in
// [-1, 1]: (1 2 1) around the even columns. `last` holds the odd columns to the left.
static inline void store_chroma(uint8_t *to, __mmask16 k, const __m512 *s, float divisor, bool edge,
                                __m512 *last)
{
    const __m512i evens = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14,
                                            16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odds = _mm512_add_epi32(evens, _mm512_set1_epi32(1));
    const __m512 even = _mm512_permutex2var_ps(s[0], evens, s[1]);
    const __m512 odd = _mm512_permutex2var_ps(s[0], odds, s[1]);
    if (edge)
        *last = _mm512_broadcastss_ps(_mm512_castps512_ps128(even));
    const __m512 left = (__m512)_mm512_alignr_epi32((__m512i)odd, (__m512i)*last, 15);
    const __m512 sum = _mm512_fmadd_ps(even, _mm512_set1_ps(2), _mm512_add_ps(left, odd));
    *last = odd;
    // 1/8 for the filter, 1/2 for the units
    const __m512 scale = _mm512_set1_ps(224 / (16 * divisor));
    store_bytes(to, k, _mm512_fmadd_ps(sum, scale, _mm512_set1_ps(128)));
}

void zt_rgb_to_i420_avx512(struct zt_device *d, uint8_t *const plane[3], const ptrdiff_t pitch[3],
                           zt_tensor rgb)
{
    const int h = rgb.n[2], w = rgb.n[3];
    assert(rgb.n[1] == 3 && h % 2 == 0 && w % 2 == 0);
    const __m512 scale = _mm512_set1_ps(109.5f), offset = _mm512_set1_ps(16 + 109.5f);

    for (int y = 0; y < h; y += 2) {
        uint8_t *luma = plane[0] + y * pitch[0];
        __m512 last_u = _mm512_setzero_ps(), last_v = last_u;

        for (int x = 0; x < w; x += 32) {
            __m512 u[2], v[2];
            for (int i = 0; i < 2; i++) {
                const int left = w - x - 16 * i, at = x + 16 * i;
                const __mmask16 k = left > 0 ? zt_first(left) : 0;
                __m512 red = _mm512_setzero_ps(), blue = red;
                const __m512 top = row_part(rgb, y, at, k, &red, &blue);
                const __m512 low = row_part(rgb, y + 1, at, k, &red, &blue);
                const __m512 both = _mm512_add_ps(top, low);
                store_bytes(luma + at, k, _mm512_fmadd_ps(top, scale, offset));
                store_bytes(luma + pitch[0] + at, k, _mm512_fmadd_ps(low, scale, offset));
                u[i] = _mm512_sub_ps(blue, both);
                v[i] = _mm512_sub_ps(red, both);
            }
            const __mmask16 k = zt_first((w - x) / 2);
            const int64_t at = x / 2;
            store_chroma(plane[1] + y / 2 * pitch[1] + at, k, u, 1.8556f, x == 0, &last_u);
            store_chroma(plane[2] + y / 2 * pitch[2] + at, k, v, 1.5748f, x == 0, &last_v);
        }
    }
}
