// SPDX-License-Identifier: Apache-2.0
// Keys and values on their way into a cache, AVX-512: kv_append, and qkv_append, which norms and turns them first.
//
// Bound by the cache: a row is read twice (8 bits: three times), the first time from L2. An item of work is 16 keys;
// in 8 bits, whose scales are those of a slot, it is a head. Measured, Zen 4, one core, 144 rows of 3 x 192 floats:
// qkv_append in bf16 17 us, in 8 bits 23 us; the append alone 4 and 8 us.
#include <assert.h>

#include "base/base.h"
#include "kernels/device.h"
#include "kernels/lanes_avx512.h"
#include "kernels/norm_avx512.h"

zt_kv_append_fn zt_kv_append_avx512;
zt_qkv_append_fn zt_qkv_append_avx512;

typedef struct append {
    const zt_kv *kv;
    zt_tensor    q, k, v;
    char        *kt, *vt;           // the slot's
    float       *scale;             // the slot's
    zt_rope      rope_q, rope_k;    // weight NULL: rows are ready
} append;

// One head's 16 x P dims from i of up to 16 keys: k [D/P][16][P] of their block.
static void append_keys(uint32_t *to, const float *k, int64_t step, int keys, int dims, bool bf16)
{
    __m512i r[16];
    for (int j = 0; j < 16; j++) {
        const float *kj = k + j * step;
        if (j >= keys) {
            r[j] = _mm512_setzero_si512();
            continue;
        }
        const __m512 low = _mm512_maskz_loadu_ps(zt_first(dims), kj);
        if (bf16) {
            const __m512 high = dims > 16 ? _mm512_maskz_loadu_ps(zt_first(dims - 16), kj + 16)
                                          : _mm512_setzero_ps();
            r[j] = (__m512i)_mm512_cvtne2ps_pbh(high, low);
        } else {
            r[j] = (__m512i)low;
        }
    }
    zt_transpose16(r);
    const int units = ZT_MIN(bf16 ? dims / 2 : dims, 16);
    for (int i = 0; i < units; i++)
        _mm512_mask_storeu_epi32(to + i * 16, zt_first(keys), r[i]);
}

// One head's values of a pair of keys: [D][2] bf16. The second key may be padding: it stays.
static void append_pair(uint16_t *to, const float *v, int64_t step, int keys, int D)
{
    for (int i = 0; i < D; i += 16) {
        const __mmask16 m = zt_first(D - i);
        const __m512 a = _mm512_maskz_loadu_ps(m, v + i);
        const __m512 b = keys > 1 ? _mm512_maskz_loadu_ps(m, v + step + i) : _mm512_setzero_ps();
        const __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(a));
        const __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(b));
        const __m512i pair = _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
        const __mmask32 both = ~0u >> (D - i >= 16 ? 0 : 32 - 2 * (D - i));
        _mm512_mask_storeu_epi16(to + 2 * i, keys > 1 ? both : both & 0x55555555, pair);
    }
}

// Keys j..j+n of one head, n up to 16
static void append_block(const append *a, int h, int j, int n)
{
    const zt_kv *kv = a->kv;
    const bool bf16 = kv->type == ZT_BF16;
    const int P = bf16 ? 2 : 1, D = kv->D;
    const int64_t k_step = a->k.step[2], v_step = a->v.step[2];
    const float *k = zt_f32(a->k) + j * k_step + h * D, *v = zt_f32(a->v) + j * v_step + h * D;
    uint32_t *kt = (uint32_t *)a->kt + ((size_t)h * kv->keys + j) * (D / P);
    uint32_t *vt = (uint32_t *)a->vt + ((size_t)h * (kv->keys / P) + j / P) * D;

    for (int i = 0; i < D; i += 16 * P)
        append_keys(kt + i / P * 16, k + i, k_step, n, D - i, bf16);
    for (int r = 0; r < n; r += P, v += P * v_step, vt += D) {
        if (bf16)
            append_pair((uint16_t *)vt, v, v_step, n - r, D);
        else
            for (int i = 0; i < D; i += 16)
                _mm512_mask_storeu_ps((float *)vt + i, zt_first(D - i), _mm512_maskz_loadu_ps(zt_first(D - i), v + i));
    }
}

