// SPDX-License-Identifier: Apache-2.0
// The decoder of doc/formats.md, "Decoder tensors".
#include "diffusion/decoder_tiny.h"

#include <errno.h>

#include "base/base.h"

int zt_decoder_load(zt_decoder *k, zt_device *d, const zt_config *c, zt_loader *l, enum zt_type type)
{
    const int *const C = c->stage;
    *k = (zt_decoder){ .d = d, .type = type, .latent = c->out_dim, .channels = { C[0], C[1], C[2] } };
    const struct {
        const char *name;
        zt_conv    *to;
        int         N, C;
        bool        up;
        enum zt_act act;
    } list[] = {
        { "in", &k->in, C[0], c->out_dim, false, ZT_ACT_RELU },
        { "mem0.conv1", &k->mem[0][0], C[0], 2 * C[0], false, ZT_ACT_RELU },
        { "mem0.conv2", &k->mem[0][1], C[0], C[0], false, ZT_ACT_RELU },
        { "mem0.conv3", &k->mem[0][2], C[0], C[0], false, ZT_ACT_RELU },
        { "up1", &k->up[0], C[1], C[0], true, ZT_ACT_RELU },
        { "mem1.conv1", &k->mem[1][0], C[1], 2 * C[1], false, ZT_ACT_RELU },
        { "mem1.conv2", &k->mem[1][1], C[1], C[1], false, ZT_ACT_RELU },
        { "mem1.conv3", &k->mem[1][2], C[1], C[1], false, ZT_ACT_RELU },
        { "up2", &k->up[1], C[2], C[1], true, ZT_ACT_RELU },
        { "res2.conv1", &k->res[0], C[2], C[2], false, ZT_ACT_RELU },
        { "res2.conv2", &k->res[1], C[2], C[2], false, ZT_ACT_RELU },
        { "out", &k->out, 12, C[2], false, ZT_ACT_NONE },
    };
    for (size_t i = 0; i < ZT_LEN(list); i++) {
        char name[64] = "decoder.";
        for (int j = 0; list[i].name[j]; j++) {
            name[8 + j] = list[i].name[j];
            name[9 + j] = 0;
        }
        const int err = zt_load_conv(l, list[i].to, type, list[i].N, list[i].C, name);
        if (err < 0)
            return err;
        list[i].to->up = list[i].up;
        list[i].to->act = list[i].act;
    }
    return 0;
}

void zt_decoder_finish(zt_decoder *k)
{
    if (k->d)
        zt_device_free(k->d, k->memory);
    *k = (zt_decoder){ 0 };
}

static size_t padded(size_t bytes)
{
    return (size_t)zt_round_up((int64_t)bytes, 64);
}

static size_t stage_bytes(const zt_decoder *k, int stage, int64_t area)
{
    return padded((size_t)(area << 2 * stage) * (size_t)k->channels[stage] * zt_type_bytes(k->type));
}

static int reserve(zt_decoder *k, int64_t area)
{
    if (area <= k->area)
        return 0;
    size_t bytes = padded((size_t)area * (size_t)k->latent * zt_type_bytes(k->type));
    for (int i = 0; i < ZT_MAX_STAGES; i++)
        bytes = ZT_MAX(bytes, stage_bytes(k, i, area));
    const size_t pixels = padded((size_t)(16 * area) * 12 * sizeof(float));
    char *const p = zt_device_alloc(k->d, 3 * bytes + pixels);
    if (!p)
        return -ENOMEM;
    zt_device_free(k->d, k->memory);
    k->memory = p;
    k->area = area;
    for (int i = 0; i < 3; i++)
        k->work[i] = p + (size_t)i * bytes;
    k->pixels = (float *)(p + 3 * bytes);
    return 0;
}

int64_t zt_decoder_state_bytes(const zt_decoder *k, int h, int w)
{
    return 2 * (int64_t)(stage_bytes(k, 0, (int64_t)h * w) + stage_bytes(k, 1, (int64_t)h * w));
}

int zt_decoder_state_init(zt_decoder_state *s, zt_decoder *k, int h, int w)
{
    *s = (zt_decoder_state){ .h = h, .w = w };
    if (reserve(k, (int64_t)h * w) < 0)
        return -ENOMEM;
    char *p = zt_device_alloc(k->d, (size_t)zt_decoder_state_bytes(k, h, w));
    if (!p)
        return -ENOMEM;
    s->memory = p;
    for (int i = 0; i < 2; i++) {
        const size_t bytes = stage_bytes(k, i, (int64_t)h * w);
        s->now[i] = p;
        s->before[i] = p + bytes;
        p += 2 * bytes;
    }
    return 0;
}

void zt_decoder_state_finish(zt_decoder_state *s, zt_decoder *k)
{
    if (k->d)
        zt_device_free(k->d, s->memory);
    *s = (zt_decoder_state){ 0 };
}

// Memory block i: work[0] = f(now, before); now becomes before.
static void remember(zt_decoder *k, zt_decoder_state *s, int i, const zt_tensor t[3], zt_tensor now)
{
    const zt_tensor none = { 0 };
    zt_tensor before = now;
    before.data = s->before[i];
    k->d->k.conv(k->d, t[1], now, before, none, &k->mem[i][0]);
    k->d->k.conv(k->d, t[2], t[1], none, none, &k->mem[i][1]);
    k->d->k.conv(k->d, t[0], t[2], none, now, &k->mem[i][2]);
    s->before[i] = s->now[i];
    s->now[i] = before.data;
}

void zt_decoder_run(zt_decoder *k, zt_decoder_state *s, zt_tensor rgb, zt_tensor z)
{
    const zt_kernels *const op = &k->d->k;
    const zt_tensor none = { 0 };
    zt_tensor t[ZT_MAX_STAGES][3];
    for (int i = 0; i < ZT_MAX_STAGES; i++) {
        for (int j = 0; j < 3; j++)
            t[i][j] = zt_tensor_4d(k->work[j], k->type, 1, s->h << i, s->w << i, k->channels[i]);
    }
    const zt_tensor in = zt_tensor_4d(k->work[0], k->type, 1, s->h, s->w, k->latent);
    zt_tensor now[2] = { t[0][0], t[1][0] };
    now[0].data = s->now[0];
    now[1].data = s->now[1];

    op->latents_in(k->d, in, z, 3);
    op->conv(k->d, now[0], in, none, none, &k->in);
    remember(k, s, 0, t[0], now[0]);
    op->conv(k->d, now[1], t[0][0], none, none, &k->up[0]);
    remember(k, s, 1, t[1], now[1]);
    op->conv(k->d, t[2][1], t[1][0], none, none, &k->up[1]);
    op->conv(k->d, t[2][2], t[2][1], none, none, &k->res[0]);
    op->conv(k->d, t[2][0], t[2][2], none, t[2][1], &k->res[1]);
    const zt_tensor pixels = zt_tensor_4d(k->pixels, ZT_F32, 1, s->h << 2, s->w << 2, 12);
    op->conv(k->d, pixels, t[2][0], none, none, &k->out);
    op->pixel_shuffle(k->d, rgb, pixels);
}
