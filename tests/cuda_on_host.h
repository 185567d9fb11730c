// SPDX-License-Identifier: Apache-2.0
// CUDA on a CPU, for tests: enough of the language that kernels/*.cu compile as C++ and run, a thread of the GPU being a
// fiber. Included before the kernel's text.
//
// What it shows: indices, bounds, arithmetic, barriers that are missing where another order of threads would tell (every
// kernel runs in several), barriers that not all threads reach, shared memory that nobody has written (it is NaN before
// each block) or beyond what was asked for. What it does not show: races that these orders do not meet, the memory model,
// how tensor cores round their sums, math functions' last bits, speed.
#pragma once

#define ZT_CUDA_ON_HOST

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <tuple>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__
#define __launch_bounds__(...)

struct uint3 { unsigned x, y, z; };
struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct uint2 { uint32_t x, y; };
struct uint4 { uint32_t x, y, z, w; };
struct float2 { float x, y; };
struct float4 { float x, y, z, w; };

// The thread that runs.
struct zt_host_thread {
    uint3 thread, block;
    dim3  block_dim, grid_dim;
};
extern zt_host_thread *zt_host_now;
#define threadIdx (zt_host_now->thread)
#define blockIdx  (zt_host_now->block)
#define blockDim  (zt_host_now->block_dim)
#define gridDim   (zt_host_now->grid_dim)

// Orders in which fibers and blocks run.
enum zt_host_order { ZT_FORWARD, ZT_BACKWARD, ZT_SHUFFLED, ZT_ORDERS };
void zt_host_set_order(enum zt_host_order order);

typedef void zt_host_body(const void *closure);
struct zt_host_work {
    dim3          grid, block;
    size_t        shared;
    zt_host_body *body, *finish;        // finish frees the closure
    const void   *closure;
    const char   *name;
};
void  zt_host_work_run(const zt_host_work *w);
// Where launches go instead of being run; NULL: they run at once.
extern void (*zt_host_keep)(const zt_host_work *w);
void *zt_host_shared(void);
void  __syncthreads();
void  __syncwarp(unsigned mask = 0xffffffffu);
// What a warp does as one: fn gets what each lane brought, when all have come; then they go on.
typedef void zt_host_together_fn(void *const *lane);
void  zt_host_together(zt_host_together_fn *fn, void *mine);

