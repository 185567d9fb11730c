// SPDX-License-Identifier: Apache-2.0
// Reference of history.
#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/reference.h"

// One row, normalised and rounded to out's type.
static void new_frame(zt_tensor out, int64_t at, const float *x, int C, const float *gamma, enum zt_act act)
{
    double sum = 0;
    for (int c = 0; c < C && gamma; c++)
        sum += (double)x[c] * x[c];
    const double scale = gamma ? sqrt(C) / fmax(sqrt(sum), 1e-12) : 1;
    for (int c = 0; c < C; c++) {
        const float v = (float)zt_act_ref(act, gamma ? x[c] * scale * gamma[c] : x[c]);
        if (out.type == ZT_F32)
            zt_f32(out)[at + c] = v;
        else
            ((uint16_t *)out.data)[at + c] = zt_f32_to_bf16(v);
    }
}

void zt_history_c(struct zt_device *d, zt_tensor out, void *past, zt_tensor x, const float *gamma, enum zt_act act)
{
    const int M = x.n[2], C = x.n[3], wide = past ? 3 * C : C;
    const size_t e = zt_type_bytes(out.type), two = 2 * (size_t)C * e;
    (void)d;
    assert(out.n[2] == M && out.n[3] == wide && (out.type == ZT_F32 || out.type == ZT_BF16));

    for (int m = 0; m < M; m++) {
        char *const to = (char *)out.data + (size_t)m * (size_t)wide * e;
        new_frame(out, (int64_t)m * wide, zt_f32(x) + m * x.step[2], C, gamma, act);
        if (!past)
            continue;
        char *const old = (char *)past + (size_t)m * two;
        memcpy(to + (size_t)C * e, old, two);
        memcpy(old, to, two);
    }
}
