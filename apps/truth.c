// SPDX-License-Identifier: Apache-2.0
// Frames of made streams beside frames of true ones.
#include "apps/truth.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "diffusion/internal.h"
#include "diffusion/weights.h"

enum { CAMERA = 12, FIRST = 2, CLIPS = 64 };       // FIRST: a clip's frames before it have less to go by

struct zt_truth {
    zt_weights *file;
    int         clips, frames;
};

// Sums of squares over one clip
typedef struct sums {
    double latents, picture, repeat;
    int    frames;
} sums;

// Two streams along a clip: what is made of true frames, and those themselves.
typedef struct pair {
    zt_state *made, *shown;
    zt_tensor picture[3];           // made, true, true before
} pair;

static const zt_weight *find(const zt_truth *t, int clip, const char *what)
{
    char name[32];
    snprintf(name, sizeof(name), "%d.%s", clip, what);
    return zt_weights_find(t->file, name);
}

int zt_truth_open(zt_truth **out, const zt_model *m, const char *path)
{
    zt_truth *t = zt_alloc(sizeof(*t));
    int err = t ? zt_weights_open(&t->file, path) : -ENOMEM;
    const zt_config *const c = &m->c;
    const int64_t latent = (int64_t)c->out_dim * (c->h / m->scale) * (c->w / m->scale);
    bool good = !err;
    for (; good && t->clips < CLIPS && find(t, t->clips, "latents"); t->clips++) {
        const zt_weight *const x = find(t, t->clips, "latents"), *const k = find(t, t->clips, "camera");
        t->frames = (int)(x->elements / latent);
        good = t->frames > FIRST && x->elements == t->frames * latent && k && k->elements == t->frames * CAMERA &&
               x->type == ZT_F32 && k->type == ZT_F32 && !x->coding && !k->coding && !x->strided && !k->strided;
    }
    if (!err && (!good || !t->clips || c->chunk_frames != 1 || !m->decoder.kind)) {
        zt_error("%s: no clips of latents and cameras for %s", path, zt_model_get_info(m)->name);
        err = -EINVAL;
    }
    if (err)
        zt_truth_close(&t);
    else
        *out = t;
    return err;
}

void zt_truth_close(zt_truth **t)
{
    if (*t)
        zt_weights_close(&(*t)->file);
    zt_free(*t);
    *t = NULL;
}

int zt_recipe_frame(const zt_recipe *r, zt_model *m, zt_state *s)
{
    float times[ZT_MAX_STEPS + 1] = { 0 };
    const float *const t = r->t[0] > 0 ? r->t : times;
    const int layers = zt_model_get_info(m)->layers;
    zt_model_steps(m, r->n, times);
    times[r->n] = 0;
    zt_state_window(s, r->window);
    zt_state_top_k(s, r->top_k);
    const bool first = zt_state_begin(s) == 0;
    int err = 0;
    for (int i = 0; i < r->n && !err; i++) {
        const zt_job job = { s, i || first ? ZT_DENOISE : ZT_COMMIT_DENOISE, t[i], t[i + 1] };
        err = zt_model_pass(m, &job, 1, 0, layers);
    }
    return err;
}

static void place(zt_state *s, int clip, const float *c)
{
    zt_ground_camera at = { .x = (double)c[0], .z = (double)c[1], .yaw = (double)c[2], .sun = (double)c[3],
                            .pitch = c[4], .roll = c[5], .y = c[6], .rise = c[7] };
    memcpy(at.control, c + 8, sizeof(at.control));
    for (int i = 0; i < 4; i++)
        zt_state_control(s, i, c[8 + i]);
    zt_state_place(s, &(zt_ground){ 1000000501u + (uint64_t)clip, ZT_GROUND_TILE }, &at);
}

static double squares(const float *a, const float *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    return sum / (double)n;
}

// The true frame as it is shown, the one before it kept.
static int show_truth(zt_model *m, pair *p, const float *truth)
{
    const zt_tensor before = p->picture[2];
    p->picture[2] = p->picture[1];
    p->picture[1] = before;
    zt_state_begin(p->shown);
    zt_state_put(p->shown, truth);
    zt_state_decode(p->shown, p->picture[1]);
    return zt_model_pass(m, &(zt_job){ p->shown, ZT_COMMIT, 0, 0 }, 1, 0, zt_model_get_info(m)->layers);
}

static int along_clip(const zt_truth *t, zt_model *m, const zt_recipe *r, int clip, pair *p, sums *sum)
{
    const zt_weight *const x = find(t, clip, "latents"), *const camera = find(t, clip, "camera");
    const int64_t n = x->elements / t->frames, pixels = p->picture[0].n[0] * p->picture[0].step[0];
    int err = 0;
    for (int k = 0; k < t->frames && !err; k++) {
        const float *const truth = (const float *)x->data + k * n;
        place(p->made, clip, (const float *)camera->data + k * CAMERA);
        place(p->shown, clip, (const float *)camera->data + k * CAMERA);
        err = zt_recipe_frame(r, m, p->made);
        if (!err)
            err = show_truth(m, p, truth);
        zt_state_decode(p->made, p->picture[0]);
        if (k >= FIRST) {
            sum->latents += squares(zt_f32(zt_state_x0(p->made)), truth, n);
            sum->picture += squares(zt_f32(p->picture[0]), zt_f32(p->picture[1]), pixels);
            sum->repeat += squares(zt_f32(p->picture[2]), zt_f32(p->picture[1]), pixels);
            sum->frames++;
        }
        zt_state_put(p->made, truth);
    }
    return err;
}

static void finish(zt_device *d, pair *p)
{
    zt_state_destroy(&p->made);
    zt_state_destroy(&p->shown);
    for (int i = 0; i < 3; i++)
        zt_device_free(d, p->picture[i].data);
}

static int create(zt_model *m, int clip, pair *p)
{
    static const char *const prompt[] = { "volcano by day", "islands by day" };
    const zt_model_info *const info = zt_model_get_info(m);
    const size_t floats = (size_t)info->pictures * 3 * (size_t)info->h * (size_t)info->w;
    int err = zt_state_create(&p->made, m, 0, 0, (uint64_t)clip);
    if (!err)
        err = zt_state_create(&p->shown, m, 0, 0, (uint64_t)clip);
    for (int i = 0; i < 3 && !err; i++) {
        float *const memory = zt_device_alloc(m->d, floats * sizeof(float));
        err = memory ? 0 : -ENOMEM;
        p->picture[i] = zt_tensor_4d(memory, ZT_F32, info->pictures, 3, info->h, info->w);
    }
    if (err)
        return err;
    zt_state_prompt(p->made, prompt[clip % 2], NULL, 0);
    zt_state_prompt(p->shown, prompt[clip % 2], NULL, 0);
    return 0;
}

// Of values in [-1, 1]
static double decibels(double square)
{
    return -10 * log10(square / 4);
}

int zt_truth_measure(const zt_truth *t, zt_model *m, const zt_recipe *r, zt_quality *out)
{
    sums sum = { 0 };
    int err = 0;
    for (int i = 0; i < t->clips && !err; i++) {
        pair p = { 0 };
        err = create(m, i, &p);
        if (!err)
            err = along_clip(t, m, r, i, &p, &sum);
        finish(m->d, &p);
    }
    if (!err)
        *out = (zt_quality){ sum.latents / sum.frames, decibels(sum.picture / sum.frames), decibels(sum.repeat / sum.frames) };
    return err;
}
