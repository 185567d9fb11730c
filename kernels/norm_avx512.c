// SPDX-License-Identifier: Apache-2.0
// What happens to rows between the products, AVX-512: layer_norm, rms_rope, kv_append, modulation.
//
// Bound by the cache: a row is read two or three times, the first from L2. Measured, Zen 4, one
// core, 144 rows of 192 floats: layer_norm 5.7 us (39 GB/s read and written once), rms_rope 5.7 us,
// kv_append in bf16 of both 3.6 us.
#include <assert.h>
#include <math.h>

#include "base/base.h"
#include "kernels/device.h"
#include "kernels/lanes_avx512.h"

zt_layer_norm_fn zt_layer_norm_avx512;
zt_rms_rope_fn zt_rms_rope_avx512;
zt_kv_append_fn zt_kv_append_avx512;
zt_modulation_fn zt_modulation_avx512;

// A region of the pool costs about as much as 20000 floats of these.
enum { JOB_FLOATS = 32768 };

static int job_rows(int C)
{
    return ZT_MAX(1, JOB_FLOATS / C);
}

static void run_rows(struct zt_device *d, int M, int C, zt_parallel_fn *fn, void *cookie)
{
    const int jobs = (M + job_rows(C) - 1) / job_rows(C);
    if (jobs == 1)
        fn(cookie, 0, 0);
    else
        zt_parallel_for(d, jobs, fn, cookie);
}

// Sum of x or, about `mean`, of squares. Four sums, so that no add waits for the one before.
ZT_INLINE float sum_row(const bool squares, const float *x, int C, __m512 mean)
{
    __m512 sum[4] = { _mm512_setzero_ps(), _mm512_setzero_ps(),
                      _mm512_setzero_ps(), _mm512_setzero_ps() };
    int c = 0;
    for (; c + 64 <= C; c += 64) {
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            const __m512 u = _mm512_sub_ps(_mm512_loadu_ps(x + c + i * 16), mean);
            sum[i] = squares ? _mm512_fmadd_ps(u, u, sum[i]) : _mm512_add_ps(sum[i], u);
        }
    }
    for (; c < C; c += 16) {
        const __mmask16 k = zt_first(C - c);
        const __m512 u = _mm512_maskz_sub_ps(k, _mm512_maskz_loadu_ps(k, x + c), mean);
        sum[0] = squares ? _mm512_fmadd_ps(u, u, sum[0]) : _mm512_add_ps(sum[0], u);
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sum[0], sum[1]),
                                              _mm512_add_ps(sum[2], sum[3])));
}

typedef struct norm {
    zt_tensor      out, x;
    const float   *scale, *shift;
    int64_t        step;
    const int32_t *row;
    float          eps;
} norm;

static void norm_row(const norm *v, int m)
{
    const int C = v->x.n[3];
    const float *x = zt_f32(v->x) + m * v->x.step[2];
    float *out = zt_f32(v->out) + m * v->out.step[2];
    const int64_t at = v->row ? v->row[m] * v->step : 0;

    const __m512 mean = _mm512_set1_ps(sum_row(false, x, C, _mm512_setzero_ps()) / C);
    const __m512 r = _mm512_set1_ps(1 / sqrtf(sum_row(true, x, C, mean) / C + v->eps));

    for (int c = 0; c < C; c += 16) {
        const __mmask16 k = zt_first(C - c);
        const __m512 u = _mm512_mul_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(k, x + c), mean), r);
        const __m512 y = _mm512_fmadd_ps(u, _mm512_maskz_loadu_ps(k, v->scale + at + c),
                                         _mm512_maskz_loadu_ps(k, v->shift + at + c));
        _mm512_mask_storeu_ps(out + c, k, y);
    }
}

static void norm_job(void *cookie, int i, int thread)
{
    const norm *v = cookie;
    const int rows = job_rows(v->x.n[3]), to = ZT_MIN((i + 1) * rows, v->x.n[2]);
    for (int m = i * rows; m < to; m++)
        norm_row(v, m);
}

void zt_layer_norm_avx512(struct zt_device *d, zt_tensor out, zt_tensor x, const float *scale,
                          const float *shift, int64_t step, const int32_t *row, float eps)
{
    assert(out.n[2] == x.n[2] && out.n[3] == x.n[3] && eps > 0);
    norm v = { out, x, scale, shift, step, row, eps };
    run_rows(d, x.n[2], x.n[3], norm_job, &v);
}

typedef struct rope {
    zt_tensor    x;
    const float *weight, *angle;
    int          D;
    float        eps;
} rope;

