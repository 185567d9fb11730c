// SPDX-License-Identifier: Apache-2.0
// Reads the transformer's tensors. Names and shapes are those of doc/formats.md.
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "diffusion/dit.h"

// "blocks.N." and the rest.
static const char *name_of(char out[128], int layer, const char *rest)
{
    snprintf(out, 128, "blocks.%d.%s", layer, rest);
    return out;
}

static int block_vectors(zt_loader *l, zt_block *b, int layer, int d)
{
    const size_t skip = b->kind == ZT_BLOCK_PLAIN ? 0 : 2;      // the others bring their own norms
    const struct {
        const char   *name;
        const float **to;
    } list[] = {
        { "self_attn.norm_q.weight", &b->norm_q }, { "self_attn.norm_k.weight", &b->norm_k },
        { "norm3.weight", &b->norm3_scale }, { "norm3.bias", &b->norm3_shift },
        { "cross_attn.norm_q.weight", &b->cross_norm_q }, { "cross_attn.norm_k.weight", &b->cross_norm_k },
    };
    char name[128];
    int err = zt_load_floats(l, &b->modulation, name_of(name, layer, "modulation"), 3, (const int64_t[]){ 1, 6, d });
    for (size_t i = skip; i < ZT_LEN(list) && !err; i++)
        err = zt_load_vector(l, list[i].to, name_of(name, layer, list[i].name), d);
    return err;
}

// What mixes the frames.
static int block_past(zt_loader *l, zt_block *b, int layer, const zt_config *c)
{
    char q[128], k[128], v[128], name[128];
    const int d = c->dim;
    if (b->kind == ZT_BLOCK_MLA) {
        const zt_mla_shape shape = { d, c->heads, c->q_latent, c->latent, c->nope, c->rope, c->value, c->eps };
        return zt_mla_load(l, &b->mla, &shape, name_of(name, layer, "self_attn."));
    }
    if (b->kind == ZT_BLOCK_MAMBA) {
        const zt_mamba_shape shape = { d, c->expand * d, c->state_head, c->state, c->conv, 1e-5f };
        return zt_mamba_load(l, &b->mamba, &shape, name_of(name, layer, "self_attn."));
    }
    const zt_part self[3] = {
        { .name = name_of(q, layer, "self_attn.q"), .rows = d, .bias = true },
        { .name = name_of(k, layer, "self_attn.k"), .rows = d, .row0 = d, .bias = true },
        { .name = name_of(v, layer, "self_attn.v"), .rows = d, .row0 = 2 * d, .bias = true },
    };
    const int err = zt_load_matrix(l, &b->qkv, l->block, 3 * d, d, d, self, 3);
    return err ? err : zt_load_linear(l, &b->o, l->block, d, d, name_of(name, layer, "self_attn.o"));
}

static int block_text(zt_loader *l, zt_block *b, int layer, int d)
{
    char k[128], v[128], name[128];
    int err = zt_load_linear(l, &b->cross_q, l->block, d, d, name_of(name, layer, "cross_attn.q"));
    const zt_part cross[2] = {
        { .name = name_of(k, layer, "cross_attn.k"), .rows = d, .bias = true },
        { .name = name_of(v, layer, "cross_attn.v"), .rows = d, .row0 = d, .bias = true },
    };
    if (!err)
        err = zt_load_matrix(l, &b->cross_kv, l->block, 2 * d, d, d, cross, 2);
    if (!err)
        err = zt_load_linear(l, &b->cross_o, l->block, d, d, name_of(name, layer, "cross_attn.o"));
    return err;
}

static int load_expert(zt_loader *l, zt_matrix *up, zt_matrix *down, const char *prefix, int d, int inter)
{
    const int I16 = (int)zt_round_up(inter, 16);
    char w1[160], w2[160], w3[160];
    snprintf(w1, sizeof(w1), "%s.w1", prefix);
    snprintf(w2, sizeof(w2), "%s.w2", prefix);
    snprintf(w3, sizeof(w3), "%s.w3", prefix);
    const zt_part rows[2] = { { .name = w1, .rows = inter, .stride16 = 2 },
                              { .name = w3, .rows = inter, .row0 = 16, .stride16 = 2 } };
    const int err = zt_load_matrix(l, up, l->block, 2 * I16, d, d, rows, 2);
    return err ? err : zt_load_matrix(l, down, l->block, d, I16, inter, &(zt_part){ .name = w2, .rows = d }, 1);
}

