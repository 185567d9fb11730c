// SPDX-License-Identifier: Apache-2.0
// UMT5: weights, relative positions, one forward over the real tokens.
//
// A prompt has tens of tokens, so nearly all the time goes into reading the matrices once; attention, which no kernel
// does because its bias depends on the query, is 2 % of the operations at 512 tokens.
#include "diffusion/text_umt5.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "diffusion/internal.h"

// The names of one tensor by publisher; %d is the block.
enum { NAMES = 3 };
enum tensor { EMBEDDING, NORM, NORM1, Q, K, V, O, POSITION, NORM2, GATE, FC1, FC2, TENSORS };
static const char *const names[TENSORS][NAMES] = {
    [EMBEDDING] = { "token_embedding", "shared", "token_embd" },
    [NORM]      = { "norm", "encoder.final_layer_norm", "enc.output_norm" },
    [NORM1]     = { "blocks.%d.norm1", "encoder.block.%d.layer.0.layer_norm", "enc.blk.%d.attn_norm" },
    [Q]         = { "blocks.%d.attn.q", "encoder.block.%d.layer.0.SelfAttention.q", "enc.blk.%d.attn_q" },
    [K]         = { "blocks.%d.attn.k", "encoder.block.%d.layer.0.SelfAttention.k", "enc.blk.%d.attn_k" },
    [V]         = { "blocks.%d.attn.v", "encoder.block.%d.layer.0.SelfAttention.v", "enc.blk.%d.attn_v" },
    [O]         = { "blocks.%d.attn.o", "encoder.block.%d.layer.0.SelfAttention.o", "enc.blk.%d.attn_o" },
    [POSITION]  = { "blocks.%d.pos_embedding.embedding",
                    "encoder.block.%d.layer.0.SelfAttention.relative_attention_bias", "enc.blk.%d.attn_rel_b" },
    [NORM2]     = { "blocks.%d.norm2", "encoder.block.%d.layer.1.layer_norm", "enc.blk.%d.ffn_norm" },
    [GATE]      = { "blocks.%d.ffn.gate.0", "encoder.block.%d.layer.1.DenseReluDense.wi_0", "enc.blk.%d.ffn_gate" },
    [FC1]       = { "blocks.%d.ffn.fc1", "encoder.block.%d.layer.1.DenseReluDense.wi_1", "enc.blk.%d.ffn_up" },
    [FC2]       = { "blocks.%d.ffn.fc2", "encoder.block.%d.layer.1.DenseReluDense.wo", "enc.blk.%d.ffn_down" },
};

typedef struct reader {
    zt_loader l;
    int       scheme;           // column of names
} reader;

// Without ".weight".
static const char *name_of(const reader *r, enum tensor t, int layer, char out[128])
{
    const char *const text = names[t][r->scheme], *const number = strstr(text, "%d");
    if (number)
        snprintf(out, 128, "%.*s%d%s", (int)(number - text), text, layer, number + 2);
    else
        snprintf(out, 128, "%s", text);
    return out;
}

static const zt_weight *find(const reader *r, enum tensor t, int layer)
{
    char name[128], full[160];
    snprintf(full, sizeof(full), "%s.weight", name_of(r, t, layer, name));
    return zt_weights_find(r->l.w, full);
}

static int load_floats(reader *r, const float **out, enum tensor t, int layer, int rank, const int64_t *shape)
{
    char name[128], full[160];
    snprintf(full, sizeof(full), "%s.weight", name_of(r, t, layer, name));
    return zt_load_floats(&r->l, out, full, rank, shape);
}

static int load_matrix(reader *r, zt_matrix *out, enum tensor t, int layer, int rows, int columns)
{
    char name[128];
    const zt_part part = { .name = name_of(r, t, layer, name), .rows = rows };
    return zt_load_matrix(&r->l, out, r->l.block, rows, columns, columns, &part, 1);
}

static int load_qkv(reader *r, zt_matrix *out, int layer, int width, int dim)
{
    char name[3][128];
    zt_part part[3];
    for (int i = 0; i < 3; i++)
        part[i] = (zt_part){ .name = name_of(r, (enum tensor)(Q + i), layer, name[i]), .rows = width,
                             .row0 = i * width };
    return zt_load_matrix(&r->l, out, r->l.block, 3 * width, dim, dim, part, 3);
}

