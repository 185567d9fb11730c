// SPDX-License-Identifier: Apache-2.0
// Reference of linear, and the products that the other references build on.
#include <assert.h>
#include <math.h>

#include "base/base.h"
#include "kernels/reference.h"

double zt_act_ref(enum zt_act act, double x)
{
    switch (act) {
    case ZT_ACT_NONE: return x;
    case ZT_ACT_RELU: return x > 0 ? x : 0;
    case ZT_ACT_SILU: return x / (1 + exp(-x));
    case ZT_ACT_GELU: return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
    }
    assert(!"activation");
    return x;
}

float zt_row_ref(enum zt_type type, const float *x, int K, float *q)
{
    float max = 0;
    for (int k = 0; k < K; k++)
        max = fmaxf(max, fabsf(x[k]));
    const bool zero = max < 0x1p-100f;          // 127 / max would overflow
    const float s = zero ? 0 : max / 127, per = zero ? 0 : 127 / max;

    for (int k = 0; k < K; k++) {
        if (type == ZT_F32)
            q[k] = x[k];
        else if (type == ZT_BF16)
            q[k] = zt_bf16_to_f32(zt_f32_to_bf16(x[k]));
        else
            q[k] = rintf(x[k] * per);
    }
    return type == ZT_I8 || type == ZT_I4 ? s : 1;
}

// I4: stored - 8, times the factor of the group
static float small_weight(const zt_matrix *w, int panel, int k, int j)
{
    const int64_t blocks = (w->K + 7) / 8, groups = (w->K + ZT_GROUP - 1) / ZT_GROUP;
    const uint8_t two = ((const uint8_t *)w->data)[((panel * blocks + k / 8) * 16 + j) * 4 + k % 4];
    const int stored = k % 8 < 4 ? two & 0xf : two >> 4;
    return (float)((stored - 8) * w->factor[(panel * groups + k / ZT_GROUP) * 16 + j]);
}

// w[0..16) = column k of a panel
static void panel_column(const zt_matrix *w, int panel, int k, float *column)
{
    if (w->type == ZT_I4) {
        for (int j = 0; j < 16; j++)
            column[j] = small_weight(w, panel, k, j);
        return;
    }
    const int P = 4 / (int)zt_type_bytes(w->type);
    const int64_t blocks = (w->K + P - 1) / P;
    const int64_t at = ((panel * blocks + k / P) * 16) * P + k % P;
    for (int j = 0; j < 16; j++) {
        if (w->type == ZT_F32)
            column[j] = ((const float *)w->data)[at + j];
        else if (w->type == ZT_BF16)
            column[j] = zt_bf16_to_f32(((const uint16_t *)w->data)[at + j * 2]);
        else
            column[j] = (float)(((const uint8_t *)w->data)[at + j * 4] - 128);
    }
}

void zt_product_ref(const zt_matrix *w, const float *q, float s, double *y)
{
    for (int panel = 0; panel * 16 < w->N; panel++) {
        double sum[16] = { 0 };         // exact for I8 and I4
        for (int k = 0; k < w->K; k++) {
            float column[16];
            panel_column(w, panel, k, column);
            for (int j = 0; j < 16; j++)
                sum[j] += (double)q[k] * column[j];
        }
        for (int j = 0; j < 16; j++) {
            const int n = panel * 16 + j;
            const double scale = w->scale ? (double)s * w->scale[n] : 1;
            y[n] = sum[j] * scale + (w->bias ? w->bias[n] : 0);
        }
    }
}

void zt_epilogue_ref(const zt_epilogue *e, int m, const double *y, int N, float *out)
{
    const float *gate = e->gate ? e->gate + (e->row ? e->row[m] : 0) * e->gate_step : NULL;
    for (int n = 0; n < N; n++) {
        if (gate)
            out[n] = (float)(out[n] + gate[n] * y[n]);
        else
            out[n] = (float)(e->add ? out[n] + y[n] : y[n]);
    }
}

void zt_linear_c(struct zt_device *d, zt_tensor out, zt_tensor x, const zt_matrix *w,
                 const zt_epilogue *e)
{
    const int M = x.n[2], K = x.n[3], N = out.n[3];
    assert(M >= 1 && out.n[2] == M && w->K == K && w->N == N);
    assert(x.type == ZT_F32 && out.type == ZT_F32 && !w->scale == (w->type != ZT_I8 && w->type != ZT_I4));

    double *y = zt_scratch(d, (size_t)zt_round_up(N, 16) * sizeof(*y) + (size_t)K * sizeof(float));
    if (!y)
        return;
    float *q = (float *)(y + zt_round_up(N, 16));

    for (int m = 0; m < M; m++) {
        const float s = zt_row_ref(w->type, zt_f32(x) + m * x.step[2], K, q);
        zt_product_ref(w, q, s, y);
        for (int n = 0; n < N; n++)
            y[n] = zt_act_ref(e->act, y[n]);
        zt_epilogue_ref(e, m, y, N, zt_f32(out) + m * out.step[2]);
    }
}
