// SPDX-License-Identifier: Apache-2.0
// A frame joins its past, AVX-512: norm, SiLU, rounding and the move of two older frames in one pass.
//
// A value is read twice (the second time from L1) and costs one SiLU; five are moved beside it. Against the 54 N flops
// that the convolution behind it spends on each, it is a few per cent.
#include <assert.h>
#include <math.h>

#include "base/base.h"
#include "kernels/device.h"
#include "kernels/exp_avx512.h"
#include "kernels/lanes_avx512.h"

zt_history_fn zt_history_avx512;

enum { ROWS = 64 };             // of a job

typedef struct history {
    zt_tensor    out, x;
    char        *past;
    const float *gamma;
    enum zt_act  act;
} history;

static void copy(char *to, const char *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64) {
        const __mmask64 m = bytes - i < 64 ? (1ull << (bytes - i)) - 1 : ~0ull;
        _mm512_mask_storeu_epi8(to + i, m, _mm512_maskz_loadu_epi8(m, from + i));
    }
}

static float scale_of(const float *x, int C)
{
    __m512 sum = _mm512_setzero_ps();
    for (int c = 0; c < C; c += 16) {
        const __m512 v = _mm512_maskz_loadu_ps(zt_first(C - c), x + c);
        sum = _mm512_fmadd_ps(v, v, sum);
    }
    return sqrtf((float)C) / fmaxf(sqrtf(_mm512_reduce_add_ps(sum)), 1e-12f);
}

static void row(const history *h, int m)
{
    const int C = h->x.n[3], wide = h->out.n[3];
    const size_t e = zt_type_bytes(h->out.type);
    const float *x = zt_f32(h->x) + m * h->x.step[2];
    char *to = (char *)h->out.data + (size_t)m * wide * e;
    const __m512 scale = _mm512_set1_ps(h->gamma ? scale_of(x, C) : 1);

    for (int c = 0; c < C; c += 16) {
        const __mmask16 k = zt_first(C - c);
        __m512 v = _mm512_maskz_loadu_ps(k, x + c);
        if (h->gamma)
            v = _mm512_mul_ps(_mm512_mul_ps(v, scale), _mm512_maskz_loadu_ps(k, h->gamma + c));
        if (h->act == ZT_ACT_SILU)
            v = zt_silu512(v);
        if (e == 4)
            _mm512_mask_storeu_ps(to + c * e, k, v);
        else
            _mm256_mask_storeu_epi16(to + c * e, k, (__m256i)_mm512_cvtneps_pbh(v));
    }
    if (!h->past)
        return;
    char *old = h->past + (size_t)m * 2 * C * e;
    copy(to + C * e, old, 2 * C * e);
    copy(old, to, 2 * C * e);
}

static void job(void *cookie, int i, int thread)
{
    const history *h = cookie;
    const int to = ZT_MIN((i + 1) * ROWS, h->x.n[2]);
    (void)thread;
    for (int m = i * ROWS; m < to; m++)
        row(h, m);
}

void zt_history_avx512(struct zt_device *d, zt_tensor out, void *past, zt_tensor x, const float *gamma,
                       enum zt_act act)
{
    assert(out.n[2] == x.n[2] && out.n[3] == (past ? 3 : 1) * x.n[3]);
    assert(out.type == ZT_F32 || out.type == ZT_BF16);
    history h = { out, x, past, gamma, act };
    zt_parallel_for(d, (x.n[2] + ROWS - 1) / ROWS, job, &h);
}
