// SPDX-License-Identifier: Apache-2.0
// moe on the fast levels, in three regions: route the rows; multiply them, sorted by expert; the
// shared expert and the sum of all.
//
// Nothing is scattered: a sorted row's product goes to its own place, and its token gathers it, in
// order of rank.
#include <assert.h>
#include <string.h>

#include "base/base.h"
#include "kernels/device.h"
#include "kernels/gemm.h"
#include "kernels/route.h"

enum {
    TILES_MAX = 4,                          // of an item
    LARGE = 384 << 10,                      // bytes of an expert that does not stay in L2: such an item is longer
    ROWS_MAX = 2 * TILES_MAX * ZT_TILE_ROWS,
    PRODUCTS = 512 << 10,                   // bytes of experts' products that stay in L2
};

typedef struct item {
    int expert;
    int at, rows;               // sorted rows [at, at + rows)
} item;

typedef struct job {
    const zt_gemm     *g;
    zt_tensor          out, x;
    const zt_moe      *w;
    const zt_epilogue *e;       // without activation
    int                rows;    // of an item, at most
    int                width;   // C rounded up to 16
    int                inner;   // of the widest expert
    int32_t           *expert;  // [M][k]
    float             *gate;    // [M][k]
    int32_t           *place;   // [M][k]: the sorted row
    int32_t           *source;  // [sorted rows]: the token
    item              *item;
    float             *y;       // [sorted rows][width]
    zt_bytes           bytes;   // of all tokens, for experts of integers
    char              *scratch;
    // Bytes of a thread's scratch, of its packed rows, of its hidden rows, of its expanded panels; to the next thread's
    size_t             scratch_bytes, packed, hidden, room, scratch_step;
} job;

static void route_rows(void *cookie, int i, int thread)
{
    const job *j = cookie;
    const int m0 = i * ZT_ROUTE_ROWS, k = j->w->k, M = j->x.n[2], n = ZT_MIN(M - m0, ZT_ROUTE_ROWS);
    const float *x[ZT_ROUTE_ROWS];
    (void)thread;
    for (int r = 0; r < ZT_ROUTE_ROWS; r++)
        x[r] = zt_f32(j->x) + ZT_MIN(m0 + r, M - 1) * j->x.step[2];
    j->g->route(j->w, x, n, j->x.n[3], j->expert + m0 * k, j->gate + m0 * k);
    for (int r = 0; r < n && j->bytes.q; r++)
        j->g->quantise(&j->bytes, m0 + r, x[r], j->x.n[3]);
}

// Of tokens m and on
static void report(const job *j, int m)
{
    const size_t n = (size_t)j->x.n[2] * (size_t)j->w->k;
    if (j->w->topk)
        memcpy(j->w->topk + m * j->w->k, j->expert, n * sizeof(*j->expert));
    if (j->w->gates)
        memcpy(j->w->gates + m * j->w->k, j->gate, n * sizeof(*j->gate));
}

// Sorts the routed rows by expert and cuts them into items. Returns how many.
static int sort_rows(const job *j)
{
    const int n = j->x.n[2] * j->w->k;
    int32_t next[ZT_EXPERTS_MAX] = { 0 };
    for (int i = 0; i < n; i++)
        next[j->expert[i]]++;

    int items = 0, at = 0;
    for (int e = 0; e < j->w->E; e++) {
        const int rows = next[e], parts = (rows + j->rows - 1) / j->rows;
        for (int p = 0; p < parts; p++) {
            const int from = rows * p / parts, to = rows * (p + 1) / parts;
            j->item[items++] = (item){ e, at + from, to - from };
        }
        next[e] = at;
        at += rows;
    }
    for (int i = 0; i < n; i++) {
        j->place[i] = next[j->expert[i]]++;
        j->source[j->place[i]] = i / j->w->k;
    }
    return items;
}

// hidden[rows][inner] = SiLU(w1 x) * (w3 x) of packed rows; `down` is wanted next
static void multiply_up(const job *j, const zt_rows *in, int rows, const zt_matrix *up, const zt_matrix *down,
                        float *hidden, void *room)
{
    const int inner = up->N / 2;
    const void *ahead[2];
    _Alignas(64) float u[ZT_TILE_ROWS * ZT_TILE_COLUMNS];
    for (int i = 0; i < inner; i += 16) {
        const zt_matrix w = zt_panels(j->g, up, i / 8, 2, room);
        for (int r = 0, n; r < rows; r += n) {
            n = zt_tile_rows(rows - r);
            zt_panels_ahead(ahead, up, down, i / 8, r / 4, n == rows);
            j->g->multiply(u, ZT_TILE_COLUMNS, in, r / 4, n, &w, 2, ahead);
            j->g->swiglu(hidden + r * inner + i, inner, u, n);
        }
    }
}

