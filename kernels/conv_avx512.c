// SPDX-License-Identifier: Apache-2.0
// 3x3 convolution as an implicit matrix product, AVX-512: 12 pixels of a row x 32 channels at once.
//
// Padded copies of the input rows put the 3 (Ca + Cb) inputs of a pixel and a ky side by side, so a
// pixel's step through a row is one channel count and the product needs no gather.  A pixel costs
// 18 (Ca + Cb) N flops; the copies are 1.7 reads and writes of the input. Weights come from L2, two
// vectors for 24 products.
// Measured, Zen 4, one core, the decoder's 12 shapes: bf16 217 GF/s (0.92 of the peak), f32 110
// (0.94). 12 output channels of 16 waste a quarter: 157.
#include <assert.h>
#include <string.h>

#include "base/base.h"
#include "kernels/device.h"
#include "kernels/tile_avx512.h"

zt_conv_fn zt_conv_avx512;

enum { PIXELS = 12, JOB_ROWS = 3 };

typedef struct conv {
    zt_tensor      out, a, b, residual;
    const zt_conv *c;
    char          *scratch;
    size_t         scratch_bytes;   // per thread
    size_t         row_bytes;       // of a padded row
} conv;

// A tile of pixels of one row.
typedef struct tile {
    const uint32_t *in[3];          // at ky, units of 4 bytes
    int             step;           // units from pixel to pixel: Ca + Cb channels
    const conv     *v;
    int             y, x, pixels;
} tile;

// dst[x * dst_step ..] = src[x * src_step ..], `bytes` of each pixel.
static void copy_pixels(char *dst, size_t dst_step, const char *src, size_t src_step,
                        size_t bytes, int w, int up)
{
    for (int x = 0; x < w; x++) {
        char *to = dst + x * dst_step;
        const char *from = src + (x >> up) * src_step;
        for (size_t i = 0; i < bytes; i += 64) {
            const __mmask64 m = bytes - i < 64 ? (1ull << (bytes - i)) - 1 : ~0ull;
            _mm512_mask_storeu_epi8(to + i, m, _mm512_maskz_loadu_epi8(m, from + i));
        }
    }
}

// One row of [a, b], doubled when up, a zero pixel at both ends; all zero outside of the picture.
static void load_row(const conv *v, char *row, int y)
{
    const size_t e = zt_type_bytes(v->a.type), a_bytes = v->a.n[3] * e;
    const size_t pixel = a_bytes + (v->b.data ? v->b.n[3] * e : 0);
    const int w = v->out.n[2], up = v->c->up;

    if (y < 0 || y >= v->a.n[1]) {
        memset(row, 0, (w + 2) * pixel);
        return;
    }
    const char *a = (const char *)v->a.data + y * v->a.step[1] * (int64_t)e;
    memset(row, 0, pixel);
    memset(row + (w + 1) * pixel, 0, pixel);
    if (!up && !v->b.data && v->a.step[2] == v->a.n[3]) {
        memcpy(row + pixel, a, w * pixel);
        return;
    }
    copy_pixels(row + pixel, pixel, a, v->a.step[2] * e, a_bytes, w, up);
    if (v->b.data) {
        const char *b = (const char *)v->b.data + y * v->b.step[1] * (int64_t)e;
        copy_pixels(row + pixel + a_bytes, pixel, b, v->b.step[2] * e, pixel - a_bytes, w, up);
    }
}

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

// Residual, activation, store: 16 channels from n of one pixel.
static void finish(const conv *v, int y, int x, int n, __m512 sum)
{
    const __mmask16 m = zt_first(v->c->w.N - n);
    const zt_tensor *o = &v->out, *r = &v->residual;

    if (r->data)
        sum = _mm512_add_ps(sum, load16(*r, y * r->step[1] + x * r->step[2] + n, m));
    if (v->c->act == ZT_ACT_RELU)
        sum = _mm512_max_ps(sum, _mm512_setzero_ps());
    store16(*o, y * o->step[1] + x * o->step[2] + n, m, sum);
}

