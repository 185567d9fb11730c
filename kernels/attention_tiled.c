// SPDX-License-Identifier: Apache-2.0
// attention on the fast levels: an item of work is a tile of queries, one head, all keys of its span.
//
// The items of one part of the rows come together, as many parts as there are threads: rows stay with the thread that
// makes and reads them in the regions before and after. Within a part a head's keys meet one tile after the other.
#include "kernels/attention.h"

#include <assert.h>

#include "base/base.h"
#include "kernels/device.h"

typedef struct job {
    zt_tensor      out, q;
    const zt_span *span;
    int            rows;            // of a tile
    int            heads, tiles;    // tiles of all spans
    int            part;            // of the tiles
    zt_attend_fn  *attend;
    char          *scratch;
    size_t         scratch_step;    // from one thread to the next
    ptrdiff_t      s_step;
} job;

static int tiles(const job *j, const zt_span *s)
{
    return (s->rows + j->rows - 1) / j->rows;
}

static void run(void *cookie, int i, int thread)
{
    const job *j = cookie;
    const int part = i / (j->part * j->heads), first = part * j->part, size = ZT_MIN(j->part, j->tiles - first);
    const int at = i - first * j->heads, h = at / size;
    int tile = first + at % size;
    const zt_span *s = j->span;
    for (; tile >= tiles(j, s); s++)
        tile -= tiles(j, s);

    const int from = tile * j->rows;
    const int64_t row = s->row0 + from, column = (int64_t)h * s->kv->D;
    float *scratch = (float *)(j->scratch + (size_t)thread * j->scratch_step);
    const zt_attention_tile t = {
        .span = s, .h = h, .rows = ZT_MIN(s->rows - from, j->rows),
        .q = zt_f32(j->q) + row * j->q.step[2] + column, .q_step = j->q.step[2],
        .out = zt_f32(j->out) + row * j->out.step[2] + column, .out_step = j->out.step[2],
        .s = scratch, .s_step = j->s_step, .spare = scratch + j->rows * j->s_step,
    };
    j->attend(&t);
}

void zt_attention_tiled(struct zt_device *d, zt_tensor out, zt_tensor q, const zt_span *span, int n, int rows,
                        zt_attend_fn *attend)
{
    job j = { .out = out, .q = q, .span = span, .rows = rows, .attend = attend };
    int keys = 0, width = 0;
    j.heads = span[0].kv->H;
    for (int i = 0; i < n; i++) {
        const zt_kv *kv = span[i].kv;
        assert(kv->H == j.heads && kv->D % 16 == 0 && kv->keys % 16 == 0 && span[i].n > 0);
        assert(kv->valid > 0 && kv->valid <= kv->keys && (kv->type != ZT_I8 || kv->scale));
        keys = ZT_MAX(keys, zt_span_keys(&span[i]));
        width = ZT_MAX(width, 2 * kv->D + 2 * span[i].n);
        j.tiles += tiles(&j, &span[i]);
    }
    j.part = (j.tiles + d->threads - 1) / d->threads;
    j.s_step = zt_round_up(keys, 32) | 16;      // an odd number of cache lines: rows fall into different sets
    j.scratch = zt_scratch_each(d, (size_t)rows * (size_t)(j.s_step + width) * sizeof(float), &j.scratch_step);
    if (j.scratch)
        zt_parallel_for(d, j.tiles * j.heads, run, &j);
}
