// SPDX-License-Identifier: Apache-2.0
// Parity of the blocks that compress history: latent attention, Mamba-2.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/check.h"
#include "base/base.h"
#include "base/log.h"
#include "diffusion/block_mamba.h"
#include "diffusion/block_mla.h"

enum { MAX_TOKENS = 4096 };

// What both kinds open: the weights, and the configuration as JSON.
struct block {
    zt_weights *w;
    zt_memory   memory;
    zt_loader   l;
    cJSON      *config;
};

static bool open_block(zt_check *c, struct block *b)
{
    char path[4096];
    *b = (struct block){ .memory = { .d = c->d }, .config = zt_check_config(c) };
    snprintf(path, sizeof(path), "%s/%s", c->dir, zt_check_string(c->json, "model"));
    if (!b->config || zt_weights_open(&b->w, path) < 0) {
        c->broken = true;
        return false;
    }
    zt_loader_init(&b->l, b->w, &b->memory);
    b->l.block = c->precision == ZT_PRECISION_F32 ? ZT_F32 : c->precision == ZT_PRECISION_BF16 ? ZT_BF16
        : c->precision == ZT_PRECISION_INT4 ? ZT_I4 : ZT_I8;
    return true;
}

static void close_block(struct block *b)
{
    zt_loader_finish(&b->l);
    zt_memory_finish(&b->memory);
    zt_weights_close(&b->w);
    cJSON_Delete(b->config);
}

static int whole(const cJSON *config, const char *name, int otherwise)
{
    const double v = zt_check_number(config, name, otherwise);
    return v >= 0 && v <= 1 << 20 ? (int)v : -1;
}

// One stream through latent attention: what is kept of every token so far.
struct latent {
    zt_mla m;
    float *kept, *angle, *q, *y, *work;
    zt_kv  kv;
    double theta;
};

static void angles(struct latent *t, int start, int M)
{
    const int half = t->m.s.rope / 2;
    for (int i = 0; i < M; i++) {
        for (int j = 0; j < half; j++) {
            const double turn = (start + i) * pow(t->theta, -(double)j / half);
            t->angle[(i * half + j) * 2] = (float)cos(turn);
            t->angle[(i * half + j) * 2 + 1] = (float)sin(turn);
        }
    }
}

// Compares columns [from, from + n) of what is kept of the pass's tokens.
static void compare_kept(zt_check *c, const cJSON *pass, const char *role, const struct latent *t, const float *kept,
                         int M, int from, int n)
{
    float *const part = zt_check_must(malloc((size_t)(M * n) * sizeof(*part)));
    for (int i = 0; i < M; i++)
        memcpy(part + i * n, kept + i * zt_mla_kept(&t->m) + from, (size_t)n * sizeof(*part));
    zt_check_out(c, pass, role, part, (int64_t)M * n);
    free(part);
}

static void mla_pass(zt_check *c, struct latent *t, const cJSON *pass)
{
    static const int slot = 0;
    const zt_weight *w;
    const int start = whole(pass, "start_pos", 0), dim = t->m.s.dim;
    float *const x = zt_check_in(c, pass, "x", &w);
    if (!x || w->rank != 2 || w->shape[1] != dim || start < 0 || start + w->shape[0] > MAX_TOKENS) {
        zt_check_refuse(c, "x does not fit the block");
        free(x);
        return;
    }
    const int M = (int)w->shape[0], T = start + M, wide = t->m.s.heads * t->m.D;
    float *const kept = t->kept + (size_t)start * (size_t)zt_mla_kept(&t->m);
    angles(t, start, M);
    zt_mla_project(&t->m, c->d, zt_tensor_2d(x, ZT_F32, M, dim), t->angle, t->q, kept, t->work);
    compare_kept(c, pass, "cache_c", t, kept, M, 0, t->m.s.latent);
    compare_kept(c, pass, "cache_kr", t, kept, M, t->m.s.latent, t->m.s.rope);

    t->kv.valid = T;
    t->kv.keys = (int)zt_round_up(T, 16);
    memset(t->kv.k, 0, zt_kv_slot_bytes(&t->kv));
    memset(t->kv.v, 0, zt_kv_slot_bytes(&t->kv));
    zt_mla_expand(&t->m, c->d, t->kept, &t->kv, 0, t->work);
    const zt_span span = { 0, M, &t->kv, &slot, 1, NULL };
    c->d->k.attention(c->d, zt_tensor_2d(t->y, ZT_F32, M, wide), zt_tensor_2d(t->q, ZT_F32, M, wide), &span, 1);
    zt_mla_output(&t->m, c->d, zt_tensor_2d(x, ZT_F32, M, dim), t->y, &(zt_epilogue){ 0 }, t->work);
    zt_check_out(c, pass, "y", x, (int64_t)M * dim);
    free(x);
}

