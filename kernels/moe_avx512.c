// SPDX-License-Identifier: Apache-2.0
// moe on AVX-512, in three regions: route the rows; multiply them, sorted by expert; the shared expert and the sum of all.
//
// Nothing is scattered: a sorted row's product goes to its own place, and its token gathers it, in order of rank.
#include <assert.h>
#include <immintrin.h>

#include "base/base.h"
#include "kernels/device.h"
#include "kernels/epilogue_avx512.h"
#include "kernels/gemm_avx512.h"
#include "kernels/route.h"

zt_moe_fn zt_moe_avx512;

enum { TILES_MAX = 4, ROWS_MAX = TILES_MAX * ZT_TILE_ROWS };

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

// s[e] = score(x . gate_w[e])
static void score_row(const zt_moe *w, const float *x, int C, float *s)
{
    for (int e = 0; e < w->E; e++) {
        const float *g = w->gate_w + (int64_t)e * C;
        __m512 sum = _mm512_setzero_ps();
        int c = 0;
        for (; c + 16 <= C; c += 16)
            sum = _mm512_fmadd_ps(_mm512_loadu_ps(x + c), _mm512_loadu_ps(g + c), sum);
        const __mmask16 k = (__mmask16)((1u << (C - c)) - 1);
        sum = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(k, x + c), _mm512_maskz_loadu_ps(k, g + c), sum);
        s[e] = _mm512_reduce_add_ps(sum);
    }
}

// Scores from logits, in place
static void score_finish(const zt_moe *w, float *s)
{
    const bool sigmoid = w->score == ZT_SIGMOID;
    const __m512 one = _mm512_set1_ps(1);
    const float max = sigmoid ? 0 : s[zt_route_best(s, w->E)];
    float total = 0;
    for (int e = 0; e < w->E; e += 16) {
        const __mmask16 k = (__mmask16)(w->E - e >= 16 ? 0xffff : (1u << (w->E - e)) - 1);
        const __m512 v = _mm512_maskz_loadu_ps(k, s + e);
        const __m512 p = zt_exp512(_mm512_sub_ps(sigmoid ? _mm512_setzero_ps() : v, sigmoid ? v : _mm512_set1_ps(max)));
        _mm512_mask_storeu_ps(s + e, k, sigmoid ? _mm512_div_ps(one, _mm512_add_ps(one, p)) : p);
        total += sigmoid ? 0 : _mm512_mask_reduce_add_ps(k, p);
    }
    for (int e = 0; e < w->E && !sigmoid; e++)
        s[e] /= total;
}

static void route_rows(void *cookie, int i, int thread)
{
    const job *j = cookie;
    const int k = j->w->k, last = ZT_MIN(j->x.n[2], (i + 1) * ROWS_MAX);
    (void)thread;
    for (int m = i * ROWS_MAX; m < last; m++) {
        float s[ZT_EXPERTS_MAX];
        score_row(j->w, zt_f32(j->x) + m * j->x.step[2], j->x.n[3], s);
        score_finish(j->w, s);
        zt_route_select(j->w, s, j->expert + m * k, j->gate + m * k);
        for (int r = 0; r < k; r++) {
            if (j->w->topk)
                j->w->topk[(int64_t)m * k + r] = j->expert[m * k + r];
            if (j->w->gates)
                j->w->gates[(int64_t)m * k + r] = j->gate[m * k + r];
        }
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

    zt_parallel_for(d, (M + ROWS_MAX - 1) / ROWS_MAX, route_rows, &j);
    zt_parallel_for(d, sort_rows(&j), run_item, &j);
    zt_parallel_for(d, (M + j.rows - 1) / j.rows, finish_rows, &j);
}
