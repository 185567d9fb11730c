// SPDX-License-Identifier: Apache-2.0
// linear on any CUDA device of 8.0 or later: correct first.
//
// A warp makes 32 x 32 elements by mma.sync; a block has four warps, 64 x 64. x is rounded or quantised once, by a warp a
// row, into scratch. Bound by loads from the first cache: each word of x is read by as many warps as N / 32, each of the
// weights by M / 32; nothing is staged in shared memory. First version.
#include "kernels/product.cuh"

size_t zt_operand_bytes(enum zt_type type, int M, int K)
{
    zt_carver c = { NULL, 0 };
    if (type == ZT_F32)
        return 0;
    c.take<uint32_t>((size_t)M * (size_t)((K + 1) / 2));
    c.take<float>((size_t)M);
    return c.used;
}

// A warp a row.
static __global__ void round_rows(uint32_t *to, zt_tensor x, int words)
{
    const int m = (int)(blockIdx.x * blockDim.x + threadIdx.x) / ZT_WARP, lane = (int)threadIdx.x % ZT_WARP, K = x.n[3];
    if (m >= x.n[2])
        return;
    const float *const row = (const float *)x.data + m * x.step[2];
    for (int w = lane; w < words; w += ZT_WARP) {
        const uint32_t low = zt_to_bf16(row[2 * w]), high = 2 * w + 1 < K ? zt_to_bf16(row[2 * w + 1]) : 0;
        to[(int64_t)m * words + w] = low | high << 16;
    }
}

static __global__ void quantise_rows(uint32_t *to, float *scale, zt_tensor x, int words)
{
    const int m = (int)(blockIdx.x * blockDim.x + threadIdx.x) / ZT_WARP, lane = (int)threadIdx.x % ZT_WARP, K = x.n[3];
    if (m >= x.n[2])
        return;
    const float *const row = (const float *)x.data + m * x.step[2];
    float largest = 0, s;
    for (int k = lane; k < K; k += ZT_WARP)
        largest = fmaxf(largest, fabsf(row[k]));
    const float inverse = zt_quantiser(zt_warp_max(largest), &s);
    for (int w = lane; w < words; w += ZT_WARP) {
        uint32_t word = 0;
        for (int i = 0; i < 4 && 4 * w + i < K; i++)
            word |= (uint32_t)(zt_quantise(row[4 * w + i], inverse) & 0xff) << 8 * i;
        to[(int64_t)m * words + w] = word;
    }
    if (lane == 0)
        scale[m] = s;
}

zt_operand zt_pack_rows(struct zt_device *d, void *scratch, zt_tensor x, enum zt_type type)
{
    const int M = x.n[2], K = x.n[3];
    zt_operand o = { (const uint32_t *)x.data, NULL, x.step[2], M, K };
    if (type == ZT_F32)
        return o;
    zt_carver c = { (char *)scratch, 0 };
    uint32_t *const words = c.take<uint32_t>((size_t)M * (size_t)((K + 1) / 2));
    float *const scale = c.take<float>((size_t)M);
    o.data = words;
    o.scale = scale;
    o.step = o.words = type == ZT_BF16 ? (K + 1) / 2 : (K + 3) / 4;
    if (type == ZT_BF16)
        ZT_LAUNCH(d, round_rows, zt_blocks(M, 4), 128, 0, words, x, o.words);
    else
        ZT_LAUNCH(d, quantise_rows, zt_blocks(M, 4), 128, 0, words, scale, x, o.words);
    return o;
}

template <class Math> static __global__ void linear(zt_operand a, zt_words w, zt_finish out)
{
    const int m0 = (int)blockIdx.y * ZT_PRODUCT_ROWS + zt_warp_row(), n0 = (int)blockIdx.x * ZT_PRODUCT_COLUMNS + zt_warp_column();
    if (m0 >= a.M || n0 >= w.N)
        return;
    typename Math::sum sum[2][4][4] = { { { 0 } } };
    zt_product<Math>(sum, a, w, m0, n0, a.words);
    zt_each(sum, m0, n0, [&](int m, int n, typename Math::sum s) {
        if (m < a.M && n < w.N)
            out.store(m, n, zt_activate(out.e.act, zt_scaled(w, s, a.scale ? a.scale[m] : 1, n)));
    });
}

extern "C" void zt_linear_cuda(struct zt_device *d, zt_tensor out, zt_tensor x, const zt_matrix *w, const zt_epilogue *e)
{
    const int M = x.n[2];
    const size_t bytes = zt_operand_bytes(w->type, M, w->K);
    void *const scratch = bytes ? zt_cuda_scratch(d, bytes) : NULL;
    if (bytes && !scratch)
        return;
    const zt_operand a = zt_pack_rows(d, scratch, x, w->type);
    const zt_words b = zt_words_of(w);
    const zt_finish f = { (float *)out.data, out.step[2], *e };
    const dim3 grid((unsigned)zt_blocks(w->N, ZT_PRODUCT_COLUMNS), (unsigned)zt_blocks(M, ZT_PRODUCT_ROWS));
    if (w->type == ZT_F32)
        ZT_LAUNCH(d, linear<zt_math_f32>, grid, ZT_PRODUCT_THREADS, 0, a, b, f);
    else if (w->type == ZT_BF16)
        ZT_LAUNCH(d, linear<zt_math_bf16>, grid, ZT_PRODUCT_THREADS, 0, a, b, f);
    else
        ZT_LAUNCH(d, linear<zt_math_s8>, grid, ZT_PRODUCT_THREADS, 0, a, b, f);
}
