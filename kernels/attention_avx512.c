// SPDX-License-Identifier: Apache-2.0
// Attention over slots of keys, AVX-512: a tile of queries against all keys, softmax in two passes.
//
// 12 queries x all keys of the span: logits (12 x 1152 f32 are 54 KB, in L2), row maxima while they
// are stored, one pass of exp that packs the probabilities over the logits, then P.V.  A query and
// a key cost 4 D flops of dot products and one exp.  An exact maximum needs no rescaling of the
// output, and the phases are long loops at full rate.
// Measured, Zen 4, one core, 144 queries x 1152 keys: d64 bf16 190 GF/s (0.81 of the peak), f32 104
// (0.89); d128 bf16 209, d32 160; 144 keys d64 179. A shorter exp changes nothing measurable.
#include <math.h>

#include "base/base.h"
#include "kernels/attention.h"
#include "kernels/tile_avx512.h"

enum { ROWS = 12 };

// What goes with a tile: its queries as they are multiplied, and its softmax.
typedef struct tile {
    const zt_attention_tile *at;
    uint32_t                *q;             // [12][D] f32, or [12][D/2] pairs of bf16
    __m512                   max[ROWS];
    float                    inverse[ROWS]; // 1 / sum of the row's probabilities
} tile;

// q / sqrt(D), rounded to bf16 where the cache is; rows that the tile lacks are zero.
static void load_queries(tile *t, int R)
{
    const zt_kv *kv = t->at->span->kv;
    const int D = kv->D;
    const __m512 scale = _mm512_set1_ps(1 / sqrtf((float)D));

    for (int r = 0; r < R; r++) {
        for (int d = 0; d < D; d += 16) {
            __m512 x = _mm512_setzero_ps();
            if (r < t->at->rows)
                x = _mm512_mul_ps(_mm512_loadu_ps(t->at->q + r * t->at->q_step + d), scale);
            if (kv->type == ZT_BF16)
                _mm256_storeu_si256((__m256i *)(t->q + (r * D + d) / 2),
                                    (__m256i)_mm512_cvtneps_pbh(x));
            else
                _mm512_storeu_ps(t->q + r * D + d, x);
        }
        t->max[r] = _mm512_set1_ps(-INFINITY);
    }
}

// Logits of C blocks of 16 keys: dot products, bias, padding to -inf, maxima.
ZT_INLINE void logits_block(const bool bf16, const int R, const int C, tile *t, int at,
                            const char *const *k, const float *const *bias, const __mmask16 *valid)
{
    const int units = bf16 ? t->at->span->kv->D / 2 : t->at->span->kv->D;
    __m512 acc[24];
#pragma GCC unroll 24
    for (int i = 0; i < R * C; i++)
        acc[i] = _mm512_setzero_ps();
    zt_tile_mac(bf16, R, C, acc, t->q, units, k, 64, units);

    const __m512 lowest = _mm512_set1_ps(-INFINITY);
#pragma GCC unroll 2
    for (int c = 0; c < C; c++) {
        const __m512 b = bias[c] ? _mm512_maskz_loadu_ps(valid[c], bias[c])
                                 : _mm512_setzero_ps();
#pragma GCC unroll 12
        for (int r = 0; r < R; r++) {
            const __m512 x = _mm512_mask_add_ps(lowest, valid[c], acc[r * C + c], b);
            t->max[r] = _mm512_max_ps(t->max[r], x);
            _mm512_store_ps(t->at->s + r * t->at->s_step + at + c * 16, x);
        }
    }
}

ZT_INLINE void logits(const bool bf16, const int R, tile *t)
{
    const zt_span *span = t->at->span;
    const zt_kv *kv = span->kv;
    const int blocks = kv->keys / 16, n = span->n * blocks;
    const size_t slot_bytes = zt_kv_slot_bytes(kv), block_bytes = (size_t)kv->D * (bf16 ? 32 : 64);
    const char *k[2];
    const float *bias[2];
    __mmask16 valid[2];

    for (int i = 0, c = 0; i < n; i++) {
        const int slot = i / blocks, block = i % blocks, left = kv->valid - block * 16;
        k[c] = (const char *)kv->k + span->slot[slot] * slot_bytes
             + ((size_t)t->at->h * blocks + block) * block_bytes;
        bias[c] = span->bias ? span->bias + slot * kv->valid + block * 16 : NULL;
        valid[c] = left > 0 ? zt_first(left) : 0;
        if (++c == 2)
            logits_block(bf16, R, 2, t, (i - 1) * 16, k, bias, valid), c = 0;
        else if (i == n - 1)
            logits_block(bf16, R, 1, t, i * 16, k, bias, valid);
    }
}

