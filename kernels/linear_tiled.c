// SPDX-License-Identifier: Apache-2.0
// linear on the fast levels. An item takes some rows through some panels of weights, two at a time.
//
// Small weights stay in L2: there an item packs its few rows into its thread's scratch and meets them with every panel.
// Others come from L3 or memory, so that an item wants many rows: all rows are packed first, in a region of its own.
#include <assert.h>

#include "base/base.h"
#include "kernels/device.h"
#include "kernels/gemm.h"

enum {
    TILES_MAX = 4,                      // of an item that packs its own rows
    ROWS_MAX = 16 * ZT_TILE_ROWS,       // of any item
    SMALL = 384 << 10,                  // bytes of weights that stay in L2 beside the rows
    ROWS_BYTES = 512 << 10,             // of an item's packed rows: they stay there while panels pass
};

typedef struct job {
    const zt_gemm     *g;
    zt_tensor          out, x;
    const zt_matrix   *w;
    const zt_epilogue *e;
    zt_rows            packed;          // all rows, unless items pack their own
    char              *scratch, *room;  // of each thread: its own packed rows; zt_panels()
    size_t             scratch_step, room_step;
    int                rows;            // of an item
    int                groups;          // of columns
    int                panels;          // of a group, even
} job;

static bool is_plain(const zt_epilogue *e)
{
    return !e->gate && !e->add && e->act == ZT_ACT_NONE;
}

typedef struct tile {
    const zt_rows *r;
    int            quad, m, rows;       // where it begins in r, in the output
    zt_matrix      w;                   // panels [panel, panel + panels)
    int            panel, panels;
    const void    *ahead[2];
} tile;

// Straight to `out` when nothing is to be done to it.
static void multiply(const job *j, const tile *t)
{
    const int n = t->panel * 16, columns = ZT_MIN(t->panels * 16, j->w->N - n);
    float *out = zt_f32(j->out) + t->m * j->out.step[2] + n;

    if (columns == t->panels * 16 && is_plain(j->e)) {
        j->g->multiply(out, j->out.step[2], t->r, t->quad, t->rows, &t->w, t->panels, t->ahead);
        return;
    }
    _Alignas(64) float y[ZT_TILE_ROWS * ZT_TILE_COLUMNS];
    j->g->multiply(y, ZT_TILE_COLUMNS, t->r, t->quad, t->rows, &t->w, t->panels, t->ahead);
    j->g->epilogue(j->e, &(zt_sums){ t->m, t->rows, n, columns, y, ZT_TILE_COLUMNS, out, j->out.step[2] });
}

// Rows [from, to) of r, from a multiple of 4, by panels [first, last). Row 0 of r is row m0 of the output.
static void run_tiles(const job *j, void *room, const zt_rows *r, int m0, int from, int to, int first, int last)
{
    tile t = { .r = r };
    for (t.panel = first; t.panel < last; t.panel += 2) {
        t.panels = ZT_MIN(2, last - t.panel);
        t.w = zt_panels(j->g, j->w, t.panel, t.panels, room);
        for (int row = from; row < to; row += t.rows) {
            t.rows = zt_tile_rows(to - row);
            t.quad = row / 4;
            t.m = m0 + row;
            zt_panels_ahead(t.ahead, j->w, NULL, t.panel, (row - from) / 4, t.rows == to - from);
            multiply(j, &t);
        }
    }
}

static int panel_count(const job *j)
{
    return (j->w->N + 15) / 16;
}

// Rows m0 .. of x into r
static void pack_rows(const zt_gemm *g, const zt_rows *r, zt_tensor x, int m0, int rows)
{
    const float *row[TILES_MAX * ZT_TILE_ROWS];
    for (int m = 0; m < rows; m++)
        row[m] = zt_f32(x) + (m0 + m) * x.step[2];
    g->pack(r, row, rows);
}

static void run_own(void *cookie, int i, int thread)
{
    const job *j = cookie;
    const int m0 = i * j->rows, rows = ZT_MIN(j->rows, j->x.n[2] - m0);
    const zt_rows r = zt_rows_at(j->g, j->scratch + (size_t)thread * j->scratch_step, j->w->type, j->w->K, rows);
    pack_rows(j->g, &r, j->x, m0, rows);
    run_tiles(j, NULL, &r, m0, 0, rows, 0, panel_count(j));
}

