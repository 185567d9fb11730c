// SPDX-License-Identifier: Apache-2.0
// A tile of attention over keys and values of 8 bits, AVX-512.
//
// 12 queries x all keys of the span, in three phases. Products of 8 bits give exact sums; a row's logits become 16-bit
// fixed point, 1/64 of a factor of two from one to the next, in the order that packing leaves them. Softmax works on
// 32 of those at once: the distance from the largest gives an index into 64 powers of two and a shift. Its 8-bit
// probabilities take the place of the logits, in order again. The sums over a slot's values become floats, for every
// slot has scales of its own. A query and a key cost 4 D operations of vpdpbusd, and about 8 more instructions for
// each 16 keys.
#include <math.h>
#include <string.h>

#include "base/base.h"
#include "kernels/attention.h"
#include "kernels/tile_avx512.h"

enum { ROWS = 12, FRACTION = 64, ZERO = 32768 };     // a logit of 0 is stored as ZERO

typedef struct tile {
    const zt_attention_tile *at;
    int32_t  *q;                    // [D/4][R]: quads of dims
    float    *sum;                  // [12][D]: of probabilities and values
    char     *s;                    // [12][s_step]: logits [keys] of 16 bits, then probabilities [keys] of 8
    ptrdiff_t s_step;               // bytes
    float    *scale, *shift;        // [slots][12]: logit = integer sum * scale + shift, in stored units
    int32_t  *start;                // [12]: -128 * the sum of q, for keys are stored + 128
    float     inverse[ROWS];        // 1 / sum of the row's probabilities
} tile;

// 2^(-i / 64) * 255 * 256
static const uint16_t powers[FRACTION] = {
    65280, 64577, 63881, 63193, 62512, 61839, 61173, 60514, 59862, 59217, 58579, 57948, 57324, 56707, 56096, 55491,
    54894, 54302, 53717, 53139, 52566, 52000, 51440, 50886, 50338, 49796, 49259, 48729, 48204, 47684, 47171, 46663,
    46160, 45663, 45171, 44684, 44203, 43727, 43256, 42790, 42329, 41873, 41422, 40976, 40534, 40098, 39666, 39238,
    38816, 38398, 37984, 37575, 37170, 36770, 36374, 35982, 35594, 35211, 34831, 34456, 34085, 33718, 33355, 32995,
};

static int blocks(const zt_kv *kv)
{
    return kv->keys / 16;
}

static const float *scales(const zt_span *span, int slot, int h)
{
    const zt_kv *kv = span->kv;
    return kv->scale + ((size_t)span->slot[slot] * (size_t)kv->H + (size_t)h) * zt_kv_scales(kv);
}

// Sums (or maxima) of the lanes of v[0..4)
ZT_INLINE __m128 reduce4(const bool max, const __m512 v[4])
{
#define ADD(a, b) (max ? _mm512_max_ps(a, b) : _mm512_add_ps(a, b))
    const __m512 a = ADD(_mm512_unpacklo_ps(v[0], v[1]), _mm512_unpackhi_ps(v[0], v[1]));
    const __m512 b = ADD(_mm512_unpacklo_ps(v[2], v[3]), _mm512_unpackhi_ps(v[2], v[3]));
    const __m512 lo = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
    const __m512 hi = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
    __m512 c = ADD(lo, hi);
    c = ADD(c, _mm512_shuffle_f32x4(c, c, 0x4e));
    c = ADD(c, _mm512_shuffle_f32x4(c, c, 0xb1));
#undef ADD
    return _mm512_castps512_ps128(c);
}

// Rows r..r+4 of q: quantised. scale: of each
ZT_INLINE void quantise4(const tile *t, const int R, int r, const float *const q[4], float scale[4])
{
    const int D = t->at->span->kv->D;
    __m512 m[4] = { _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps() };
    for (int i = 0; i < D; i += 16) {
        for (int k = 0; k < 4; k++)
            m[k] = _mm512_max_ps(m[k], _mm512_abs_ps(_mm512_loadu_ps(q[k] + i)));
    }
    const __m128 max = reduce4(true, m);
    const __mmask8 some = _mm_cmp_ps_mask(max, _mm_set1_ps(0x1p-100f), _CMP_GE_OQ);
    float inverse[4];
    _mm_storeu_ps(scale, _mm_maskz_div_ps(some, max, _mm_set1_ps(127)));
    _mm_storeu_ps(inverse, _mm_maskz_div_ps(some, _mm_set1_ps(127), max));

    for (int k = 0; k < 4; k++) {
        __m512i sum = _mm512_setzero_si512();
        for (int i = 0; i < D; i += 16) {
            const __m512i x = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(q[k] + i), _mm512_set1_ps(inverse[k])));
            int32_t quad[4];
            _mm_storeu_si128((__m128i *)quad, _mm512_cvtepi32_epi8(x));
            for (int j = 0; j < 4; j++)
                t->q[(i / 4 + j) * R + r + k] = quad[j];
            sum = _mm512_add_epi32(sum, x);
        }
        t->start[r + k] = -128 * _mm512_reduce_add_epi32(sum);
    }
}

