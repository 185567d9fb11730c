// SPDX-License-Identifier: Apache-2.0
// Pictures to latents.
//
// Halving in space: the published form pads right and below by one and takes every second pixel, which is every second
// pixel, from the second on, of the padded 3x3 convolution; that costs four times what is needed, of a small part.
// Halving in time takes frames n - 2, n - 1, n at every even n; frame 0 passes as it is.
#include <errno.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "diffusion/encoder.h"
#include "diffusion/vae_wan.h"

// Rows and columns 1, 3, ... of a picture of twice the size.
static void halve(float *to, const float *from, int h, int w, int C)
{
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            memcpy(to + ((int64_t)y * w + x) * C, from + ((int64_t)(2 * y + 1) * 2 * w + 2 * x + 1) * C,
                   (size_t)C * sizeof(*to));
}

// The present frame of stage i becomes one of stage i + 1; false when the pair is not complete.
static bool down(zt_vae_state *s, int i)
{
    const zt_vae_resample *const r = &s->half->resample[i];
    const int level = ZT_VAE_STAGES - 1 - i, C = s->half->channels[i], N = r->conv.w.N;
    const int h = s->h << (level - 1), w = s->w << (level - 1);
    zt_vae_run_plain(s, &r->conv, s->y, zt_tensor_2d(s->x[i], ZT_F32, 4 * h * w, C), level);
    halve(s->x[i + 1], s->y, h, w, N);
    if (!r->time.N)
        return true;
    const float *const joined = zt_vae_join(s, s->x[i + 1], N, level - 1);
    const int64_t n = s->seen[i]++;
    if (n > 0 && n % 2 == 0)
        s->v->d->k.linear(s->v->d, zt_tensor_2d(s->x[i + 1], ZT_F32, h * w, N),
                          zt_tensor_2d((void *)joined, ZT_F32, h * w, 3 * N), &r->time, &(zt_epilogue){ 0 });
    return n % 2 == 0;
}

static void emit(zt_vae_state *s, float *x, float *latent)
{
    const zt_vae *const v = s->v;
    const int n = s->h * s->w, last = ZT_VAE_STAGES - 1;
    zt_vae_run_middle(s, x, 0);
    zt_vae_run_conv(s, &s->half->out, s->y, x, s->half->channels[last], s->half->norm, 0);
    v->d->k.linear(v->d, zt_tensor_2d(x, ZT_F32, n, 2 * v->z), zt_tensor_2d(s->y, ZT_F32, n, 2 * v->z), &s->half->quant,
                   &(zt_epilogue){ 0 });
    for (int i = 0; i < n; i++)
        for (int c = 0; c < v->z; c++)
            latent[c * n + i] = (x[i * 2 * v->z + c] - v->mean[c]) / v->std[c];
}

// Colours of a square side by side: channel (c p + x) p + y is pixel (x, y) of colour c.
static void read_picture(zt_vae_state *s, const float *frame)
{
    const int p = s->v->patch, h = s->h << 3, w = s->w << 3, C = 3 * p * p;
    for (int c = 0; c < 3; c++) {
        for (int y = 0; y < h * p; y++) {
            float *const row = s->x[0] + (int64_t)(y / p) * w * C + c * p * p + y % p;
            for (int x = 0; x < w * p; x++)
                row[x / p * C + x % p * p] = *frame++;
        }
    }
}

int zt_vae_encode(zt_vae_state *s, const float *frame, float *latent)
{
    const int last = ZT_VAE_STAGES - 1;
    read_picture(s, frame);
    s->at = 0;
    s->frames++;
    zt_vae_run_conv(s, &s->half->in, s->x[0], s->x[0], 3 * s->v->patch * s->v->patch, NULL, last);
    for (int i = 0; i <= last; i++) {
        zt_vae_keep(s, i, i < last ? s->seen[i] : 0);
        for (int j = 0; j < s->half->blocks; j++)
            zt_vae_run_res(s, &s->half->res[i][j], s->x[i], last - i);
        if (i < last && !down(s, i))
            return 0;
        zt_vae_add_down(s, i);
    }
    emit(s, s->x[last], latent);
    return 1;
}

static int encode(zt_device *d, const char *path, const float *rgb, int h, int w, int C, float *z)
{
    zt_vae v;
    zt_vae_state s;
    int err = zt_vae_open(&v, d, path, ZT_F32, ZT_VAE_ENCODER);
    if (err < 0)
        return err;
    if (v.z != C) {
        zt_error("%s: the encoder makes latents of %d channels, the model takes %d", path, v.z, C);
        err = -EINVAL;
    } else {
        err = zt_vae_state_init(&s, &v, &v.encoder, h, w);
        if (!err)
            zt_vae_encode(&s, rgb, z);
        zt_vae_state_finish(&s);
    }
    zt_vae_finish(&v);
    return err;
}

extern const zt_encoder_kind zt_encoder_wan;
const zt_encoder_kind zt_encoder_wan = {
    .files = { "Wan2.1_VAE.safetensors", "Wan2.1_VAE.pth", "wan_2.1_vae.safetensors", "Wan2.2_VAE.safetensors", "Wan2.2_VAE.pth", "vae",
               "../vae" },
    .encode = encode,
};
