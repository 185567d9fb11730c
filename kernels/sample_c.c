// SPDX-License-Identifier: Apache-2.0
// References of combine, patchify and unpatchify.
#include <assert.h>

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
