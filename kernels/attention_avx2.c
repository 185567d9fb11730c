// SPDX-License-Identifier: Apache-2.0
// Attention over slots of keys, AVX2: 6 queries against all keys, softmax in two passes.
//
// As attention_avx512.c; bf16 and 8 bits are widened where they are multiplied, so they save memory only.
// Measured, Zen 4, one core, 144 queries x 1152 keys of d64: f32 94 GF/s (0.80 of the FMA peak),
// bf16 90.
#include <math.h>

#include "base/base.h"
#include "kernels/attention.h"
#include "kernels/tile_avx2.h"

enum { ROWS = 6 };

// What goes with a tile: its queries as they are multiplied, and its softmax.
typedef struct tile {
    const zt_attention_tile *at;
    float                   *q;             // [6][D]; whole numbers when the cache is I8
    float                   *scale, *shift; // I8: [slots][6]: logit = sum * scale + shift
    float                    inverse[ROWS]; // 1 / sum of the row's probabilities
} tile;

// q / sqrt(D), rounded to bf16 where the cache is; rows that the tile lacks are zero.
static void load_queries(tile *t, int R)
{
    const zt_kv *kv = t->at->span->kv;
    const int D = kv->D;
    const __m256 scale = _mm256_set1_ps(1 / sqrtf((float)D));

    for (int r = 0; r < R; r++) {
        for (int d = 0; d < D; d += 8) {
            __m256 x = _mm256_setzero_ps();
            if (r < t->at->rows)
                x = _mm256_mul_ps(_mm256_loadu_ps(t->at->q + r * t->at->q_step + d), scale);
            if (kv->type == ZT_BF16)
                x = zt_bf16_round8(x);
            _mm256_storeu_ps(t->q + r * D + d, x);
        }
    }
}