static void rope_row(const rope *v, int m)
{
    const int C = v->x.n[3], D = v->D;
    float *x = zt_f32(v->x) + m * v->x.step[2];

    const float mean = sum_row(true, x, C, _mm512_setzero_ps()) / C;
    const __m512 r = _mm512_set1_ps(1 / sqrtf(mean + v->eps));

    for (int c0 = 0; c0 < C; c0 += D) {             // one head
        for (int i = 0; i < D; i += 16) {
            const __mmask16 k = zt_first(D - i);
            float *at = x + c0 + i;
            __m512 u = _mm512_mul_ps(_mm512_maskz_loadu_ps(k, at), r);
            u = _mm512_mul_ps(u, _mm512_maskz_loadu_ps(k, v->weight + c0 + i));
            if (v->angle) {
                const __m512 t = _mm512_maskz_loadu_ps(k, v->angle + (int64_t)m * D + i);
                const __m512 swapped = _mm512_permute_ps(u, 0xb1);          // (b, a)
                const __m512 sines = _mm512_mul_ps(swapped, _mm512_movehdup_ps(t));
                u = _mm512_fmaddsub_ps(u, _mm512_moveldup_ps(t), sines);    // a cos - b sin, ...
            }
            _mm512_mask_storeu_ps(at, k, u);
        }
    }
}

static void rope_job(void *cookie, int i, int thread)
{
    const rope *v = cookie;
    const int rows = job_rows(v->x.n[3]), to = ZT_MIN((i + 1) * rows, v->x.n[2]);
    for (int m = i * rows; m < to; m++)
        rope_row(v, m);
}

void zt_rms_rope_avx512(struct zt_device *d, zt_tensor x, const float *weight, const float *angle,
                        int D, float eps)
{
    assert(D % 2 == 0 && x.n[3] % D == 0 && eps > 0);
    rope v = { x, weight, angle, angle ? D : x.n[3], eps };     // without angles one head is enough
    run_rows(d, x.n[2], x.n[3], rope_job, &v);
}

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

void zt_kv_append_avx512(struct zt_device *d, const zt_kv *kv, int slot, zt_tensor k, zt_tensor v)
{
    const bool bf16 = kv->type == ZT_BF16;
    const int P = bf16 ? 2 : 1, D = kv->D;
    const size_t slot_bytes = zt_kv_slot_bytes(kv);
    uint32_t *kt = (uint32_t *)((char *)kv->k + slot * slot_bytes);
    uint32_t *vt = (uint32_t *)((char *)kv->v + slot * slot_bytes);
    assert(k.n[2] == kv->valid && v.n[2] == kv->valid && kv->keys % 16 == 0 && D % P == 0);
    assert(k.n[3] == kv->H * D && v.n[3] == kv->H * D);

    for (int h = 0; h < kv->H; h++) {
        for (int j = 0; j < kv->valid; j += 16) {
            const float *kj = zt_f32(k) + j * k.step[2] + h * D;
            uint32_t *block = kt + ((size_t)h * kv->keys + j) * (D / P);
            for (int i = 0; i < D; i += 16 * P)
                append_keys(block + i / P * 16, kj + i, k.step[2], ZT_MIN(kv->valid - j, 16), D - i,
                            bf16);
        }
        for (int j = 0; j < kv->valid; j += P) {
            const float *vj = zt_f32(v) + j * v.step[2] + h * D;
            uint32_t *row = vt + ((size_t)h * (kv->keys / P) + j / P) * D;
            if (bf16)
                append_pair((uint16_t *)row, vj, v.step[2], kv->valid - j, D);
            else
                for (int i = 0; i < D; i += 16)
                    _mm512_mask_storeu_ps((float *)row + i, zt_first(D - i),
                                          _mm512_maskz_loadu_ps(zt_first(D - i), vj + i));
        }
    }
}

void zt_modulation_avx512(struct zt_device *d, zt_tensor out, zt_tensor e, const float *table,
                          unsigned ones)
{
    const int S = out.n[1], n = out.n[2], C = out.n[3];
    assert(e.n[2] == S && (e.n[3] == n * C || e.n[3] == C));

    for (int s = 0; s < S; s++) {
        for (int i = 0; i < n; i++) {
            const float *es = zt_f32(e) + s * e.step[2] + (e.n[3] == C ? 0 : i * C);
            float *o = zt_f32(out) + ((int64_t)s * n + i) * C;
            const __m512 one = _mm512_set1_ps((float)(ones >> i & 1));
            for (int c = 0; c < C; c += 16) {
                const __mmask16 k = zt_first(C - c);
                const __m512 y = _mm512_add_ps(_mm512_maskz_loadu_ps(k, table + (int64_t)i * C + c),
                                               _mm512_maskz_loadu_ps(k, es + c));
                _mm512_mask_storeu_ps(o + c, k, _mm512_add_ps(y, one));
            }
        }
    }
}