// 2^x for x <= 0, to 3e-6 (degree 4) or 1.2e-7 (degree 6); below -126 it stays at 2^-126.
ZT_INLINE __m512 exp2_negative(const bool coarse, __m512 x)
{
    x = _mm512_max_ps(x, _mm512_set1_ps(-126));
    const __m512 n = _mm512_roundscale_ps(x, 0), f = _mm512_sub_ps(x, n);
    __m512 p;
    if (coarse) {
        p = _mm512_set1_ps(0x1.3997d6p-7f);
        p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0x1.ca1442p-5f));
        p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0x1.ec06dap-3f));
        p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0x1.62e0dcp-1f));
        p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0x1.ffffe8p-1f));
    } else {
        p = _mm512_set1_ps(0x1.41d334p-13f);
        p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0x1.5f456ap-10f));
        p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0x1.3b2dbcp-7f));
        p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0x1.c6aed4p-5f));
        p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0x1.ebfbdap-3f));
        p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0x1.62e430p-1f));
        p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1));
    }
    return _mm512_scalef_ps(p, n);
}

// s[r][0..keys) becomes exp(s - max), as bf16 pairs in the first half of the row when bf16.
ZT_INLINE void softmax(const bool bf16, const int R, tile *t, int keys)
{
    const float log2e = 1.44269504f;
    const __m512 scale = _mm512_set1_ps(log2e);

    for (int r = 0; r < R; r++) {
        float *s = t->at->s + r * t->at->s_step;
        const __m512 shift = _mm512_set1_ps(_mm512_reduce_max_ps(t->max[r]) * log2e);
        __m512 sum = _mm512_setzero_ps();
        for (int i = 0; i < keys; i += 16) {
            const __m512 x = _mm512_fmsub_ps(_mm512_load_ps(s + i), scale, shift);
            const __m512 p = exp2_negative(bf16, x);
            sum = _mm512_add_ps(sum, p);
            if (bf16)
                _mm256_store_si256((__m256i *)(s + i / 2), (__m256i)_mm512_cvtneps_pbh(p));
            else
                _mm512_store_ps(s + i, p);
        }
        t->inverse[r] = 1 / _mm512_reduce_add_ps(sum);
    }
}

// C vectors of the head's dims from d: P.V over all slots, times 1 / sum.
ZT_INLINE void values_block(const bool bf16, const int R, const int C, tile *t, int d)
{
    const zt_span *span = t->at->span;
    const zt_kv *kv = span->kv;
    const int P = bf16 ? 2 : 1, pairs = kv->keys / P, used = (kv->valid + P - 1) / P;
    const size_t slot_bytes = zt_kv_slot_bytes(kv), at = ((size_t)t->at->h * pairs * kv->D + d) * 4;
    __m512 acc[24];

#pragma GCC unroll 24
    for (int i = 0; i < R * C; i++)
        acc[i] = _mm512_setzero_ps();
    for (int i = 0; i < span->n; i++) {
        const char *v = (const char *)kv->v + span->slot[i] * slot_bytes + at;
        const char *vc[2] = { v, v + 64 };
        const uint32_t *p = (const uint32_t *)t->at->s + i * pairs;
        zt_tile_mac(bf16, R, C, acc, p, t->at->s_step, vc, kv->D * 4, used);
    }
#pragma GCC unroll 12
    for (int r = 0; r < R; r++) {
        if (r >= t->at->rows)
            break;
        float *out = t->at->out + r * t->at->out_step + d;
        const __m512 scale = _mm512_set1_ps(t->inverse[r]);
        _mm512_storeu_ps(out, _mm512_mul_ps(acc[r * C], scale));
        if (C > 1)
            _mm512_storeu_ps(out + 16, _mm512_mul_ps(acc[r * C + 1], scale));
    }
}

ZT_INLINE void attend(const bool bf16, const int R, tile *t)
{
    const int D = t->at->span->kv->D;
    int d = 0;

    logits(bf16, R, t);
    softmax(bf16, R, t, zt_span_keys(t->at->span));
    for (; d + 32 <= D; d += 32)
        values_block(bf16, R, 2, t, d);
    if (d < D)
        values_block(bf16, R, 1, t, d);
}

#define VARIANT(name, bf16, R)          \
    static void name(tile *t)           \
    {                                   \
        attend(bf16, R, t);             \
    }
VARIANT(attend_f32_4, false, 4)
VARIANT(attend_f32_8, false, 8)
VARIANT(attend_f32_12, false, 12)
VARIANT(attend_bf16_4, true, 4)
VARIANT(attend_bf16_8, true, 8)
VARIANT(attend_bf16_12, true, 12)
#undef VARIANT

typedef void attend_fn(tile *t);
static attend_fn *const attends[2][ROWS / 4] = {
    { attend_f32_4, attend_f32_8, attend_f32_12 },
    { attend_bf16_4, attend_bf16_8, attend_bf16_12 },
};

static void attend_tile(const zt_attention_tile *at)
{
    if (at->span->kv->type == ZT_I8) {
        zt_attend_i8_avx512(at);
        return;
    }
    tile t = { .at = at, .q = (uint32_t *)at->spare };
    const int fours = (at->rows + 3) / 4;

    load_queries(&t, fours * 4);
    attends[at->span->kv->type == ZT_BF16][fours - 1](&t);
}

void zt_attention_avx512(struct zt_device *d, zt_tensor out, zt_tensor q, const zt_span *span,
                         int n)
{
    zt_attention_tiled(d, out, q, span, n, ROWS, attend_tile);
}