int zt_load_moe(zt_loader *l, zt_moe *m, zt_matrix **expert, const zt_config *c, const char *prefix)
{
    char name[160];
    const int E = c->experts, d = c->dim;
    zt_matrix *const up = calloc(2 * (size_t)(E + 1), sizeof(*up)), *const down = up + E + 1;
    *expert = up;
    if (!up)
        return -ENOMEM;
    *m = (zt_moe){ .E = E, .k = c->top_k, .groups = c->groups, .limited = c->limited_groups,
                   .score = c->softmax ? ZT_SOFTMAX : ZT_SIGMOID, .route_scale = c->route_scale,
                   .up = up, .down = down };
    snprintf(name, sizeof(name), "%sgate.weight", prefix);
    int err = zt_load_floats(l, &m->gate_w, name, 2, (const int64_t[]){ E, d });
    snprintf(name, sizeof(name), "%sgate.bias", prefix);
    if (!err && zt_weights_find(l->w, name))
        err = zt_load_vector(l, &m->gate_b, name, E);
    for (int e = 0; e < E && !err; e++) {
        snprintf(name, sizeof(name), "%sexperts.%d", prefix, e);
        err = load_expert(l, &up[e], &down[e], name, d, c->inter);
    }
    if (!err && c->shared_experts) {
        snprintf(name, sizeof(name), "%sshared_experts", prefix);
        err = load_expert(l, &up[E], &down[E], name, d, c->shared_experts * c->inter);
        m->shared_up = &up[E];
        m->shared_down = &down[E];
    }
    return err;
}

static int block_load(zt_loader *l, zt_block *b, int layer, const zt_config *c)
{
    char name[128];
    int err = block_vectors(l, b, layer, c->dim);
    if (!err)
        err = block_past(l, b, layer, c);
    if (!err)
        err = block_text(l, b, layer, c->dim);
    if (!err && c->experts)
        return zt_load_moe(l, &b->moe, &b->expert, c, name_of(name, layer, "ffn."));
    if (!err)
        err = zt_load_linear(l, &b->up, l->block, c->ffn_dim, c->dim, name_of(name, layer, "ffn.0"));
    if (!err)
        err = zt_load_linear(l, &b->down, l->block, c->dim, c->ffn_dim, name_of(name, layer, "ffn.2"));
    return err;
}

static int mlp_load(zt_loader *l, zt_mlp *m, enum zt_type type, int in, int d, const char *name)
{
    char first[64], second[64];
    snprintf(first, sizeof(first), "%s.0", name);
    snprintf(second, sizeof(second), "%s.2", name);
    const int err = zt_load_linear(l, &m->first, type, d, in, first);
    return err ? err : zt_load_linear(l, &m->second, type, d, d, second);
}

// The width of the text's rows is the tensor's own: original configurations do not say it.
static int find_text_dim(zt_dit *t, const zt_loader *l)
{
    const char *const name = l->diffusers ? "condition_embedder.text_embedder.linear_1.weight"
                                          : "text_embedding.0.weight";
    const zt_weight *const w = zt_weights_find(l->w, name);
    t->text_dim = t->c->text.text_dim;
    if (!w || t->text_dim)
        return 0;                               // missing: said when it is loaded
    if (w->rank != 2 || w->shape[1] < 1 || w->shape[1] > 1 << 16) {
        zt_error("%s: tensor '%s' is not a matrix", zt_weights_label(l->w), name);
        return -EINVAL;
    }
    t->text_dim = (int)w->shape[1];
    return 0;
}

