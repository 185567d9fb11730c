// SPDX-License-Identifier: Apache-2.0
// The blocks of a pass, in units that may be run one at a time: a part of a block for a group of its rows.
//
// Every part treats each row alone, once all keys and values are in the caches, so groups may be of any size with the same
// bits. The rows of a group go through the parts after those in turn: what they share stays in L2. Where weights are small,
// what lies between two attentions, or before the first, is done for a few rows at a time, by one thread: those stay in its
// core's cache from one operation to the next, and threads meet once for all of them. Measured, 256 wide, 144 rows, two Zen 4
// cores: a step takes up to 7 % less time.
#include <assert.h>

#include "base/base.h"
#include "diffusion/dit.h"

enum { L2_BYTES = 1 << 20, ROWS_MIN = 144 };
enum { CHAIN_ROWS = 12, CHAIN_BYTES = 512 << 10 };      // rows at a time; weights that they meet in L2
enum { MIX_ROWS = 96, MIX_BYTES = 2 << 20 };            // the same of experts, at most

// Of the pass's rows
struct group {
    int from, rows;
};

static zt_tensor rows_of(float *p, struct group g, int columns)
{
    return zt_tensor_2d(p + (size_t)g.from * (size_t)columns, ZT_F32, g.rows, columns);
}

static int tokens(const zt_segment *s)
{
    return s->h / 2 * (s->w / 2);
}

static zt_epilogue gated(const zt_dit *t, struct group g, int which)
{
    return (zt_epilogue){ .gate = t->work.modulation + which * t->c->dim, .gate_step = 6 * t->c->dim,
                          .row = t->work.row + g.from };
}

// ---- few rows at a time

// What is done to some rows of a block, on a device.
typedef void chain_fn(zt_dit *t, zt_device *d, const zt_block *b, struct group g, int layer);

typedef struct chain {
    zt_dit         *t;
    const zt_block *b;
    chain_fn       *fn;
    struct group    g;
    int             layer;
    int             rows;       // at a time
} chain;

static void run_chain(void *cookie, int i, zt_device *alone)
{
    const chain *const c = cookie;
    const int from = i * c->rows;
    c->fn(c->t, alone, c->b, (struct group){ c->g.from + from, ZT_MIN(c->rows, c->g.rows - from) }, c->layer);
}

static size_t weight_bytes(const zt_matrix *const *w, int n)
{
    size_t bytes = 0;
    for (int i = 0; i < n; i++)
        bytes += w[i]->data ? zt_matrix_bytes(w[i]->type, w[i]->N, w[i]->K) : 0;
    return bytes;
}

// Panels of 4 bits are expanded anew for whoever meets them.
static void by_rows(const chain *c, const zt_matrix *const *w, int n)
{
    zt_device *const d = c->t->d;
    bool small = d->space == ZT_HOST && weight_bytes(w, n) <= CHAIN_BYTES;
    for (int i = 0; i < n; i++)
        small &= w[i]->type != ZT_I4;
    if (small)
        zt_parallel_alone(d, (c->g.rows + c->rows - 1) / c->rows, run_chain, (void *)c);
    else
        c->fn(c->t, d, c->b, c->g, c->layer);
}

// ---- the parts

// y = x normed, by the modulation of its frames
static void norm(zt_dit *t, zt_device *on, struct group g, int shift)
{
    const int d = t->c->dim;
    const float *const mod = t->work.modulation + shift * d;
    on->k.layer_norm(on, rows_of(t->work.y, g, d), rows_of(t->work.x, g, d), mod + d, mod, 6 * d, t->work.row + g.from, t->c->eps);
}

static void project_rows(zt_dit *t, zt_device *on, const zt_block *b, struct group g, int layer)
{
    const int d = t->c->dim;
    (void)layer;
    norm(t, on, g, 0);
    if (b->kind == ZT_BLOCK_PLAIN)
        on->k.linear(on, rows_of(t->work.qkv, g, 3 * d), rows_of(t->work.y, g, d), &b->qkv, &(zt_epilogue){ 0 });
}

static void project(zt_dit *t, const zt_block *b, struct group g)
{
    const zt_matrix *const w[] = { &b->qkv };
    by_rows(&(chain){ t, b, project_rows, g, 0, CHAIN_ROWS }, w, 1);
}

