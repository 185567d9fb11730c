// SPDX-License-Identifier: Apache-2.0
// conv on any CUDA device of 8.0 or later: a product whose rows are pixels. A word of a row is put together from the tensor
// when it is wanted; nothing is unfolded in memory. Bound by that gathering. First version.
#include "kernels/product.cuh"

enum { THREADS = 256 };

// The pixels of one phase and what their rows hold: in(y, x) = [a(y, x), b(y, x)] under `taps` x `taps` taps.
struct pixels {
    zt_tensor a, b;
    int       taps, y0, x0;             // the first tap of pixel 0, 0
    const float *largest;               // I8

    // Element k of pixel m, as it is stored; 0 beyond the picture.
    __device__ float element(int m, int k) const
    {
        const int C = a.n[3] + (b.data ? b.n[3] : 0), tap = k / C;
        int c = k % C;
        const int y = m / a.n[2] + y0 + tap / taps, x = m % a.n[2] + x0 + tap % taps;
        if (y < 0 || y >= a.n[1] || x < 0 || x >= a.n[2])
            return 0;
        if (c < a.n[3])
            return zt_load(a.data, a.type, y * a.step[1] + x * a.step[2] + c);
        c -= a.n[3];
        return zt_load(b.data, b.type, y * b.step[1] + x * b.step[2] + c);
    }
};

// Rows of 4-byte words, as a type of weights is multiplied.
struct rows_f32 : pixels {
    int M, K;
    __device__ uint32_t at(int m, int w) const { return m < M && w < K ? __float_as_uint(element(m, w)) : 0; }
};

struct rows_bf16 : pixels {
    int M, K;
    __device__ uint32_t at(int m, int w) const
    {
        if (m >= M || 2 * w >= K)
            return 0;
        const uint32_t low = __float_as_uint(element(m, 2 * w)) >> 16;
        return 2 * w + 1 < K ? low | (__float_as_uint(element(m, 2 * w + 1)) & 0xffff0000u) : low;
    }
};

struct rows_u8 : pixels {
    int M, K;
    __device__ uint32_t at(int m, int w) const
    {
        const float inverse = *largest < 0x1p-100f ? 0 : __fdiv_rn(255, *largest);
        uint32_t word = 0;
        for (int i = 0; i < 4 && m < M && 4 * w + i < K; i++)
            word |= (uint32_t)fminf(fmaxf(rintf(__fmul_rn(element(m, 4 * w + i), inverse)), 0), 255) << 8 * i;
        return word;
    }
};

struct target {
    zt_tensor   out, residual;
    enum zt_act act;
    int         width, scale, p, q;     // output (scale * y + p, scale * x + q) of pixel (y, x)
    const float *largest;

    __device__ void store(const zt_words &w, int m, int n, float y) const
    {
        const int row = m / width * scale + p, column = m % width * scale + q;
        if (residual.data)
            y = __fadd_rn(y, zt_load(residual.data, residual.type, row * residual.step[1] + column * residual.step[2] + n));
        zt_store(out.data, out.type, row * out.step[1] + column * out.step[2] + n, zt_activate(act, y));
    }
};

template <class Math, class Rows> static __global__ void convolve(Rows a, zt_words w, target out)
{
    const int m0 = (int)blockIdx.x * ZT_PRODUCT_ROWS + zt_warp_row(), n0 = (int)blockIdx.y * ZT_PRODUCT_COLUMNS + zt_warp_column();
    if (m0 >= a.M || n0 >= w.N)
        return;
    const float scale = !out.largest || *out.largest < 0x1p-100f ? 0 : __fdiv_rn(*out.largest, 255);
    typename Math::sum sum[2][4][4] = { { { 0 } } };
    zt_product<Math>(sum, a, w, m0, n0, (a.K + Math::P - 1) / Math::P);
    zt_each(sum, m0, n0, [&](int m, int n, typename Math::sum s) {
        if (m < a.M && n < w.N)
            out.store(w, m, n, zt_scaled(w, s, scale, n));
    });
}

// The largest value, 0 at least; not negative, so that its bits are in order as integers.
static __global__ void measure(int *largest, zt_tensor t)
{
    const int64_t row = (int64_t)t.n[2] * t.n[3], n = t.n[1] * row;
    float most = 0;
    for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < n; i += gridDim.x * (int64_t)blockDim.x)
        most = fmaxf(most, zt_load(t.data, t.type, i / row * t.step[1] + i % row / t.n[3] * t.step[2] + i % t.n[3]));
    most = zt_warp_max(most);
    if (threadIdx.x % ZT_WARP == 0)
        atomicMax(largest, __float_as_int(most));
}

template <class Math, class Rows> static void run(struct zt_device *d, const pixels &p, const zt_matrix *m, const target &to)
{
    const int M = p.a.n[1] * p.a.n[2];
    Rows rows;
    (pixels &)rows = p;
    rows.M = M;
    rows.K = m->K;
    const zt_words w = zt_words_of(m);
    const dim3 grid((unsigned)zt_blocks(M, ZT_PRODUCT_ROWS), (unsigned)zt_blocks(m->N, ZT_PRODUCT_COLUMNS));
    ZT_LAUNCH(d, (convolve<Math, Rows>), grid, ZT_PRODUCT_THREADS, 0, rows, w, to);
}

static void run_type(struct zt_device *d, const pixels &p, const zt_matrix *w, const target &to)
{
    if (w->type == ZT_F32)
        run<zt_math_f32, rows_f32>(d, p, w, to);
    else if (w->type == ZT_BF16)
        run<zt_math_bf16, rows_bf16>(d, p, w, to);
    else
        run<zt_math_u8, rows_u8>(d, p, w, to);
}

static const float *find_largest(struct zt_device *d, zt_tensor a, zt_tensor b)
{
    const int zero = 0;
    int *const largest = (int *)zt_cuda_scratch(d, sizeof(*largest));
    if (!largest)
        return NULL;
    zt_cuda_put(d, largest, &zero, sizeof(zero));
    for (int i = 0; i < 2; i++) {
        const zt_tensor t = i ? b : a;
        const int blocks = zt_blocks(t.data ? (int64_t)t.n[1] * t.n[2] * t.n[3] : 0, THREADS);
        if (blocks > 0)
            ZT_LAUNCH(d, measure, blocks < 1024 ? blocks : 1024, THREADS, 0, largest, t);
    }
    return (const float *)largest;
}

extern "C" void zt_conv_cuda(struct zt_device *d, zt_tensor out, zt_tensor a, zt_tensor b, zt_tensor residual, const zt_conv *c)
{
    const float *largest = NULL;
    if (c->w.type == ZT_I8 && !(largest = find_largest(d, a, b)))
        return;
    for (int phase = 0; phase < (c->up ? 4 : 1); phase++) {
        const int p = phase / 2, q = phase % 2;
        const pixels from = { a, b, c->up ? 2 : 3, p - 1, q - 1, largest };
        const target to = { out, residual, c->act, a.n[2], c->up ? 2 : 1, p, q, largest };
        run_type(d, from, c->up ? &c->phase[phase] : &c->w, to);
    }
}