// Rows r..r+4 of q (the last one for those that the tile lacks): quantised; what the logits of a slot's keys share.
ZT_INLINE void load_queries(const tile *t, const int R, int r)
{
    const zt_attention_tile *at = t->at;
    const int D = at->span->kv->D;
    const float octave = 1.44269504f * FRACTION / sqrtf((float)D);      // of a logit, in stored units
    const float *q[4];
    float scale[4];

    for (int k = 0; k < 4; k++)
        q[k] = at->q + ZT_MIN(r + k, at->rows - 1) * at->q_step;
    quantise4(t, R, r, q, scale);
    for (int j = 0; j < at->span->n; j++) {
        const float *mean = scales(at->span, j, at->h);
        __m512 sum[4] = { _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps() };
        for (int i = 0; i < D; i += 16) {
            for (int k = 0; k < 4; k++)
                sum[k] = _mm512_fmadd_ps(_mm512_loadu_ps(q[k] + i), _mm512_loadu_ps(mean + i), sum[k]);
        }
        _mm_storeu_ps(t->shift + j * ROWS + r,
                      _mm_fmadd_ps(reduce4(false, sum), _mm_set1_ps(octave), _mm_set1_ps(ZERO)));
        _mm_storeu_ps(t->scale + j * ROWS + r, _mm_mul_ps(_mm_loadu_ps(scale), _mm_set1_ps(mean[2 * D] * octave)));
    }
}

// c += a * (*b in every lane); a is unsigned
ZT_INLINE __m512i dot1(__m512i c, __m512i a, const int32_t *b)
{
    __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(c) : "v"(a), "m"(*b));
    return c;
}

// Two blocks of 16 keys, of one slot or of two; n 1: only the first.
typedef struct pair {
    int            at;              // number of the first block in the span
    const uint8_t *k[2];
    const float   *scale[2], *shift[2], *bias[2];
    __mmask16      valid[2];
} pair;

ZT_INLINE __m512i fixed_point(const bool biased, const pair *p, int c, int r, __m512i sum, __m512 bias)
{
    __m512 x = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(p->scale[c][r]),
                               _mm512_set1_ps(p->shift[c][r]));
    if (biased)
        x = _mm512_add_ps(x, bias);
    return _mm512_maskz_cvtps_epi32(p->valid[c], x);
}

ZT_INLINE void logits_pair(const int R, const bool biased, const tile *t, const pair *p)
{
    const int D = t->at->span->kv->D;
    const uint8_t *k0 = p->k[0], *k1 = p->k[1];
    const int32_t *q = t->q;
    __m512i c[24];

#pragma GCC unroll 12
    for (int r = 0; r < R; r++)
        c[2 * r] = c[2 * r + 1] = _mm512_set1_epi32(t->start[r]);
    for (int i = 0; i < D; i += 4, k0 += 64, k1 += 64, q += R) {
        const __m512i v0 = _mm512_load_si512(k0), v1 = _mm512_load_si512(k1);
#pragma GCC unroll 12
        for (int r = 0; r < R; r++) {
            c[2 * r] = dot1(c[2 * r], v0, q + r);
            c[2 * r + 1] = dot1(c[2 * r + 1], v1, q + r);
        }
    }
    __m512 bias[2] = { _mm512_setzero_ps(), _mm512_setzero_ps() };
    for (int i = 0; i < 2 && biased; i++)
        bias[i] = _mm512_mul_ps(_mm512_maskz_loadu_ps(p->valid[i], p->bias[i]), _mm512_set1_ps(1.44269504f * FRACTION));
#pragma GCC unroll 12
    for (int r = 0; r < R; r++) {
        const __m512i x0 = fixed_point(biased, p, 0, r, c[2 * r], bias[0]);
        const __m512i x1 = fixed_point(biased, p, 1, r, c[2 * r + 1], bias[1]);
        _mm512_store_si512(t->s + r * t->s_step + p->at * 32, _mm512_packus_epi32(x0, x1));
    }
}

