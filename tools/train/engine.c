// SPDX-License-Identifier: Apache-2.0
// The engine's model as a few flat calls, so that eval.py can drive the shipped files through C (ctypes).
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "diffusion/internal.h"

#define EXPORT __attribute__((visibility("default")))

typedef struct zt_eval {
    zt_device *d;
    zt_model  *m;
    zt_state  *s;
    int        w, h;
    float     *rgb;         // [3][h][w], the decoder's output
} zt_eval;

EXPORT zt_eval *zt_eval_open(const char *path, const char *precision, int threads);
EXPORT void     zt_eval_close(zt_eval *e);
EXPORT void     zt_eval_size(const zt_eval *e, int *w, int *h);
EXPORT int      zt_eval_reset(zt_eval *e, uint64_t seed);
EXPORT int      zt_eval_prompt(zt_eval *e, const char *text);
EXPORT void     zt_eval_controls(zt_eval *e, const float *value);
EXPORT void     zt_eval_place(zt_eval *e, uint64_t seed, const float camera[12]);
EXPORT int      zt_eval_next(zt_eval *e, int steps, float *x0, float *rgb);
EXPORT int      zt_eval_force(zt_eval *e, const float *x0, float *rgb);

static enum zt_precision precision_of(const char *name)
{
    if (!strcmp(name, "f32"))
        return ZT_PRECISION_F32;
    if (!strcmp(name, "bf16"))
        return ZT_PRECISION_BF16;
    return !strcmp(name, "int8") ? ZT_PRECISION_INT8 : ZT_PRECISION_DEFAULT;
}

// NULL when the model cannot be opened (the log says why).
zt_eval *zt_eval_open(const char *path, const char *precision, int threads)
{
    zt_eval *e = calloc(1, sizeof(*e));
    if (!e)
        return NULL;
    if (zt_device_open(&e->d, &(zt_device_params){ .device = "cpu", .threads = threads }) < 0)
        goto fail;
    if (zt_model_open(&e->m, e->d, path, precision_of(precision)) < 0)
        goto fail;
    e->w = zt_model_get_info(e->m)->w;
    e->h = zt_model_get_info(e->m)->h;
    e->rgb = zt_alloc(sizeof(float) * 3 * (size_t)e->w * (size_t)e->h);
    if (!e->rgb || zt_eval_reset(e, 0) < 0)
        goto fail;
    return e;
fail:
    zt_eval_close(e);
    return NULL;
}

void zt_eval_close(zt_eval *e)
{
    if (!e)
        return;
    zt_state_destroy(&e->s);
    zt_model_close(&e->m);
    zt_device_close(&e->d);
    zt_free(e->rgb);
    free(e);
}

void zt_eval_size(const zt_eval *e, int *w, int *h)
{
    *w = e->w;
    *h = e->h;
}

// A new stream from that seed.
int zt_eval_reset(zt_eval *e, uint64_t seed)
{
    zt_state_destroy(&e->s);
    return zt_state_create(&e->s, e->m, 0, 0, seed);
}

int zt_eval_prompt(zt_eval *e, const char *text)
{
    return zt_state_prompt(e->s, text, NULL, 0);
}

// The next frame sees the ground of training world `seed` from a camera as world.see() gives it.
void zt_eval_place(zt_eval *e, uint64_t seed, const float camera[12])
{
    zt_ground_camera c = { .x = (double)camera[0], .z = (double)camera[1], .yaw = (double)camera[2], .sun = (double)camera[3],
                           .pitch = camera[4], .roll = camera[5], .y = camera[6], .rise = camera[7] };
    memcpy(c.control, camera + 8, sizeof(c.control));
    zt_state_place(e->s, &(zt_ground){ seed, ZT_GROUND_TILE }, &c);
}

// One value per control of the model, in its order.
void zt_eval_controls(zt_eval *e, const float *value)
{
    const int n = zt_model_get_info(e->m)->n_controls;
    for (int i = 0; i < n; i++)
        zt_state_control(e->s, i, value[i]);
}

static void decode(zt_eval *e, float *rgb)
{
    zt_state_decode(e->s, zt_tensor_4d(e->rgb, ZT_F32, 1, 3, e->h, e->w));
    if (rgb)
        memcpy(rgb, e->rgb, sizeof(float) * 3 * (size_t)e->w * (size_t)e->h);
}

static int finish_frame(zt_eval *e, float *x0, float *rgb)
{
    const zt_tensor z = zt_state_x0(e->s);
    if (x0)
        memcpy(x0, z.data, sizeof(float) * (size_t)z.n[1] * (size_t)z.n[2] * (size_t)z.n[3]);
    decode(e, rgb);
    const zt_job commit = { .s = e->s, .pass = ZT_COMMIT };
    return zt_model_pass(e->m, &commit, 1, 0, zt_model_get_info(e->m)->layers);
}

// Makes the next frame in `steps` steps and commits it. x0 [C][h][w] and rgb [3][H][W] may be NULL.
int zt_eval_next(zt_eval *e, int steps, float *x0, float *rgb)
{
    float t[ZT_MAX_STEPS];
    zt_model_steps(e->m, steps, t);
    zt_state_begin(e->s);
    for (int i = 0; i < steps; i++) {
        const zt_job job = { e->s, ZT_DENOISE, t[i], i + 1 < steps ? t[i + 1] : 0 };
        const int err = zt_model_pass(e->m, &job, 1, 0, zt_model_get_info(e->m)->layers);
        if (err < 0)
            return err;
    }
    return finish_frame(e, x0, rgb);
}

// Takes x0 as the next frame instead of making it: decoded and committed as if it had been made.
int zt_eval_force(zt_eval *e, const float *x0, float *rgb)
{
    zt_state_begin(e->s);
    zt_state_put(e->s, x0);
    return finish_frame(e, NULL, rgb);
}
