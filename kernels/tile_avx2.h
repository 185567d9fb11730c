// SPDX-License-Identifier: Apache-2.0
// What the AVX2 kernels share: rounding to bf16, tails, the register tile of R rows x 16 columns.
#pragma once

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ZT_INLINE static inline __attribute__((always_inline))

// Lanes [0, left) of eight; left may be anything.
static inline __m256i zt_first8(int left)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(left), lane);
}

// The first `left` of eight. A masked store takes ten times as long as a whole one on some CPUs.
static inline void zt_store8(float *p, int left, __m256 x)
{
    if (left >= 8)
        _mm256_storeu_ps(p, x);
    else
        _mm256_maskstore_ps(p, zt_first8(left), x);
}

static inline float zt_sum8(__m256 x)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

// Rounded to the nearest even bf16, still as f32: its lower halves are zero. NaN stays NaN.
static inline __m256 zt_bf16_round8(__m256 x)
{
    const __m256i u = _mm256_castps_si256(x);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    const __m256i up = _mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), odd);
    const __m256i nan = _mm256_or_si256(u, _mm256_set1_epi32(0x400000));
    const __m256 is_nan = _mm256_cmp_ps(x, x, _CMP_UNORD_Q);
    const __m256 y = _mm256_blendv_ps(_mm256_castsi256_ps(up), _mm256_castsi256_ps(nan), is_nan);
    return _mm256_and_ps(y, _mm256_castsi256_ps(_mm256_set1_epi32((int)0xffff0000)));
}

// Eight bf16 as f32.
static inline __m256 zt_bf16_load8(const uint16_t *p)
{
    const __m128i half = _mm_loadu_si128((const __m128i *)p);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

static inline void zt_bf16_store8(uint16_t *p, __m256 x)
{
    const __m256i u = _mm256_srli_epi32(_mm256_castps_si256(zt_bf16_round8(x)), 16);
    _mm_storeu_si128((__m128i *)p, _mm_packus_epi32(_mm256_castsi256_si128(u),
                                                    _mm256_extracti128_si256(u, 1)));
}

// acc[r][0..1] += a[r * a_step] * (b0, b1). In asm, in this order: gcc 12 would broadcast several rows ahead, and spill.
ZT_INLINE void zt_tile_mac8_1(const int R, __m256 *acc, const float *a, ptrdiff_t a_step, __m256 b0,
                              __m256 b1)
{
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) {
        __m256 x, c0 = acc[2 * r], c1 = acc[2 * r + 1];
        __asm__ volatile("vbroadcastss %1, %0" : "=x"(x) : "m"(a[r * a_step]));
        c0 = _mm256_fmadd_ps(x, b0, c0);
        c1 = _mm256_fmadd_ps(x, b1, c1);
        acc[2 * r] = c0, acc[2 * r + 1] = c1;
    }
}

// acc[r][..] += sum over k in [0, K) of a[r * a_step + k] * b[k][0..16), k in order; K > 0.
//   b  f32 [K][16], or pairs of bf16 [K/2][16][2]; rows b_step bytes apart; a is f32 either way
//   R <= 6: 12 sums, 2 vectors of b and a broadcast fill the 16 registers
ZT_INLINE void zt_tile_mac8(const bool bf16, const int R, __m256 *acc, const float *a,
                            ptrdiff_t a_step, const char *b, ptrdiff_t b_step, int K)
{
    const __m256 upper = _mm256_castsi256_ps(_mm256_set1_epi32((int)0xffff0000));

    for (int k = 0; k < K; k += bf16 ? 2 : 1, b += b_step) {
        __m256 b0 = _mm256_load_ps((const float *)b), b1 = _mm256_load_ps((const float *)b + 8);
        if (bf16) {
            const __m256i l0 = _mm256_slli_epi32(_mm256_castps_si256(b0), 16);
            const __m256i l1 = _mm256_slli_epi32(_mm256_castps_si256(b1), 16);
            zt_tile_mac8_1(R, acc, a + k, a_step, _mm256_castsi256_ps(l0), _mm256_castsi256_ps(l1));
            b0 = _mm256_and_ps(b0, upper);
            b1 = _mm256_and_ps(b1, upper);
        }
        zt_tile_mac8_1(R, acc, a + k + (bf16 ? 1 : 0), a_step, b0, b1);
    }
}

// Byte i of each of 8 dwords, bits `turn` of them turned, as floats. In asm, so that each i reads memory again: the
// tile leaves no register to keep the dwords in.
ZT_INLINE __m256 zt_tile_byte8(int i, const char *b, int turn)
{
    const __m256i *at = (const __m256i *)b;
    __m256i x;
    if (turn)
        __asm__ volatile("vpxor %1, %2, %0" : "=x"(x) : "m"(*at), "x"(_mm256_set1_epi32(turn)));
    else
        __asm__ volatile("vmovdqa %1, %0" : "=x"(x) : "m"(*at));
    return _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(x, 24 - 8 * i), 24));
}

// The same as zt_tile_mac8 with b of bytes: [K/4][16][4], whose bits `turn` are turned first (0x80 of each: stored + 128,
// else 0). Sums of integers that a float holds are exact.
ZT_INLINE void zt_tile_mac8_i8(const int R, __m256 *acc, const float *a, ptrdiff_t a_step, const char *b,
                               ptrdiff_t b_step, int K, int turn)
{
    int k = 0;
    do {
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
            zt_tile_mac8_1(R, acc, a + k + i, a_step, zt_tile_byte8(i, b, turn), zt_tile_byte8(i, b + 32, turn));
        k += 4, b += b_step;
    } while (k < K);
}