// q and k normed and turned, k and v into the cache
static void append(zt_dit *t, const zt_block *b)
{
    const int d = t->c->dim, D = d / t->c->heads;
    const zt_tensor all = zt_tensor_2d(t->work.qkv, ZT_F32, t->M, 3 * d);
    for (int i = 0, m = 0; i < t->segments; i++) {
        const zt_segment *const s = &t->segment[i];
        for (int j = 0; j < s->frames; j++, m += tokens(s))
            t->qkv_append(t->d, &s->kv[b->at], s->frame[j].slot, zt_tensor_rows(all, m, tokens(s)), b->norm_q,
                          b->norm_k, t->work.angle + m * D, t->c->eps);
    }
}

// Spans of a group's rows, counted from its first; returns their number.
static int spans(const zt_dit *t, zt_span *span, int layer, bool text, struct group g)
{
    static const int first = 0;
    int n = 0;
    for (int i = 0, m = 0; i < t->segments && m < g.from + g.rows; i++) {
        const zt_segment *const s = &t->segment[i];
        const int rows = s->frames * tokens(s), from = ZT_MAX(m, g.from), to = ZT_MIN(m + rows, g.from + g.rows);
        if (from < to)
            span[n++] = text ? (zt_span){ from - g.from, to - from, &s->text[layer], &first, 1, s->text_bias }
                             : (zt_span){ from - g.from, to - from, &s->kv[t->block[layer].at], s->slot, s->slots, NULL };
        m += rows;
    }
    return n;
}

static void self_attention(zt_dit *t, int layer, struct group g)
{
    zt_span span[ZT_MAX_SEGMENTS];
    const int d = t->c->dim;
    const zt_tensor q = zt_tensor_columns(rows_of(t->work.qkv, g, 3 * d), 0, d);
    t->attention(t->d, rows_of(t->work.y, g, d), q, span, spans(t, span, layer, false, g));
}

static void text_rows(zt_dit *t, zt_device *on, const zt_block *b, struct group g, int layer)
{
    const zt_kernels *const k = &on->k;
    zt_span span[ZT_MAX_SEGMENTS];
    const int d = t->c->dim;
    const zt_epilogue gate = gated(t, g, 2);
    const zt_tensor q = zt_tensor_columns(rows_of(t->work.qkv, g, 3 * d), 0, d);
    const zt_tensor x = rows_of(t->work.x, g, d), y = rows_of(t->work.y, g, d);
    if (b->kind == ZT_BLOCK_PLAIN)
        k->linear(on, x, y, &b->o, &gate);
    k->layer_norm(on, y, x, b->norm3_scale, b->norm3_shift, d, NULL, t->c->eps);
    k->linear(on, q, y, &b->cross_q, &(zt_epilogue){ 0 });
    k->rms_rope(on, q, b->cross_norm_q, NULL, d / t->c->heads, t->c->eps);
    t->attention(on, y, q, span, spans(t, span, layer, true, g));
    k->linear(on, x, y, &b->cross_o, &(zt_epilogue){ .add = true });
    norm(t, on, g, 3);
}

// What self-attention has found, the text, and the norm before the feed-forward
static void cross_attention(zt_dit *t, const zt_block *b, int layer, struct group g)
{
    const zt_matrix *const w[] = { &b->o, &b->cross_q, &b->cross_o };
    by_rows(&(chain){ t, b, text_rows, g, layer, CHAIN_ROWS }, w, 3);
}

static void mix_rows(zt_dit *t, zt_device *on, const zt_block *b, struct group g, int layer)
{
    const zt_epilogue gate = gated(t, g, 5);
    zt_moe moe = b->moe;
    (void)layer;
    moe.k = t->top_k ? t->top_k : moe.k;
    on->k.moe(on, rows_of(t->work.x, g, t->c->dim), rows_of(t->work.y, g, t->c->dim), &moe, &gate);
}

// Each core reads them all.
static bool are_small(const zt_block *b, int experts)
{
    size_t bytes = 0;
    for (int i = 0; i < experts; i++) {
        const zt_matrix *const w[] = { &b->moe.up[i], &b->moe.down[i] };
        bytes += weight_bytes(w, 2);
    }
    return bytes <= MIX_BYTES;
}

