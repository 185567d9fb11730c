// SPDX-License-Identifier: Apache-2.0
// Attention over slots of keys, AVX2: 6 queries against all keys, softmax in two passes.
//
// As attention_avx512.c; bf16 is widened where it is multiplied, so it saves memory only.
// Measured, Zen 4, one core, 144 queries x 1152 keys of d64: f32 94 GF/s (0.80 of the FMA peak),
// bf16 90.
#include <assert.h>
#include <math.h>

#include "base/base.h"
#include "kernels/device.h"
#include "kernels/tile_avx2.h"

zt_attention_fn zt_attention_avx2;

enum { ROWS = 6 };

// One head of a few queries, and what a thread works in: the logits, which become probabilities.
typedef struct tile {
    const zt_span *span;
    int            h;
    const float   *q_in;            // the first query's head
    float         *out;
    int64_t        q_step, out_step;
    int            rows;            // of q and out; the tile computes an even number
    float         *s;               // [6][s_step]
    ptrdiff_t      s_step;
    float         *q;               // [6][D]
    float          inverse[ROWS];   // 1 / sum of the row's probabilities
} tile;

typedef struct attention {
    zt_tensor      out, q;
    const zt_span *span;
    float         *scratch;
    size_t         scratch_floats;  // per thread
    ptrdiff_t      s_step;
} attention;

static int span_keys(const zt_span *s)
{
    return s->n * s->kv->keys;
}

static int span_jobs(const zt_span *s)
{
    return (s->rows + ROWS - 1) / ROWS * s->kv->H;
}

// q / sqrt(D), rounded to bf16 where the cache is; rows that the tile lacks are zero.
static void load_queries(tile *t, int R)
{
    const zt_kv *kv = t->span->kv;
    const int D = kv->D;
    const __m256 scale = _mm256_set1_ps(1 / sqrtf((float)D));

    for (int r = 0; r < R; r++) {
        for (int d = 0; d < D; d += 8) {
            __m256 x = _mm256_setzero_ps();
            if (r < t->rows)
                x = _mm256_mul_ps(_mm256_loadu_ps(t->q_in + r * t->q_step + d), scale);
            if (kv->type == ZT_BF16)
                x = zt_bf16_round8(x);
            _mm256_storeu_ps(t->q + r * D + d, x);
        }
    }
}

