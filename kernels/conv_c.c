// SPDX-License-Identifier: Apache-2.0
// Reference of conv.
#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/base.h"
#include "kernels/reference.h"

static float load(zt_tensor t, int64_t at)
{
    return t.type == ZT_F32 ? ((const float *)t.data)[at]
                            : zt_bf16_to_f32(((const uint16_t *)t.data)[at]);
}

// q[0..Ca+Cb) = in(y, x); zero outside
static void gather(zt_tensor a, zt_tensor b, int y, int x, float *q)
{
    const bool inside = y >= 0 && y < a.n[1] && x >= 0 && x < a.n[2];
    const int Ca = a.n[3], Cb = b.data ? b.n[3] : 0;
    for (int c = 0; c < Ca; c++)
        q[c] = inside ? load(a, y * a.step[1] + x * a.step[2] + c) : 0;
    for (int c = 0; c < Cb; c++)
        q[Ca + c] = inside ? load(b, y * b.step[1] + x * b.step[2] + c) : 0;
}

void zt_conv_phase(float *to, const float *w, int C, int p, int q)
{
    memset(to, 0, sizeof(float) * 4 * (size_t)C);
    for (int ky = 0; ky < 3; ky++) {
        for (int kx = 0; kx < 3; kx++) {
            // rows 2 y + p + ky - 1 of the doubled picture: of its half, y + p - 1 + (0 or 1)
            const int ty = (p + ky + 1) / 2 - p, tx = (q + kx + 1) / 2 - q;
            for (int c = 0; c < C; c++)
                to[(ty * 2 + tx) * C + c] += w[(ky * 3 + kx) * C + c];
        }
    }
}

static void check(zt_tensor out, zt_tensor a, zt_tensor b, zt_tensor residual, const zt_conv *c)
{
    (void)out, (void)a, (void)b, (void)residual, (void)c;
    assert(c->w.type == ZT_F32 || c->w.type == ZT_BF16 || c->w.type == ZT_I8);
    assert(c->act == ZT_ACT_NONE || c->act == ZT_ACT_RELU);
    assert(a.type == (c->w.type == ZT_F32 ? ZT_F32 : ZT_BF16) && (out.type == a.type || out.type == ZT_F32));
    assert(!b.data || (b.type == a.type && b.n[1] == a.n[1] && b.n[2] == a.n[2]));
    assert(out.n[1] == a.n[1] << c->up && out.n[2] == a.n[2] << c->up && out.n[3] == c->w.N);
    assert(c->w.K == 9 * (a.n[3] + (b.data ? b.n[3] : 0)));
    assert(!residual.data || (residual.type == a.type && residual.n[1] == out.n[1]
                              && residual.n[2] == out.n[2] && residual.n[3] == out.n[3]));
}

static float largest(zt_tensor t)
{
    float m = 0;
    for (int y = 0; t.data && y < t.n[1]; y++)
        for (int x = 0; x < t.n[2]; x++)
            for (int c = 0; c < t.n[3]; c++)
                m = fmaxf(m, load(t, y * t.step[1] + x * t.step[2] + c));
    return m;
}

// What a tensor holds as I8 weights meet it.
struct quantiser {
    float scale, inverse;
};

static struct quantiser quantiser_of(zt_tensor a, zt_tensor b, enum zt_type type)
{
    const float m = fmaxf(largest(a), largest(b));
    if (type != ZT_I8)
        return (struct quantiser){ 1, 1 };
    return m < 0x1p-100f ? (struct quantiser){ 0, 0 } : (struct quantiser){ m / 255, 255 / m };
}

// The inputs of output (y, x) in the order of its weights, which are returned.
static const zt_matrix *inputs(const zt_conv *c, zt_tensor a, zt_tensor b, int y, int x, struct quantiser s, float *q)
{
    const int channels = c->w.K / 9, taps = c->up ? 2 : 3;
    const zt_matrix *const w = c->up ? &c->phase[y % 2 * 2 + x % 2] : &c->w;
    const int y0 = c->up ? y / 2 + y % 2 - 1 : y - 1, x0 = c->up ? x / 2 + x % 2 - 1 : x - 1;
    for (int tap = 0; tap < taps * taps; tap++)
        gather(a, b, y0 + tap / taps, x0 + tap % taps, q + tap * channels);
    for (int i = 0; i < w->K && c->w.type == ZT_I8; i++)
        q[i] = fminf(fmaxf(nearbyintf(q[i] * s.inverse), 0), 255);
    return w;
}

void zt_conv_c(struct zt_device *d, zt_tensor out, zt_tensor a, zt_tensor b, zt_tensor residual,
               const zt_conv *c)
{
    check(out, a, b, residual, c);
    const int N = c->w.N;
    const size_t N16 = (size_t)zt_round_up(N, 16);
    double *sum = zt_scratch(d, N16 * sizeof(*sum) + (size_t)c->w.K * sizeof(float));
    if (!sum)
        return;
    float *q = (float *)(sum + N16);                // [ky][kx][channel]
    const struct quantiser s = quantiser_of(a, b, c->w.type);

    for (int y = 0; y < out.n[1]; y++) {
        for (int x = 0; x < out.n[2]; x++) {
            const zt_matrix *const w = inputs(c, a, b, y, x, s, q);
            zt_product_ref(w, q, s.scale, sum);
            const int64_t at = y * out.step[1] + x * out.step[2];
            for (int n = 0; n < N; n++) {
                if (residual.data)
                    sum[n] += load(residual, y * residual.step[1] + x * residual.step[2] + n);
                const float v = (float)zt_act_ref(c->act, sum[n]);
                if (out.type == ZT_F32)
                    zt_f32(out)[at + n] = v;
                else
                    ((uint16_t *)out.data)[at + n] = zt_f32_to_bf16(v);
            }
        }
    }
}