// Sorted by expert, rows would go from one core to the other and back: where there are enough of them to fill tiles, each
// thread keeps its own.
static void mix(zt_dit *t, const zt_block *b, struct group g)
{
    const int threads = t->d->threads, parts = threads * ((g.rows + threads * MIX_ROWS - 1) / (threads * MIX_ROWS));
    const chain c = { t, b, mix_rows, g, 0, (int)zt_round_up((g.rows + parts - 1) / parts, 12) };
    if (threads > 1 && t->d->space == ZT_HOST && c.rows * b->moe.k >= 12 * b->moe.E && b->moe.up[0].type != ZT_I4 &&
        are_small(b, b->moe.E))
        zt_parallel_alone(t->d, (g.rows + c.rows - 1) / c.rows, run_chain, (void *)&c);
    else
        mix_rows(t, t->d, b, g, 0);
}

static void feed_forward(zt_dit *t, const zt_block *b, struct group g)
{
    const zt_kernels *const k = &t->d->k;
    const zt_epilogue gate = gated(t, g, 5);
    const zt_tensor x = rows_of(t->work.x, g, t->c->dim), y = rows_of(t->work.y, g, t->c->dim);
    if (t->c->experts) {
        mix(t, b, g);
        return;
    }
    const zt_tensor hidden = rows_of(t->work.hidden, g, t->c->ffn_dim);
    k->linear(t->d, hidden, y, &b->up, &(zt_epilogue){ .act = ZT_ACT_GELU });
    k->linear(t->d, x, hidden, &b->down, &gate);
}

// Rows of a group that are among the first M: whole tiles.
static struct group group_of(const zt_dit *t, int groups, int i, int M)
{
    const int rows = (int)zt_round_up((t->M + groups - 1) / groups, 12);
    return (struct group){ i * rows, ZT_MIN(rows, M - i * rows) };
}

static void before_all(zt_dit *t, const zt_block *b)
{
    t->d->k.modulation(t->d, zt_tensor_4d(t->work.modulation, ZT_F32, 1, t->S, 6, t->c->dim),
                       zt_tensor_2d(t->work.e0, ZT_F32, t->S, 6 * t->c->dim), b->modulation, 1u << 1 | 1u << 4);
}

// Once every row's are there.
static void into_caches(zt_dit *t, const zt_block *b, int live)
{
    if (b->kind == ZT_BLOCK_PLAIN)
        append(t, b);
    else
        zt_dit_run_past(t, b, live);
}

static void run_unit(zt_dit *t, int layer, int groups, int unit)
{
    const zt_block *const b = &t->block[layer];
    // Of the last block a commit needs no more than keys and values.
    const int live = layer == t->c->layers - 1 ? t->live : t->M;
    if (unit < groups) {
        const struct group g = group_of(t, groups, unit, t->M);
        if (unit == 0)
            before_all(t, b);
        if (g.rows > 0)
            project(t, b, g);
        return;
    }
    const int part = (unit - groups) % (ZT_DIT_PARTS - 1);
    const struct group g = group_of(t, groups, (unit - groups) / (ZT_DIT_PARTS - 1), live);
    if (unit == groups)
        into_caches(t, b, live);
    if (g.rows <= 0)
        return;
    if (part == 0 && b->kind == ZT_BLOCK_PLAIN)
        self_attention(t, layer, g);
    else if (part == 1)
        cross_attention(t, b, layer, g);
    else if (part == 2)
        feed_forward(t, b, g);
}

void zt_dit_units(zt_dit *t, int groups, int from, int to)
{
    const int each = ZT_DIT_PARTS * groups;
    assert(groups >= 1 && from >= 0 && from <= to && to <= each * t->c->layers);
    for (int i = from; i < to; i++)
        run_unit(t, i / each, groups, i % each);
}

// Groups whose x, y, q, k and v stay in L2 from part to part. Of wide models so few rows would that weights were read for
// too little.
static int groups_of(const zt_dit *t)
{
    const int rows = L2_BYTES / (5 * t->c->dim * (int)sizeof(float));
    return rows < ROWS_MIN ? 1 : ZT_MAX((t->M + rows / 2) / rows, 1);
}

void zt_dit_blocks(zt_dit *t, int from, int to)
{
    const int groups = groups_of(t);
    zt_dit_units(t, groups, ZT_DIT_PARTS * groups * from, ZT_DIT_PARTS * groups * to);
}
