// SPDX-License-Identifier: Apache-2.0
// Sixteen lanes: masks of tails, transposes.
#pragma once

#include <immintrin.h>

#define ZT_INLINE static inline __attribute__((always_inline))

// Lanes [0, left) of a vector, left > 0.
static inline __mmask16 zt_first(int left)
{
    return left >= 16 ? 0xffff : (__mmask16)((1u << left) - 1);
}

// 16 rows of 16 dwords become 16 columns.
ZT_INLINE void zt_transpose16(__m512i *r)
{
    __m512i t[16];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {       // now 4x4 blocks of 128 bits
        const __m512i a = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
        const __m512i b = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
        const __m512i c = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        const __m512i e = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
        t[i] = _mm512_shuffle_i32x4(a, c, 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(b, e, 0x88);
        t[i + 8] = _mm512_shuffle_i32x4(a, c, 0xdd);
        t[i + 12] = _mm512_shuffle_i32x4(b, e, 0xdd);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
        r[i] = t[i];
}

// z[0..4) as a 4x4 matrix of 128-bit lanes, transposed.
ZT_INLINE void zt_transpose_lanes(__m512i z[4])
{
    const __m512i a = _mm512_shuffle_i32x4(z[0], z[1], 0x44);
    const __m512i b = _mm512_shuffle_i32x4(z[0], z[1], 0xee);
    const __m512i c = _mm512_shuffle_i32x4(z[2], z[3], 0x44);
    const __m512i d = _mm512_shuffle_i32x4(z[2], z[3], 0xee);
    z[0] = _mm512_shuffle_i32x4(a, c, 0x88);
    z[1] = _mm512_shuffle_i32x4(a, c, 0xdd);
    z[2] = _mm512_shuffle_i32x4(b, d, 0x88);
    z[3] = _mm512_shuffle_i32x4(b, d, 0xdd);
}
