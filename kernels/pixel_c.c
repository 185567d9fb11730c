// SPDX-License-Identifier: Apache-2.0
// References of pixel_shuffle, latents_in and rgb_to_i420.
#include <assert.h>
#include <math.h>

#include "kernels/device.h"

void zt_pixel_shuffle_c(struct zt_device *d, zt_tensor out, zt_tensor in)
{
    const int h = in.n[1], w = in.n[2], C = out.n[1];
    assert(in.n[3] == 4 * C && out.n[2] == 2 * h && out.n[3] == 2 * w);

    for (int c = 0; c < C; c++) {
        for (int y = 0; y < 2 * h; y++) {
            for (int x = 0; x < 2 * w; x++) {
                const float v = zt_f32(in)[y / 2 * in.step[1] + x / 2 * in.step[2]
                                           + c * 4 + y % 2 * 2 + x % 2];
                zt_f32(out)[c * out.step[1] + y * out.step[2] + x] = fminf(fmaxf(v, -1), 1);
            }
        }
    }
}

void zt_latents_in_c(struct zt_device *d, zt_tensor out, zt_tensor z, float limit)
{
    const int C = z.n[1], h = z.n[2], w = z.n[3];
    assert(out.n[1] == h && out.n[2] == w && out.n[3] == C && limit >= 0);
    assert(out.type == ZT_F32 || out.type == ZT_BF16);

    for (int y = 0; y < h; y++) {
        for (int x = 0; x < w; x++) {
            for (int c = 0; c < C; c++) {
                const float v = zt_f32(z)[c * z.step[1] + y * z.step[2] + x];
                const float o = limit > 0 ? (float)(limit * tanh((double)v / limit)) : v;
                const int64_t at = y * out.step[1] + x * out.step[2] + c;
                if (out.type == ZT_F32)
                    zt_f32(out)[at] = o;
                else
                    ((uint16_t *)out.data)[at] = zt_f32_to_bf16(o);
            }
        }
    }
}

// R'G'B' in [0, 1] of one pixel
static void rgb_at(zt_tensor rgb, int y, int x, double *v)
{
    for (int c = 0; c < 3; c++) {
        const float f = zt_f32(rgb)[c * rgb.step[1] + y * rgb.step[2] + x];
        v[c] = (fminf(fmaxf(f, -1), 1) + 1.0) / 2;
    }
}

static double luma(const double *v)
{
    return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2];
}

void zt_rgb_to_i420_c(struct zt_device *d, uint8_t *const plane[3], const ptrdiff_t pitch[3],
                      zt_tensor rgb)
{
    const int h = rgb.n[2], w = rgb.n[3];
    assert(rgb.n[1] == 3 && h % 2 == 0 && w % 2 == 0);

    for (int y = 0; y < h; y++) {
        for (int x = 0; x < w; x++) {
            double v[3];
            rgb_at(rgb, y, x, v);
            plane[0][y * pitch[0] + x] = (uint8_t)floor(16 + 219 * luma(v) + 0.5);
        }
    }
    for (int y = 0; y < h / 2; y++) {
        for (int x = 0; x < w / 2; x++) {
            double mean[3] = { 0 };         // 2 rows of (1 2 1) around column 2x
            for (int i = 0; i < 6; i++) {
                const int column = 2 * x + i % 3 - 1;
                double v[3];
                rgb_at(rgb, 2 * y + i / 3, column < 0 ? 0 : column, v);
                for (int c = 0; c < 3; c++)
                    mean[c] += v[c] * (i % 3 == 1 ? 2 : 1) / 8;
            }
            const double u = (mean[2] - luma(mean)) / 1.8556, v = (mean[0] - luma(mean)) / 1.5748;
            plane[1][y * pitch[1] + x] = (uint8_t)floor(128 + 224 * u + 0.5);
            plane[2][y * pitch[2] + x] = (uint8_t)floor(128 + 224 * v + 0.5);
        }
    }
}
