// SPDX-License-Identifier: Apache-2.0
// Tiles of convolution, AVX2: 6 pixels x 16 channels at once.
//
// As conv_avx512.c; the padded rows are f32 whatever the weights are, which are widened where they are multiplied.
// Measured, Zen 4, one core, the decoder's 12 shapes: f32 99 GF/s (0.84 of the FMA peak), bf16 95.
#include <string.h>

#include "base/base.h"
#include "kernels/conv.h"
#include "kernels/tile_avx2.h"

enum { PIXELS = 6 };

static void widen(float *to, zt_tensor t, int64_t at, int n)
{
    if (t.type == ZT_F32) {
        memcpy(to, zt_f32(t) + at, (size_t)n * sizeof(*to));
        return;
    }
    const uint16_t *from = (const uint16_t *)t.data + at;
    int i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(to + i, zt_bf16_load8(from + i));
    for (; i < n; i++)
        to[i] = zt_bf16_to_f32(from[i]);
}

static void load(char *to, size_t step, zt_tensor t, int64_t at, int n, enum zt_type type, float inverse)
{
    const int C = t.n[3];
    for (int x = 0; x < n; x++, to += step, at += t.step[2]) {
        float *const pixel = (float *)to;
        widen(pixel, t, at, C);
        for (int i = 0; i < C && type == ZT_I8; i += 8) {
            __m256 q = _mm256_maskload_ps(pixel + i, zt_first8(C - i));
            q = _mm256_round_ps(_mm256_mul_ps(q, _mm256_set1_ps(inverse)), _MM_FROUND_TO_NEAREST_INT);
            q = _mm256_min_ps(_mm256_max_ps(q, _mm256_setzero_ps()), _mm256_set1_ps(255));
            zt_store8(pixel + i, C - i, q);
        }
    }
}

static float largest(zt_tensor t, int64_t at, int n)
{
    float m = 0, pixel[16];
    for (int x = 0; x < n; x++, at += t.step[2]) {
        for (int c = 0; c < t.n[3]; c += 16) {
            const int k = ZT_MIN(t.n[3] - c, 16);
            widen(pixel, t, at + c, k);
            for (int i = 0; i < k; i++)
                m = ZT_MAX(m, pixel[i]);
        }
    }
    return m;
}

// Residual, activation, store: channels from n of a pixel.
static void finish(const zt_conv_tile *t, int pixel, int n, const float *sum)
{
    const zt_tensor *o = &t->out;
    const int64_t at = pixel * o->step[2] + n;
    const int channels = ZT_MIN(t->w->N - n, 16);
    float other[16] = { 0 };

    if (t->residual.data)
        widen(other, t->residual, pixel * t->residual.step[2] + n, channels);
    for (int i = 0; i < 16; i++) {
        const float s = sum[i] + other[i];
        other[i] = t->act == ZT_ACT_RELU && s < 0 ? 0 : s;
    }
    if (o->type == ZT_F32)
        memcpy(zt_f32(*o) + at, other, (size_t)channels * sizeof(*other));
    else if (channels == 16)
        for (int i = 0; i < 16; i += 8)
            zt_bf16_store8((uint16_t *)o->data + at + i, _mm256_loadu_ps(other + i));
    else
        for (int i = 0; i < channels; i++)
            ((uint16_t *)o->data)[at + i] = zt_f32_to_bf16(other[i]);
}

// 16 output channels from n, of R pixels (those that the row has not are not stored).
ZT_INLINE void conv_tile(const enum zt_type type, const int R, const zt_conv_tile *t, int n)
{
    const zt_matrix *w = t->w;
    const int step = t->step / 4, K = t->taps * step;
    const size_t tap_row = (size_t)K * 16 * zt_type_bytes(type);
    const char *b = (const char *)w->data + (size_t)(n / 16 * t->taps) * tap_row;
    __m256 acc[2 * PIXELS];

#pragma GCC unroll 12
    for (int i = 0; i < 2 * R; i++)
        acc[i] = w->bias && type != ZT_I8 ? _mm256_loadu_ps(w->bias + n + i % 2 * 8) : _mm256_setzero_ps();
    for (int ky = 0; ky < t->taps; ky++) {
        const float *in = (const float *)t->in[ky];
        if (type == ZT_I8)
            zt_tile_mac8_i8(R, acc, in, step, b + (size_t)ky * tap_row, 64, K, (int)0x80808080);
        else
            zt_tile_mac8(type == ZT_BF16, R, acc, in, step, b + (size_t)ky * tap_row, 64, K);
    }
    float sum[2 * PIXELS][8];
#pragma GCC unroll 12
    for (int i = 0; i < 2 * R; i++) {
        if (type == ZT_I8) {
            const __m256 scale = _mm256_mul_ps(_mm256_set1_ps(t->scale), _mm256_loadu_ps(w->scale + n + i % 2 * 8));
            const __m256 bias = w->bias ? _mm256_loadu_ps(w->bias + n + i % 2 * 8) : _mm256_setzero_ps();
            acc[i] = _mm256_add_ps(_mm256_mul_ps(acc[i], scale), bias);
        }
        _mm256_storeu_ps(sum[i], acc[i]);
    }
    for (int r = 0; r < t->pixels; r++)
        finish(t, r, n, sum[2 * r]);
}

#define VARIANT(name, type, R)                      \
    static void name(const zt_conv_tile *t)         \
    {                                               \
        for (int n = 0; n < t->w->N; n += 16)       \
            conv_tile(type, R, t, n);               \
    }
VARIANT(conv_f32_2, ZT_F32, 2)
VARIANT(conv_f32_4, ZT_F32, 4)
VARIANT(conv_f32_6, ZT_F32, 6)
VARIANT(conv_bf16_2, ZT_BF16, 2)
VARIANT(conv_bf16_4, ZT_BF16, 4)
VARIANT(conv_bf16_6, ZT_BF16, 6)
VARIANT(conv_i8_2, ZT_I8, 2)
VARIANT(conv_i8_4, ZT_I8, 4)
VARIANT(conv_i8_6, ZT_I8, 6)
#undef VARIANT

typedef void conv_fn(const zt_conv_tile *t);
static conv_fn *const convs[ZT_I8 + 1][PIXELS / 2] = {
    [ZT_F32] = { conv_f32_2, conv_f32_4, conv_f32_6 },
    [ZT_BF16] = { conv_bf16_2, conv_bf16_4, conv_bf16_6 },
    [ZT_I8] = { conv_i8_2, conv_i8_4, conv_i8_6 },
};

static void run(const zt_conv_tile *t, enum zt_type type)
{
    convs[type][(t->pixels + 1) / 2 - 1](t);
}

static const zt_conv_level level = {
    .pixels = PIXELS, .beyond = 1, .bytes = { [ZT_F32] = 4, [ZT_BF16] = 4, [ZT_I8] = 4 },
    .largest = largest, .load = load, .run = run,
};

void zt_conv_avx2(struct zt_device *d, zt_tensor out, zt_tensor a, zt_tensor b, zt_tensor residual, const zt_conv *c)
{
    zt_conv_tiled(d, out, a, b, residual, c, &level);
}
