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
    TILES_MAX = 4, ROWS_MAX = TILES_MAX * ZT_TILE_ROWS,     // of an item
    ROUTE_ROWS = 24,
};

typedef struct item {
    int expert;
    int at, rows;               // sorted rows [at, at + rows); at is a multiple of 4
} item;

typedef struct job {
    const zt_gemm     *g;
    zt_tensor          out, x;
    const zt_moe      *w;
    const zt_epilogue *e;       // without activation
    int                rows;    // of an item, at most
    int                width;   // C rounded up to 16
    int                inner;   // of the widest expert
    int32_t           *expert;  // [M rounded up to 4][k]
    float             *gate;    // [M rounded up to 4][k]
    int32_t           *place;   // [M][k]: the sorted row
    int32_t           *source;  // [sorted rows]: the token
    item              *item;
    float             *y;       // [sorted rows][width]
    char              *scratch;
    // Bytes of a thread's scratch, of its packed rows, of its hidden rows, of its expanded panels
    size_t             scratch_step, packed, hidden, room;
} job;

static void route_rows(void *cookie, int i, int thread)
{
    const job *j = cookie;
    const int k = j->w->k, M = j->x.n[2], last = ZT_MIN(M, (i + 1) * ROUTE_ROWS);
    (void)thread;
    for (int m = i * ROUTE_ROWS; m < last; m += 4) {
        const float *x[4];
        for (int r = 0; r < 4; r++)
            x[r] = zt_f32(j->x) + ZT_MIN(m + r, M - 1) * j->x.step[2];
        j->g->route(j->w, x, j->x.n[3], j->expert + m * k, j->gate + m * k);
    }
}

static void report(const job *j)
{
    const size_t n = (size_t)j->x.n[2] * (size_t)j->w->k;
    if (j->w->topk)
        memcpy(j->w->topk, j->expert, n * sizeof(*j->expert));
    if (j->w->gates)
        memcpy(j->w->gates, j->gate, n * sizeof(*j->gate));
}

// Sorts the routed rows by expert, each expert from a multiple of 4 on, and cuts them into items.
// Returns how many.
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
            const int from = quads * p / parts * 4;
            const int to = ZT_MIN(rows, quads * (p + 1) / parts * 4);
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

// hidden[rows rounded up to 4][inner] = SiLU(w1 x) * (w3 x) of packed rows
static void multiply_up(const job *j, const zt_rows *in, int quads, const zt_matrix *up, float *hidden, void *room)
{
    const int inner = up->N / 2;
    _Alignas(64) float u[ZT_TILE_ROWS * ZT_TILE_COLUMNS];
    for (int i = 0; i < inner; i += 16) {
        const zt_matrix w = zt_panels(j->g, up, i / 8, 2, room);
        for (int quad = 0, n; quad < quads; quad += n) {
            n = zt_tile_quads(quads - quad);
            j->g->multiply(u, ZT_TILE_COLUMNS, in, quad, n, &w, 2, zt_panels_ahead(up, i / 8, quad));
            j->g->swiglu(hidden + quad * 4 * inner + i, inner, u, n * 4);
        }
    }
}

static void multiply_down(const job *j, const zt_rows *mid, int quads, const zt_matrix *down, float *y, void *room)
{
    const int width = j->width;
    for (int panel = 0; panel < width / 16; panel += 2) {
        const int panels = ZT_MIN(2, width / 16 - panel);
        const zt_matrix w = zt_panels(j->g, down, panel, panels, room);
        for (int quad = 0, n; quad < quads; quad += n) {
            n = zt_tile_quads(quads - quad);
            j->g->multiply(y + quad * 4 * width + panel * 16, width, mid, quad, n, &w, panels,
                           zt_panels_ahead(down, panel, quad));
        }
    }
}

// y[rows rounded up to 4][width] = down(SiLU(w1 x) * (w3 x)) of rows x
static void expert_rows(const job *j, char *scratch, const zt_matrix *up, const zt_matrix *down,
                        const float *const *x, int rows, float *y)
{
    const int quads = (rows + 3) / 4, inner = down->K;
    float *hidden = (float *)(scratch + j->packed);
    void *const room = scratch + j->scratch_step - j->room;

    const zt_rows in = zt_rows_at(j->g, scratch, up->type, up->K, rows);
    j->g->pack(&in, x, rows);
    multiply_up(j, &in, quads, up, hidden, room);

    const float *h[ROWS_MAX];
    for (int r = 0; r < rows; r++)
        h[r] = hidden + r * inner;
    const zt_rows mid = zt_rows_at(j->g, scratch, down->type, inner, rows);
    j->g->pack(&mid, h, rows);
    multiply_down(j, &mid, quads, down, y, room);
}

static void run_item(void *cookie, int i, int thread)
{
    const job *j = cookie;
    const item *it = &j->item[i];
    const float *x[ROWS_MAX];
    for (int r = 0; r < it->rows; r++)
        x[r] = zt_f32(j->x) + j->source[it->at + r] * j->x.step[2];
    expert_rows(j, j->scratch + (size_t)thread * j->scratch_step, &j->w->up[it->expert],
                &j->w->down[it->expert], x, it->rows, j->y + (int64_t)it->at * j->width);
}