static void run_packed(void *cookie, int i, int thread)
{
    const job *j = cookie;
    const int from = i / j->groups * j->rows;
    const int first = i % j->groups * j->panels;
    run_tiles(j, j->room + (size_t)thread * j->room_step, &j->packed, 0, from,
              ZT_MIN(from + j->rows, j->out.n[2]), first,
              ZT_MIN(first + j->panels, panel_count(j)));
}

// Rows of an item when all are packed: as many as stay in L2, in parts of much the same size.
static int split_rows(const job *j, int M)
{
    const int tiles = (M + ZT_TILE_ROWS - 1) / ZT_TILE_ROWS;
    const int row = (int)(zt_rows_bytes(j->g, j->w->type, j->w->K, 4) / 4);
    const int most = ZT_MAX(1, ZT_MIN(ROWS_MAX, ROWS_BYTES / row) / ZT_TILE_ROWS);
    const int parts = (tiles + most - 1) / most;
    return (tiles + parts - 1) / parts * ZT_TILE_ROWS;
}

// Items enough for every thread to take four. Returns how many.
static int split_packed(job *j, int M, int threads)
{
    const int pairs = (panel_count(j) + 1) / 2;
    j->rows = split_rows(j, M);
    const int parts = (M + j->rows - 1) / j->rows;
    const int groups = ZT_MIN(pairs, (4 * threads + parts - 1) / parts);
    j->panels = (pairs + groups - 1) / groups * 2;
    j->groups = (pairs * 2 + j->panels - 1) / j->panels;
    return parts * j->groups;
}

struct packing {
    const zt_gemm *g;
    const zt_rows *r;
    zt_tensor      x;
};

static void run_pack(void *cookie, int i, int thread)
{
    const struct packing *p = cookie;
    const int m0 = i * ZT_TILE_ROWS;
    zt_rows r = *p->r;
    (void)thread;
    r.a += (size_t)(m0 / 4) * (size_t)r.quad;
    r.scale += m0;
    r.start += m0;
    pack_rows(p->g, &r, p->x, m0, ZT_MIN(ZT_TILE_ROWS, p->x.n[2] - m0));
}

void zt_linear_pack(struct zt_device *d, const zt_rows *r, zt_tensor x, const zt_gemm *g)
{
    zt_parallel_for(d, (x.n[2] + ZT_TILE_ROWS - 1) / ZT_TILE_ROWS, run_pack, &(struct packing){ g, r, x });
}

void zt_linear_packed(struct zt_device *d, zt_tensor out, const zt_rows *r, const zt_matrix *w, const zt_epilogue *e,
                      const zt_gemm *g, void *room)
{
    job j = { .g = g, .out = out, .w = w, .e = e, .packed = *r, .room = room, .room_step = zt_panels_bytes(w) };
    zt_parallel_for(d, split_packed(&j, out.n[2], d->threads), run_packed, &j);
}

// Items pack their own rows.
static void linear_own(struct zt_device *d, job *j, int tiles)
{
    j->rows = ZT_MAX(1, ZT_MIN(TILES_MAX, tiles / (4 * d->threads))) * ZT_TILE_ROWS;
    j->scratch = zt_scratch_each(d, zt_rows_bytes(j->g, j->w->type, j->w->K, j->rows), &j->scratch_step);
    if (j->scratch)
        zt_parallel_for(d, (j->x.n[2] + j->rows - 1) / j->rows, run_own, j);
}

void zt_linear_tiled(struct zt_device *d, zt_tensor out, zt_tensor x, const zt_matrix *w,
                     const zt_epilogue *e, const zt_gemm *g)
{
    const int M = x.n[2], tiles = (M + ZT_TILE_ROWS - 1) / ZT_TILE_ROWS;
    assert(M >= 1 && out.n[2] == M && w->K == x.n[3] && w->N == out.n[3]);
    assert(x.type == ZT_F32 && out.type == ZT_F32 && !w->scale == !zt_is_integer(w->type));

    const bool small = w->type != ZT_I4 && zt_matrix_bytes(w->type, w->N, w->K) <= SMALL;
    if (small && (d->threads == 1 || tiles >= 4 * d->threads)) {
        linear_own(d, &(job){ .g = g, .out = out, .x = x, .w = w, .e = e }, tiles);
        return;
    }
    const size_t bytes = zt_rows_bytes(g, w->type, w->K, M);
    char *const memory = zt_scratch(d, bytes + (size_t)d->threads * zt_panels_bytes(w));
    if (!memory)
        return;
    const zt_rows r = zt_rows_at(g, memory, w->type, w->K, M);
    zt_linear_pack(d, &r, x, g);
    zt_linear_packed(d, out, &r, w, e, g, memory + bytes);
}
