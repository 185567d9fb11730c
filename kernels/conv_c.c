// SPDX-License-Identifier: Apache-2.0
// Reference of conv.
#include <assert.h>
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

static void check(zt_tensor out, zt_tensor a, zt_tensor b, zt_tensor residual, const zt_conv *c)
{
    (void)out, (void)a, (void)b, (void)residual, (void)c;
    assert(c->w.type == ZT_F32 || c->w.type == ZT_BF16);
    assert(c->act == ZT_ACT_NONE || c->act == ZT_ACT_RELU);
    assert(a.type == c->w.type && (out.type == c->w.type || out.type == ZT_F32));
    assert(!b.data || (b.type == a.type && b.n[1] == a.n[1] && b.n[2] == a.n[2]));
    assert(out.n[1] == a.n[1] << c->up && out.n[2] == a.n[2] << c->up && out.n[3] == c->w.N);
    assert(c->w.K == 9 * (a.n[3] + (b.data ? b.n[3] : 0)));
    assert(!residual.data || (residual.type == a.type && residual.n[1] == out.n[1]
                              && residual.n[2] == out.n[2] && residual.n[3] == out.n[3]));
}

void zt_conv_c(struct zt_device *d, zt_tensor out, zt_tensor a, zt_tensor b, zt_tensor residual,
               const zt_conv *c)
{
    check(out, a, b, residual, c);
    const int N = c->w.N, channels = c->w.K / 9;
    const size_t N16 = (size_t)zt_round_up(N, 16);
    double *sum = zt_scratch(d, N16 * sizeof(*sum) + (size_t)c->w.K * sizeof(float));
    if (!sum)
        return;
    float *q = (float *)(sum + N16);                // [ky][kx][channel]

    for (int y = 0; y < out.n[1]; y++) {
        for (int x = 0; x < out.n[2]; x++) {
            for (int tap = 0; tap < 9; tap++) {
                const int iy = y + tap / 3 - 1, ix = x + tap % 3 - 1;
                // >> rounds down, so that -1 stays outside
                gather(a, b, iy >> c->up, ix >> c->up, q + tap * channels);
            }
            zt_product_ref(&c->w, q, 1, sum);
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
