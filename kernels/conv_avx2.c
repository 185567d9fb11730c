// SPDX-License-Identifier: Apache-2.0
// 3x3 convolution as an implicit matrix product, AVX2: 6 pixels of a row x 16 channels at once.
//
// As conv_avx512.c; the padded copies of the rows are f32, and bf16 weights are widened where they
// are multiplied.
// Measured, Zen 4, one core, the decoder's 12 shapes: f32 99 GF/s (0.84 of the FMA peak), bf16 95.
#include <assert.h>
#include <string.h>

#include "base/base.h"
#include "kernels/device.h"
#include "kernels/tile_avx2.h"

zt_conv_fn zt_conv_avx2;

enum { PIXELS = 6, JOB_ROWS = 3 };

typedef struct conv {
    zt_tensor      out, a, b, residual;
    const zt_conv *c;
    float         *scratch;
    size_t         row_floats;      // of a padded row
} conv;

// A tile of pixels of one row.
typedef struct tile {
    const float *in[3];             // at ky
    int          channels;          // Ca + Cb: the step from pixel to pixel
    const conv  *v;
    int          y, x, pixels;
} tile;

static void widen(float *to, zt_tensor t, int64_t at, int n)
{
    if (t.type == ZT_F32) {
        memcpy(to, zt_f32(t) + at, n * sizeof(*to));
        return;
    }
    const uint16_t *from = (const uint16_t *)t.data + at;
    int i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(to + i, zt_bf16_load8(from + i));
    for (; i < n; i++)
        to[i] = zt_bf16_to_f32(from[i]);
}

// One row of [a, b], doubled when up, a zero pixel at both ends; all zero outside of the picture.
static void load_row(const conv *v, float *row, int y)
{
    const int w = v->out.n[2], up = v->c->up, Ca = v->a.n[3], C = v->c->w.K / 9;

    memset(row, 0, (w + 2) * C * sizeof(*row));
    if (y < 0 || y >= v->a.n[1])
        return;
    for (int x = 0; x < w; x++) {
        float *to = row + (x + 1) * C;
        widen(to, v->a, y * v->a.step[1] + (x >> up) * v->a.step[2], Ca);
        if (v->b.data)
            widen(to + Ca, v->b, y * v->b.step[1] + (x >> up) * v->b.step[2], C - Ca);
    }
}

// Residual, activation, store: channels from n of one pixel.
static void finish(const conv *v, int y, int x, int n, const float *sum)
{
    const zt_tensor *o = &v->out, *r = &v->residual;
    const int64_t at = y * o->step[1] + x * o->step[2] + n;
    const int channels = ZT_MIN(v->c->w.N - n, 16);
    float other[16] = { 0 };

    if (r->data)
        widen(other, *r, y * r->step[1] + x * r->step[2] + n, channels);
    for (int i = 0; i < 16; i++) {
        const float s = sum[i] + other[i];
        other[i] = v->c->act == ZT_ACT_RELU && s < 0 ? 0 : s;
    }
    if (o->type == ZT_F32)
        memcpy(zt_f32(*o) + at, other, channels * sizeof(*other));
    else if (channels == 16)
        for (int i = 0; i < 16; i += 8)
            zt_bf16_store8((uint16_t *)o->data + at + i, _mm256_loadu_ps(other + i));
    else
        for (int i = 0; i < channels; i++)
            ((uint16_t *)o->data)[at + i] = zt_f32_to_bf16(other[i]);
}