static void multiply_down(const job *j, const zt_rows *mid, int rows, const zt_matrix *down, float *y, void *room)
{
    const int width = j->width;
    const void *ahead[2];
    for (int panel = 0; panel < width / 16; panel += 2) {
        const int panels = ZT_MIN(2, width / 16 - panel);
        const zt_matrix w = zt_panels(j->g, down, panel, panels, room);
        for (int r = 0, n; r < rows; r += n) {
            n = zt_tile_rows(rows - r);
            zt_panels_ahead(ahead, down, NULL, panel, r / 4, n == rows);
            j->g->multiply(y + r * width + panel * 16, width, mid, r / 4, n, &w, panels, ahead);
        }
    }
}

static void pack_tokens(const job *j, const zt_rows *in, const int32_t *token, int rows)
{
    const float *x[ROWS_MAX];
    if (j->bytes.q) {
        j->g->interleave(in, &j->bytes, token, rows);
        return;
    }
    for (int r = 0; r < rows; r++)
        x[r] = zt_f32(j->x) + token[r] * j->x.step[2];
    j->g->pack(in, x, rows);
}

// y[rows][width] = down(SiLU(w1 x) * (w3 x)) of these tokens
static void expert_rows(const job *j, char *scratch, const zt_matrix *up, const zt_matrix *down,
                        const int32_t *token, int rows, float *y)
{
    const int inner = down->K;
    float *hidden = (float *)(scratch + j->packed);
    void *const room = scratch + j->scratch_bytes - j->room;

    const zt_rows in = zt_rows_at(j->g, scratch, up->type, up->K, rows);
    pack_tokens(j, &in, token, rows);
    multiply_up(j, &in, rows, up, down, hidden, room);

    const float *h[ROWS_MAX];
    for (int r = 0; r < rows; r++)
        h[r] = hidden + r * inner;
    const zt_rows mid = zt_rows_at(j->g, scratch, down->type, inner, rows);
    j->g->pack(&mid, h, rows);
    multiply_down(j, &mid, rows, down, y, room);
}

static void run_item(void *cookie, int i, int thread)
{
    const job *j = cookie;
    const item *it = &j->item[i];
    expert_rows(j, j->scratch + (size_t)thread * j->scratch_step, &j->w->up[it->expert],
                &j->w->down[it->expert], j->source + it->at, it->rows, j->y + (int64_t)it->at * j->width);
}

static void finish_row(const job *j, int m, float *f)
{
    const int k = j->w->k;
    const float *y[16];
    for (int i = 0; i < k; i++)
        y[i] = j->y + (int64_t)j->place[m * k + i] * j->width;
    j->g->gather(f, j->width, y, j->gate + m * k, k);
    j->g->epilogue(j->e, &(zt_sums){ m, 1, 0, j->x.n[3], f, j->width, zt_f32(j->out) + m * j->out.step[2], j->out.step[2] });
}

static void finish_rows(void *cookie, int i, int thread)
{
    const job *j = cookie;
    const int m0 = i * j->rows, rows = ZT_MIN(j->rows, j->x.n[2] - m0);
    char *scratch = j->scratch + (size_t)thread * j->scratch_step;
    float *f = (float *)(scratch + j->packed + j->hidden);

    if (j->w->shared_up) {
        int32_t token[ROWS_MAX];
        for (int r = 0; r < rows; r++)
            token[r] = m0 + r;
        expert_rows(j, scratch, j->w->shared_up, j->w->shared_down, token, rows, f);
    } else {
        memset(f, 0, (size_t)rows * (size_t)j->width * sizeof(*f));
    }
    for (int r = 0; r < rows; r++)
        finish_row(j, m0 + r, f + r * j->width);
}