static float max_of(const float *s, int n)
{
    __m256 max = _mm256_loadu_ps(s);
    for (int i = 8; i < n; i += 8)
        max = _mm256_max_ps(max, _mm256_loadu_ps(s + i));
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(max), _mm256_extractf128_ps(max, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

static const float *scales(const tile *t, int slot)
{
    const zt_span *span = t->at->span;
    const size_t head = (size_t)span->slot[slot] * (size_t)span->kv->H + (size_t)t->at->h;
    return span->kv->scale + head * zt_kv_scales(span->kv);
}

// Row r of q as whole numbers, and what makes logits of their products with a slot's keys.
static void quantise_query(tile *t, int r)
{
    const int D = t->at->span->kv->D;
    const float *q = t->at->q + ZT_MIN(r, t->at->rows - 1) * t->at->q_step, root = sqrtf((float)D);
    __m256 m = _mm256_setzero_ps();
    for (int d = 0; d < D; d += 8)
        m = _mm256_max_ps(m, _mm256_andnot_ps(_mm256_set1_ps(-0.0f), _mm256_loadu_ps(q + d)));
    float lane[8];
    _mm256_storeu_ps(lane, m);
    const float max = max_of(lane, 8);
    const bool zero = max < 0x1p-100f;
    const __m256 inverse = _mm256_set1_ps(zero ? 0 : 127 / max);
    for (int d = 0; d < D; d += 8)
        _mm256_storeu_ps(t->q + r * D + d, _mm256_round_ps(_mm256_mul_ps(_mm256_loadu_ps(q + d), inverse), 8));
    for (int i = 0; i < t->at->span->n; i++) {
        const float *mean = scales(t, i);
        __m256 sum = _mm256_setzero_ps();
        for (int d = 0; d < D; d += 8)
            sum = _mm256_fmadd_ps(_mm256_loadu_ps(q + d), _mm256_loadu_ps(mean + d), sum);
        t->shift[i * ROWS + r] = zt_sum8(sum) / root;
        t->scale[i * ROWS + r] = (zero ? 0 : max / 127) * mean[2 * D] / root;
    }
}

// Of 8 keys: none, or from memory; -inf where only `valid` of them are keys
static inline __m256 bias8(const float *bias, int valid)
{
    const __m256i lanes = zt_first8(valid);
    const __m256 b = bias ? _mm256_maskload_ps(bias, lanes) : _mm256_setzero_ps();
    return _mm256_blendv_ps(_mm256_set1_ps(-INFINITY), b, _mm256_castsi256_ps(lanes));
}

// Logits of the span's 16 keys from `block` of a slot; bias added, padding -inf.
ZT_INLINE void logits_block(const enum zt_type type, const int R, tile *t, int slot, int block)
{
    const zt_span *span = t->at->span;
    const zt_kv *kv = span->kv;
    const int D = kv->D, key0 = block * 16;
    const size_t at = ((size_t)t->at->h * kv->keys + key0) * D * zt_type_bytes(type);
    const char *k = (const char *)kv->k + span->slot[slot] * zt_kv_slot_bytes(kv) + at;
    float *s = t->at->s + slot * kv->keys + key0;
    __m256 acc[2 * ROWS];

#pragma GCC unroll 12
    for (int i = 0; i < 2 * R; i++)
        acc[i] = _mm256_setzero_ps();
    if (type == ZT_I8) {
        zt_tile_mac8_i8(R, acc, t->q, D, k, 64, D, (int)0x80808080);
#pragma GCC unroll 12
        for (int i = 0; i < 2 * R; i++)
            acc[i] = _mm256_fmadd_ps(acc[i], _mm256_set1_ps(t->scale[slot * ROWS + i / 2]),
                                     _mm256_set1_ps(t->shift[slot * ROWS + i / 2]));
    } else {
        zt_tile_mac8(type == ZT_BF16, R, acc, t->q, D, k, 64, D);
    }

    const float *bias = span->bias ? span->bias + slot * kv->valid + key0 : NULL;
    const __m256 half[2] = { bias8(bias, kv->valid - key0), bias8(bias ? bias + 8 : NULL, kv->valid - key0 - 8) };
#pragma GCC unroll 12
    for (int i = 0; i < 2 * R; i++)
        _mm256_storeu_ps(s + i / 2 * t->at->s_step + i % 2 * 8, _mm256_add_ps(acc[i], half[i % 2]));
}

// 2^x for x <= 0, to 1.2e-7; below -126 it stays at 2^-126.
static inline __m256 exp2_negative(__m256 x)
{
    x = _mm256_max_ps(x, _mm256_set1_ps(-126));
    const __m256i n = _mm256_cvtps_epi32(x);
    const __m256 f = _mm256_sub_ps(x, _mm256_cvtepi32_ps(n));
    __m256 p = _mm256_set1_ps(0x1.41d334p-13f);
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0x1.5f456ap-10f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0x1.3b2dbcp-7f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0x1.c6aed4p-5f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0x1.ebfbdap-3f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0x1.62e430p-1f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(1));
    const __m256i power = _mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23);
    return _mm256_mul_ps(p, _mm256_castsi256_ps(power));
}

// s[r][0..keys) becomes exp(s - max), rounded as the cache's type has it.
static void softmax(enum zt_type type, int R, tile *t, int keys)
{
    const float log2e = 1.44269504f;
    const __m256 scale = _mm256_set1_ps(log2e);

    for (int r = 0; r < R; r++) {
        float *s = t->at->s + r * t->at->s_step;
        const __m256 shift = _mm256_set1_ps(max_of(s, keys) * log2e);
        __m256 sum = _mm256_setzero_ps();
        for (int i = 0; i < keys; i += 8) {
            __m256 p = exp2_negative(_mm256_fmsub_ps(_mm256_loadu_ps(s + i), scale, shift));
            if (type == ZT_I8)
                p = _mm256_round_ps(_mm256_mul_ps(p, _mm256_set1_ps(255)), 8);
            sum = _mm256_add_ps(sum, p);
            _mm256_storeu_ps(s + i, type == ZT_BF16 ? zt_bf16_round8(p) : p);
        }
        t->inverse[r] = 1 / zt_sum8(sum);
    }
}

