// SPDX-License-Identifier: Apache-2.0
// The engine's model as a few flat calls, so that eval.py can drive the shipped files through C (ctypes).
#include <errno.h>
#include <math.h>
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
    void      *saved;       // for zt_eval_try()
    size_t     room;        // bytes of it
} zt_eval;

EXPORT zt_eval *zt_eval_open(const char *path, const char *precision, int threads);
EXPORT void     zt_eval_close(zt_eval *e);
EXPORT int      zt_eval_reset(zt_eval *e, uint64_t seed);
EXPORT int      zt_eval_prompt(zt_eval *e, const char *text);
EXPORT void     zt_eval_controls(zt_eval *e, const float *value);
EXPORT void     zt_eval_place(zt_eval *e, uint64_t seed, const float camera[12]);
EXPORT int      zt_eval_next(zt_eval *e, int steps, uint8_t *rgb);
EXPORT int      zt_eval_try(zt_eval *e, int steps, uint64_t seed, const float camera[12], uint8_t *rgb);
EXPORT int      zt_eval_force(zt_eval *e, const float *x0, uint8_t *rgb);

static enum zt_precision precision_of(const char *name)
{
    static const char *const names[] = { "default", "f32", "bf16", "int8", "int4" };
    static const enum zt_precision values[] = { ZT_PRECISION_DEFAULT, ZT_PRECISION_F32, ZT_PRECISION_BF16,
                                                ZT_PRECISION_INT8, ZT_PRECISION_INT4 };
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (!strcmp(name, names[i]))
            return values[i];
    return ZT_PRECISION_DEFAULT;
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
    free(e->saved);
    free(e);
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

// The latest x0 as [h][w][3] bytes.
static void decode(zt_eval *e, uint8_t *rgb)
{
    const size_t plane = (size_t)e->w * (size_t)e->h;
    zt_state_decode(e->s, zt_tensor_4d(e->rgb, ZT_F32, 1, 3, e->h, e->w));
    for (size_t i = 0; i < plane; i++)
        for (size_t c = 0; c < 3; c++)
            rgb[3 * i + c] = (uint8_t)lrintf((fminf(fmaxf(e->rgb[c * plane + i], -1), 1) + 1) * 127.5f);
}

static int commit(zt_eval *e)
{
    const zt_job job = { .s = e->s, .pass = ZT_COMMIT };
    return zt_model_pass(e->m, &job, 1, 0, zt_model_get_info(e->m)->layers);
}

// The next frame in `steps` steps, decoded, but not committed.
static int make(zt_eval *e, int steps, uint8_t *rgb)
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
    decode(e, rgb);
    return 0;
}

// Makes the next frame in `steps` steps and commits it. rgb: [H][W][3].
int zt_eval_next(zt_eval *e, int steps, uint8_t *rgb)
{
    const int err = make(e, steps, rgb);
    return err < 0 ? err : commit(e);
}

static int reserve(zt_eval *e, size_t bytes)
{
    if (bytes <= e->room)
        return 0;
    free(e->saved);
    e->saved = malloc(bytes);
    e->room = e->saved ? bytes : 0;
    return e->saved ? 0 : -ENOMEM;
}

// Makes the next frame as zt_eval_place() and zt_eval_next() do, and leaves the stream as it was before; it must have begun.
int zt_eval_try(zt_eval *e, int steps, uint64_t seed, const float camera[12], uint8_t *rgb)
{
    const size_t bytes = zt_state_save(e->s, NULL);
    if (!bytes)
        return -EINVAL;
    if (reserve(e, bytes) < 0)
        return -ENOMEM;
    zt_state_save(e->s, e->saved);
    zt_eval_place(e, seed, camera);
    const int err = make(e, steps, rgb), back = zt_state_restore(e->s, e->saved, bytes);
    return err < 0 ? err : back;
}

// Takes x0 as the next frame instead of making it: decoded and committed as if it had been made.
int zt_eval_force(zt_eval *e, const float *x0, uint8_t *rgb)
{
    zt_state_begin(e->s);
    zt_state_put(e->s, x0);
    decode(e, rgb);
    return commit(e);
}
