// SPDX-License-Identifier: Apache-2.0
// A transformer over several ranks.
//
// One pass, all ranks (Ulysses): each has a share of the rows in everything that treats rows alone, and a share of the heads in
// self-attention; before it and after it they exchange. A rank's cache holds its own heads. Per block and rank 4 d floats a row
// travel. What comes out has the bits that one rank makes, for no row's arithmetic changes.
// Many passes (pipeline): each rank has a share of the blocks; passes of several streams follow one another through them.
#include "diffusion/dit_ranks.h"

#include <assert.h>
#include <errno.h>

#include "base/base.h"

static zt_tensor rows_of(float *p, int rows, int columns)
{
    return zt_tensor_2d(p, ZT_F32, rows, columns);
}

static int tokens(const zt_segment *s)
{
    return s->h / 2 * (s->w / 2);
}

int zt_ranks_open(zt_ranks *r, zt_dit *t, zt_comm *comm)
{
    *r = (zt_ranks){ .t = t, .comm = comm };
    return t->c->heads % comm->size || t->others ? -EINVAL : 0;
}

void zt_ranks_finish(zt_ranks *r)
{
    zt_device_free(r->t->d, r->memory);
    *r = (zt_ranks){ 0 };
}

static int reserve(zt_ranks *r)
{
    const zt_dit *const t = r->t;
    const int per = (t->M + r->comm->size - 1) / r->comm->size;
    r->per = per;
    if (per <= r->room)
        return 0;
    const size_t n = (size_t)per * (size_t)r->comm->size * 3 * (size_t)t->c->dim;     // whole rows: the end gathers them
    zt_device_free(t->d, r->memory);
    r->memory = zt_device_alloc(t->d, 2 * n * sizeof(float));
    r->room = r->memory ? per : 0;
    r->out = r->memory;
    r->in = r->out + n;
    return r->memory ? 0 : -ENOMEM;
}

// The rank's rows [from, from + n) of the first M.
static int own_rows(const zt_ranks *r, int M, int *from)
{
    *from = ZT_MIN(r->comm->rank * r->per, M);
    return ZT_MIN(r->per, M - *from);
}

// q, k, v of own rows and all heads to all rows and own heads: r->in [rows][3][d / size].
static void to_heads(const zt_ranks *r, float *qkv, int n)
{
    zt_device *const d = r->t->d;
    const size_t C = (size_t)r->t->c->dim, wide = C / (size_t)r->comm->size, f = sizeof(float);
    for (int q = 0; q < r->comm->size; q++)
        for (size_t i = 0; i < 3 && n > 0; i++)
            zt_device_copy_rows(d, r->out + (size_t)q * (size_t)r->per * 3 * wide + i * wide, 3 * wide * f,
                                qkv + i * C + (size_t)q * wide, 3 * C * f, wide * f, (size_t)n);
    r->comm->all_to_all(r->comm, d, r->in, r->out, (size_t)r->per * 3 * wide);
}

// And back: r->out [rows][d / size] to y, own rows of d.
static void to_rows(const zt_ranks *r, float *y, int n)
{
    zt_device *const d = r->t->d;
    const size_t C = (size_t)r->t->c->dim, wide = C / (size_t)r->comm->size, f = sizeof(float);
    r->comm->all_to_all(r->comm, d, r->in, r->out, (size_t)r->per * wide);
    for (int q = 0; q < r->comm->size && n > 0; q++)
        zt_device_copy_rows(d, y + (size_t)q * wide, C * f, r->in + (size_t)q * (size_t)r->per * wide, wide * f, wide * f, (size_t)n);
}

// The segments' self-attention with own heads over all rows; what is wanted of it in r->out.
static void attend(const zt_ranks *r, const zt_block *b, int live)
{
    zt_dit *const t = r->t;
    const int d = t->c->dim / r->comm->size;
    const zt_tensor all = rows_of(r->in, t->M, 3 * d);
    zt_span span[ZT_MAX_SEGMENTS];
    int n = 0;
    for (int i = 0, m = 0; i < t->segments; i++) {
        const zt_segment *const s = &t->segment[i];
        const int first = m;
        assert(s->kv[b->at].H * r->comm->size == t->c->heads);
        for (int j = 0; j < s->frames; j++, m += tokens(s)) {
            const zt_tensor rows = zt_tensor_rows(all, m, tokens(s));
            t->kv_append(t->d, &s->kv[b->at], s->frame[j].slot, zt_tensor_columns(rows, d, d), zt_tensor_columns(rows, 2 * d, d));
        }
        if (first < live)
            span[n++] = (zt_span){ first, m - first, &s->kv[b->at], s->slot, s->slots, NULL };
    }
    if (n)
        t->attention(t->d, rows_of(r->out, live, d), zt_tensor_columns(rows_of(r->in, live, 3 * d), 0, d), span, n);
}

// Own rows [m0, m0 + n) meet their own segment's text.
static void cross(const zt_ranks *r, const zt_block *b, int layer, int m0, int n)
{
    static const int first = 0;
    zt_dit *const t = r->t;
    const zt_kernels *const k = &t->d->k;
    const int d = t->c->dim;
    zt_span span[ZT_MAX_SEGMENTS];
    int spans = 0;
    for (int i = 0, m = 0; i < t->segments; i++) {
        const zt_segment *const s = &t->segment[i];
        const int from = ZT_MAX(m, m0), end = ZT_MIN(m + s->frames * tokens(s), m0 + n);
        if (from < end)
            span[spans++] = (zt_span){ from - m0, end - from, &s->text[layer], &first, 1, s->text_bias };
        m += s->frames * tokens(s);
    }
    const zt_tensor q = rows_of(t->work.qkv, n, d), x = rows_of(t->work.x + (size_t)m0 * (size_t)d, n, d), y = rows_of(t->work.y, n, d);
    k->layer_norm(t->d, y, x, b->norm3_scale, b->norm3_shift, d, NULL, t->c->eps);
    k->linear(t->d, q, y, &b->cross_q, &(zt_epilogue){ 0 });
    k->rms_rope(t->d, q, b->cross_norm_q, NULL, d / t->c->heads, t->c->eps);
    t->attention(t->d, y, q, span, spans);
    k->linear(t->d, x, y, &b->cross_o, &(zt_epilogue){ .add = true });
}

