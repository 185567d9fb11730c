// SPDX-License-Identifier: Apache-2.0
// linear on AVX-512: an item takes a few tiles of rows, packs them into its thread's scratch and goes through the
// panels of weights once, two at a time.
#include <assert.h>
#include <immintrin.h>

#include "base/base.h"
#include "kernels/device.h"
#include "kernels/epilogue_avx512.h"
#include "kernels/gemm_avx512.h"

zt_linear_fn zt_linear_avx512;

enum { TILES_MAX = 4 };         // of one item: 48 rows

typedef struct job {
    zt_tensor          out, x;
    const zt_matrix   *w;
    const zt_epilogue *e;
    char              *scratch;
    size_t             scratch_step;    // from one thread to the next
    int                rows;            // of an item
    int                groups;          // of columns
    int                panels;          // of a group, even
} job;

static bool is_plain(const zt_epilogue *e)
{
    return !e->gate && !e->add && e->act == ZT_ACT_NONE;
}

// One tile: straight to `out` when nothing is to be done to it.
static void multiply(const job *j, const zt_rows *r, int m0, int quad, int quads, int panel, int panels)
{
    const int m = m0 + quad * 4, rows = ZT_MIN(quads * 4, j->x.n[2] - m);
    const int n = panel * 16, columns = ZT_MIN(panels * 16, j->w->N - n);
    float *out = zt_f32(j->out) + m * j->out.step[2] + n;

    if (rows == quads * 4 && columns == panels * 16 && is_plain(j->e)) {
        zt_tile_multiply(out, j->out.step[2], r, quad, quads, j->w, panel, panels);
        return;
    }
    _Alignas(64) float y[ZT_TILE_ROWS * ZT_TILE_COLUMNS];
    zt_tile_multiply(y, ZT_TILE_COLUMNS, r, quad, quads, j->w, panel, panels);
    for (int i = 0; i < rows; i++)
        zt_epilogue512(j->e, m + i, n, columns, out + i * j->out.step[2], y + i * ZT_TILE_COLUMNS);
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
    const zt_rows r = zt_rows_at(j->scratch + (size_t)thread * j->scratch_step, j->w->type, j->w->K, rows);
    zt_rows_pack(&r, x, rows);

    const int quads = (rows + 3) / 4;
    for (int panel = first; panel < last; panel += 2) {
        for (int quad = 0, n; quad < quads; quad += n) {
            n = zt_tile_quads(quads - quad);
            multiply(j, &r, m0, quad, n, panel, ZT_MIN(2, last - panel));
        }
    }
}

// Items enough for every thread to take four: fewer rows first, then fewer columns (which packs rows again).
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

void zt_linear_avx512(struct zt_device *d, zt_tensor out, zt_tensor x, const zt_matrix *w, const zt_epilogue *e)
{
    const int M = x.n[2];
    assert(M >= 1 && out.n[2] == M && w->K == x.n[3] && w->N == out.n[3]);
    assert(x.type == ZT_F32 && out.type == ZT_F32 && (w->type != ZT_I8 || w->scale));

    job j = { .out = out, .x = x, .w = w, .e = e };
    const int n = split(&j, M, d->threads);
    j.scratch_step = zt_rows_bytes(w->type, w->K, j.rows);
    j.scratch = zt_scratch(d, j.scratch_step * (size_t)d->threads);
    if (!j.scratch)
        return;
    zt_parallel_for(d, n, run, &j);
}
