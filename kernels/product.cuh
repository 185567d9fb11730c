// SPDX-License-Identifier: Apache-2.0
// Products of a warp from 4-byte words along K, for every type of weights: what linear, moe, conv and attention share.
//
// A word is P = 4 / element bytes values that follow one another along K, as weights and caches have them (kernels.h).
// mma.sync has one layout of fragments in words, whatever the type: with g = lane / 4 and t = lane % 4,
//   a (16 rows x 8 words)      a[0] row g, word t    a[1] row g + 8, word t    a[2], a[3] the same, word t + 4
//   b (8 words x 8 columns)    b[0] word t, column g    b[1] word t + 4
//   c (16 x 8)                 c[0], c[1] row g, columns 2 t, 2 t + 1    c[2], c[3] row g + 8
// Operands are read straight from memory, so that nothing is shared between warps and nothing has to be waited for.
#pragma once

#include "kernels/cuda.cuh"

#ifndef ZT_CUDA_ON_HOST
// bf16 x bf16, f32 sums
__device__ inline void zt_mma_bf16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// s8 x s8, exact
__device__ inline void zt_mma_s8(int c[4], const uint32_t a[4], const uint32_t b[2])
{
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// u8 x s8, exact
__device__ inline void zt_mma_u8(int c[4], const uint32_t a[4], const uint32_t b[2])
{
    asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#endif

// f32 x f32, each product and sum rounded to f32 (tensor cores would round the operands to tf32): the values of each word
// come from the lanes that hold them.
__device__ inline void zt_mma_f32_shuffled(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    const int lane = (int)threadIdx.x % ZT_WARP, g = lane / 4, t = lane % 4;
    #pragma unroll
    for (int w = 0; w < 8; w++) {
        const int from = g * 4 + w % 4, left = 2 * t * 4 + w % 4;
        const float a0 = __uint_as_float(__shfl_sync(0xffffffffu, w < 4 ? a[0] : a[2], from));
        const float a1 = __uint_as_float(__shfl_sync(0xffffffffu, w < 4 ? a[1] : a[3], from));
        const float b0 = __uint_as_float(__shfl_sync(0xffffffffu, b[w / 4], left));
        const float b1 = __uint_as_float(__shfl_sync(0xffffffffu, b[w / 4], left + 4));
        c[0] = fmaf(a0, b0, c[0]);
        c[1] = fmaf(a0, b1, c[1]);
        c[2] = fmaf(a1, b0, c[2]);
        c[3] = fmaf(a1, b1, c[3]);
    }
}

#ifndef ZT_CUDA_ON_HOST
__device__ inline void zt_mma_f32(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    zt_mma_f32_shuffled(c, a, b);
}
#endif

// How values of a type are multiplied.
struct zt_math_f32 {
    typedef float sum;
    enum { P = 1 };
    static __device__ void mma(float c[4], const uint32_t a[4], const uint32_t b[2]) { zt_mma_f32(c, a, b); }
};
struct zt_math_bf16 {
    typedef float sum;
    enum { P = 2 };
    static __device__ void mma(float c[4], const uint32_t a[4], const uint32_t b[2]) { zt_mma_bf16(c, a, b); }
};
struct zt_math_s8 {
    typedef int sum;
    enum { P = 4 };
    static __device__ void mma(int c[4], const uint32_t a[4], const uint32_t b[2]) { zt_mma_s8(c, a, b); }
};
struct zt_math_u8 {
    typedef int sum;
    enum { P = 4 };
    static __device__ void mma(int c[4], const uint32_t a[4], const uint32_t b[2]) { zt_mma_u8(c, a, b); }
};

// A weight matrix as its words: of I8 and I4 the values without their offset.
struct zt_words {
    const uint32_t *data;
    const uint8_t  *factor;         // I4
    const float    *scale, *bias;   // of columns, or NULL
    enum zt_type    type;
    int             N, panels, units;   // units: words of K that are stored

    __device__ uint32_t at(int n, int w) const
    {
        const int panel = n / 16;
        if (panel >= panels)
            return 0;
        if (type == ZT_I4)
            return small(panel, n % 16, w);
        if (w >= units)
            return 0;
        const uint32_t word = data[((int64_t)panel * units + w) * 16 + n % 16];
        return type == ZT_I8 ? word ^ 0x80808080u : word;
    }

    // Bytes (stored - 8) * factor: each product fits its byte, so that one multiplication makes four.
    __device__ uint32_t small(int panel, int j, int w) const
    {
        if (w / 2 >= units)
            return 0;
        const uint32_t two = data[((int64_t)panel * units + w / 2) * 16 + j];
        const int groups = (units * 8 + ZT_GROUP - 1) / ZT_GROUP;
        const uint32_t f = factor[((int64_t)panel * groups + w * 4 / ZT_GROUP) * 16 + j];
        return __vsub4(((w & 1 ? two >> 4 : two) & 0x0f0f0f0fu) * f, 0x08080808u * f);
    }
};

static inline zt_words zt_words_of(const zt_matrix *w)
{
    const int P = w->type == ZT_I4 ? 8 : 4 / (int)zt_type_bytes(w->type);
    zt_words o = { (const uint32_t *)w->data, w->factor, w->scale, w->bias, w->type, w->N, (w->N + 15) / 16, (w->K + P - 1) / P };
    return o;
}

enum { ZT_PRODUCT_ROWS = 64, ZT_PRODUCT_COLUMNS = 64, ZT_PRODUCT_THREADS = 128 };   // of a block: a warp has a quarter

// What tensor cores add up in f32 they cut instead of rounding; so a chain of sums is kept this many words short, and the
// chains are added by ordinary arithmetic. Integers are exact.
enum { ZT_CHAIN = 64 };

__device__ inline void zt_add_chain(float *sum, float *chain)
{
    *sum += *chain;
    *chain = 0;
}

__device__ inline void zt_add_chain(int *sum, int *chain)
{
    *sum += *chain;
    *chain = 0;
}

// sum = rows [m0, m0 + 32) of a times columns [n0, n0 + 32) of b. a.at(m, w): the word, or 0 where there is none.
template <class Math, class A>
__device__ inline void zt_product(typename Math::sum sum[2][4][4], const A &a, const zt_words &b, int m0, int n0, int words)
{
    const int lane = (int)threadIdx.x % ZT_WARP, g = lane / 4, t = lane % 4;
    typename Math::sum chain[2][4][4] = { { { 0 } } };
    for (int w = 0; w < words; w += 8) {
        uint32_t left[2][4], right[4][2];
        #pragma unroll
        for (int i = 0; i < 2; i++)
            #pragma unroll
            for (int r = 0; r < 4; r++)
                left[i][r] = a.at(m0 + 16 * i + g + r % 2 * 8, w + t + r / 2 * 4);
        #pragma unroll
        for (int j = 0; j < 4; j++)
            #pragma unroll
            for (int r = 0; r < 2; r++)
                right[j][r] = b.at(n0 + 8 * j + g, w + t + r * 4);
        #pragma unroll
        for (int i = 0; i < 2; i++)
            #pragma unroll
            for (int j = 0; j < 4; j++)
                Math::mma(chain[i][j], left[i], right[j]);
        if ((w / 8 + 1) % (ZT_CHAIN / 8) == 0 || w + 8 >= words) {
            #pragma unroll
            for (int i = 0; i < 2; i++)
                #pragma unroll
                for (int j = 0; j < 4; j++)
                    #pragma unroll
                    for (int r = 0; r < 4; r++)
                        zt_add_chain(&sum[i][j][r], &chain[i][j][r]);
        }
    }
}

// Rows as they are multiplied: f32 in place, or rounded or quantised into words by zt_pack_rows().
struct zt_operand {
    const uint32_t *data;
    const float    *scale;          // of each row; I8 only
    int64_t         step;           // words
    int             M, words;

    __device__ uint32_t at(int m, int w) const
    {
        return m < M && w < words ? data[m * step + w] : 0;
    }
};

// Bytes of scratch that zt_pack_rows() wants for M rows of K.
size_t zt_operand_bytes(enum zt_type type, int M, int K);
zt_operand zt_pack_rows(struct zt_device *d, void *scratch, zt_tensor x, enum zt_type type);

// y as the contract of linear has it: the sum, scaled, with its bias.
__device__ inline float zt_scaled(const zt_words &w, float sum, float scale, int n)
{
    return w.bias ? sum + w.bias[n] : sum;
}

__device__ inline float zt_scaled(const zt_words &w, int sum, float scale, int n)
{
    const float y = __fmul_rn((float)sum, __fmul_rn(scale, w.scale[n]));
    return w.bias ? __fadd_rn(y, w.bias[n]) : y;
}

// The epilogue of linear and moe at one element.
struct zt_finish {
    float         *out;
    int64_t        step;
    zt_epilogue    e;

    __device__ void store(int m, int n, float y) const
    {
        float *const o = out + m * step + n;
        if (e.gate)
            *o = *o + e.gate[(e.row ? e.row[m] : 0) * e.gate_step + n] * y;
        else
            *o = e.add ? *o + y : y;
    }
};

// Calls fn(m, n, sum) for each of the warp's elements.
template <class Sum, class Fn>
__device__ inline void zt_each(const Sum sum[2][4][4], int m0, int n0, Fn fn)
{
    const int lane = (int)threadIdx.x % ZT_WARP, g = lane / 4, t = lane % 4;
    #pragma unroll
    for (int i = 0; i < 2; i++)
        #pragma unroll
        for (int j = 0; j < 4; j++)
            #pragma unroll
            for (int r = 0; r < 4; r++)
                fn(m0 + 16 * i + g + r / 2 * 8, n0 + 8 * j + 2 * t + r % 2, sum[i][j][r]);
}

// Where the calling warp's part of a block of the product lies.
__device__ inline int zt_warp_row()
{
    return (int)threadIdx.x / ZT_WARP / 2 * 32;
}

__device__ inline int zt_warp_column()
{
    return (int)threadIdx.x / ZT_WARP % 2 * 32;
}
