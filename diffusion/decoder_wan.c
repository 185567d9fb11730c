// SPDX-License-Identifier: Apache-2.0
// Latents to pictures.
//
// The first latent goes past the convolutions that double the frames, and they never hear of it: their past stays zero
// until the second latent.
#include "base/base.h"
#include "diffusion/vae_wan.h"

static void emit(zt_vae_state *s, const float *from)
{
    const int64_t n = ((int64_t)s->h * s->w) << 6;
    for (int64_t i = 0; i < n; i++)
        for (int c = 0; c < 3; c++)
            s->out[c * n + i] = from[3 * i + c];
    s->out += 3 * n;
    s->made++;
}

static void run_stage(zt_vae_state *s, int i)
{
    const zt_vae_half *const half = s->half;
    const zt_kernels *const k = &s->v->d->k;
    const int C = half->channels[i], rows = (s->h * s->w) << 2 * i;
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
        const int at = s->at;
        run_stage(s, i + 1);
        s->at = at;
        frame = zt_tensor_columns(frame, C, C);
    } else if (r->time.N) {
        s->at++;
    }
    zt_vae_run_plain(s, &r->conv, s->x[i + 1], frame, i);
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
