// SPDX-License-Identifier: Apache-2.0
// Latents to pictures.
//
// The first latent goes past the convolutions that double the frames, and they never hear of it: their past stays zero
// until the second latent.
#include <errno.h>
#include <stdlib.h>

#include "base/base.h"
#include "base/log.h"
#include "diffusion/decoder.h"
#include "diffusion/vae_wan.h"

static void emit(zt_vae_state *s, const float *from)
{
    // Channel (c p + x) p + y of a square is pixel (x, y) of colour c.
    const int p = s->v->patch, h = s->h << 3, w = s->w << 3, C = 3 * p * p;
    for (int c = 0; c < 3; c++) {
        for (int y = 0; y < h * p; y++) {
            const float *const row = from + (int64_t)(y / p) * w * C + c * p * p + y % p;
            for (int x = 0; x < w * p; x++)
                *s->out++ = row[x / p * C + x % p * p];
        }
    }
    s->made++;
}

static void run_stage(zt_vae_state *s, int i)
{
    const zt_vae_half *const half = s->half;
    const zt_kernels *const k = &s->v->d->k;
    const int C = half->channels[i], rows = (s->h * s->w) << 2 * i;
    zt_vae_keep(s, i, 0);
    for (int j = 0; j < half->blocks; j++)
        zt_vae_run_res(s, &half->res[i][j], s->x[i], i);
    if (i == ZT_VAE_STAGES - 1) {
        zt_vae_run_conv(s, &half->out, s->y, s->x[i], C, half->norm, i);
        emit(s, s->y);
        return;
    }
    const zt_vae_resample *const r = &half->resample[i];
    zt_tensor frame = zt_tensor_2d(s->x[i], ZT_F32, rows, C);
    if (r->time.N && s->frames > 0) {
        frame = zt_tensor_2d(s->split[i], ZT_F32, rows, 2 * C);
        k->linear(s->v->d, frame, zt_tensor_2d(zt_vae_join(s, s->x[i], C, i), ZT_F32, rows, 3 * C), &r->time,
                  &(zt_epilogue){ 0 });
        zt_vae_run_plain(s, &r->conv, s->x[i + 1], zt_tensor_columns(frame, 0, C), i);
        zt_vae_add_up(s, i, 0);
        const int at = s->at;
        run_stage(s, i + 1);
        s->at = at;
        frame = zt_tensor_columns(frame, C, C);
    } else if (r->time.N) {
        s->at++;
    }
    zt_vae_run_plain(s, &r->conv, s->x[i + 1], frame, i);
    zt_vae_add_up(s, i, r->time.N ? 1 : 0);
    run_stage(s, i + 1);
}

int zt_vae_decode(zt_vae_state *s, const float *z, float *frames)
{
    const zt_vae *const v = s->v;
    const int n = s->h * s->w;
    for (int i = 0; i < n; i++)
        for (int c = 0; c < v->z; c++)
            s->y[i * v->z + c] = z[c * n + i] * v->std[c] + v->mean[c];
    const zt_tensor x = zt_tensor_2d(s->x[0], ZT_F32, n, v->z);
    v->d->k.linear(v->d, x, zt_tensor_2d(s->y, ZT_F32, n, v->z), &s->half->quant, &(zt_epilogue){ 0 });
    s->at = 0;
    s->made = 0;
    s->out = frames;
    zt_vae_run_conv(s, &s->half->in, s->x[0], s->x[0], v->z, NULL, 0);
    zt_vae_run_middle(s, s->x[0], 0);
    run_stage(s, 0);
    s->frames++;
    return s->made;
}

static int open_wan(zt_decoder *k, const zt_decoder_source *s)
{
    zt_vae *const v = calloc(1, sizeof(*v));
    if (!v)
        return -ENOMEM;
    if (!s->path) {
        zt_error("the configuration asks for the decoder \"wan\", but its file is not there");
        free(v);
        return -ENOENT;
    }
    const int err = zt_vae_open(v, s->d, s->path, s->type, ZT_VAE_DECODER);
    k->self = v;
    k->channels = v->z;
    k->scale = 8 * v->patch;
    k->first = 1;
    k->next = 4;
    k->bytes = v->memory.bytes;
    k->files = v->memory.files;
    return err;
}

static void close_wan(zt_decoder *k)
{
    zt_vae_finish(k->self);
    free(k->self);
}

static int64_t bytes_of_stream(const zt_decoder *k, int h, int w)
{
    const zt_vae *const v = k->self;
    return zt_vae_state_bytes(v, &v->decoder, h, w);
}

static int open_stream(zt_decoder *k, void **state, int h, int w)
{
    zt_vae_state *const s = calloc(1, sizeof(*s));
    zt_vae *const v = k->self;
    const int err = s ? zt_vae_state_init(s, v, &v->decoder, h, w) : -ENOMEM;
    *state = s;
    return err;
}

static void close_stream(zt_decoder *k, void *state)
{
    (void)k;
    if (state)
        zt_vae_state_finish(state);
    free(state);
}

// Pasts lie at the beginning of its memory.
static int walk_wan(const zt_decoder *k, void *state, zt_walk_fn *fn, void *cookie)
{
    (void)k;
    zt_vae_state *const s = state;
    const int err = fn(cookie, &s->frames, sizeof(s->frames));
    return err ? err : fn(cookie, s->memory, (size_t)((char *)s->x[0] - (char *)s->memory));
}

static int run_wan(zt_decoder *k, void *state, const float *z, float *rgb)
{
    const zt_vae_state *const s = state;
    const int n = zt_vae_decode(state, z, rgb);
    const int64_t floats = (int64_t)n * 3 * s->h * s->w * k->scale * k->scale;
    for (int64_t i = 0; i < floats; i++)
        rgb[i] = ZT_MIN(ZT_MAX(rgb[i], -1), 1);
    return n;
}

extern const zt_decoder_kind zt_decoder_wan;
const zt_decoder_kind zt_decoder_wan = {
    .name = "wan",
    .files = { "Wan2.1_VAE.safetensors", "Wan2.1_VAE.pth", "wan_2.1_vae.safetensors", "Wan2.2_VAE.safetensors", "Wan2.2_VAE.pth", "vae", "../vae" },
    .open = open_wan, .close = close_wan, .state_bytes = bytes_of_stream, .state_open = open_stream,
    .state_close = close_stream, .state_walk = walk_wan, .run = run_wan,
};