static void finish_row(const job *j, int m, float *f)
{
    const int k = j->w->k;
    const float *y[16];
    for (int i = 0; i < k; i++)
        y[i] = j->y + (int64_t)j->place[m * k + i] * j->width;
    j->g->gather(f, j->width, y, j->gate + m * k, k);
    j->g->epilogue(j->e, m, 0, j->x.n[3], zt_f32(j->out) + m * j->out.step[2], f);
}

static void finish_rows(void *cookie, int i, int thread)
{
    const job *j = cookie;
    const int m0 = i * j->rows, rows = ZT_MIN(j->rows, j->x.n[2] - m0);
    char *scratch = j->scratch + (size_t)thread * j->scratch_step;
    float *f = (float *)(scratch + j->packed + j->hidden);

    if (j->w->shared_up) {
        const float *x[ROWS_MAX];
        for (int r = 0; r < rows; r++)
            x[r] = zt_f32(j->x) + (m0 + r) * j->x.step[2];
        expert_rows(j, scratch, j->w->shared_up, j->w->shared_down, x, rows, f);
    } else {
        memset(f, 0, (size_t)rows * (size_t)j->width * sizeof(*f));
    }
    for (int r = 0; r < rows; r++)
        finish_row(j, m0 + r, f + r * j->width);
}

// Finds how wide scratch must be for any expert.
static void measure(job *j)
{
    for (int i = 0; i <= j->w->E; i++) {
        const zt_matrix *up = i < j->w->E ? &j->w->up[i] : j->w->shared_up;
        const zt_matrix *down = i < j->w->E ? &j->w->down[i] : j->w->shared_down;
        if (!up)
            continue;
        assert(up->K == j->x.n[3] && down->N == j->x.n[3]);
        assert(up->N == 2 * down->K && down->K % 16 == 0);
        j->inner = ZT_MAX(j->inner, down->K);
        j->packed = ZT_MAX(j->packed, zt_rows_bytes(j->g, up->type, up->K, j->rows));
        j->packed = ZT_MAX(j->packed, zt_rows_bytes(j->g, down->type, down->K, j->rows));
        j->room = ZT_MAX(j->room, ZT_MAX(zt_panels_bytes(up), zt_panels_bytes(down)));
    }
    j->hidden = (size_t)j->rows * (size_t)j->inner * sizeof(float);
    j->scratch_step = j->packed + j->hidden + (size_t)j->rows * (size_t)j->width * sizeof(float) + j->room;
}

static size_t aligned(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static bool carve(job *j, struct zt_device *d)
{
    const size_t E = (size_t)j->w->E, n = (size_t)zt_round_up(j->x.n[2], 4) * (size_t)j->w->k;
    const size_t sorted = n + 4 * E;                        // each expert is rounded up to 4
    const size_t words = aligned(n * 4), sources = aligned(sorted * 4);
    const size_t items = aligned((n / ZT_TILE_ROWS + 2 * E) * sizeof(item));
    const size_t y = sorted * (size_t)j->width * sizeof(float);

    char *p = zt_scratch(d, 3 * words + sources + items + y + (size_t)d->threads * j->scratch_step);
    if (!p)
        return false;
    j->expert = (int32_t *)p;
    j->gate = (float *)(p += words);
    j->place = (int32_t *)(p += words);
    j->source = (int32_t *)(p += words);
    j->item = (item *)(p += sources);
    j->y = (float *)(p += items);
    j->scratch = p + y;
    return true;
}

void zt_moe_tiled(struct zt_device *d, zt_tensor out, zt_tensor x, const zt_moe *w,
                  const zt_epilogue *e, const zt_gemm *g)
{
    const int M = x.n[2], C = x.n[3];
    assert(out.n[2] == M && out.n[3] == C && !w->shared_up == !w->shared_down);
    assert(w->k >= 1 && w->k <= 16 && w->k <= w->E && w->E <= ZT_EXPERTS_MAX);

    zt_epilogue without_act = *e;
    without_act.act = ZT_ACT_NONE;
    job j = { .g = g, .out = out, .x = x, .w = w, .e = &without_act,
              .width = (int)zt_round_up(C, 16) };
    const int tiles = (M * w->k + ZT_TILE_ROWS - 1) / ZT_TILE_ROWS;
    j.rows = ZT_TILE_ROWS * ZT_MAX(1, ZT_MIN(TILES_MAX, tiles / (8 * d->threads)));
    measure(&j);
    if (!carve(&j, d))
        return;

    zt_parallel_for(d, (M + ROUTE_ROWS - 1) / ROUTE_ROWS, route_rows, &j);
    report(&j);
    zt_parallel_for(d, sort_rows(&j), run_item, &j);
    zt_parallel_for(d, (M + j.rows - 1) / j.rows, finish_rows, &j);
}
