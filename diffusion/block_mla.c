// SPDX-License-Identifier: Apache-2.0
// Latent attention on the kernels of plain attention.
#include "diffusion/block_mla.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"

static const char *name_of(char out[160], const char *prefix, const char *rest)
{
    snprintf(out, 160, "%s%s", prefix, rest);
    return out;
}

static int load_linear(zt_loader *l, zt_matrix *m, int N, int K, const char *prefix, const char *rest)
{
    char name[160];
    const zt_part part = { .name = name_of(name, prefix, rest), .rows = N };
    return zt_load_matrix(l, m, l->block, N, K, K, &part, 1);
}

static int check(const zt_mla_shape *s, const char *label)
{
    const int wide = 1 << 16;
    if (s->dim > 0 && s->dim <= wide && s->heads > 0 && s->heads <= 1024 && s->q_latent >= 0 && s->q_latent <= wide
        && s->latent > 0 && s->latent <= wide && s->nope >= 0 && s->nope <= 4096 && s->rope > 0 && s->rope <= 4096
        && s->rope % 2 == 0 && s->value > 0 && s->value <= 4096 && s->latent % 2 == 0 && s->q_latent % 2 == 0)
        return 0;
    zt_error("%s: the shape of the latent attention is not reasonable", label);
    return -EINVAL;
}

int zt_mla_load(zt_loader *l, zt_mla *m, const zt_mla_shape *s, const char *prefix)
{
    char name[160];
    const int key = s->nope + s->rope;
    *m = (zt_mla){ .s = *s, .D = (int)zt_round_up(ZT_MAX(key, s->value), 16) };
    int err = check(s, zt_weights_label(l->w));
    if (!err && s->q_latent)
        err = load_linear(l, &m->q_a, s->q_latent, s->dim, prefix, "wq_a");
    if (!err && s->q_latent)
        err = zt_load_vector(l, &m->q_norm, name_of(name, prefix, "q_norm.weight"), s->q_latent);
    if (!err)
        err = load_linear(l, &m->q, s->heads * key, s->q_latent ? s->q_latent : s->dim, prefix, s->q_latent ? "wq_b" : "wq");
    if (!err)
        err = load_linear(l, &m->kv_a, s->latent + s->rope, s->dim, prefix, "wkv_a");
    if (!err)
        err = zt_load_vector(l, &m->kv_norm, name_of(name, prefix, "kv_norm.weight"), s->latent);
    if (!err)
        err = load_linear(l, &m->kv, s->heads * (s->nope + s->value), s->latent, prefix, "wkv_b");
    return err ? err : load_linear(l, &m->o, s->dim, s->heads * s->value, prefix, "wo");
}

size_t zt_mla_work(const zt_mla *m, int M)
{
    const zt_mla_shape *const s = &m->s;
    const int project = s->q_latent + s->heads * (s->nope + s->rope);
    const int expand = s->heads * (s->nope + s->value) + 2 * s->heads * m->D;
    return (size_t)M * (size_t)ZT_MAX(ZT_MAX(project, expand), s->heads * s->value);
}

static void rotate(float *x, const float *angle, int n)
{
    for (int i = 0; i < n; i += 2) {
        const float a = x[i], b = x[i + 1];
        x[i] = a * angle[i] - b * angle[i + 1];
        x[i + 1] = a * angle[i + 1] + b * angle[i];
    }
}

void zt_mla_project(const zt_mla *m, zt_device *d, zt_tensor x, const float *angle, float *q, float *kept, float *work)
{
    const zt_mla_shape *const s = &m->s;
    const zt_epilogue store = { 0 };
    const int M = x.n[2], key = s->nope + s->rope, wide = zt_mla_kept(m);
    const zt_tensor narrow = zt_tensor_2d(work, ZT_F32, M, s->q_latent);
    float *const heads = work + (size_t)M * (size_t)s->q_latent;
    if (s->q_latent) {
        d->k.linear(d, narrow, x, &m->q_a, &store);
        d->k.rms_rope(d, narrow, m->q_norm, NULL, s->q_latent, s->eps);
    }
    d->k.linear(d, zt_tensor_2d(heads, ZT_F32, M, s->heads * key), s->q_latent ? narrow : x, &m->q, &store);

    const zt_tensor all = zt_tensor_2d(kept, ZT_F32, M, wide);
    d->k.linear(d, all, x, &m->kv_a, &store);
    d->k.rms_rope(d, zt_tensor_columns(all, 0, s->latent), m->kv_norm, NULL, s->latent, s->eps);
    // the kernel divides by sqrt(D)
    const float scale = sqrtf((float)m->D / (float)key);
    memset(q, 0, (size_t)M * (size_t)(s->heads * m->D) * sizeof(*q));
    for (int t = 0; t < M; t++) {
        const float *const turn = angle + (size_t)t * (size_t)s->rope;
        rotate(kept + (size_t)t * (size_t)wide + s->latent, turn, s->rope);
        for (int h = 0; h < s->heads; h++) {
            float *const from = heads + ((size_t)t * (size_t)s->heads + (size_t)h) * (size_t)key;
            float *const to = q + ((size_t)t * (size_t)s->heads + (size_t)h) * (size_t)m->D;
            rotate(from + s->nope, turn, s->rope);
            for (int i = 0; i < key; i++)
                to[i] = from[i] * scale;
        }
    }
}

void zt_mla_expand(const zt_mla *m, zt_device *d, const float *kept, const zt_kv *kv, int slot, float *work)
{
    const zt_mla_shape *const s = &m->s;
    const int T = kv->valid, wide = s->heads * m->D, each = s->nope + s->value;
    zt_tensor c = zt_tensor_2d((void *)kept, ZT_F32, T, zt_mla_kept(m));
    float *const up = work, *const k = up + (size_t)T * (size_t)(s->heads * each), *const v = k + (size_t)T * (size_t)wide;
    d->k.linear(d, zt_tensor_2d(up, ZT_F32, T, s->heads * each), zt_tensor_columns(c, 0, s->latent), &m->kv,
                &(zt_epilogue){ 0 });
    memset(k, 0, 2 * (size_t)T * (size_t)wide * sizeof(*k));
    for (int t = 0; t < T; t++) {
        const float *const shared = kept + (size_t)t * (size_t)zt_mla_kept(m) + s->latent;
        for (int h = 0; h < s->heads; h++) {
            const float *const from = up + ((size_t)t * (size_t)s->heads + (size_t)h) * (size_t)each;
            const size_t to = ((size_t)t * (size_t)s->heads + (size_t)h) * (size_t)m->D;
            memcpy(k + to, from, (size_t)s->nope * sizeof(*k));
            memcpy(k + to + s->nope, shared, (size_t)s->rope * sizeof(*k));
            memcpy(v + to, from + s->nope, (size_t)s->value * sizeof(*v));
        }
    }
    d->k.kv_append(d, kv, slot, zt_tensor_2d(k, ZT_F32, T, wide), zt_tensor_2d(v, ZT_F32, T, wide));
}

void zt_mla_output(const zt_mla *m, zt_device *d, zt_tensor out, const float *y, const zt_epilogue *e, float *work)
{
    const int M = out.n[2], V = m->s.value, n = M * m->s.heads;
    for (int i = 0; i < n; i++)
        memcpy(work + (size_t)i * (size_t)V, y + (size_t)i * (size_t)m->D, (size_t)V * sizeof(*work));
    d->k.linear(d, out, zt_tensor_2d(work, ZT_F32, M, m->s.heads * V), &m->o, e);
}