// 16 of the head's dims from d: P.V over all slots, times 1 / sum.
ZT_INLINE void values_block(const enum zt_type type, const int R, tile *t, int d)
{
    const zt_span *span = t->at->span;
    const zt_kv *kv = span->kv;
    const int P = 4 / (int)zt_type_bytes(type), used = (kv->valid + P - 1) / P * P;
    const size_t slot_bytes = zt_kv_slot_bytes(kv);
    const size_t at = ((size_t)t->at->h * (kv->keys / P) * kv->D + d) * 4;
    __m256 acc[2 * ROWS], whole[2 * ROWS];

#pragma GCC unroll 12
    for (int i = 0; i < 2 * R; i++)
        acc[i] = whole[i] = _mm256_setzero_ps();
    for (int i = 0; i < span->n; i++) {
        const char *v = (const char *)kv->v + span->slot[i] * slot_bytes + at;
        const float *p = t->at->s + i * kv->keys, *scale = scales(t, i) + kv->D + d;
        if (type != ZT_I8) {
            zt_tile_mac8(type == ZT_BF16, R, acc, p, t->at->s_step, v, kv->D * 4, used);
            continue;
        }
        zt_tile_mac8_i8(R, acc, p, t->at->s_step, v, kv->D * 4, used, 0);
#pragma GCC unroll 12
        for (int r = 0; r < 2 * R; r++) {
            whole[r] = _mm256_fmadd_ps(acc[r], _mm256_loadu_ps(scale + r % 2 * 8), whole[r]);
            acc[r] = _mm256_setzero_ps();
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) {
        if (r >= t->at->rows)
            break;
        float *out = t->at->out + r * t->at->out_step + d;
        const __m256 scale = _mm256_set1_ps(t->inverse[r]), *sum = type == ZT_I8 ? whole : acc;
        _mm256_storeu_ps(out, _mm256_mul_ps(sum[2 * r], scale));
        _mm256_storeu_ps(out + 8, _mm256_mul_ps(sum[2 * r + 1], scale));
    }
}

ZT_INLINE void attend(const enum zt_type type, const int R, tile *t)
{
    const zt_span *span = t->at->span;

    for (int i = 0; i < span->n; i++)
        for (int block = 0; block < span->kv->keys / 16; block++)
            logits_block(type, R, t, i, block);
    softmax(type, R, t, zt_span_keys(span));
    for (int d = 0; d < span->kv->D; d += 16)
        values_block(type, R, t, d);
}

#define VARIANT(name, type, R)          \
    static void name(tile *t)           \
    {                                   \
        attend(type, R, t);             \
    }
VARIANT(attend_f32_2, ZT_F32, 2)
VARIANT(attend_f32_4, ZT_F32, 4)
VARIANT(attend_f32_6, ZT_F32, 6)
VARIANT(attend_bf16_2, ZT_BF16, 2)
VARIANT(attend_bf16_4, ZT_BF16, 4)
VARIANT(attend_bf16_6, ZT_BF16, 6)
VARIANT(attend_i8_2, ZT_I8, 2)
VARIANT(attend_i8_4, ZT_I8, 4)
VARIANT(attend_i8_6, ZT_I8, 6)
#undef VARIANT

typedef void attend_fn(tile *t);
static attend_fn *const attends[ZT_I8 + 1][ROWS / 2] = {
    [ZT_F32] = { attend_f32_2, attend_f32_4, attend_f32_6 },
    [ZT_BF16] = { attend_bf16_2, attend_bf16_4, attend_bf16_6 },
    [ZT_I8] = { attend_i8_2, attend_i8_4, attend_i8_6 },
};

static void attend_tile(const zt_attention_tile *at)
{
    const zt_kv *kv = at->span->kv;
    tile t = { .at = at, .q = at->spare, .scale = at->spare + ROWS * kv->D };
    t.shift = t.scale + ROWS * at->span->n;
    const int twos = (at->rows + 1) / 2;

    if (kv->type != ZT_I8)
        load_queries(&t, twos * 2);
    for (int r = 0; r < twos * 2 && kv->type == ZT_I8; r++)
        quantise_query(&t, r);
    attends[kv->type][twos - 1](&t);
}

void zt_attention_avx2(struct zt_device *d, zt_tensor out, zt_tensor q, const zt_span *span, int n)
{
    for (int i = 0; i < n; i++) {
        if (span[i].kv->D % 16) {           // no model that is worth more code
            zt_attention_c(d, out, q, span, n);
            return;
        }
    }
    zt_attention_tiled(d, out, q, span, n, ROWS, attend_tile);
}
