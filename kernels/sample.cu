// SPDX-License-Identifier: Apache-2.0
// combine, patchify, unpatchify and warp on any CUDA device of 8.0 or later: a thread an element (warp: a pixel), bound by
// memory. First version.
#include "kernels/cuda.cuh"

enum { THREADS = 256 };

static __device__ int64_t index()
{
    return blockIdx.x * (int64_t)blockDim.x + threadIdx.x;
}

static int64_t elements(zt_tensor t)
{
    return (int64_t)t.n[0] * t.n[1] * t.n[2] * t.n[3];
}

static __global__ void combine(float *out, float a, const float *x, float b, const float *y, int64_t n)
{
    const int64_t i = index();
    if (i < n)
        out[i] = a * x[i] + b * y[i];
}

extern "C" void zt_combine_cuda(struct zt_device *d, zt_tensor out, float a, zt_tensor x, float b, zt_tensor y)
{
    const int64_t n = elements(out);
    ZT_LAUNCH(d, combine, zt_blocks(n, THREADS), THREADS, 0, (float *)out.data, a, (const float *)x.data, b,
              (const float *)y.data, n);
}

static __global__ void patchify(zt_tensor out, const float *x, int c0, int C, int h, int w)
{
    const int64_t at = index();
    if (at >= (int64_t)C * h * w)
        return;
    const int i = (int)(at % w), y = (int)(at / w % h), c = (int)(at / w / h);
    const int64_t m = (int64_t)(y / 2) * (w / 2) + i / 2;
    ((float *)out.data)[m * out.step[2] + (c0 + c) * 4 + y % 2 * 2 + i % 2] = x[at];
}

extern "C" void zt_patchify_cuda(struct zt_device *d, zt_tensor out, zt_tensor x, int c0)
{
    ZT_LAUNCH(d, patchify, zt_blocks(elements(x), THREADS), THREADS, 0, out, (const float *)x.data, c0, x.n[1], x.n[2], x.n[3]);
}

static __global__ void unpatchify(float *out, zt_tensor x, int C, int h, int w)
{
    const int64_t at = index();
    if (at >= (int64_t)C * h * w)
        return;
    const int i = (int)(at % w), y = (int)(at / w % h), c = (int)(at / w / h);
    const int64_t m = (int64_t)(y / 2) * (w / 2) + i / 2;
    out[at] = ((const float *)x.data)[m * x.step[2] + (y % 2 * 2 + i % 2) * C + c];
}

extern "C" void zt_unpatchify_cuda(struct zt_device *d, zt_tensor out, zt_tensor x)
{
    ZT_LAUNCH(d, unpatchify, zt_blocks(elements(out), THREADS), THREADS, 0, (float *)out.data, x, out.n[1], out.n[2], out.n[3]);
}

// Where the four taps of one axis lie and what they weigh.
struct taps {
    int   at[4];
    float weight[4];
};

// Keys' kernel, factored where it is zero: nothing cancels there.
static __device__ float keys(float u)           // |u| <= 2
{
    const float a = -0.75f;
    return u <= 1 ? (1 - u) * (1 + u - (a + 2) * u * u) : a * (u - 1) * (2 - u) * (2 - u);
}

// `move` from position i: the parts are kept apart, for the sum of the two has fewer bits left for its fraction.
static __device__ taps taps_at(int i, float move, int n)
{
    const float whole = floorf(move);
    float fraction = move - whole, first = (float)i + whole - 1;
    if (!(first > -4)) {                        // all taps are the edge's there; NaN too
        first = -4;
        fraction = 0;
    }
    if (first > (float)n) {
        first = (float)n;
        fraction = 0;
    }
    taps t;
    for (int j = 0; j < 4; j++) {
        const int at = (int)first + j;
        t.at[j] = at < 0 ? 0 : at >= n ? n - 1 : at;
        t.weight[j] = keys(fabsf(fraction + 1 - (float)j));
    }
    return t;
}

static __global__ void warp(float *out, const float *in, const float *move, int C, int h, int w)
{
    const int64_t i = index(), n = (int64_t)h * w;
    if (i >= n)
        return;
    const taps x = taps_at((int)(i % w), move[i], w), y = taps_at((int)(i / w), move[n + i], h);
    for (int c = 0; c < C; c++) {
        const float *const plane = in + c * n;
        float sum = 0;
        for (int j = 0; j < 4; j++) {
            const float *const row = plane + (int64_t)y.at[j] * w;
            sum += y.weight[j] * (x.weight[0] * row[x.at[0]] + x.weight[1] * row[x.at[1]] + x.weight[2] * row[x.at[2]] +
                                  x.weight[3] * row[x.at[3]]);
        }
        out[c * n + i] = sum;
    }
}

extern "C" void zt_warp_cuda(struct zt_device *d, zt_tensor out, zt_tensor in, zt_tensor move)
{
    ZT_LAUNCH(d, warp, zt_blocks((int64_t)out.n[2] * out.n[3], THREADS), THREADS, 0, (float *)out.data, (const float *)in.data,
              (const float *)move.data, out.n[1], out.n[2], out.n[3]);
}
