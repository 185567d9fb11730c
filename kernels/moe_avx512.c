// SPDX-License-Identifier: Apache-2.0
// moe on AVX-512, in three regions: route the rows; multiply them, sorted by expert; the shared expert and the sum of all.
//
// Nothing is scattered: a sorted row's product goes to its own place, and its token gathers it, in order of rank.
#include <assert.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "base/base.h"
#include "kernels/device.h"
#include "kernels/epilogue_avx512.h"
#include "kernels/gemm_avx512.h"
#include "kernels/route.h"

zt_moe_fn zt_moe_avx512;

enum {
    TILES_MAX = 4, ROWS_MAX = TILES_MAX * ZT_TILE_ROWS,     // of an item
    ROUTE_ROWS = 24
};

typedef struct item {
    int expert;
    int at, rows;               // sorted rows [at, at + rows); at is a multiple of 4
} item;

typedef struct job {
    zt_tensor          out, x;
    const zt_moe      *w;
    zt_epilogue        e;       // without activation
    int                rows;    // of an item, at most
    int                width;   // C rounded up to 16
    int                inner;   // of the widest expert
    int32_t           *expert;  // [M][k]
    float             *gate;    // [M][k]
    int32_t           *place;   // [M][k]: the sorted row
    int32_t           *source;  // [sorted rows]: the token
    item              *item;
    float             *y;       // [sorted rows][width]
    char              *scratch;
    size_t             scratch_step, packed, hidden;    // bytes: of a thread, of its packed rows, of its hidden rows
} job;

static inline __mmask16 lanes(int n)
{
    return (__mmask16)(n >= 16 ? 0xffff : (1u << n) - 1);
}

// Adds up each of sum[4][4]: lane r of the result holds the four of row r.
static inline __m512 add_across(__m512 sum[4][4])
{
    __m512 v[4];
    for (int r = 0; r < 4; r++) {
        const __m512 *a = sum[r];
        const __m512 lo = _mm512_add_ps(_mm512_unpacklo_ps(a[0], a[1]), _mm512_unpackhi_ps(a[0], a[1]));
        const __m512 hi = _mm512_add_ps(_mm512_unpacklo_ps(a[2], a[3]), _mm512_unpackhi_ps(a[2], a[3]));
        v[r] = _mm512_add_ps(_mm512_shuffle_ps(lo, hi, 0x44), _mm512_shuffle_ps(lo, hi, 0xee));
    }
    const __m512 a = _mm512_add_ps(_mm512_shuffle_f32x4(v[0], v[1], 0x44), _mm512_shuffle_f32x4(v[0], v[1], 0xee));
    const __m512 b = _mm512_add_ps(_mm512_shuffle_f32x4(v[2], v[3], 0x44), _mm512_shuffle_f32x4(v[2], v[3], 0xee));
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
}

// s[r][e] = x[r] . gate_w[e] of four rows; s has room for E rounded up to 4
static void logits_quad(const zt_moe *w, const float *const x[4], int C, float *s, int64_t step)
{
    for (int e = 0; e < w->E; e += 4) {
        const float *g[4];
        for (int i = 0; i < 4; i++)
            g[i] = w->gate_w + (int64_t)ZT_MIN(e + i, w->E - 1) * C;

        __m512 sum[4][4] = { { _mm512_setzero_ps() } };
        for (int c = 0; c < C; c += 16) {
            const __mmask16 k = lanes(C - c);
            __m512 xc[4];
            for (int r = 0; r < 4; r++)
                xc[r] = _mm512_maskz_loadu_ps(k, x[r] + c);
            for (int i = 0; i < 4; i++) {
                const __m512 gc = _mm512_maskz_loadu_ps(k, g[i] + c);
                for (int r = 0; r < 4; r++)
                    sum[r][i] = _mm512_fmadd_ps(xc[r], gc, sum[r][i]);
            }
        }
        const __m512 all = add_across(sum);
        _mm_storeu_ps(s + e, _mm512_castps512_ps128(all));
        _mm_storeu_ps(s + step + e, _mm512_extractf32x4_ps(all, 1));
        _mm_storeu_ps(s + 2 * step + e, _mm512_extractf32x4_ps(all, 2));
        _mm_storeu_ps(s + 3 * step + e, _mm512_extractf32x4_ps(all, 3));
    }
}