// C vectors of 16 output channels from n, of R pixels (those that the row has not are not stored).
ZT_INLINE void conv_tile(const bool bf16, const int R, const int C, const tile *t, int n)
{
    const zt_matrix *w = &t->v->c->w;
    const size_t tap_row = (size_t)3 * t->step * 64, panel = 3 * tap_row;
    const char *b = (const char *)w->data + n / 16 * panel;
    __m512 acc[24];

#pragma GCC unroll 12
    for (int r = 0; r < R; r++) {
        acc[r * C] = w->bias ? _mm512_loadu_ps(w->bias + n) : _mm512_setzero_ps();
        if (C > 1)
            acc[r * C + 1] = w->bias ? _mm512_loadu_ps(w->bias + n + 16) : _mm512_setzero_ps();
    }
    for (int ky = 0; ky < 3; ky++) {
        const char *bk[2] = { b + ky * tap_row, b + ky * tap_row + panel };
        zt_tile_mac(bf16, R, C, acc, t->in[ky], t->step, bk, 64, 3 * t->step);
    }
#pragma GCC unroll 12
    for (int r = 0; r < R; r++) {
        if (r >= t->pixels)
            break;
        finish(t->v, t->y, t->x + r, n, acc[r * C]);
        if (C > 1)
            finish(t->v, t->y, t->x + r, n + 16, acc[r * C + 1]);
    }
}

#define VARIANT(name, bf16, R)                                                  \
    static void name(const tile *t, int N)                                      \
    {                                                                           \
        int n = 0;                                                              \
        for (; n + 16 < N; n += 32)                                             \
            conv_tile(bf16, R, 2, t, n);                                        \
        if (n < N)                                                              \
            conv_tile(bf16, R, 1, t, n);                                        \
    }
VARIANT(conv_f32_4, false, 4)
VARIANT(conv_f32_8, false, 8)
VARIANT(conv_f32_12, false, 12)
VARIANT(conv_bf16_4, true, 4)
VARIANT(conv_bf16_8, true, 8)
VARIANT(conv_bf16_12, true, 12)
#undef VARIANT

typedef void conv_fn(const tile *t, int N);
static conv_fn *const convs[2][3] = {
    { conv_f32_4, conv_f32_8, conv_f32_12 },
    { conv_bf16_4, conv_bf16_8, conv_bf16_12 },
};

static void conv_job(void *cookie, int i, int thread)
{
    const conv *v = cookie;
    const int from = i * JOB_ROWS, h = v->out.n[1], w = v->out.n[2], up = v->c->up;
    const int to = ZT_MIN(from + JOB_ROWS, h);
    const int first = (from - 1) >> up, last = to >> up;        // input rows; >> keeps -1 outside
    char *rows = v->scratch + thread * v->scratch_bytes;
    tile t = { .v = v, .step = v->c->w.K / 9 * (int)zt_type_bytes(v->a.type) / 4 };

    for (int y = first; y <= last; y++)
        load_row(v, rows + (y - first) * v->row_bytes, y);
    for (t.y = from; t.y < to; t.y++) {
        for (t.x = 0; t.x < w; t.x += PIXELS) {
            for (int ky = 0; ky < 3; ky++) {
                const char *row = rows + (((t.y + ky - 1) >> up) - first) * v->row_bytes;
                t.in[ky] = (const uint32_t *)row + t.x * t.step;
            }
            t.pixels = ZT_MIN(w - t.x, PIXELS);
            convs[v->a.type == ZT_BF16][(t.pixels + 3) / 4 - 1](&t, v->c->w.N);
        }
    }
}

void zt_conv_avx512(struct zt_device *d, zt_tensor out, zt_tensor a, zt_tensor b,
                    zt_tensor residual, const zt_conv *c)
{
    const size_t pixel = c->w.K / 9 * zt_type_bytes(a.type);
    if (pixel % 4) {                        // a pair of bf16 would lie across two rows
        zt_conv_c(d, out, a, b, residual, c);
        return;
    }
    assert(a.type == c->w.type && c->w.N == out.n[3]);
    assert(c->w.K == 9 * (a.n[3] + (b.data ? b.n[3] : 0)));
    assert(out.n[1] == a.n[1] << c->up && out.n[2] == a.n[2] << c->up);

    conv v = { .out = out, .a = a, .b = b, .residual = residual, .c = c };
    // A tile reads up to 3 pixels past the last one that it stores.
    v.row_bytes = ((out.n[2] + 2 + 3) * pixel + 63) / 64 * 64;
    v.scratch_bytes = (JOB_ROWS + 2) * v.row_bytes;
    v.scratch = zt_scratch(d, v.scratch_bytes * d->threads);
    if (v.scratch)
        zt_parallel_for(d, (out.n[1] + JOB_ROWS - 1) / JOB_ROWS, conv_job, &v);
}
