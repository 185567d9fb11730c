// SPDX-License-Identifier: Apache-2.0
// Tiles of convolution, AVX-512: 12 pixels x 32 channels at once.
//
// A pixel costs 18 (Ca + Cb) N operations (8 after nearest x2), the padded rows a read and a write of the input.
// Weights come from L2, two vectors for 24 products. In 8 bits the inputs are the unsigned side of vpdpbusd, so they
// are broadcast by loads of their own, and the weights, stored + 128, are turned back when they are loaded. Measured,
// Zen 4, one core, the decoder's 12 shapes, everything included: 8 bits 360 to 430 GOP/s (0.76 to 0.92 of the peak),
// bf16 210 to 229 GF/s (0.90 to 0.97), f32 104 to 113 (0.89 to 0.97); 12 output channels of 16 waste a quarter: 264,
// 157 and 79.
#include <string.h>

#include "base/base.h"
#include "kernels/conv.h"
#include "kernels/tile_avx512.h"

enum { PIXELS = 12 };

static __m512 load16(zt_tensor t, int64_t at, __mmask16 m)
{
    if (t.type == ZT_F32)
        return _mm512_maskz_loadu_ps(m, (const float *)t.data + at);
    const __m256i half = _mm256_maskz_loadu_epi16(m, (const uint16_t *)t.data + at);
    return (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
}

static void store16(zt_tensor t, int64_t at, __mmask16 m, __m512 x)
{
    if (t.type == ZT_F32)
        _mm512_mask_storeu_ps((float *)t.data + at, m, x);
    else
        _mm256_mask_storeu_epi16((uint16_t *)t.data + at, m, (__m256i)_mm512_cvtneps_pbh(x));
}

// dst[x * dst_step ..] = src[x * src_step ..], `bytes` of each pixel.
static void copy_pixels(char *dst, size_t dst_step, const char *src, size_t src_step, size_t bytes, int n)
{
    if (dst_step == bytes && src_step == bytes) {
        memcpy(dst, src, (size_t)n * bytes);
        return;
    }
    for (int x = 0; x < n; x++, dst += dst_step, src += src_step) {
        for (size_t i = 0; i < bytes; i += 64) {
            const __mmask64 m = bytes - i < 64 ? (1ull << (bytes - i)) - 1 : ~0ull;
            _mm512_mask_storeu_epi8(dst + i, m, _mm512_maskz_loadu_epi8(m, src + i));
        }
    }
}

static void quantise(char *to, zt_tensor t, int64_t at, int n, __m512 inverse)
{
    for (int i = 0; i < n; i += 16) {
        const __mmask16 m = zt_first(n - i);
        const __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(load16(t, at + i, m), inverse));
        const __m128i bytes = _mm512_cvtusepi32_epi8(_mm512_max_epi32(q, _mm512_setzero_si512()));
        if (n - i >= 16)
            _mm_storeu_si128((__m128i *)(to + i), bytes);
        else
            _mm_mask_storeu_epi8(to + i, m, bytes);
    }
}

static void load(char *to, size_t step, zt_tensor t, int64_t at, int n, enum zt_type type, float inverse)
{
    const size_t e = zt_type_bytes(t.type), C = (size_t)t.n[3];
    if (type != ZT_I8) {
        copy_pixels(to, step, (const char *)t.data + (size_t)at * e, (size_t)t.step[2] * e, C * e, n);
        return;
    }
    const __m512 s = _mm512_set1_ps(inverse);
    if (step == C && t.step[2] == (int64_t)C) {
        quantise(to, t, at, n * (int)C, s);
        return;
    }
    for (int x = 0; x < n; x++)
        quantise(to + (size_t)x * step, t, at + x * t.step[2], (int)C, s);
}