static void run_mla(zt_check *c, struct latent *t)
{
    const size_t wide = (size_t)(t->m.s.heads * t->m.D);
    const cJSON *pass;
    t->kv = (zt_kv){ .type = c->precision == ZT_PRECISION_F32 ? ZT_F32 : ZT_BF16, .H = t->m.s.heads, .D = t->m.D,
                     .keys = MAX_TOKENS, .valid = MAX_TOKENS };
    t->kept = zt_check_must(calloc(MAX_TOKENS * (size_t)zt_mla_kept(&t->m), sizeof(float)));
    t->angle = zt_check_must(calloc(MAX_TOKENS * (size_t)t->m.s.rope, sizeof(float)));
    t->q = zt_check_must(calloc(MAX_TOKENS * wide, sizeof(float)));
    t->y = zt_check_must(calloc(MAX_TOKENS * wide, sizeof(float)));
    t->work = zt_check_must(calloc(zt_mla_work(&t->m, MAX_TOKENS), sizeof(float)));
    t->kv.k = zt_check_must(zt_device_alloc(c->d, zt_kv_slot_bytes(&t->kv)));
    t->kv.v = zt_check_must(zt_device_alloc(c->d, zt_kv_slot_bytes(&t->kv)));
    cJSON_ArrayForEach(pass, zt_check_passes(c))
        mla_pass(c, t, pass);
    zt_device_free(c->d, t->kv.k);
    zt_device_free(c->d, t->kv.v);
    free(t->kept);
    free(t->angle);
    free(t->q);
    free(t->y);
    free(t->work);
}

void zt_check_mla(zt_check *c)
{
    struct block b;
    struct latent t = { 0 };
    if (open_block(c, &b)) {
        const zt_mla_shape shape = {
            .dim = whole(b.config, "dim", 0), .heads = whole(b.config, "n_heads", 0),
            .q_latent = whole(b.config, "q_lora_rank", 0), .latent = whole(b.config, "kv_lora_rank", 0),
            .nope = whole(b.config, "qk_nope_head_dim", 0), .rope = whole(b.config, "qk_rope_head_dim", 0),
            .value = whole(b.config, "v_head_dim", 0), .eps = (float)zt_check_number(b.config, "norm_eps", 1e-6),
        };
        t.theta = zt_check_number(b.config, "rope_theta", 10000);
        c->broken |= zt_mla_load(&b.l, &t.m, &shape, "") < 0;
        if (!c->broken)
            run_mla(c, &t);
    }
    close_block(&b);
}

static void mamba_pass(zt_check *c, const zt_mamba *m, zt_mamba_state *s, const cJSON *pass)
{
    const zt_weight *w;
    float *const u = zt_check_in(c, pass, "u", &w);
    if (!u || w->rank != 2 || w->shape[1] != m->s.dim || w->shape[0] > MAX_TOKENS) {
        zt_check_refuse(c, "u does not fit the block");
        free(u);
        return;
    }
    const int M = (int)w->shape[0], dim = m->s.dim;
    const bool commit = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(pass, "commit"));
    float *const y = zt_check_must(calloc((size_t)(M * dim), sizeof(*y)));
    float *const work = zt_check_must(calloc(zt_mamba_work(m, M), sizeof(*work)));
    zt_mamba_run(m, c->d, zt_tensor_2d(y, ZT_F32, M, dim), zt_tensor_2d(u, ZT_F32, M, dim), s, commit,
                 &(zt_epilogue){ 0 }, work);
    zt_check_out(c, pass, "y", y, (int64_t)M * dim);
    zt_check_out(c, pass, "state", s->h, (int64_t)m->s.inner * m->s.state);
    zt_check_out(c, pass, "conv_tail", s->tail, (int64_t)m->channels * (m->s.conv - 1));
    free(work);
    free(y);
    free(u);
}

void zt_check_mamba(zt_check *c)
{
    struct block b;
    zt_mamba m;
    if (open_block(c, &b)) {
        const int dim = whole(b.config, "d_model", 0);
        const zt_mamba_shape shape = {
            .dim = dim, .inner = dim * whole(b.config, "expand", 2), .head = whole(b.config, "headdim", 64),
            .state = whole(b.config, "d_state", 128), .conv = whole(b.config, "d_conv", 4),
            .eps = (float)zt_check_number(b.config, "norm_eps", 1e-5),
        };
        if (whole(b.config, "ngroups", 1) != 1)
            zt_check_refuse(c, "ngroups is not 1");
        c->broken |= zt_mamba_load(&b.l, &m, &shape, "") < 0;
        if (!c->broken) {
            const cJSON *pass;
            float *const h = zt_check_must(calloc(zt_mamba_state_floats(&m), sizeof(*h)));
            zt_mamba_state s = { h, h + m.s.inner * m.s.state };
            cJSON_ArrayForEach(pass, zt_check_passes(c))
                mamba_pass(c, &m, &s, pass);
            free(h);
        }
    }
    close_block(&b);
}
