// SPDX-License-Identifier: Apache-2.0
// What the CUDA kernels share: launching, memory of a call, sums of a warp, numbers as the references round them.
//
// The plain level (`zt_<op>_cuda`) is written so that the same text also compiles as C++ and runs on a CPU
// (tests/cuda_on_host.h): kernels are started by ZT_LAUNCH, and all shared memory is dynamic, from zt_shared().
#pragma once

#include <stdint.h>

#include "kernels/device.h"

#ifndef ZT_CUDA_ON_HOST
#include <cuda_runtime.h>

// kernel<<<>>>, queued; a failure is kept in d->error.
#define ZT_LAUNCH(d, kernel, grid, block, shared, ...)                                             \
    do {                                                                                           \
        kernel<<<(grid), (block), (shared), zt_cuda_stream(d)>>>(__VA_ARGS__);                     \
        zt_cuda_launched(d, #kernel);                                                              \
    } while (0)

extern "C" cudaStream_t zt_cuda_stream(struct zt_device *d);
extern "C" void zt_cuda_launched(struct zt_device *d, const char *kernel);

template <typename T> __device__ inline T *zt_shared()
{
    extern __shared__ __align__(1024) char zt_dynamic[];
    return (T *)zt_dynamic;
}
#endif

// zt_scratch() of the module: device memory, valid until the next call for this device. NULL: d->error is set.
extern "C" void *zt_cuda_scratch(struct zt_device *d, size_t bytes);

// Bytes of the host into device memory, in the order of the queue. They travel as parameters of small kernels, so that
// nothing of the host's has to stay, and a graph that is captured keeps them.
extern "C" void zt_cuda_put(struct zt_device *d, void *to, const void *from, size_t bytes);

// What this level cannot do: one line, and the device fails.
extern "C" void zt_cuda_refuse(struct zt_device *d, const char *what);

#define X(op) extern "C" zt_##op##_fn zt_##op##_cuda;
ZT_OPS(X)
#undef X

enum { ZT_WARP = 32 };

// Blocks of `unit` that cover n.
static inline int zt_blocks(int64_t n, int unit)
{
    return (int)((n + unit - 1) / unit);
}

// Parts of one allocation, 256 bytes apart at least: size it with base NULL, then lay it out.
struct zt_carver {
    char  *base;
    size_t used;
    template <typename T> T *take(size_t n)
    {
        T *const at = (T *)(base + used);
        used += (n * sizeof(T) + 255) / 256 * 256;
        return at;
    }
};

// The same sum in every lane; its order depends on nothing.
__device__ inline float zt_warp_sum(float v)
{
    for (int i = 16; i > 0; i /= 2)
        v += __shfl_xor_sync(0xffffffffu, v, i);
    return v;
}

__device__ inline float zt_warp_max(float v)
{
    for (int i = 16; i > 0; i /= 2)
        v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, i));
    return v;
}

__device__ inline float zt_from_bf16(uint32_t lower_half)
{
    return __uint_as_float(lower_half << 16);
}

// To nearest, ties to even; NaN stays NaN.
__device__ inline uint32_t zt_to_bf16(float f)
{
    const uint32_t u = __float_as_uint(f);
    if ((u & 0x7fffffff) > 0x7f800000)
        return u >> 16 | 0x40;
    return (u + 0x7fff + (u >> 16 & 1)) >> 16;
}

__device__ inline float zt_load(const void *data, enum zt_type type, int64_t at)
{
    return type == ZT_F32 ? ((const float *)data)[at] : zt_from_bf16(((const uint16_t *)data)[at]);
}

__device__ inline void zt_store(void *data, enum zt_type type, int64_t at, float v)
{
    if (type == ZT_F32)
        ((float *)data)[at] = v;
    else
        ((uint16_t *)data)[at] = (uint16_t)zt_to_bf16(v);
}

__device__ inline float zt_activate(enum zt_act act, float x)
{
    switch (act) {
    case ZT_ACT_RELU: return fmaxf(x, 0);
    case ZT_ACT_SILU: return x / (1 + expf(-x));
    case ZT_ACT_GELU: return 0.5f * x * (1 + tanhf(0.7978845608028654f * (x + 0.044715f * x * x * x)));
    default:          return x;
    }
}

// As linear quantises a row whose largest is a: what values are multiplied by, and what one of the integers is worth.
__device__ inline float zt_quantiser(float a, float *scale)
{
    const bool zero = a < 0x1p-100f;
    *scale = zero ? 0 : __fdiv_rn(a, 127);
    return zero ? 0 : __fdiv_rn(127, a);
}

__device__ inline int zt_quantise(float x, float inverse)
{
    return (int)rintf(__fmul_rn(x, inverse));
}
