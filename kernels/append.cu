// SPDX-License-Identifier: Apache-2.0
// kv_append and qkv_append on any CUDA device of 8.0 or later. Floats: a thread an element, bound by memory. I8: a block a
// head, a thread a dim, which goes over the keys in order, for the mean is defined that way; few threads, long chains.
// First version.
#include "kernels/cuda.cuh"

enum { THREADS = 256, DIMS_MAX = 1024 };

struct slot {
    void        *k, *v;
    float       *scale;         // I8: mean of k [D], scale of v [D], scale of k, of each head
    enum zt_type type;
    int          H, D, keys, valid, scales;
};

static slot slot_of(const zt_kv *kv, int index)
{
    const size_t bytes = (size_t)kv->H * (size_t)kv->keys * (size_t)kv->D * zt_type_bytes(kv->type);
    const int scales = kv->type == ZT_I8 ? 2 * kv->D + 16 : 0;
    slot s = { (char *)kv->k + (size_t)index * bytes, (char *)kv->v + (size_t)index * bytes, kv->scale, kv->type, kv->H, kv->D,
               kv->keys, kv->valid, scales };
    if (s.scale)
        s.scale += (size_t)index * (size_t)kv->H * (size_t)scales;
    return s;
}

// k [H][keys/16][D/P][16][P]
template <int P> static __device__ int64_t k_at(const slot &s, int h, int key, int i)
{
    const int64_t block = (int64_t)h * (s.keys / 16) + key / 16;
    return ((block * (s.D / P) + i / P) * 16 + key % 16) * P + i % P;
}

// v [H][keys/P][D][P]
template <int P> static __device__ int64_t v_at(const slot &s, int h, int key, int i)
{
    const int64_t block = (int64_t)h * (s.keys / P) + key / P;
    return (block * s.D + i) * P + key % P;
}

template <int P> static __global__ void append(slot s, zt_tensor k, zt_tensor v)
{
    const int64_t at = blockIdx.x * (int64_t)blockDim.x + threadIdx.x;
    const int C = s.H * s.D;
    if (at >= (int64_t)s.valid * C)
        return;
    const int c = (int)(at % C), key = (int)(at / C), h = c / s.D, i = c % s.D;
    zt_store(s.k, s.type, k_at<P>(s, h, key, i), ((const float *)k.data)[key * k.step[2] + c]);
    zt_store(s.v, s.type, v_at<P>(s, h, key, i), ((const float *)v.data)[key * v.step[2] + c]);
}

// The largest of the block's threads.
static __device__ float block_max(float v)
{
    float *const most = zt_shared<float>();
    v = zt_warp_max(v);
    if (threadIdx.x % ZT_WARP == 0)
        most[threadIdx.x / ZT_WARP] = v;
    __syncthreads();
    for (int i = 0; i < (int)blockDim.x / ZT_WARP; i++)
        v = fmaxf(v, most[i]);
    return v;
}

static __global__ void append_i8(slot s, zt_tensor k, zt_tensor v)
{
    const int h = (int)blockIdx.x, i = (int)threadIdx.x, D = s.D;
    const float *const from_k = (const float *)k.data + h * D + i, *const from_v = (const float *)v.data + h * D + i;
    float *const mean = s.scale + (int64_t)h * s.scales;
    float sum = 0, v_largest = 0, largest = 0;
    for (int key = 0; key < s.valid && i < D; key++) {
        sum = __fadd_rn(sum, from_k[key * k.step[2]]);
        v_largest = fmaxf(v_largest, fabsf(from_v[key * v.step[2]]));
    }
    const float middle = __fdiv_rn(sum, (float)s.valid);
    for (int key = 0; key < s.valid && i < D; key++)
        largest = fmaxf(largest, fabsf(__fsub_rn(from_k[key * k.step[2]], middle)));
    largest = block_max(largest);
    if (i >= D)
        return;

    float k_scale, v_scale;
    const float k_inverse = zt_quantiser(largest, &k_scale), v_inverse = zt_quantiser(v_largest, &v_scale);
    mean[i] = middle;
    mean[D + i] = v_scale;
    if (i == 0)
        mean[2 * D] = k_scale;
    for (int key = 0; key < s.valid; key++) {
        const float centred = __fsub_rn(from_k[key * k.step[2]], middle);
        ((uint8_t *)s.k)[k_at<4>(s, h, key, i)] = (uint8_t)(128 + zt_quantise(centred, k_inverse));
        ((int8_t *)s.v)[v_at<4>(s, h, key, i)] = (int8_t)zt_quantise(from_v[key * v.step[2]], v_inverse);
    }
}

extern "C" void zt_kv_append_cuda(struct zt_device *d, const zt_kv *kv, int index, zt_tensor k, zt_tensor v)
{
    const slot s = slot_of(kv, index);
    const int blocks = zt_blocks((int64_t)s.valid * s.H * s.D, THREADS), threads = (s.D + ZT_WARP - 1) / ZT_WARP * ZT_WARP;
    if (kv->type == ZT_F32)
        ZT_LAUNCH(d, append<1>, blocks, THREADS, 0, s, k, v);
    else if (kv->type == ZT_BF16)
        ZT_LAUNCH(d, append<2>, blocks, THREADS, 0, s, k, v);
    else if (threads <= DIMS_MAX)
        ZT_LAUNCH(d, append_i8, s.H, threads, DIMS_MAX / ZT_WARP * sizeof(float), s, k, v);
    else
        zt_cuda_refuse(d, "heads of more than 1024 in 8 bits");
}

extern "C" void zt_qkv_append_cuda(struct zt_device *d, const zt_kv *kv, int index, zt_tensor qkv, const float *weight_q,
                                   const float *weight_k, const float *angle, float eps)
{
    const int C = kv->H * kv->D;
    const zt_tensor k = zt_tensor_columns(qkv, C, C);
    zt_rms_rope_cuda(d, zt_tensor_columns(qkv, 0, C), weight_q, angle, kv->D, eps);
    zt_rms_rope_cuda(d, k, weight_k, angle, kv->D, eps);
    zt_kv_append_cuda(d, kv, index, k, zt_tensor_columns(qkv, 2 * C, C));
}