// 16 output channels from n, of R pixels (those that the row has not are not stored).
ZT_INLINE void conv_tile(const bool bf16, const int R, const tile *t, int n)
{
    const zt_matrix *w = &t->v->c->w;
    const int K = 3 * t->channels;
    const size_t tap_row = (size_t)K * (bf16 ? 32 : 64);
    const char *b = (const char *)w->data + n / 16 * 3 * tap_row;
    __m256 acc[2 * PIXELS];

#pragma GCC unroll 12
    for (int i = 0; i < 2 * R; i++)
        acc[i] = w->bias ? _mm256_loadu_ps(w->bias + n + i % 2 * 8) : _mm256_setzero_ps();
    for (int ky = 0; ky < 3; ky++)
        zt_tile_mac8(bf16, R, acc, t->in[ky], t->channels, b + ky * tap_row, 64, K);

    float sum[2 * PIXELS][8];
#pragma GCC unroll 12
    for (int i = 0; i < 2 * R; i++)
        _mm256_storeu_ps(sum[i], acc[i]);
    for (int r = 0; r < t->pixels; r++)
        finish(t->v, t->y, t->x + r, n, sum[2 * r]);
}

#define VARIANT(name, bf16, R)                      \
    static void name(const tile *t, int N)          \
    {                                               \
        for (int n = 0; n < N; n += 16)             \
            conv_tile(bf16, R, t, n);               \
    }
VARIANT(conv_f32_2, false, 2)
VARIANT(conv_f32_4, false, 4)
VARIANT(conv_f32_6, false, 6)
VARIANT(conv_bf16_2, true, 2)
VARIANT(conv_bf16_4, true, 4)
VARIANT(conv_bf16_6, true, 6)
#undef VARIANT

typedef void conv_fn(const tile *t, int N);
static conv_fn *const convs[2][PIXELS / 2] = {
    { conv_f32_2, conv_f32_4, conv_f32_6 },
    { conv_bf16_2, conv_bf16_4, conv_bf16_6 },
};

static void conv_job(void *cookie, int i, int thread)
{
    const conv *v = cookie;
    const int from = i * JOB_ROWS, h = v->out.n[1], w = v->out.n[2], up = v->c->up;
    const int to = ZT_MIN(from + JOB_ROWS, h);
    const int first = (from - 1) >> up, last = to >> up;        // input rows; >> keeps -1 outside
    float *rows = v->scratch + thread * (JOB_ROWS + 2) * v->row_floats;
    tile t = { .v = v, .channels = v->c->w.K / 9 };

    for (int y = first; y <= last; y++)
        load_row(v, rows + (y - first) * v->row_floats, y);
    for (t.y = from; t.y < to; t.y++) {
        for (t.x = 0; t.x < w; t.x += PIXELS) {
            for (int ky = 0; ky < 3; ky++) {
                const float *row = rows + (((t.y + ky - 1) >> up) - first) * v->row_floats;
                t.in[ky] = row + t.x * t.channels;
            }
            t.pixels = ZT_MIN(w - t.x, PIXELS);
            convs[v->a.type == ZT_BF16][(t.pixels + 1) / 2 - 1](&t, v->c->w.N);
        }
    }
}

void zt_conv_avx2(struct zt_device *d, zt_tensor out, zt_tensor a, zt_tensor b, zt_tensor residual,
                  const zt_conv *c)
{
    const int channels = c->w.K / 9;
    if (a.type == ZT_BF16 && channels % 2) {    // a pair of bf16 would lie across two rows
        zt_conv_c(d, out, a, b, residual, c);
        return;
    }
    assert(a.type == c->w.type && c->w.N == out.n[3]);
    assert(c->w.K == 9 * (a.n[3] + (b.data ? b.n[3] : 0)));
    assert(out.n[1] == a.n[1] << c->up && out.n[2] == a.n[2] << c->up);

    conv v = { .out = out, .a = a, .b = b, .residual = residual, .c = c };
    // A tile reads one pixel past the last one that it stores.
    v.row_floats = (size_t)zt_round_up((int64_t)(out.n[2] + 2 + 1) * channels, 16);
    v.scratch = zt_scratch(d, (JOB_ROWS + 2) * v.row_floats * sizeof(float) * d->threads);
    if (v.scratch)
        zt_parallel_for(d, (out.n[1] + JOB_ROWS - 1) / JOB_ROWS, conv_job, &v);
}
