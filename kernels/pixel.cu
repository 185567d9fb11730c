// SPDX-License-Identifier: Apache-2.0
// pixel_shuffle, latents_in and rgb_to_i420 on any CUDA device of 8.0 or later: a thread an output, bound by memory. First
// version.
#include "kernels/cuda.cuh"

enum { THREADS = 256 };

static __device__ int64_t index()
{
    return blockIdx.x * (int64_t)blockDim.x + threadIdx.x;
}

static __global__ void pixel_shuffle(zt_tensor out, zt_tensor in)
{
    const int64_t at = index();
    const int C = out.n[1], h = out.n[2], w = out.n[3];
    if (at >= (int64_t)C * h * w)
        return;
    const int x = (int)(at % w), y = (int)(at / w % h), c = (int)(at / w / h);
    const float v = ((const float *)in.data)[y / 2 * in.step[1] + x / 2 * in.step[2] + c * 4 + y % 2 * 2 + x % 2];
    ((float *)out.data)[c * out.step[1] + y * out.step[2] + x] = fminf(fmaxf(v, -1), 1);
}

extern "C" void zt_pixel_shuffle_cuda(struct zt_device *d, zt_tensor out, zt_tensor in)
{
    ZT_LAUNCH(d, pixel_shuffle, zt_blocks((int64_t)out.n[1] * out.n[2] * out.n[3], THREADS), THREADS, 0, out, in);
}

static __global__ void latents_in(zt_tensor out, zt_tensor z, float limit)
{
    const int64_t at = index();
    const int C = z.n[1], h = z.n[2], w = z.n[3];
    if (at >= (int64_t)C * h * w)
        return;
    const int c = (int)(at % C), x = (int)(at / C % w), y = (int)(at / C / w);
    const float v = ((const float *)z.data)[c * z.step[1] + y * z.step[2] + x];
    zt_store(out.data, out.type, y * out.step[1] + x * out.step[2] + c, limit > 0 ? limit * tanhf(v / limit) : v);
}

extern "C" void zt_latents_in_cuda(struct zt_device *d, zt_tensor out, zt_tensor z, float limit)
{
    ZT_LAUNCH(d, latents_in, zt_blocks((int64_t)z.n[1] * z.n[2] * z.n[3], THREADS), THREADS, 0, out, z, limit);
}

struct planes {
    uint8_t  *at[3];
    ptrdiff_t pitch[3];
};

// R'G'B' in [0, 1] of one pixel
static __device__ void rgb_at(zt_tensor rgb, int y, int x, float *v)
{
    for (int c = 0; c < 3; c++) {
        const float f = ((const float *)rgb.data)[c * rgb.step[1] + y * rgb.step[2] + x];
        v[c] = (fminf(fmaxf(f, -1), 1) + 1) / 2;
    }
}

static __device__ float luma(const float *v)
{
    return 0.2126f * v[0] + 0.7152f * v[1] + 0.0722f * v[2];
}

static __device__ void make_luma(planes to, zt_tensor rgb, int y, int x)
{
    float v[3];
    rgb_at(rgb, y, x, v);
    to.at[0][y * to.pitch[0] + x] = (uint8_t)floorf(16 + 219 * luma(v) + 0.5f);
}

// A thread makes 2 x 2 luma and what chroma they share.
static __global__ void rgb_to_i420(planes to, zt_tensor rgb)
{
    const int64_t at = index();
    const int h = rgb.n[2] / 2, w = rgb.n[3] / 2;
    if (at >= (int64_t)h * w)
        return;
    const int x = (int)(at % w), y = (int)(at / w);
    for (int i = 0; i < 4; i++)
        make_luma(to, rgb, 2 * y + i / 2, 2 * x + i % 2);
    float mean[3] = { 0 };                  // 2 rows of (1 2 1) around column 2x
    for (int i = 0; i < 6; i++) {
        const int column = 2 * x + i % 3 - 1;
        float v[3];
        rgb_at(rgb, 2 * y + i / 3, column < 0 ? 0 : column, v);
        for (int c = 0; c < 3; c++)
            mean[c] += v[c] * (i % 3 == 1 ? 0.25f : 0.125f);
    }
    const float u = (mean[2] - luma(mean)) / 1.8556f, v = (mean[0] - luma(mean)) / 1.5748f;
    to.at[1][y * to.pitch[1] + x] = (uint8_t)floorf(128 + 224 * u + 0.5f);
    to.at[2][y * to.pitch[2] + x] = (uint8_t)floorf(128 + 224 * v + 0.5f);
}

extern "C" void zt_rgb_to_i420_cuda(struct zt_device *d, uint8_t *const plane[3], const ptrdiff_t pitch[3], zt_tensor rgb)
{
    const planes to = { { plane[0], plane[1], plane[2] }, { pitch[0], pitch[1], pitch[2] } };
    ZT_LAUNCH(d, rgb_to_i420, zt_blocks((int64_t)(rgb.n[2] / 2) * (rgb.n[3] / 2), THREADS), THREADS, 0, to, rgb);
}