// Rows of an item, and how wide scratch must be for any expert.
static void measure(job *j, int threads)
{
    const int tiles = (j->x.n[2] * j->w->k + ZT_TILE_ROWS - 1) / ZT_TILE_ROWS;
    const size_t bytes = zt_matrix_bytes(j->w->up[0].type, j->w->up[0].N, j->w->up[0].K) * 3 / 2;
    j->rows = ZT_TILE_ROWS * ZT_MAX(1, ZT_MIN(TILES_MAX, tiles / (8 * threads)));
    if (bytes > LARGE)
        j->rows = ROWS_MAX;
    for (int i = 0; i <= j->w->E; i++) {
        const zt_matrix *up = i < j->w->E ? &j->w->up[i] : j->w->shared_up;
        const zt_matrix *down = i < j->w->E ? &j->w->down[i] : j->w->shared_down;
        if (!up)
            continue;
        assert(up->K == j->x.n[3] && down->N == j->x.n[3]);
        assert(up->N == 2 * down->K && down->K % 16 == 0);
        assert(zt_is_integer(up->type) == zt_is_integer(j->w->up[0].type));
        j->inner = ZT_MAX(j->inner, down->K);
        j->packed = ZT_MAX(j->packed, zt_rows_bytes(j->g, up->type, up->K, j->rows));
        j->packed = ZT_MAX(j->packed, zt_rows_bytes(j->g, down->type, down->K, j->rows));
        j->room = ZT_MAX(j->room, ZT_MAX(zt_panels_bytes(up), zt_panels_bytes(down)));
    }
    j->hidden = (size_t)j->rows * (size_t)j->inner * sizeof(float);
    j->scratch_bytes = j->packed + j->hidden + (size_t)j->rows * (size_t)j->width * sizeof(float) + j->room;
}

static size_t aligned(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static bool carve(job *j, struct zt_device *d, int tokens)
{
    const size_t n = (size_t)tokens * (size_t)j->w->k, words = aligned(n * 4);
    const size_t items = aligned((n / ZT_TILE_ROWS + (size_t)j->w->E) * sizeof(item));
    const size_t y = aligned(n * (size_t)j->width * sizeof(float)), K64 = (size_t)zt_round_up(j->x.n[3], 64);
    const bool integer = zt_is_integer(j->w->up[0].type);
    const size_t bytes = integer ? aligned((size_t)tokens * (K64 + 8)) : 0;

    j->scratch = zt_scratch_each(d, j->scratch_bytes, &j->scratch_step);
    char *p = j->scratch ? zt_scratch(d, 4 * words + items + y + bytes) : NULL;
    if (!p)
        return false;
    j->expert = (int32_t *)p;
    j->gate = (float *)(p += words);
    j->place = (int32_t *)(p += words);
    j->source = (int32_t *)(p += words);
    j->item = (item *)(p += words);
    j->y = (float *)(p += items);
    p += y;
    if (integer)
        j->bytes = (zt_bytes){ (int8_t *)p, (int64_t)K64, (float *)(p + (size_t)tokens * K64),
                               (int32_t *)(p + (size_t)tokens * (K64 + 4)) };
    return true;
}

// Tokens that go through all three regions together: of small experts so many that their products stay in L2, but enough
// to fill an item of each.
static int block_tokens(const job *j)
{
    const int M = j->x.n[2], k = j->w->k, row = k * j->width * (int)sizeof(float);
    if (j->rows == ROWS_MAX)
        return M;
    const int most = ZT_MAX(PRODUCTS / row, TILES_MAX * ZT_TILE_ROWS * j->w->E / k);
    const int parts = (M + most - 1) / most;
    return (M + parts - 1) / parts;
}

static void run_block(struct zt_device *d, job *j)
{
    const int M = j->x.n[2];
    zt_parallel_for(d, (M + ZT_ROUTE_ROWS - 1) / ZT_ROUTE_ROWS, route_rows, j);
    zt_parallel_for(d, sort_rows(j), run_item, j);
    zt_parallel_for(d, (M + j->rows - 1) / j->rows, finish_rows, j);
}

void zt_moe_tiled(struct zt_device *d, zt_tensor out, zt_tensor x, const zt_moe *w,
                  const zt_epilogue *e, const zt_gemm *g)
{
    const int M = x.n[2], C = x.n[3];
    assert(out.n[2] == M && out.n[3] == C && !w->shared_up == !w->shared_down);
    assert(w->k >= 1 && w->k <= 16 && w->k <= w->E && w->E <= ZT_EXPERTS_MAX);

    zt_epilogue part = *e;
    part.act = ZT_ACT_NONE;
    job j = { .g = g, .out = out, .x = x, .w = w, .e = &part, .width = (int)zt_round_up(C, 16) };
    measure(&j, d->threads);
    const int tokens = block_tokens(&j);
    if (!carve(&j, d, tokens))
        return;
    for (int m = 0; m < M; m += tokens) {
        const int n = ZT_MIN(tokens, M - m);
        j.x = zt_tensor_rows(x, m, n);
        j.out = zt_tensor_rows(out, m, n);
        part.row = e->row ? e->row + m : NULL;
        run_block(d, &j);
        report(&j, m);
    }
}