// Logits of the span's 16 keys from `block` of a slot; bias added, padding -inf.
ZT_INLINE void logits_block(const bool bf16, const int R, tile *t, int slot, int block)
{
    const zt_span *span = t->span;
    const zt_kv *kv = span->kv;
    const int D = kv->D, key0 = block * 16;
    const size_t at = ((size_t)t->h * kv->keys + key0) * D * (bf16 ? 2 : 4);
    const char *k = (const char *)kv->k + span->slot[slot] * zt_kv_slot_bytes(kv) + at;
    float *s = t->s + slot * kv->keys + key0;
    __m256 acc[2 * ROWS];

#pragma GCC unroll 12
    for (int i = 0; i < 2 * R; i++)
        acc[i] = _mm256_setzero_ps();
    zt_tile_mac8(bf16, R, acc, t->q, D, k, 64, D);

    const int valid = kv->valid - key0;
    float bias[16] = { 0 };
    for (int j = 0; j < 16; j++) {
        if (j >= valid)
            bias[j] = -INFINITY;
        else if (span->bias)
            bias[j] = span->bias[slot * kv->valid + key0 + j];
    }
    const __m256 half[2] = { _mm256_loadu_ps(bias), _mm256_loadu_ps(bias + 8) };
#pragma GCC unroll 12
    for (int i = 0; i < 2 * R; i++)
        _mm256_storeu_ps(s + i / 2 * t->s_step + i % 2 * 8, _mm256_add_ps(acc[i], half[i % 2]));
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

static float max_of(const float *s, int n)
{
    __m256 max = _mm256_loadu_ps(s);
    for (int i = 8; i < n; i += 8)
        max = _mm256_max_ps(max, _mm256_loadu_ps(s + i));
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(max), _mm256_extractf128_ps(max, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

// s[r][0..keys) becomes exp(s - max), rounded to bf16 when bf16.
static void softmax(bool bf16, int R, tile *t, int keys)
{
    const float log2e = 1.44269504f;
    const __m256 scale = _mm256_set1_ps(log2e);

    for (int r = 0; r < R; r++) {
        float *s = t->s + r * t->s_step;
        const __m256 shift = _mm256_set1_ps(max_of(s, keys) * log2e);
        __m256 sum = _mm256_setzero_ps();
        for (int i = 0; i < keys; i += 8) {
            const __m256 p = exp2_negative(_mm256_fmsub_ps(_mm256_loadu_ps(s + i), scale, shift));
            sum = _mm256_add_ps(sum, p);
            _mm256_storeu_ps(s + i, bf16 ? zt_bf16_round8(p) : p);
        }
        t->inverse[r] = 1 / zt_sum8(sum);
    }
}

// 16 of the head's dims from d: P.V over all slots, times 1 / sum.
ZT_INLINE void values_block(const bool bf16, const int R, tile *t, int d)
{
    const zt_span *span = t->span;
    const zt_kv *kv = span->kv;
    const int P = bf16 ? 2 : 1, used = (kv->valid + P - 1) / P * P;
    const size_t slot_bytes = zt_kv_slot_bytes(kv);
    const size_t at = ((size_t)t->h * (kv->keys / P) * kv->D + d) * 4;
    __m256 acc[2 * ROWS];

#pragma GCC unroll 12
    for (int i = 0; i < 2 * R; i++)
        acc[i] = _mm256_setzero_ps();
    for (int i = 0; i < span->n; i++) {
        const char *v = (const char *)kv->v + span->slot[i] * slot_bytes + at;
        zt_tile_mac8(bf16, R, acc, t->s + i * kv->keys, t->s_step, v, kv->D * 4, used);
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) {
        if (r >= t->rows)
            break;
        float *out = t->out + r * t->out_step + d;
        const __m256 scale = _mm256_set1_ps(t->inverse[r]);
        _mm256_storeu_ps(out, _mm256_mul_ps(acc[2 * r], scale));
        _mm256_storeu_ps(out + 8, _mm256_mul_ps(acc[2 * r + 1], scale));
    }
}

ZT_INLINE void attend(const bool bf16, const int R, tile *t)
{
    const zt_span *span = t->span;

    for (int i = 0; i < span->n; i++)
        for (int block = 0; block < span->kv->keys / 16; block++)
            logits_block(bf16, R, t, i, block);
    softmax(bf16, R, t, span_keys(span));
    for (int d = 0; d < span->kv->D; d += 16)
        values_block(bf16, R, t, d);
}

#define VARIANT(name, bf16, R)          \
    static void name(tile *t)           \
    {                                   \
        attend(bf16, R, t);             \
    }
VARIANT(attend_f32_2, false, 2)
VARIANT(attend_f32_4, false, 4)
VARIANT(attend_f32_6, false, 6)
VARIANT(attend_bf16_2, true, 2)
VARIANT(attend_bf16_4, true, 4)
VARIANT(attend_bf16_6, true, 6)
#undef VARIANT

typedef void attend_fn(tile *t);
static attend_fn *const attends[2][ROWS / 2] = {
    { attend_f32_2, attend_f32_4, attend_f32_6 },
    { attend_bf16_2, attend_bf16_4, attend_bf16_6 },
};

static void attention_job(void *cookie, int i, int thread)
{
    const attention *a = cookie;
    const zt_span *span = a->span;
    for (; i >= span_jobs(span); span++)
        i -= span_jobs(span);

    const int tiles = (span->rows + ROWS - 1) / ROWS, h = i / tiles, from = i % tiles * ROWS;
    const int64_t row = span->row0 + from, column = (int64_t)h * span->kv->D;
    float *scratch = a->scratch + thread * a->scratch_floats;
    tile t = {
        .span = span, .h = h, .rows = ZT_MIN(span->rows - from, ROWS),
        .q_in = zt_f32(a->q) + row * a->q.step[2] + column, .q_step = a->q.step[2],
        .out = zt_f32(a->out) + row * a->out.step[2] + column, .out_step = a->out.step[2],
        .s = scratch, .s_step = a->s_step, .q = scratch + ROWS * a->s_step,
    };
    const int twos = (t.rows + 1) / 2;

    load_queries(&t, twos * 2);
    attends[span->kv->type == ZT_BF16][twos - 1](&t);
}

void zt_attention_avx2(struct zt_device *d, zt_tensor out, zt_tensor q, const zt_span *span, int n)
{
    int keys = 16, D = 16, jobs = 0;
    for (int i = 0; i < n; i++) {
        const zt_kv *kv = span[i].kv;
        assert(kv->keys % 16 == 0 && span[i].n > 0 && kv->valid > 0 && kv->valid <= kv->keys);
        if (kv->D % 16) {                   // no model that is worth more code
            zt_attention_c(d, out, q, span, n);
            return;
        }
        keys = ZT_MAX(keys, span_keys(&span[i]));
        D = ZT_MAX(D, kv->D);
        jobs += span_jobs(&span[i]);
    }
    attention a = { .out = out, .q = q, .span = span };
    a.s_step = keys | 16;           // an odd number of cache lines: rows fall into different sets
    a.scratch_floats = (size_t)zt_round_up(ROWS * (a.s_step + D), 16);
    a.scratch = zt_scratch(d, a.scratch_floats * sizeof(float) * d->threads);
    if (a.scratch)
        zt_parallel_for(d, jobs, attention_job, &a);
}