// Scores from logits, in place; s is padded to 16 with anything
static void score_finish(const zt_moe *w, float *s)
{
    const __m512 one = _mm512_set1_ps(1);
    if (w->score == ZT_SIGMOID) {
        for (int e = 0; e < w->E; e += 16)
            _mm512_store_ps(s + e, zt_times_sigmoid512(one, _mm512_load_ps(s + e)));
        return;
    }
    const __m512 max = _mm512_set1_ps(s[zt_route_best(s, w->E)]);
    float total = 0;
    for (int e = 0; e < w->E; e++) {
        if (e % 16 == 0)
            _mm512_store_ps(s + e, zt_exp512(_mm512_sub_ps(_mm512_load_ps(s + e), max)));
        total += s[e];
    }
    for (int e = 0; e < w->E; e++)
        s[e] /= total;
}

// The index of the largest of v[0..E) that is left; the lowest of equals.
static int best(const float *v, const __mmask16 *left, int E)
{
    const __m512 least = _mm512_set1_ps(-INFINITY);
    __m512 most = least;
    for (int e = 0; e < E; e += 16)
        most = _mm512_max_ps(most, _mm512_mask_mov_ps(least, left[e / 16], _mm512_load_ps(v + e)));
    most = _mm512_set1_ps(_mm512_reduce_max_ps(most));
    for (int e = 0; e < E; e += 16) {
        const unsigned hit = _mm512_mask_cmpeq_ps_mask(left[e / 16], _mm512_load_ps(v + e), most);
        if (hit)
            return e + __builtin_ctz(hit);
    }
    return 0;           // not a number
}

// As zt_route_select(), without a store that a wider load would wait for
static void select_experts(const zt_moe *w, const float *s, int32_t *expert, float *gate)
{
    _Alignas(64) float biased[ZT_EXPERTS_MAX];
    __mmask16 left[ZT_EXPERTS_MAX / 16];
    for (int e = 0; e < w->E; e += 16) {
        left[e / 16] = lanes(w->E - e);
        const __m512 b = w->gate_b ? _mm512_maskz_loadu_ps(left[e / 16], w->gate_b + e) : _mm512_setzero_ps();
        _mm512_store_ps(biased + e, _mm512_add_ps(_mm512_load_ps(s + e), b));
    }
    if (w->groups > 1)
        zt_route_limit(w, biased);

    float total = 0;
    for (int i = 0; i < w->k; i++) {
        const int e = best(biased, left, w->E);
        left[e / 16] &= (__mmask16)~(1u << e % 16);
        expert[i] = e;
        gate[i] = s[e];
        total += s[e];
    }
    zt_route_scale(w, gate, total);
}

static void route_row(const job *j, int m, float *s)
{
    const int k = j->w->k;
    int32_t *expert = j->expert + m * k;
    float *gate = j->gate + m * k;
    score_finish(j->w, s);
    select_experts(j->w, s, expert, gate);
    for (int i = 0; i < k && j->w->topk; i++)
        j->w->topk[(int64_t)m * k + i] = expert[i];
    for (int i = 0; i < k && j->w->gates; i++)
        j->w->gates[(int64_t)m * k + i] = gate[i];
}

static void route_rows(void *cookie, int i, int thread)
{
    const job *j = cookie;
    const int M = j->x.n[2], last = ZT_MIN(M, (i + 1) * ROUTE_ROWS);
    (void)thread;
    for (int m = i * ROUTE_ROWS; m < last; m += 4) {
        _Alignas(64) float s[4][ZT_EXPERTS_MAX];
        const float *x[4];
        for (int r = 0; r < 4; r++)
            x[r] = zt_f32(j->x) + ZT_MIN(m + r, M - 1) * j->x.step[2];
        logits_quad(j->w, x, j->x.n[3], s[0], ZT_EXPERTS_MAX);
        for (int r = 0; r < ZT_MIN(4, last - m); r++)
            route_row(j, m + r, s[r]);
    }
}

