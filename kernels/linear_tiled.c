// SPDX-License-Identifier: Apache-2.0
// linear on the fast levels: an item takes a few tiles of rows, packs them into its thread's
// scratch and goes through the panels of weights once, two at a time.
#include <assert.h>

#include "base/base.h"
#include "kernels/device.h"
#include "kernels/gemm.h"

enum { TILES_MAX = 4 };                 // of one item: 48 rows

typedef struct job {
    const zt_gemm     *g;
    zt_tensor          out, x;
    const zt_matrix   *w;
    const zt_epilogue *e;
    char              *scratch;
    size_t             scratch_step;    // from one thread to the next
    int                rows;            // of an item
    int                groups;          // of columns
    int                panels;          // of a group, even
} job;

static int row_units(enum zt_type type, int K)
{
    const int P = 4 / (int)zt_type_bytes(type);
    return (K + P - 1) / P;
}

// Rounded up to 16 units, so that packing may store whole vectors.
static size_t quad_words(const zt_gemm *g, enum zt_type type, int K)
{
    return (size_t)zt_round_up(row_units(type, K), 16) * 4 * (size_t)g->words[type];
}

size_t zt_rows_bytes(const zt_gemm *g, enum zt_type type, int K, int rows)
{
    const size_t quads = ((size_t)rows + 3) / 4;
    return (quads * (quad_words(g, type, K) + 8) * 4 + 63) / 64 * 64;
}

zt_rows zt_rows_at(const zt_gemm *g, void *memory, enum zt_type type, int K, int rows)
{
    const size_t quads = ((size_t)rows + 3) / 4;
    zt_rows r = { .type = type, .K = K, .units = row_units(type, K),
                  .quad = (int)quad_words(g, type, K), .a = memory };
    r.scale = (float *)(r.a + quads * (size_t)r.quad);
    r.start = (int32_t *)(r.scale + quads * 4);
    return r;
}

static bool is_plain(const zt_epilogue *e)
{
    return !e->gate && !e->add && e->act == ZT_ACT_NONE;
}

// One tile: straight to `out` when nothing is to be done to it.
static void multiply(const job *j, const zt_rows *r, int m0, int quad, int quads, int panel,
                     int panels)
{
    const int m = m0 + quad * 4, rows = ZT_MIN(quads * 4, j->x.n[2] - m);
    const int n = panel * 16, columns = ZT_MIN(panels * 16, j->w->N - n);
    float *out = zt_f32(j->out) + m * j->out.step[2] + n;

    if (rows == quads * 4 && columns == panels * 16 && is_plain(j->e)) {
        j->g->multiply(out, j->out.step[2], r, quad, quads, j->w, panel, panels);
        return;
    }
    _Alignas(64) float y[ZT_TILE_ROWS * ZT_TILE_COLUMNS];
    j->g->multiply(y, ZT_TILE_COLUMNS, r, quad, quads, j->w, panel, panels);
    for (int i = 0; i < rows; i++)
        j->g->epilogue(j->e, m + i, n, columns, out + i * j->out.step[2],
                       y + i * ZT_TILE_COLUMNS);
}

static void run(void *cookie, int i, int thread)
{
    const job *j = cookie;
    const int m0 = i / j->groups * j->rows, rows = ZT_MIN(j->rows, j->x.n[2] - m0);
    const int first = i % j->groups * j->panels;
    const int last = ZT_MIN(first + j->panels, (j->w->N + 15) / 16);

    const float *x[TILES_MAX * ZT_TILE_ROWS];
    for (int m = 0; m < rows; m++)
        x[m] = zt_f32(j->x) + (m0 + m) * j->x.step[2];
    char *scratch = j->scratch + (size_t)thread * j->scratch_step;
    const zt_rows r = zt_rows_at(j->g, scratch, j->w->type, j->w->K, rows);
    j->g->pack(&r, x, rows);

    const int quads = (rows + 3) / 4;
    for (int panel = first; panel < last; panel += 2) {
        for (int quad = 0, n; quad < quads; quad += n) {
            n = zt_tile_quads(quads - quad);
            multiply(j, &r, m0, quad, n, panel, ZT_MIN(2, last - panel));
        }
    }
}

// Items enough for every thread to take four: fewer rows first, then fewer columns (which packs
// rows again).
static int split(job *j, int M, int threads)
{
    const int tiles = (M + ZT_TILE_ROWS - 1) / ZT_TILE_ROWS, pairs = (j->w->N + 31) / 32;
    const int per_item = ZT_MAX(1, ZT_MIN(TILES_MAX, tiles / (4 * threads)));
    const int items = (tiles + per_item - 1) / per_item;
    const int groups = ZT_MIN(pairs, (2 * threads + items - 1) / items);
    const int group_pairs = (pairs + groups - 1) / groups;

    j->rows = per_item * ZT_TILE_ROWS;
    j->panels = group_pairs * 2;
    j->groups = (pairs + group_pairs - 1) / group_pairs;
    return items * j->groups;
}

void zt_linear_tiled(struct zt_device *d, zt_tensor out, zt_tensor x, const zt_matrix *w,
                     const zt_epilogue *e, const zt_gemm *g)
{
    const int M = x.n[2];
    assert(M >= 1 && out.n[2] == M && w->K == x.n[3] && w->N == out.n[3]);
    assert(x.type == ZT_F32 && out.type == ZT_F32 && (w->type != ZT_I8 || w->scale));

    job j = { .g = g, .out = out, .x = x, .w = w, .e = e };
    const int n = split(&j, M, d->threads);
    j.scratch_step = zt_rows_bytes(g, w->type, w->K, j.rows);
    j.scratch = zt_scratch(d, j.scratch_step * (size_t)d->threads);
    if (!j.scratch)
        return;
    zt_parallel_for(d, n, run, &j);
}