static float largest(zt_tensor t, int64_t at, int n)
{
    const int C = t.n[3], runs = t.step[2] == C ? 1 : n, each = C * n / runs;
    __m512 m0 = _mm512_setzero_ps(), m1 = m0;
    for (int x = 0; x < runs; x++, at += t.step[2]) {
        int i = 0;
        for (; i + 32 <= each; i += 32) {
            m0 = _mm512_max_ps(m0, load16(t, at + i, 0xffff));
            m1 = _mm512_max_ps(m1, load16(t, at + i + 16, 0xffff));
        }
        for (; i < each; i += 16)
            m0 = _mm512_max_ps(m0, load16(t, at + i, zt_first(each - i)));
    }
    return _mm512_reduce_max_ps(_mm512_max_ps(m0, m1));
}

// Residual, activation, store: 16 channels from n of a pixel.
ZT_INLINE void finish(const zt_conv_tile *t, int pixel, int n, __m512 sum)
{
    const __mmask16 m = zt_first(t->w->N - n);
    if (t->residual.data)
        sum = _mm512_add_ps(sum, load16(t->residual, pixel * t->residual.step[2] + n, m));
    if (t->act == ZT_ACT_RELU)
        sum = _mm512_max_ps(sum, _mm512_setzero_ps());
    store16(t->out, pixel * t->out.step[2] + n, m, sum);
}

// C vectors of 16 output channels from n, of R pixels (those that the row has not are not stored).
ZT_INLINE void conv_tile(const bool bf16, const int R, const int C, const zt_conv_tile *t, int n)
{
    const zt_matrix *w = t->w;
    const int step = t->step / 4, units = t->taps * step;
    const size_t tap_row = (size_t)units * 64, panel = (size_t)t->taps * tap_row;
    const char *b = (const char *)w->data + (size_t)(n / 16) * panel;
    __m512 acc[24];

#pragma GCC unroll 12
    for (int r = 0; r < R; r++) {
        acc[r * C] = w->bias ? _mm512_loadu_ps(w->bias + n) : _mm512_setzero_ps();
        if (C > 1)
            acc[r * C + 1] = w->bias ? _mm512_loadu_ps(w->bias + n + 16) : _mm512_setzero_ps();
    }
    for (int ky = 0; ky < t->taps; ky++) {
        const char *bk[2] = { b + (size_t)ky * tap_row, b + (size_t)ky * tap_row + panel };
        zt_tile_mac(bf16, R, C, acc, (const uint32_t *)t->in[ky], step, bk, 64, units);
    }
#pragma GCC unroll 12
    for (int r = 0; r < R; r++) {
        if (r >= t->pixels)
            break;
        finish(t, r, n, acc[r * C]);
        if (C > 1)
            finish(t, r, n + 16, acc[r * C + 1]);
    }
}

// acc[r][c] += sum over k in [0, units) of a[r * step + k] * (b[c * panel + 64 k] - 128)
ZT_INLINE void mac_i8(const int R, const int C, __m512i *acc, const int32_t *a, int step, const char *b, size_t panel,
                      int units)
{
    const __m512i flip = _mm512_set1_epi8(-128);
    const int32_t *a4 = a + 4 * step, *a8 = a + 8 * step;

    for (int k = 0; k < units; k++, b += 64) {
        const __m512i v0 = _mm512_xor_si512(_mm512_load_si512(b), flip);
        const __m512i v1 = C > 1 ? _mm512_xor_si512(_mm512_load_si512(b + panel), flip) : v0;
#pragma GCC unroll 12
        for (int r = 0; r < R; r++) {
            const __m512i x = _mm512_set1_epi32((r < 4 ? a : r < 8 ? a4 : a8)[r % 4 * step + k]);
            acc[r * C] = zt_tile_dot(acc[r * C], x, v0);
            if (C > 1)
                acc[r * C + 1] = zt_tile_dot(acc[r * C + 1], x, v1);
        }
    }
}