// Sorts the routed rows by expert, each expert from a multiple of 4 on, and cuts them into items. Returns how many.
static int sort_rows(const job *j)
{
    const int n = j->x.n[2] * j->w->k;
    int32_t next[ZT_EXPERTS_MAX] = { 0 };
    for (int i = 0; i < n; i++)
        next[j->expert[i]]++;

    int items = 0, at = 0;
    for (int e = 0; e < j->w->E; e++) {
        const int rows = next[e], quads = (rows + 3) / 4, quads_max = j->rows / 4;
        const int parts = (quads + quads_max - 1) / quads_max;
        for (int p = 0; p < parts; p++) {
            const int from = quads * p / parts * 4, to = ZT_MIN(rows, quads * (p + 1) / parts * 4);
            j->item[items++] = (item){ e, at + from, to - from };
        }
        next[e] = at;
        at += quads * 4;
    }
    for (int i = 0; i < n; i++) {
        j->place[i] = next[j->expert[i]]++;
        j->source[j->place[i]] = i / j->w->k;
    }
    return items;
}

// u[rows][32] holds w1 x in its first half, w3 x in its second: h = SiLU(w1 x) * (w3 x)
static void swiglu(float *h, int64_t step, const float *u, int rows)
{
    for (int r = 0; r < rows; r++) {
        const __m512 a = zt_silu512(_mm512_load_ps(u + r * ZT_TILE_COLUMNS));
        _mm512_store_ps(h + r * step, _mm512_mul_ps(a, _mm512_load_ps(u + r * ZT_TILE_COLUMNS + 16)));
    }
}

// y[rows rounded up to 4][width] = down(SiLU(w1 x) * (w3 x)) of rows x
static void expert_rows(const job *j, char *scratch, const zt_matrix *up, const zt_matrix *down, const float *const *x,
                        int rows, float *y)
{
    const int quads = (rows + 3) / 4, inner = down->K, C16 = j->width;
    float *hidden = (float *)(scratch + j->packed);
    _Alignas(64) float u[ZT_TILE_ROWS * ZT_TILE_COLUMNS];

    const zt_rows in = zt_rows_at(scratch, up->type, up->K, rows);
    zt_rows_pack(&in, x, rows);
    for (int i = 0; i < inner; i += 16) {
        for (int quad = 0, n; quad < quads; quad += n) {
            n = zt_tile_quads(quads - quad);
            zt_tile_multiply(u, ZT_TILE_COLUMNS, &in, quad, n, up, i / 8, 2);
            swiglu(hidden + quad * 4 * inner + i, inner, u, n * 4);
        }
    }

    const float *h[ROWS_MAX];
    for (int r = 0; r < rows; r++)
        h[r] = hidden + r * inner;
    const zt_rows mid = zt_rows_at(scratch, down->type, inner, rows);
    zt_rows_pack(&mid, h, rows);
    for (int n = 0; n < C16; n += 32) {
        for (int quad = 0, q; quad < quads; quad += q) {
            q = zt_tile_quads(quads - quad);
            zt_tile_multiply(y + quad * 4 * C16 + n, C16, &mid, quad, q, down, n / 16, ZT_MIN(2, (C16 - n) / 16));
        }
    }
}

static void run_item(void *cookie, int i, int thread)
{
    const job *j = cookie;
    const item *it = &j->item[i];
    const float *x[ROWS_MAX];
    for (int r = 0; r < it->rows; r++)
        x[r] = zt_f32(j->x) + j->source[it->at + r] * j->x.step[2];
    expert_rows(j, j->scratch + (size_t)thread * j->scratch_step, &j->w->up[it->expert], &j->w->down[it->expert], x,
                it->rows, j->y + (int64_t)it->at * j->width);
}

// f[width] += sum over ranks of gate * expert(x)
static void add_ranks(const job *j, int m, float *f)
{
    const int k = j->w->k;
    for (int c = 0; c < j->width; c += 16) {
        __m512 v = _mm512_load_ps(f + c);
        for (int r = 0; r < k; r++) {
            const float *y = j->y + (int64_t)j->place[m * k + r] * j->width + c;
            v = _mm512_fmadd_ps(_mm512_set1_ps(j->gate[m * k + r]), _mm512_load_ps(y), v);
        }
        _mm512_store_ps(f + c, v);
    }
}

