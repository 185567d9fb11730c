// SPDX-License-Identifier: Apache-2.0
// layer_norm, rms_rope and modulation on any CUDA device of 8.0 or later: a warp a row, a thread an element. Bound by
// memory: each row is read three times (layer_norm) or twice, all but once from the first cache. First version.
#include "kernels/cuda.cuh"

enum { ROWS = 4 };              // of a block

static __device__ int row_of_warp()
{
    return (int)(blockIdx.x * blockDim.x + threadIdx.x) / ZT_WARP;
}

static __global__ void layer_norm(zt_tensor out, zt_tensor x, const float *scale, const float *shift, int64_t step,
                                  const int32_t *row, float eps)
{
    const int m = row_of_warp(), lane = (int)threadIdx.x % ZT_WARP, C = x.n[3];
    if (m >= x.n[2])
        return;
    const float *const from = (const float *)x.data + m * x.step[2];
    float *const to = (float *)out.data + m * out.step[2];
    const int64_t at = row ? row[m] * step : 0;
    float sum = 0, squares = 0;
    for (int c = lane; c < C; c += ZT_WARP)
        sum += from[c];
    const float mean = zt_warp_sum(sum) / (float)C;
    for (int c = lane; c < C; c += ZT_WARP)
        squares += (from[c] - mean) * (from[c] - mean);
    const float r = 1 / sqrtf(zt_warp_sum(squares) / (float)C + eps);
    for (int c = lane; c < C; c += ZT_WARP)
        to[c] = (from[c] - mean) * r * scale[at + c] + shift[at + c];
}

extern "C" void zt_layer_norm_cuda(struct zt_device *d, zt_tensor out, zt_tensor x, const float *scale, const float *shift,
                                   int64_t step, const int32_t *row, float eps)
{
    ZT_LAUNCH(d, layer_norm, zt_blocks(x.n[2], ROWS), ROWS * ZT_WARP, 0, out, x, scale, shift, step, row, eps);
}

// A lane has pairs, so that what is rotated together is read and written by one thread.
static __global__ void rms_rope(zt_tensor x, const float *weight, const float *angle, int D, float eps)
{
    const int m = row_of_warp(), lane = (int)threadIdx.x % ZT_WARP, C = x.n[3];
    if (m >= x.n[2])
        return;
    float *const row = (float *)x.data + m * x.step[2];
    float squares = 0;
    for (int c = 2 * lane; c < C; c += 2 * ZT_WARP)
        squares += row[c] * row[c] + row[c + 1] * row[c + 1];
    const float r = 1 / sqrtf(zt_warp_sum(squares) / (float)C + eps);
    for (int c = 2 * lane; c < C; c += 2 * ZT_WARP) {
        const float a = row[c] * r * weight[c], b = row[c + 1] * r * weight[c + 1];
        const float *const t = angle ? angle + (int64_t)m * D + c % D : NULL;      // cos, sin
        row[c] = t ? a * t[0] - b * t[1] : a;
        row[c + 1] = t ? a * t[1] + b * t[0] : b;
    }
}

extern "C" void zt_rms_rope_cuda(struct zt_device *d, zt_tensor x, const float *weight, const float *angle, int D, float eps)
{
    ZT_LAUNCH(d, rms_rope, zt_blocks(x.n[2], ROWS), ROWS * ZT_WARP, 0, x, weight, angle, D, eps);
}

static __global__ void modulation(float *out, zt_tensor e, const float *table, unsigned ones, int S, int n, int C)
{
    const int64_t at = blockIdx.x * (int64_t)blockDim.x + threadIdx.x;
    if (at >= (int64_t)S * n * C)
        return;
    const int c = (int)(at % C), i = (int)(at / C % n), s = (int)(at / C / n);
    const float *const row = (const float *)e.data + s * e.step[2] + (e.n[3] == C ? 0 : i * C);
    out[at] = table[i * C + c] + row[c] + (float)(ones >> i & 1);
}

extern "C" void zt_modulation_cuda(struct zt_device *d, zt_tensor out, zt_tensor e, const float *table, unsigned ones)
{
    const int S = out.n[1], n = out.n[2], C = out.n[3];
    ZT_LAUNCH(d, modulation, zt_blocks((int64_t)S * n * C, 256), 256, 0, (float *)out.data, e, table, ones, S, n, C);
}