ZT_INLINE void finish_i8(const zt_conv_tile *t, int pixel, int n, __m512i sum)
{
    const __m512 bias = t->w->bias ? _mm512_loadu_ps(t->w->bias + n) : _mm512_setzero_ps();
    const __m512 scale = _mm512_mul_ps(_mm512_set1_ps(t->scale), _mm512_loadu_ps(t->w->scale + n));
    finish(t, pixel, n, _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale), bias));
}

ZT_INLINE void conv_tile_i8(const int R, const int C, const zt_conv_tile *t, int n)
{
    const int step = t->step / 4, units = t->taps * step;
    const size_t tap_row = (size_t)units * 64, panel = (size_t)t->taps * tap_row;
    const char *b = (const char *)t->w->data + (size_t)(n / 16) * panel;
    __m512i acc[24];

#pragma GCC unroll 24
    for (int i = 0; i < R * C; i++)
        acc[i] = _mm512_setzero_si512();
    for (int ky = 0; ky < t->taps; ky++)
        mac_i8(R, C, acc, (const int32_t *)t->in[ky], step, b + (size_t)ky * tap_row, panel, units);
#pragma GCC unroll 12
    for (int r = 0; r < R; r++) {
        if (r >= t->pixels)
            break;
        finish_i8(t, r, n, acc[r * C]);
        if (C > 1)
            finish_i8(t, r, n + 16, acc[r * C + 1]);
    }
}

#define VARIANT(name, tile)                                 \
    static void name(const zt_conv_tile *t)                 \
    {                                                       \
        const int N = t->w->N;                              \
        int n = 0;                                          \
        for (; n + 16 < N; n += 32)                         \
            tile(2);                                        \
        if (n < N)                                          \
            tile(1);                                        \
    }
#define F32_4(C)   conv_tile(false, 4, C, t, n)
#define F32_8(C)   conv_tile(false, 8, C, t, n)
#define F32_12(C)  conv_tile(false, 12, C, t, n)
#define BF16_4(C)  conv_tile(true, 4, C, t, n)
#define BF16_8(C)  conv_tile(true, 8, C, t, n)
#define BF16_12(C) conv_tile(true, 12, C, t, n)
#define I8_4(C)    conv_tile_i8(4, C, t, n)
#define I8_8(C)    conv_tile_i8(8, C, t, n)
#define I8_12(C)   conv_tile_i8(12, C, t, n)
VARIANT(conv_f32_4, F32_4)
VARIANT(conv_f32_8, F32_8)
VARIANT(conv_f32_12, F32_12)
VARIANT(conv_bf16_4, BF16_4)
VARIANT(conv_bf16_8, BF16_8)
VARIANT(conv_bf16_12, BF16_12)
VARIANT(conv_i8_4, I8_4)
VARIANT(conv_i8_8, I8_8)
VARIANT(conv_i8_12, I8_12)
#undef VARIANT

typedef void conv_fn(const zt_conv_tile *t);
static conv_fn *const convs[ZT_I8 + 1][PIXELS / 4] = {
    [ZT_F32] = { conv_f32_4, conv_f32_8, conv_f32_12 },
    [ZT_BF16] = { conv_bf16_4, conv_bf16_8, conv_bf16_12 },
    [ZT_I8] = { conv_i8_4, conv_i8_8, conv_i8_12 },
};

static void run(const zt_conv_tile *t, enum zt_type type)
{
    convs[type][(t->pixels + 3) / 4 - 1](t);
}

static const zt_conv_level level = {
    .pixels = PIXELS, .beyond = 3, .bytes = { [ZT_F32] = 4, [ZT_BF16] = 2, [ZT_I8] = 1 },
    .largest = largest, .load = load, .run = run,
};

void zt_conv_avx512(struct zt_device *d, zt_tensor out, zt_tensor a, zt_tensor b, zt_tensor residual, const zt_conv *c)
{
    zt_conv_tiled(d, out, a, b, residual, c, &level);
}