// ---- 8 bits

// 127 / a and a / 127; both 0 where a < 2^-100
ZT_INLINE __m512 quantiser(__m512 a, __m512 *scale)
{
    const __mmask16 some = _mm512_cmp_ps_mask(a, _mm512_set1_ps(0x1p-100f), _CMP_GE_OQ);
    *scale = _mm512_maskz_div_ps(some, a, _mm512_set1_ps(127));
    return _mm512_maskz_div_ps(some, _mm512_set1_ps(127), a);
}

// Keys j.. j+16 (`keys` of them) of 16 dims: [4 quads of dims][16 keys][4]
static void quantise_keys(uint8_t *to, const float *k, int64_t step, int keys, __m512 mean, __m512 inverse)
{
    __m512i z[4];
    for (int j = 0; j < 16; j += 4) {
        __m512i q[4];
        for (int i = 0; i < 4; i++) {
            const float *kj = k + ZT_MIN(j + i, keys - 1) * step;
            q[i] = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(kj), mean), inverse));
        }
        z[j / 4] = _mm512_packs_epi16(_mm512_packs_epi32(q[0], q[1]), _mm512_packs_epi32(q[2], q[3]));
    }
    zt_transpose_lanes(z);              // lane l was quad l of 4 keys
    for (int i = 0; i < 4; i++)
        _mm512_mask_storeu_epi32(to + i * 64, zt_first(keys), _mm512_xor_si512(z[i], _mm512_set1_epi8(-128)));
}

// 4 keys (`keys` of them, the others are zero) of 16 dims: [16][4]
static void quantise_values(int8_t *to, const float *v, int64_t step, int keys, __m512 inverse)
{
    __m512i quad = _mm512_setzero_si512();
    for (int j = ZT_MIN(keys, 4) - 1; j >= 0; j--) {
        const __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(v + j * step), inverse));
        quad = _mm512_or_si512(_mm512_slli_epi32(quad, 8), _mm512_and_si512(q, _mm512_set1_epi32(255)));
    }
    _mm512_storeu_si512(to, quad);
}

// 16 dims from i: their means of k and scales of v; values are quantised. Returns the largest |k - mean| of each.
static __m512 measure_dims(const append *a, int h, int i, float *scale)
{
    const zt_kv *kv = a->kv;
    const int D = kv->D;
    const int64_t k_step = a->k.step[2], v_step = a->v.step[2];
    const float *k = zt_f32(a->k) + h * D + i, *v = zt_f32(a->v) + h * D + i;
    __m512 sum = _mm512_setzero_ps(), largest = sum, v_largest = sum, v_scale;

    for (int j = 0; j < kv->valid; j++) {
        sum = _mm512_add_ps(sum, _mm512_loadu_ps(k + j * k_step));
        v_largest = _mm512_max_ps(v_largest, _mm512_abs_ps(_mm512_loadu_ps(v + j * v_step)));
    }
    const __m512 mean = _mm512_div_ps(sum, _mm512_set1_ps((float)kv->valid));
    for (int j = 0; j < kv->valid; j++)
        largest = _mm512_max_ps(largest, _mm512_abs_ps(_mm512_sub_ps(_mm512_loadu_ps(k + j * k_step), mean)));
    const __m512 inverse = quantiser(v_largest, &v_scale);
    _mm512_storeu_ps(scale + i, mean);
    _mm512_storeu_ps(scale + D + i, v_scale);

    int8_t *to = (int8_t *)a->vt + ((size_t)h * kv->keys * D + (size_t)i * 4);
    for (int j = 0; j < kv->valid; j += 4)
        quantise_values(to + (size_t)j * D, v + j * v_step, v_step, kv->valid - j, inverse);
    return largest;
}