// Arguments are evaluated when the kernel is launched, as <<<>>> does.
template <class F, class... Args>
static void zt_host_launch(dim3 grid, dim3 block, size_t shared, const char *name, F kernel, const Args &...args)
{
    const auto call = [kernel, all = std::make_tuple(args...)] { std::apply(kernel, all); };
    typedef decltype(call) closure_type;
    const zt_host_work w = { grid, block, shared, [](const void *closure) { (*(closure_type *)closure)(); },
                             [](const void *closure) { delete (closure_type *)closure; }, new closure_type(call), name };
    if (zt_host_keep)
        zt_host_keep(&w);
    else
        zt_host_work_run(&w);
}
#define ZT_LAUNCH(d, kernel, grid, block, shared, ...)                                             \
    zt_host_launch(grid, block, shared, #kernel, [](auto... a) { kernel(a...); }, __VA_ARGS__)

template <typename T> static inline T *zt_shared()
{
    return (T *)zt_host_shared();
}

template <typename T> struct zt_host_shuffle_of {
    T   value, result;
    int from;
};
template <typename T> static inline void zt_host_shuffle_all(void *const *lane)
{
    for (int i = 0; i < 32; i++) {
        zt_host_shuffle_of<T> *const to = (zt_host_shuffle_of<T> *)lane[i];
        to->result = ((const zt_host_shuffle_of<T> *)lane[to->from])->value;
    }
}
template <typename T> static inline T zt_host_shuffle(T v, int from)
{
    zt_host_shuffle_of<T> mine = { v, v, from };
    zt_host_together(zt_host_shuffle_all<T>, &mine);
    return mine.result;
}
#define zt_host_lane ((int)threadIdx.x % 32)
template <typename T> static inline T __shfl_sync(unsigned, T v, int from) { return zt_host_shuffle(v, from & 31); }
template <typename T> static inline T __shfl_xor_sync(unsigned, T v, int d) { return zt_host_shuffle(v, zt_host_lane ^ d); }

template <typename T> static inline T atomicMax(T *p, T v)
{
    const T old = *p;
    *p = old > v ? old : v;
    return old;
}
template <typename T> static inline T atomicAdd(T *p, T v)
{
    const T old = *p;
    *p = old + v;
    return old;
}

static inline float __uint_as_float(uint32_t u) { float f; memcpy(&f, &u, 4); return f; }
static inline uint32_t __float_as_uint(float f) { uint32_t u; memcpy(&u, &f, 4); return u; }
static inline float __int_as_float(int u) { float f; memcpy(&f, &u, 4); return f; }
static inline int __float_as_int(float f) { int u; memcpy(&u, &f, 4); return u; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline uint32_t __vsub4(uint32_t a, uint32_t b)
{
    uint32_t r = 0;
    for (int i = 0; i < 32; i += 8)
        r |= (uint32_t)(uint8_t)((a >> i) - (b >> i)) << i;
    return r;
}

// Fragments as the PTX ISA has them for m16n8k16 bf16 and m16n8k32 of bytes; in words they are the same: see product.cuh.
template <typename Sum> struct zt_host_fragments {
    const uint32_t *a, *b;
    Sum            *c;
};

// Value: what a word's P values are. Sums go on from c in the order of K.
template <typename Sum, int P, class Left, class Right> static inline void zt_host_mma_all(void *const *lane)
{
    Sum a[16][8 * P], b[8 * P][8];
    for (int i = 0; i < 32; i++) {
        const zt_host_fragments<Sum> *const f = (const zt_host_fragments<Sum> *)lane[i];
        const int g = i / 4, t = i % 4;
        for (int r = 0; r < 4; r++)
            for (int p = 0; p < P; p++)
                a[g + r % 2 * 8][(t + r / 2 * 4) * P + p] = Left::value(f->a[r], p);
        for (int r = 0; r < 2; r++)
            for (int p = 0; p < P; p++)
                b[(t + r * 4) * P + p][g] = Right::value(f->b[r], p);
    }
    for (int row = 0; row < 16; row++) {
        Sum sum[8];
        for (int n = 0; n < 8; n++)
            sum[n] = ((zt_host_fragments<Sum> *)lane[row % 8 * 4 + n / 2])->c[row / 8 * 2 + n % 2];
        for (int k = 0; k < 8 * P; k++)
            for (int n = 0; n < 8; n++)
                sum[n] += a[row][k] * b[k][n];
        for (int n = 0; n < 8; n++)
            ((zt_host_fragments<Sum> *)lane[row % 8 * 4 + n / 2])->c[row / 8 * 2 + n % 2] = sum[n];
    }
}

struct zt_host_f32 { static float value(uint32_t w, int) { return __uint_as_float(w); } };
struct zt_host_bf16 { static float value(uint32_t w, int p) { return __uint_as_float(p ? w & 0xffff0000u : w << 16); } };
struct zt_host_s8 { static int value(uint32_t w, int p) { return (int8_t)(w >> 8 * p); } };
struct zt_host_u8 { static int value(uint32_t w, int p) { return (uint8_t)(w >> 8 * p); } };

template <typename Sum, int P, class Left, class Right> static inline void zt_host_mma(Sum *c, const uint32_t *a, const uint32_t *b)
{
    zt_host_fragments<Sum> mine = { a, b, c };
    zt_host_together(zt_host_mma_all<Sum, P, Left, Right>, &mine);
}

static inline void zt_mma_f32(float *c, const uint32_t *a, const uint32_t *b) { zt_host_mma<float, 1, zt_host_f32, zt_host_f32>(c, a, b); }
static inline void zt_mma_bf16(float *c, const uint32_t *a, const uint32_t *b) { zt_host_mma<float, 2, zt_host_bf16, zt_host_bf16>(c, a, b); }
static inline void zt_mma_s8(int *c, const uint32_t *a, const uint32_t *b) { zt_host_mma<int, 4, zt_host_s8, zt_host_s8>(c, a, b); }
static inline void zt_mma_u8(int *c, const uint32_t *a, const uint32_t *b) { zt_host_mma<int, 4, zt_host_u8, zt_host_s8>(c, a, b); }
