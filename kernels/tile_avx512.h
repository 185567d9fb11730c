// SPDX-License-Identifier: Apache-2.0
// The register tile that attention and convolution share: R rows times C vectors of 16 columns.
#pragma once

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/lanes_avx512.h"

// c += b * (*a in every lane): one f32, or a pair of bf16. In asm, because gcc 12 spills when it
// schedules these itself.
ZT_INLINE __m512 zt_tile_mac1(const bool bf16, __m512 c, __m512 b, const uint32_t *a)
{
    if (bf16)
        __asm__("vdpbf16ps %2%{1to16%}, %1, %0" : "+v"(c) : "v"(b), "m"(*a));
    else
        __asm__("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(c) : "v"(b), "m"(*a));
    return c;
}

// c += a * b, quads of bytes; a is unsigned. In asm for the same reason.
ZT_INLINE __m512i zt_tile_dot(__m512i c, __m512i a, __m512i b)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(c) : "v"(a), "v"(b));
    return c;
}

// acc[r][c] += sum over k in [0, K) of a[r * a_step + k] * b[c][k * b_step .. + 16], k in order.
//   a in units of 4 bytes, b_step in bytes; bf16, R and C are constants where this is inlined
//   R is 4, 8 or 12, C 1 or 2: at most 24 of 32 registers hold sums. Measured: 0.98 of the peak.
ZT_INLINE void zt_tile_mac(const bool bf16, const int R, const int C, __m512 *acc,
                        const uint32_t *a, ptrdiff_t a_step, const char *const *b,
                        ptrdiff_t b_step, int K)
{
    const uint32_t *a4 = a + 4 * a_step, *a8 = a + 8 * a_step;
    const char *b0 = b[0], *b1 = C > 1 ? b[1] : b0;

    for (int k = 0; k < K; k++) {
        const __m512 v0 = _mm512_load_ps(b0);
        const __m512 v1 = C > 1 ? _mm512_load_ps(b1) : v0;
#pragma GCC unroll 12
        for (int r = 0; r < R; r++) {
            const uint32_t *ar = (r < 4 ? a : r < 8 ? a4 : a8) + (r & 3) * a_step + k;
            acc[r * C] = zt_tile_mac1(bf16, acc[r * C], v0, ar);
            if (C > 1)
                acc[r * C + 1] = zt_tile_mac1(bf16, acc[r * C + 1], v1, ar);
        }
        b0 += b_step;
        b1 += b_step;
    }
}