static void feed_forward(const zt_ranks *r, const zt_block *b, int m0, int n)
{
    zt_dit *const t = r->t;
    const zt_kernels *const k = &t->d->k;
    const int d = t->c->dim;
    const float *const mod = t->work.modulation;
    const zt_tensor x = rows_of(t->work.x + (size_t)m0 * (size_t)d, n, d), y = rows_of(t->work.y, n, d);
    const zt_epilogue gated = { .gate = mod + 5 * d, .gate_step = 6 * d, .row = t->work.row + m0 };
    k->layer_norm(t->d, y, x, mod + 4 * d, mod + 3 * d, 6 * d, t->work.row + m0, t->c->eps);
    if (t->c->experts) {
        zt_moe moe = b->moe;
        moe.k = t->top_k ? t->top_k : moe.k;
        k->moe(t->d, x, y, &moe, &gated);
        return;
    }
    const zt_tensor hidden = rows_of(t->work.hidden, n, t->c->ffn_dim);
    k->linear(t->d, hidden, y, &b->up, &(zt_epilogue){ .act = ZT_ACT_GELU });
    k->linear(t->d, x, hidden, &b->down, &gated);
}

// Own rows' q, k and v, normed and turned.
static void project(const zt_ranks *r, const zt_block *b, int m0, int n)
{
    zt_dit *const t = r->t;
    const zt_kernels *const k = &t->d->k;
    const int d = t->c->dim, D = d / t->c->heads;
    const float *const mod = t->work.modulation, *const angle = t->work.angle + (size_t)m0 * (size_t)D;
    const zt_tensor x = rows_of(t->work.x + (size_t)m0 * (size_t)d, n, d), y = rows_of(t->work.y, n, d), qkv = rows_of(t->work.qkv, n, 3 * d);
    k->layer_norm(t->d, y, x, mod + d, mod, 6 * d, t->work.row + m0, t->c->eps);
    k->linear(t->d, qkv, y, &b->qkv, &(zt_epilogue){ 0 });
    k->rms_rope(t->d, zt_tensor_columns(qkv, 0, d), b->norm_q, angle, D, t->c->eps);
    k->rms_rope(t->d, zt_tensor_columns(qkv, d, d), b->norm_k, angle, D, t->c->eps);
}

static void run_block(const zt_ranks *r, int layer)
{
    zt_dit *const t = r->t;
    const zt_kernels *const k = &t->d->k;
    const zt_block *const b = &t->block[layer];
    const int d = t->c->dim, live = layer == t->c->layers - 1 ? t->live : t->M;
    int m0;
    const int n = own_rows(r, t->M, &m0);
    k->modulation(t->d, zt_tensor_4d(t->work.modulation, ZT_F32, 1, t->S, 6, d), rows_of(t->work.e0, t->S, 6 * d), b->modulation,
                  1u << 1 | 1u << 4);
    if (n > 0)
        project(r, b, m0, n);
    to_heads(r, t->work.qkv, n);
    attend(r, b, live);
    if (live == 0)
        return;
    to_rows(r, t->work.y, n);
    const int wanted = own_rows(r, live, &m0);
    if (wanted <= 0)
        return;
    k->linear(t->d, rows_of(t->work.x + (size_t)m0 * (size_t)d, wanted, d), rows_of(t->work.y, wanted, d), &b->o,
              &(zt_epilogue){ .gate = t->work.modulation + 2 * d, .gate_step = 6 * d, .row = t->work.row + m0 });
    cross(r, b, layer, m0, wanted);
    feed_forward(r, b, m0, wanted);
}

int zt_ranks_blocks(zt_ranks *r)
{
    zt_dit *const t = r->t;
    const size_t d = (size_t)t->c->dim;
    int m0;
    const int err = reserve(r);
    if (err < 0)
        return err;
    for (int i = 0; i < t->c->layers; i++)
        run_block(r, i);
    const int n = own_rows(r, t->M, &m0);
    if (n > 0)
        zt_device_copy(t->d, r->out, t->work.x + (size_t)m0 * d, (size_t)n * d * sizeof(float));
    r->comm->all_gather(r->comm, t->d, r->in, r->out, (size_t)r->per * d);
    zt_device_copy(t->d, t->work.x, r->in, (size_t)t->M * d * sizeof(float));
    return 0;
}

int zt_ranks_pipeline(zt_ranks *r, const zt_segment *s, int n)
{
    zt_dit *const t = r->t;
    zt_comm *const c = r->comm;
    const int L = t->c->layers, from = L * c->rank / c->size, to = L * (c->rank + 1) / c->size;
    for (int i = 0; i < n; i++) {
        const int err = zt_dit_begin(t, &s[i], 1);
        if (err < 0)
            return err;
        const size_t floats = (size_t)t->M * (size_t)t->c->dim;
        if (c->rank > 0)
            c->receive(c, t->d, t->work.x, floats);
        zt_dit_blocks(t, from, to);
        if (c->rank + 1 < c->size) {
            c->send(c, t->d, t->work.x, floats);
            zt_device_wait(t->d);           // x is the next pass's
            t->running = false;
        } else {
            zt_dit_end(t);
        }
    }
    return 0;
}