// The parts that run for one row per frame stay F32: they cost nothing and everything depends on them.
static int outside_load(zt_dit *t, zt_loader *l)
{
    const zt_config *const c = t->c;
    const int d = c->dim;
    const zt_part patch = { .name = "patch_embedding", .rows = d, .bias = true, .rank = 5 };
    int err = zt_load_matrix(l, &t->patch, l->other, d, 4 * c->in_dim, 4 * c->in_dim, &patch, 1);
    if (!err && c->position_embedding)
        err = zt_load_floats(l, &t->position, "position_embedding.weight", 2,
                             (const int64_t[]){ c->rope_rows * c->rope_columns, d });
    if (!err && c->ground.hidden)
        err = zt_dit_ground_load(t, l);
    if (!err)
        err = mlp_load(l, &t->time, ZT_F32, c->freq_dim, d, "time_embedding");
    if (!err && c->step_embed)
        err = mlp_load(l, &t->step, ZT_F32, c->freq_dim, d, "step_embedding");
    if (!err && c->n_controls)
        err = mlp_load(l, &t->control, ZT_F32, c->n_controls, d, "control_embedding");
    if (!err)
        err = zt_load_linear(l, &t->time_projection, ZT_F32, 6 * d, d, "time_projection.1");
    if (!err)
        err = find_text_dim(t, l);
    if (!err)
        err = mlp_load(l, &t->text, l->other, t->text_dim, d, "text_embedding");
    if (!err)
        err = zt_load_floats(l, &t->head_modulation, "head.modulation", 3, (const int64_t[]){ 1, 2, d });
    if (!err)
        err = zt_load_linear(l, &t->head, l->other, 4 * zt_dit_head_channels(c), d, "head.head");
    return err;
}

void zt_frequencies(double *freq, int n)
{
    for (int i = 0; i < n; i++)
        freq[i] = pow(10000, -(double)i / n);
}

static int tables(zt_dit *t)
{
    const int pairs = t->c->dim / t->c->heads / 2, half = t->c->freq_dim / 2;
    t->n_space = pairs * 2 / 6;
    t->n_time = pairs - 2 * t->n_space;
    const int past_space = t->past_rope / 6, past_time = t->past_rope / 2 - 2 * past_space;
    t->freq = calloc((size_t)(half + t->n_time + t->n_space + past_time + past_space), sizeof(double));
    if (!t->freq)
        return -ENOMEM;
    t->rope_time = t->freq + half;
    t->rope_space = t->rope_time + t->n_time;
    zt_frequencies(t->freq, half);
    zt_frequencies(t->rope_time, t->n_time);
    zt_frequencies(t->rope_space, t->n_space);
    t->past_time = t->rope_space + t->n_space;
    t->past_space = t->past_time + past_time;
    zt_frequencies(t->past_time, past_time);
    zt_frequencies(t->past_space, past_space);
    return 0;
}

int zt_dit_load(zt_dit *t, zt_device *d, const zt_config *c, zt_loader *l, enum zt_type cache_type,
                enum zt_type text_type)
{
    const bool plain = c->dim / c->heads % 16 != 0;
    *t = (zt_dit){ .d = d, .c = c, .cache_type = cache_type, .text_type = text_type,
                   .kv_append = plain ? zt_kv_append_c : d->k.kv_append,
                   .qkv_append = plain ? zt_qkv_append_c : d->k.qkv_append,
                   .attention = plain ? zt_attention_c : d->k.attention };
    int err = outside_load(t, l);
    if (err)
        return err;
    t->block = calloc((size_t)c->layers, sizeof(*t->block));
    if (!t->block)
        return -ENOMEM;
    for (int i = 0; i < c->layers && !err; i++) {
        zt_block *const b = &t->block[i];
        b->kind = c->n_kinds ? (enum zt_block_kind)c->kind[i % c->n_kinds] : ZT_BLOCK_PLAIN;
        b->at = b->kind == ZT_BLOCK_PLAIN ? t->plain++ : t->others++;
        t->past_rope = b->kind == ZT_BLOCK_MLA ? c->rope : t->past_rope;
        err = block_load(l, b, i, c);
    }
    return err ? err : tables(t);
}

void zt_dit_finish(zt_dit *t)
{
    for (int i = 0; t->block && i < t->c->layers; i++)
        free(t->block[i].expert);
    free(t->block);
    free(t->freq);
    if (t->d) {
        zt_dit_release(t);
        zt_device_free(t->d, t->text_work);
        zt_device_free(t->d, t->ground.memory);
    }
    *t = (zt_dit){ 0 };
}