// Shapes that decide all others. The tensors themselves are checked when they are loaded.
static int find_shape(zt_umt5 *t, reader *r)
{
    for (r->scheme = 0; r->scheme < NAMES - 1 && !find(r, EMBEDDING, 0); r->scheme++)
        ;
    const zt_weight *const e = find(r, EMBEDDING, 0), *const p = find(r, POSITION, 0), *const q = find(r, Q, 0);
    const zt_weight *const g = find(r, GATE, 0);
    const bool ok = e && p && q && g && e->rank == 2 && p->rank == 2 && q->rank == 2 && g->rank == 2
                 && e->shape[0] >= 1 && e->shape[0] <= 1 << 24 && e->shape[1] >= 2 && e->shape[1] <= 1 << 16
                 && e->shape[1] % 2 == 0 && e->usable && p->shape[0] == ZT_UMT5_BUCKETS && p->shape[1] >= 1
                 && p->shape[1] <= 1024 && q->shape[0] >= 1 && q->shape[0] <= 1 << 16
                 && q->shape[0] % p->shape[1] == 0 && g->shape[0] >= 1 && g->shape[0] <= 1 << 18;
    if (!ok) {
        zt_error("%s: not a UMT5 encoder: token embedding, relative positions or the first block do not fit",
                 zt_weights_label(t->w));
        return -EINVAL;
    }
    t->embedding = e;
    t->vocabulary = (int)e->shape[0];
    t->dim = (int)e->shape[1];
    t->heads = (int)p->shape[1];
    t->width = (int)q->shape[0];
    t->ffn = (int)g->shape[0];
    while (t->layers < 512 && find(r, NORM1, t->layers))
        t->layers++;
    return 0;
}

static int load_block(zt_umt5 *t, reader *r, int i)
{
    zt_umt5_block *const b = &t->block[i];
    const int64_t dim = t->dim, position[2] = { ZT_UMT5_BUCKETS, t->heads };
    int err = load_floats(r, &b->norm1, NORM1, i, 1, &dim);
    if (!err)
        err = load_floats(r, &b->norm2, NORM2, i, 1, &dim);
    if (!err)
        err = load_floats(r, &b->bias, POSITION, i, 2, position);
    if (!err)
        err = load_qkv(r, &b->qkv, i, t->width, t->dim);
    if (!err)
        err = load_matrix(r, &b->o, O, i, t->dim, t->width);
    if (!err)
        err = load_matrix(r, &b->gate, GATE, i, t->ffn, t->dim);
    if (!err)
        err = load_matrix(r, &b->fc1, FC1, i, t->ffn, t->dim);
    if (!err)
        err = load_matrix(r, &b->fc2, FC2, i, t->dim, t->ffn);
    return err;
}

int zt_umt5_open(zt_umt5 *t, zt_device *d, const char *path, enum zt_type type)
{
    *t = (zt_umt5){ .d = d, .memory = { .d = d } };
    reader r = { .scheme = 0 };
    char config[4096], file[4096];
    int err = zt_model_find_weights(path, config, file, sizeof(file));
    if (!err)
        err = zt_weights_open(&t->w, file);
    if (err < 0)
        return err;
    zt_loader_init(&r.l, t->w, &t->memory);
    r.l.block = type;
    err = find_shape(t, &r);
    if (!err) {
        t->block = calloc((size_t)ZT_MAX(t->layers, 1), sizeof(*t->block));
        err = t->block ? 0 : -ENOMEM;
    }
    for (int i = 0; i < t->layers && !err; i++)
        err = load_block(t, &r, i);
    if (!err)
        err = load_floats(&r, &t->norm, NORM, 0, 1, (const int64_t[]){ t->dim });
    zt_loader_finish(&r.l);
    if (!err) {                         // matrices were hashed when they were read
        t->hash = zt_hash(zt_weights_hash_but(t->w, t->embedding), d->level, strlen(d->level));
        t->hash = zt_hash(t->hash, &(int){ type }, sizeof(int));
    }
    if (err)
        zt_umt5_finish(t);
    return err;
}

void zt_umt5_finish(zt_umt5 *t)
{
    if (!t->d)
        return;
    zt_memory_finish(&t->memory);
    zt_weights_close(&t->w);
    free(t->block);
    *t = (zt_umt5){ 0 };
}

int zt_umt5_bucket(int distance)
{
    // the first distance of each bucket from 8 on: 8 ln(n / 8) / ln 16, rounded down
    static const int first[] = { 12, 16, 23, 32, 46, 64, 91 };
    const int n = distance < 0 ? -distance : distance, base = distance > 0 ? 16 : 0;
    int bucket = 8;
    if (n < 8)
        return base + n;
    for (size_t i = 0; i < ZT_LEN(first); i++)
        bucket += n >= first[i];
    return base + bucket;
}

// One encoding in work.
typedef struct encoding {
    zt_umt5             *t;
    const zt_umt5_block *b;
    int                  n;
    float               *x, *y, *qkv, *gate, *fc1;      // [n][dim, width or dim, 3 width, ffn, ffn]
    float               *score, *kt;                    // per head: [n], [head width][n]
} encoding;