ZT_INLINE void logits(const int R, const tile *t)
{
    const zt_span *span = t->at->span;
    const zt_kv *kv = span->kv;
    const int n = span->n * blocks(kv);
    const size_t slot_bytes = zt_kv_slot_bytes(kv), head = (size_t)t->at->h * (size_t)kv->keys * (size_t)kv->D;
    pair p = { 0 };

    for (int i = 0; i < n; i++) {
        const int slot = i / blocks(kv), block = i % blocks(kv), left = kv->valid - block * 16, c = i & 1;
        p.k[c] = (const uint8_t *)kv->k + (size_t)span->slot[slot] * slot_bytes + head
               + (size_t)block * 16 * (size_t)kv->D;
        p.scale[c] = t->scale + slot * ROWS;
        p.shift[c] = t->shift + slot * ROWS;
        p.bias[c] = span->bias ? span->bias + slot * kv->valid + block * 16 : NULL;
        p.valid[c] = left > 0 ? zt_first(left) : 0;
        p.at = i - c;
        if (c == 0 && i + 1 < n)
            continue;
        if (c == 0)                         // the last one has no neighbour: itself, of which nothing is stored
            p.k[1] = p.k[0], p.scale[1] = p.scale[0], p.shift[1] = p.shift[0], p.bias[1] = p.bias[0], p.valid[1] = 0;
        if (span->bias)
            logits_pair(R, true, t, &p);
        else
            logits_pair(R, false, t, &p);
    }
}

// round(255 * 2^(-(top - x) / 64)) of 32 logits; top is 7 * 64 above the largest: the shift leaves a bit for rounding.
ZT_INLINE __m512i probabilities(__m512i top, __m512i x, __m512i low, __m512i high)
{
    const __m512i below = _mm512_subs_epu16(top, x);                                // of the index, 6 bits count
    const __m512i power = _mm512_permutex2var_epi16(low, below, high);
    const __m512i p = _mm512_srlv_epi16(power, _mm512_srli_epi16(below, 6));
    return _mm512_avg_epu16(p, _mm512_setzero_si512());
}

// The sum of a row's probabilities, without padding
static int sum_row(const zt_span *span, const uint8_t *p)
{
    const zt_kv *kv = span->kv;
    const __m512i ones = _mm512_set1_epi8(1);
    __m512i sum = _mm512_setzero_si512();
    for (int i = 0; i < span->n; i++, p += kv->keys) {
        for (int j = 0; j < kv->valid; j += 64) {
            const int left = kv->valid - j;
            const __mmask64 m = left >= 64 ? ~0ull : (1ull << left) - 1;
            sum = _mm512_dpbusd_epi32(sum, _mm512_maskz_loadu_epi8(m, p + j), ones);
        }
    }
    return _mm512_reduce_add_epi32(sum);
}

static void softmax(tile *t, int R)
{
    const __m512i low = _mm512_loadu_si512(powers), high = _mm512_loadu_si512(powers + 32);
    // dwords of 4 keys: packing has left those of 4 blocks side by side
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const int keys = zt_span_keys(t->at->span), bytes = (keys + 31) / 32 * 64;      // of logits

    for (int r = 0; r < R; r++) {
        char *s = t->s + r * t->s_step;
        __m512i m0 = _mm512_setzero_si512(), m1 = m0;
        _mm512_store_si512(s + bytes, m0);          // what the last step may read beyond
        for (int i = 0; i < bytes; i += 128) {
            m0 = _mm512_max_epu16(m0, _mm512_load_si512(s + i));
            m1 = _mm512_max_epu16(m1, _mm512_load_si512(s + i + 64));
        }
        m0 = _mm512_max_epu16(m0, m1);
        const __m512i even = _mm512_and_si512(m0, _mm512_set1_epi32(0xffff));
        const unsigned max = _mm512_reduce_max_epu32(_mm512_max_epu32(even, _mm512_srli_epi32(m0, 16)));
        const __m512i top = _mm512_set1_epi16((short)ZT_MIN(max + 7 * FRACTION, 65535u));

        for (int i = 0; i < bytes; i += 128) {
            const __m512i a = probabilities(top, _mm512_load_si512(s + i), low, high);
            const __m512i b = probabilities(top, _mm512_load_si512(s + i + 64), low, high);
            const __m512i p = _mm512_packus_epi16(a, b);
            _mm512_store_si512(s + i / 2, _mm512_permutexvar_epi32(order, p));
        }
        t->inverse[r] = 1 / (float)sum_row(t->at->span, (const uint8_t *)s);
    }
}