static void finish_rows(void *cookie, int i, int thread)
{
    const job *j = cookie;
    const int C = j->x.n[3], m0 = i * j->rows, rows = ZT_MIN(j->rows, j->x.n[2] - m0);
    char *scratch = j->scratch + (size_t)thread * j->scratch_step;
    float *f = (float *)(scratch + j->packed + j->hidden);

    if (j->w->shared_up) {
        const float *x[ROWS_MAX];
        for (int r = 0; r < rows; r++)
            x[r] = zt_f32(j->x) + (m0 + r) * j->x.step[2];
        expert_rows(j, scratch, j->w->shared_up, j->w->shared_down, x, rows, f);
    } else {
        memset(f, 0, (size_t)rows * j->width * sizeof(*f));
    }
    for (int r = 0; r < rows; r++) {
        add_ranks(j, m0 + r, f + r * j->width);
        zt_epilogue512(&j->e, m0 + r, 0, C, zt_f32(j->out) + (m0 + r) * j->out.step[2], f + r * j->width);
    }
}

static size_t aligned(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

// Bytes of packed rows as wide as any expert needs them
static size_t packed_bytes(const job *j)
{
    size_t most = 0;
    for (int e = 0; e <= j->w->E; e++) {
        const zt_matrix *up = e < j->w->E ? &j->w->up[e] : j->w->shared_up;
        const zt_matrix *down = e < j->w->E ? &j->w->down[e] : j->w->shared_down;
        if (up)
            most = ZT_MAX(most, ZT_MAX(zt_rows_bytes(up->type, up->K, j->rows),
                                       zt_rows_bytes(down->type, down->K, j->rows)));
    }
    return most;
}

static bool carve(job *j, struct zt_device *d)
{
    const size_t n = (size_t)j->x.n[2] * (size_t)j->w->k, sorted = n + 4 * (size_t)j->w->E;
    j->packed = packed_bytes(j);
    j->hidden = aligned((size_t)j->rows * (size_t)j->inner * sizeof(float));
    j->scratch_step = j->packed + j->hidden + (size_t)j->rows * (size_t)j->width * sizeof(float);

    const size_t words = aligned(n * 4), items = aligned((n / 12 + 2 * (size_t)j->w->E) * sizeof(item));
    const size_t y = sorted * (size_t)j->width * sizeof(float);
    char *p = zt_scratch(d, 3 * words + aligned(sorted * 4) + items + y + (size_t)d->threads * j->scratch_step);
    if (!p)
        return false;
    j->expert = (int32_t *)p;
    j->gate = (float *)(p += words);
    j->place = (int32_t *)(p += words);
    j->source = (int32_t *)(p += words);
    j->item = (item *)(p += aligned(sorted * 4));
    j->y = (float *)(p += items);
    j->scratch = p + y;
    return true;
}

void zt_moe_avx512(struct zt_device *d, zt_tensor out, zt_tensor x, const zt_moe *w, const zt_epilogue *e)
{
    const int M = x.n[2], C = x.n[3];
    assert(out.n[2] == M && out.n[3] == C && w->k >= 1 && w->k <= 16 && w->k <= w->E && w->E <= ZT_EXPERTS_MAX);
    assert(!w->shared_up == !w->shared_down);

    job j = { .out = out, .x = x, .w = w, .e = *e, .width = (int)zt_round_up(C, 16) };
    j.e.act = ZT_ACT_NONE;
    j.inner = w->shared_down ? w->shared_down->K : 0;
    for (int i = 0; i < w->E; i++)
        j.inner = ZT_MAX(j.inner, w->down[i].K);
    const int tiles = (M * w->k + ZT_TILE_ROWS - 1) / ZT_TILE_ROWS;
    j.rows = ZT_TILE_ROWS * ZT_MAX(1, ZT_MIN(TILES_MAX, tiles / (8 * d->threads)));
    if (!carve(&j, d))
        return;

    zt_parallel_for(d, (M + ROUTE_ROWS - 1) / ROUTE_ROWS, route_rows, &j);
    zt_parallel_for(d, sort_rows(&j), run_item, &j);
    zt_parallel_for(d, (M + j.rows - 1) / j.rows, finish_rows, &j);
}