static void append_head_i8(void *cookie, int h, int thread)
{
    const append *a = cookie;
    const zt_kv *kv = a->kv;
    const int D = kv->D;
    const int64_t step = a->k.step[2];
    float *scale = a->scale + (size_t)h * zt_kv_scales(kv);
    __m512 largest = _mm512_setzero_ps(), k_scale;

    for (int i = 0; i < D; i += 16)
        largest = _mm512_max_ps(largest, measure_dims(a, h, i, scale));
    const __m512 inverse = quantiser(_mm512_set1_ps(_mm512_reduce_max_ps(largest)), &k_scale);
    scale[2 * D] = _mm512_cvtss_f32(k_scale);

    for (int j = 0; j < kv->valid; j += 16) {
        const float *k = zt_f32(a->k) + j * step + h * D;
        uint8_t *to = (uint8_t *)a->kt + ((size_t)h * kv->keys + j) * D;
        for (int i = 0; i < D; i += 16)
            quantise_keys(to + i * 16, k + i, step, ZT_MIN(kv->valid - j, 16), _mm512_loadu_ps(scale + i), inverse);
    }
}

// ---- both

static void append_rows(void *cookie, int i, int thread)
{
    const append *a = cookie;
    const zt_kv *kv = a->kv;
    const int j = i * 16, n = ZT_MIN(kv->valid - j, 16);
    if (a->rope_q.weight) {
        zt_rope_rows_avx512(&a->rope_q, a->q, j, j + n);
        zt_rope_rows_avx512(&a->rope_k, a->k, j, j + n);
    }
    for (int h = 0; h < kv->H && kv->type != ZT_I8; h++)
        append_block(a, h, j, n);
}

static void run(struct zt_device *d, append *a, int slot)
{
    const zt_kv *kv = a->kv;
    assert(a->k.n[2] == kv->valid && a->v.n[2] == kv->valid && kv->keys % 16 == 0);
    assert(a->k.n[3] == kv->H * kv->D && a->v.n[3] == kv->H * kv->D);

    a->kt = (char *)kv->k + (size_t)slot * zt_kv_slot_bytes(kv);
    a->vt = (char *)kv->v + (size_t)slot * zt_kv_slot_bytes(kv);
    if (kv->type != ZT_I8 || a->rope_q.weight)
        zt_parallel_for(d, (kv->valid + 15) / 16, append_rows, a);
    if (kv->type == ZT_I8) {
        a->scale = kv->scale + (size_t)slot * (size_t)kv->H * zt_kv_scales(kv);
        zt_parallel_for(d, kv->H, append_head_i8, a);
    }
}

// A head whose width is not a multiple of 16 has tails that 8 bits are not made for.
static bool is_odd(const zt_kv *kv)
{
    return kv->type == ZT_I8 ? kv->D % 16 != 0 : kv->D % 2 != 0;
}

void zt_kv_append_avx512(struct zt_device *d, const zt_kv *kv, int slot, zt_tensor k, zt_tensor v)
{
    if (is_odd(kv)) {
        zt_kv_append_c(d, kv, slot, k, v);
        return;
    }
    append a = { .kv = kv, .k = k, .v = v };
    run(d, &a, slot);
}

void zt_qkv_append_avx512(struct zt_device *d, const zt_kv *kv, int slot, zt_tensor qkv, const float *weight_q,
                          const float *weight_k, const float *angle, float eps)
{
    const int C = kv->H * kv->D;
    if (is_odd(kv)) {
        zt_qkv_append_c(d, kv, slot, qkv, weight_q, weight_k, angle, eps);
        return;
    }
    assert(qkv.n[3] == 3 * C);
    append a = { .kv = kv, .q = zt_tensor_columns(qkv, 0, C), .k = zt_tensor_columns(qkv, C, C),
                 .v = zt_tensor_columns(qkv, 2 * C, C) };
    a.rope_q = (zt_rope){ weight_q, angle, C, angle ? kv->D : C, eps };
    a.rope_k = (zt_rope){ weight_k, angle, C, angle ? kv->D : C, eps };
    run(d, &a, slot);
}
