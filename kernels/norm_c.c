// SPDX-License-Identifier: Apache-2.0
// References of layer_norm, rms_rope and modulation.
#include <assert.h>
#include <math.h>

#include "kernels/device.h"

void zt_layer_norm_c(struct zt_device *d, zt_tensor out, zt_tensor x, const float *scale,
                     const float *shift, int64_t step, const int32_t *row, float eps)
{
    const int M = x.n[2], C = x.n[3];
    assert(out.n[2] == M && out.n[3] == C && eps > 0);

    for (int m = 0; m < M; m++) {
        const float *xm = zt_f32(x) + m * x.step[2];
        float *om = zt_f32(out) + m * out.step[2];
        const int64_t at = row ? row[m] * step : 0;

        double mean = 0, var = 0;       // double: the reference must not add error of its own
        for (int c = 0; c < C; c++)
            mean += xm[c];
        mean /= C;
        for (int c = 0; c < C; c++)
            var += (xm[c] - mean) * (xm[c] - mean);
        var /= C;

        const double r = 1 / sqrt(var + eps);
        for (int c = 0; c < C; c++)
            om[c] = (float)((xm[c] - mean) * r * scale[at + c] + shift[at + c]);
    }
}

void zt_rms_rope_c(struct zt_device *d, zt_tensor x, const float *weight, const float *angle, int D,
                   float eps)
{
    const int M = x.n[2], C = x.n[3];
    assert(D % 2 == 0 && C % D == 0 && eps > 0);

    for (int m = 0; m < M; m++) {
        float *xm = zt_f32(x) + m * x.step[2];
        double sum = 0;
        for (int c = 0; c < C; c++)
            sum += (double)xm[c] * xm[c];
        const double r = 1 / sqrt(sum / C + eps);

        for (int c = 0; c < C; c += 2) {
            const double a = xm[c] * r * weight[c], b = xm[c + 1] * r * weight[c + 1];
            const float *t = angle ? angle + (int64_t)m * D + c % D : NULL;     // cos, sin
            xm[c]     = (float)(t ? a * t[0] - b * t[1] : a);
            xm[c + 1] = (float)(t ? a * t[1] + b * t[0] : b);
        }
    }
}

void zt_modulation_c(struct zt_device *d, zt_tensor out, zt_tensor e, const float *table,
                     unsigned ones)
{
    const int S = out.n[1], n = out.n[2], C = out.n[3];
    assert(e.n[2] == S && (e.n[3] == n * C || e.n[3] == C));

    for (int s = 0; s < S; s++) {
        for (int i = 0; i < n; i++) {
            const float *es = zt_f32(e) + s * e.step[2] + (e.n[3] == C ? 0 : i * C);
            float *o = zt_f32(out) + ((int64_t)s * n + i) * C;
            for (int c = 0; c < C; c++)
                o[c] = (float)((double)table[i * C + c] + es[c] + (ones >> i & 1));
        }
    }
}