ZT_INLINE void add_values(float *sum, __m512i c, __m512 scale)
{
    _mm512_store_ps(sum, _mm512_fmadd_ps(_mm512_cvtepi32_ps(c), scale, _mm512_load_ps(sum)));
}

// C vectors of the head's dims from d, of one slot: sum += P.V
ZT_INLINE void values_slot(const int R, const int C, const tile *t, int i, int d)
{
    const zt_span *span = t->at->span;
    const zt_kv *kv = span->kv;
    const int D = kv->D, used = (kv->valid + 3) / 4;
    const int8_t *v = (const int8_t *)kv->v + (size_t)span->slot[i] * zt_kv_slot_bytes(kv)
                    + ((size_t)t->at->h * (size_t)kv->keys * (size_t)D + (size_t)d * 4);
    const char *p = t->s + i * kv->keys, *p4 = p + 4 * t->s_step, *p8 = p + 8 * t->s_step;
    const float *scale = scales(span, i, t->at->h) + D + d;     // the call comes before there are sums to keep
    __m512i c[24];

#pragma GCC unroll 24
    for (int r = 0; r < R * C; r++)
        c[r] = _mm512_setzero_si512();
    for (int k = 0; k < used; k++, v += 4 * D) {
        const __m512i v0 = _mm512_load_si512(v), v1 = C > 1 ? _mm512_load_si512(v + 64) : v0;
#pragma GCC unroll 12
        for (int r = 0; r < R; r++) {
            const char *pr = (r < 4 ? p : r < 8 ? p4 : p8) + r % 4 * t->s_step + k * 4;
            const __m512i x = _mm512_set1_epi32(*(const int32_t *)pr);
            c[r * C] = zt_tile_dot(c[r * C], x, v0);
            if (C > 1)
                c[r * C + 1] = zt_tile_dot(c[r * C + 1], x, v1);
        }
    }
    const __m512 s0 = _mm512_loadu_ps(scale), s1 = C > 1 ? _mm512_loadu_ps(scale + 16) : s0;
#pragma GCC unroll 12
    for (int r = 0; r < R; r++) {
        add_values(t->sum + r * D + d, c[r * C], s0);
        if (C > 1)
            add_values(t->sum + r * D + d + 16, c[r * C + 1], s1);
    }
}

static void store(const tile *t)
{
    const zt_attention_tile *at = t->at;
    const int D = at->span->kv->D;
    for (int r = 0; r < at->rows; r++) {
        const __m512 scale = _mm512_set1_ps(t->inverse[r]);
        for (int d = 0; d < D; d += 16)
            _mm512_storeu_ps(at->out + r * at->out_step + d, _mm512_mul_ps(_mm512_load_ps(t->sum + r * D + d), scale));
    }
}

ZT_INLINE void attend(const int R, tile *t)
{
    const zt_span *span = t->at->span;
    const int D = span->kv->D;

    for (int r = 0; r < R; r += 4)
        load_queries(t, R, r);
    logits(R, t);
    softmax(t, R);
    memset(t->sum, 0, sizeof(float) * (size_t)(R * D));
    for (int i = 0; i < span->n; i++) {
        int d = 0;
        for (; d + 32 <= D; d += 32)
            values_slot(R, 2, t, i, d);
        if (d < D)
            values_slot(R, 1, t, i, d);
    }
    store(t);
}

static void attend_4(tile *t)
{
    attend(4, t);
}

static void attend_8(tile *t)
{
    attend(8, t);
}

static void attend_12(tile *t)
{
    attend(12, t);
}

void zt_attend_i8_avx512(const zt_attention_tile *at)
{
    static void (*const attends[])(tile *t) = { attend_4, attend_8, attend_12 };
    const int D = at->span->kv->D;
    // Two bytes for each key, in steps of 128, and an odd number of cache lines.
    int32_t start[ROWS];
    tile t = { .at = at, .s = (char *)at->s, .sum = at->spare, .start = start };
    t.s_step = zt_round_up(zt_span_keys(at->span) * 2, 128) + 64;
    t.q = (int32_t *)(at->spare + ROWS * D);
    t.scale = at->spare + ROWS * D + ROWS * D / 4;
    t.shift = t.scale + ROWS * at->span->n;
    attends[(at->rows + 3) / 4 - 1](&t);
}
