// SPDX-License-Identifier: Apache-2.0
// Streams through the autoencoder. Frames go depth first: what one frame of a stage becomes in time is finished before the
// next one of that stage is looked at, so every convolution sees its frames in order and needs two of its past.
//
// At 832x480 a latent costs 13.6 TFLOP to decode, all but 2 % of it in convolutions over three frames; those read [f, past]
// side by side, which zt_history_fn makes while it normalises. The residual stream is f32.
#include "diffusion/vae_wan.h"

#include <errno.h>
#include <string.h>

#include "base/base.h"

// Rows of a frame at a level.
static int64_t area(const zt_vae_state *s, int level)
{
    return ((int64_t)s->h * s->w) << 2 * level;
}

static zt_tensor picture(const zt_vae_state *s, void *data, enum zt_type type, int level, int C)
{
    return zt_tensor_4d(data, type, 1, s->h << level, s->w << level, C);
}

static zt_tensor rows(const zt_vae_state *s, const void *data, enum zt_type type, int level, int C)
{
    return zt_tensor_2d((void *)data, type, (int)area(s, level), C);
}

void zt_vae_run_conv(zt_vae_state *s, const zt_conv *c, float *out, const float *x, int C, const float *norm, int level)
{
    zt_device *const d = s->v->d;
    const zt_tensor none = { 0 };
    d->k.history(d, rows(s, s->joined, s->v->type, level, 3 * C), s->past[s->at++], rows(s, x, ZT_F32, level, C), norm,
                 norm ? ZT_ACT_SILU : ZT_ACT_NONE);
    d->k.conv(d, picture(s, out, ZT_F32, level, c->w.N), picture(s, s->joined, s->v->type, level, 3 * C), none, none, c);
}

void zt_vae_run_res(zt_vae_state *s, const zt_vae_res *r, float *x, int level)
{
    zt_device *const d = s->v->d;
    const zt_tensor in = rows(s, x, ZT_F32, level, r->in), y = rows(s, s->y, ZT_F32, level, r->out);
    zt_vae_run_conv(s, &r->conv1, s->y, x, r->in, r->norm1, level);
    zt_vae_run_conv(s, &r->conv2, s->y, s->y, r->out, r->norm2, level);
    if (r->shortcut.N) {
        d->k.linear(d, y, in, &r->shortcut, &(zt_epilogue){ .add = true });
        memcpy(x, s->y, (size_t)area(s, level) * (size_t)r->out * sizeof(float));
    } else {
        d->k.combine(d, in, 1, in, 1, y);
    }
}

static void attention(zt_vae_state *s, const zt_vae_attention *a, float *x, int C, int level)
{
    static const int slot = 0;
    zt_device *const d = s->v->d;
    const bool plain = C % 16 != 0;             // only the references take such heads
    const int n = (int)area(s, level);
    const zt_tensor y = rows(s, s->y, ZT_F32, level, C), qkv = rows(s, s->joined, ZT_F32, level, 3 * C);
    const zt_span span = { 0, n, &s->kv, &slot, 1, NULL };
    d->k.history(d, y, NULL, rows(s, x, ZT_F32, level, C), a->norm, ZT_ACT_NONE);
    d->k.linear(d, qkv, y, &a->qkv, &(zt_epilogue){ 0 });
    (plain ? zt_kv_append_c : d->k.kv_append)(d, &s->kv, 0, zt_tensor_columns(qkv, C, C), zt_tensor_columns(qkv, 2 * C, C));
    (plain ? zt_attention_c : d->k.attention)(d, y, zt_tensor_columns(qkv, 0, C), &span, 1);
    d->k.linear(d, rows(s, x, ZT_F32, level, C), y, &a->proj, &(zt_epilogue){ .add = true });
}

void zt_vae_run_middle(zt_vae_state *s, float *x, int level)
{
    zt_vae_run_res(s, &s->half->middle[0], x, level);
    attention(s, &s->half->attention, x, s->half->middle[0].out, level);
    zt_vae_run_res(s, &s->half->middle[1], x, level);
}

void zt_vae_run_plain(zt_vae_state *s, const zt_conv *c, float *out, zt_tensor x, int level)
{
    zt_device *const d = s->v->d;
    const zt_tensor none = { 0 };
    d->k.history(d, rows(s, s->joined, s->v->type, level, x.n[3]), NULL, x, NULL, ZT_ACT_NONE);
    d->k.conv(d, picture(s, out, ZT_F32, level + c->up, c->w.N), picture(s, s->joined, s->v->type, level, x.n[3]), none, none,
              c);
}

float *zt_vae_join(zt_vae_state *s, const float *x, int C, int level)
{
    zt_device *const d = s->v->d;
    d->k.history(d, rows(s, s->joined, ZT_F32, level, 3 * C), s->past[s->at++], rows(s, x, ZT_F32, level, C), NULL,
                 ZT_ACT_NONE);
    return s->joined;
}

// What a stream needs, in the order of use.
typedef struct plan {
    int    pasts;
    size_t past[ZT_VAE_PASTS];          // bytes
    size_t x[ZT_VAE_STAGES], split[ZT_VAE_STAGES - 1], kept[ZT_VAE_STAGES], y, joined, kv;
    int64_t area;                       // of a latent
} plan;

static size_t padded(size_t bytes)
{
    return (size_t)zt_round_up((int64_t)bytes, 64);
}