// softmax(q . k + bias) v of one head. Keys go last, so that sums over the head's width run over rows of them.
static void attend(void *cookie, int h, int thread)
{
    const encoding *const e = cookie;
    const int n = e->n, heads = e->t->heads, width = e->t->width, D = width / heads;
    float *const score = e->score + (size_t)h * (size_t)n, *const kt = e->kt + (size_t)h * (size_t)D * (size_t)n;
    (void)thread;
    for (int j = 0; j < n; j++)
        for (int i = 0; i < D; i++)
            kt[(size_t)i * (size_t)n + (size_t)j] = e->qkv[(size_t)j * 3 * (size_t)width + (size_t)(width + h * D + i)];
    for (int row = 0; row < n; row++) {
        const float *const q = e->qkv + (size_t)row * 3 * (size_t)width + h * D;
        float *const out = e->y + (size_t)row * (size_t)width + h * D;
        float most = -INFINITY;
        for (int j = 0; j < n; j++)
            score[j] = e->b->bias[zt_umt5_bucket(j - row) * heads + h];
        for (int i = 0; i < D; i++)
            for (int j = 0; j < n; j++)
                score[j] += q[i] * kt[(size_t)i * (size_t)n + (size_t)j];
        for (int j = 0; j < n; j++)
            most = fmaxf(most, score[j]);
        double sum = 0;
        for (int j = 0; j < n; j++) {
            score[j] = expf(score[j] - most);
            sum += score[j];
        }
        memset(out, 0, (size_t)D * sizeof(*out));
        for (int j = 0; j < n; j++) {
            const float p = (float)(score[j] / sum), *const v = e->qkv + (size_t)j * 3 * (size_t)width + 2 * width + h * D;
            for (int i = 0; i < D; i++)
                out[i] += p * v[i];
        }
    }
}

static zt_tensor rows_of(float *p, int rows, int columns)
{
    return zt_tensor_2d(p, ZT_F32, rows, columns);
}

// y = x / rms(x) * weight
static void norm(const encoding *e, float *y, const float *x, const float *weight)
{
    memcpy(y, x, (size_t)e->n * (size_t)e->t->dim * sizeof(*y));
    e->t->d->k.rms_rope(e->t->d, rows_of(y, e->n, e->t->dim), weight, NULL, e->t->dim, 1e-6f);
}

static void run_block(encoding *e)
{
    zt_umt5 *const t = e->t;
    const zt_kernels *const k = &t->d->k;
    const zt_epilogue store = { 0 }, add = { .add = true }, gelu = { .act = ZT_ACT_GELU };
    const int n = e->n, dim = t->dim;
    const zt_tensor x = rows_of(e->x, n, dim), y = rows_of(e->y, n, dim), gate = rows_of(e->gate, n, t->ffn);
    const zt_tensor fc1 = rows_of(e->fc1, n, t->ffn);

    norm(e, e->y, e->x, e->b->norm1);
    k->linear(t->d, rows_of(e->qkv, n, 3 * t->width), y, &e->b->qkv, &store);
    zt_parallel_for(t->d, t->heads, attend, e);
    k->linear(t->d, x, rows_of(e->y, n, t->width), &e->b->o, &add);

    norm(e, e->y, e->x, e->b->norm2);
    k->linear(t->d, gate, y, &e->b->gate, &gelu);
    k->linear(t->d, fc1, y, &e->b->fc1, &store);
    for (int64_t i = 0; i < (int64_t)n * t->ffn; i++)
        e->gate[i] *= e->fc1[i];
    k->linear(t->d, x, gate, &e->b->fc2, &add);
}

static bool known(const zt_umt5 *t, const int32_t *id, int n)
{
    for (int i = 0; i < n; i++)
        if (id[i] < 0 || id[i] >= t->vocabulary)
            return false;
    return true;
}

uint64_t zt_umt5_key(const zt_umt5 *t, const int32_t *id, int n)
{
    float part[256];
    uint64_t h = zt_hash(t->hash, id, (size_t)n * sizeof(*id));
    for (int64_t i = 0; i < n && known(t, id, n); i++) {
        for (int from = 0; from < t->dim; from += (int)ZT_LEN(part)) {
            const int m = ZT_MIN((int)ZT_LEN(part), t->dim - from);
            zt_weight_read(t->embedding, id[i] * (int64_t)t->dim + from, m, part);
            h = zt_hash(h, part, (size_t)m * sizeof(*part));
        }
    }
    return h;
}

int zt_umt5_encode(zt_umt5 *t, const int32_t *id, int n, float *rows)
{
    const size_t N = (size_t)n, widest = (size_t)ZT_MAX(t->dim, t->width);
    if (!known(t, id, n)) {
        zt_error("%s: a token is not in the vocabulary of %d", zt_weights_label(t->w), t->vocabulary);
        return -EINVAL;
    }
    float *const memory = zt_device_alloc(t->d, N * (widest + 4 * (size_t)t->width + 2 * (size_t)t->ffn
                                                     + (size_t)t->heads) * sizeof(float));
    if (!memory)
        return -ENOMEM;
    encoding e = { .t = t, .n = n, .x = rows, .y = memory };
    e.qkv = e.y + N * widest;
    e.kt = e.qkv + N * 3 * (size_t)t->width;
    e.gate = e.kt + N * (size_t)t->width;
    e.fc1 = e.gate + N * (size_t)t->ffn;
    e.score = e.fc1 + N * (size_t)t->ffn;
    for (int i = 0; i < n; i++)
        zt_weight_read(t->embedding, (int64_t)id[i] * t->dim, t->dim, rows + (size_t)i * (size_t)t->dim);
    for (int i = 0; i < t->layers; i++) {
        e.b = &t->block[i];
        run_block(&e);
    }
    norm(&e, e.y, e.x, t->norm);
    memcpy(rows, e.y, N * (size_t)t->dim * sizeof(*rows));
    zt_device_free(t->d, memory);
    return 0;
}
