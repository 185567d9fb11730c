// SPDX-License-Identifier: Apache-2.0
// References of combine, patchify, unpatchify and warp.
#include <assert.h>
#include <math.h>

#include "base/base.h"
#include "kernels/device.h"

static int64_t elements(zt_tensor t)
{
    return (int64_t)t.n[0] * t.n[1] * t.n[2] * t.n[3];
}

void zt_combine_c(struct zt_device *d, zt_tensor out, float a, zt_tensor x, float b, zt_tensor y)
{
    const int64_t n = elements(out);
    assert(elements(x) == n && elements(y) == n);

    for (int64_t i = 0; i < n; i++)
        zt_f32(out)[i] = (float)((double)a * zt_f32(x)[i] + (double)b * zt_f32(y)[i]);
}

void zt_patchify_c(struct zt_device *d, zt_tensor out, zt_tensor x, int c0)
{
    const int C = x.n[1], h = x.n[2], w = x.n[3];
    assert(h % 2 == 0 && w % 2 == 0 && out.n[2] == h / 2 * (w / 2) && out.n[3] >= (c0 + C) * 4);

    for (int c = 0; c < C; c++) {
        for (int y = 0; y < h; y++) {
            for (int i = 0; i < w; i++) {
                const int m = y / 2 * (w / 2) + i / 2;
                zt_f32(out)[m * out.step[2] + (c0 + c) * 4 + y % 2 * 2 + i % 2] =
                    zt_f32(x)[((int64_t)c * h + y) * w + i];
            }
        }
    }
}

void zt_unpatchify_c(struct zt_device *d, zt_tensor out, zt_tensor x)
{
    const int C = out.n[1], h = out.n[2], w = out.n[3];
    assert(h % 2 == 0 && w % 2 == 0 && x.n[2] == h / 2 * (w / 2) && x.n[3] == C * 4);

    for (int c = 0; c < C; c++) {
        for (int y = 0; y < h; y++) {
            for (int i = 0; i < w; i++) {
                const int m = y / 2 * (w / 2) + i / 2;
                zt_f32(out)[((int64_t)c * h + y) * w + i] =
                    zt_f32(x)[m * x.step[2] + (y % 2 * 2 + i % 2) * C + c];
            }
        }
    }
}

// Where the four taps of one axis lie and what they weigh.
typedef struct taps {
    int    at[4];
    double weight[4];
} taps;

static double keys(double u)            // |u| <= 2
{
    const double a = -0.75;
    return u <= 1 ? ((a + 2) * u - (a + 3)) * u * u + 1 : ((a * u - 5 * a) * u + 8 * a) * u - 4 * a;
}

static taps taps_at(double p, int n)
{
    p = p > -2 ? ZT_MIN(p, n + 1.0) : -2;       // all taps are the edge's there; NaN too
    const int first = (int)floor(p) - 1;
    taps t;
    for (int i = 0; i < 4; i++) {
        t.at[i] = ZT_MIN(ZT_MAX(first + i, 0), n - 1);
        t.weight[i] = keys(fabs(p - first - i));
    }
    return t;
}

void zt_warp_c(struct zt_device *d, zt_tensor out, zt_tensor in, zt_tensor move)
{
    const int C = out.n[1], h = out.n[2], w = out.n[3];
    assert(elements(in) == elements(out) && move.n[1] == 2 && out.data != in.data);

    for (int i = 0; i < h * w; i++) {
        const taps x = taps_at(i % w + (double)zt_f32(move)[i], w);
        const taps y = taps_at(i / w + (double)zt_f32(move)[h * w + i], h);
        for (int c = 0; c < C; c++) {
            const float *const plane = zt_f32(in) + (int64_t)c * h * w;
            double sum = 0;
            for (int j = 0; j < 4; j++) {
                const float *const row = plane + y.at[j] * w;
                sum += y.weight[j] * (x.weight[0] * row[x.at[0]] + x.weight[1] * row[x.at[1]]
                                      + x.weight[2] * row[x.at[2]] + x.weight[3] * row[x.at[3]]);
            }
            zt_f32(out)[(int64_t)c * h * w + i] = (float)sum;
        }
    }
}