static void add_past(plan *p, enum zt_type type, int C, int level)
{
    const size_t n = (size_t)(p->area << 2 * level) * (size_t)C;
    p->past[p->pasts++] = padded(2 * n * zt_type_bytes(type));
    p->joined = ZT_MAX(p->joined, 3 * n * sizeof(float));
}

static void add_res(plan *p, const zt_vae *v, const zt_vae_res *r, int level)
{
    add_past(p, v->type, r->in, level);
    add_past(p, v->type, r->out, level);
    p->y = ZT_MAX(p->y, (size_t)(p->area << 2 * level) * (size_t)r->out * sizeof(float));
}

static void add_middle(plan *p, const zt_vae *v, const zt_vae_half *h, int level)
{
    add_res(p, v, &h->middle[0], level);
    add_res(p, v, &h->middle[1], level);
}

// The encoder's levels run down, the decoder's up.
static plan plan_of(const zt_vae *v, const zt_vae_half *half, int h, int w)
{
    plan p = { .area = (int64_t)h * w };
    const bool down = half == &v->encoder;
    const int last = ZT_VAE_STAGES - 1, colours = 3 * v->patch * v->patch;
    add_past(&p, v->type, down ? colours : v->z, down ? last : 0);
    if (!down)
        add_middle(&p, v, half, 0);
    for (int i = 0; i <= last; i++) {
        const int level = down ? last - i : i;
        const size_t n = (size_t)(p.area << 2 * level);
        int widest = ZT_MAX(half->channels[i], level == 0 ? 2 * v->z : colours);
        for (int j = 0; j < half->blocks; j++) {
            widest = ZT_MAX(widest, half->res[i][j].in);
            add_res(&p, v, &half->res[i][j], level);
        }
        p.x[i] = padded(n * (size_t)widest * sizeof(float));
        const bool time = i < last && half->resample[i].time.N;
        if (half->shortcuts && (down || i < last))
            p.kept[i] = padded(n * (size_t)half->res[i][0].in * (down && time ? 2 : 1) * sizeof(float));
        if (!time)
            continue;
        add_past(&p, ZT_F32, half->channels[i], down ? level - 1 : level);
        p.split[i] = padded(n * 2 * (size_t)half->channels[i] * sizeof(float));
    }
    if (down)
        add_middle(&p, v, half, 0);
    add_past(&p, v->type, half->channels[last], down ? 0 : last);
    const int ends = ZT_MAX(half->channels[down ? 0 : last], ZT_MAX(colours, 4));
    p.y = padded(ZT_MAX(p.y, (size_t)(p.area << 6) * (size_t)ends * sizeof(float)));
    p.y = ZT_MAX(p.y, padded((size_t)p.area * 2 * (size_t)v->z * sizeof(float)));
    p.joined = padded(p.joined);
    const zt_kv kv = { .type = v->type, .H = 1, .D = half->middle[0].out, .keys = (int)zt_round_up(p.area, 16) };
    p.kv = padded(zt_kv_slot_bytes(&kv));
    return p;
}

static size_t plan_bytes(const plan *p)
{
    size_t n = p->y + p->joined + 2 * p->kv;
    for (int i = 0; i < p->pasts; i++)
        n += p->past[i];
    for (int i = 0; i < ZT_VAE_STAGES; i++)
        n += p->x[i] + p->kept[i] + (i < ZT_VAE_STAGES - 1 ? p->split[i] : 0);
    return n;
}

int64_t zt_vae_state_bytes(const zt_vae *v, const zt_vae_half *half, int h, int w)
{
    const plan p = plan_of(v, half, h, w);
    return (int64_t)plan_bytes(&p);
}

int zt_vae_state_init(zt_vae_state *s, zt_vae *v, zt_vae_half *half, int h, int w)
{
    const plan p = plan_of(v, half, h, w);
    *s = (zt_vae_state){ .v = v, .half = half, .h = h, .w = w, .pasts = p.pasts, .bytes = (int64_t)plan_bytes(&p) };
    char *at = s->memory = zt_device_alloc(v->d, (size_t)s->bytes);
    if (!at)
        return -ENOMEM;
    for (int i = 0; i < p.pasts; at += p.past[i++])
        s->past[i] = at;
    for (int i = 0; i < ZT_VAE_STAGES; at += p.x[i++])
        s->x[i] = (float *)at;
    for (int i = 0; i < ZT_VAE_STAGES; at += p.kept[i++])
        s->kept[i] = p.kept[i] ? (float *)at : NULL;
    for (int i = 0; i < ZT_VAE_STAGES - 1; at += p.split[i++])
        s->split[i] = (float *)at;
    s->y = (float *)at;
    s->joined = at + p.y;
    s->kv = (zt_kv){ .type = v->type, .H = 1, .D = half->middle[0].out, .keys = (int)zt_round_up(p.area, 16),
                     .valid = (int)p.area, .k = at + p.y + p.joined, .v = at + p.y + p.joined + p.kv };
    return 0;
}

void zt_vae_state_finish(zt_vae_state *s)
{
    if (s->v)
        zt_device_free(s->v->d, s->memory);
    *s = (zt_vae_state){ 0 };
}

void zt_vae_state_restart(zt_vae_state *s)
{
    memset(s->memory, 0, (size_t)((char *)s->x[0] - (char *)s->memory));        // pasts come first
    memset(s->seen, 0, sizeof(s->seen));
    s->frames = 0;
}
