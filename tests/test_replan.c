// SPDX-License-Identifier: Apache-2.0
// A plan of four steps that is cut to two half-way is worth a plan of two: the rest is planned again from where it is.
// Measured against the true next frames of two clips that turn, unseen in training: CLIPS holds their latents and cameras
// (N.latents [frames, C, h, w], N.camera [frames, 12] as tools/train/world.h has them), made by the shipped encoder.
//   test_replan MODEL CLIPS
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diffusion/internal.h"
#include "diffusion/weights.h"

enum { FRAMES = 12, CLIPS = 2 };

// A frame by these times, t[n] where the last pass leads; the frame before is committed first.
static int make(zt_model *m, zt_state *s, const float *t, int n)
{
    const int layers = zt_model_get_info(m)->layers;
    int err = 0;
    if (zt_state_begin(s) > 0) {
        const zt_job job = { s, ZT_COMMIT_DENOISE, t[0], t[1] };
        err = zt_model_pass(m, &job, 1, 0, layers);
    } else {
        const zt_job job = { s, ZT_DENOISE, t[0], t[1] };
        err = zt_model_pass(m, &job, 1, 0, layers);
    }
    for (int i = 1; i < n && !err; i++) {
        const zt_job job = { s, ZT_DENOISE, t[i], t[i + 1] };
        err = zt_model_pass(m, &job, 1, 0, layers);
    }
    return err;
}

static double distance(const zt_state *s, const float *truth)
{
    const zt_tensor x = zt_state_x0(s);
    const int64_t n = x.n[1] * x.n[2] * x.n[3];
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += ((double)zt_f32(x)[i] - (double)truth[i]) * ((double)zt_f32(x)[i] - (double)truth[i]);
    return sum / (double)n;
}

// The camera of world.h: x, z, yaw, light, pitch, roll, y, rise, controls.
static void place(zt_state *s, uint64_t seed, const float *c)
{
    zt_ground_camera at = { .x = (double)c[0], .z = (double)c[1], .yaw = (double)c[2], .sun = (double)c[3],
                            .pitch = c[4], .roll = c[5], .y = c[6], .rise = c[7] };
    memcpy(at.control, c + 8, sizeof(at.control));
    zt_state_place(s, &(zt_ground){ seed, ZT_GROUND_TILE }, &at);
}

// Sums of squares against the true frame, over frames that follow true ones.
static int compare(zt_model *m, const zt_weights *clips, int clip, double *planned, double *cut)
{
    static const char *const prompt[CLIPS] = { "volcano by day", "islands by day" };
    static const float turn[CLIPS] = { -0.7f, 0.7f };
    char name[32];
    snprintf(name, sizeof(name), "%d.latents", clip);
    const zt_weight *const latents = zt_weights_find(clips, name);
    snprintf(name, sizeof(name), "%d.camera", clip);
    const zt_weight *const camera = zt_weights_find(clips, name);
    zt_state *s[2] = { NULL };
    float two[3] = { 0 }, four[5] = { 0 };
    zt_model_steps(m, 2, two);
    zt_model_steps(m, 4, four);
    zt_model_steps_from(m, four[1], 1, four + 1);       // after one of four passes: one more, from there
    four[2] = 0;
    int err = latents && camera ? 0 : -1;
    for (int i = 0; i < 2 && !err; i++) {
        err = zt_state_create(&s[i], m, 0, 0, (uint64_t)clip);
        if (!err)
            zt_state_prompt(s[i], prompt[clip], NULL, 0);
    }
    for (int k = 0; k < FRAMES && !err; k++) {
        const float *const truth = (const float *)latents->data + (size_t)k * (size_t)(latents->elements / FRAMES);
        for (int i = 0; i < 2 && !err; i++) {
            zt_state_control(s[i], 0, turn[clip]);
            place(s[i], 1000000501u + (uint64_t)clip, (const float *)camera->data + k * 12);
            err = make(m, s[i], i ? four : two, 2);
            if (k > 1)                                  // the first two have less to go by
                *(i ? cut : planned) += distance(s[i], truth);
            zt_state_put(s[i], truth);
        }
    }
    zt_state_destroy(&s[0]);
    zt_state_destroy(&s[1]);
    return err;
}

int main(int argc, char **argv)
{
    zt_device *d = NULL;
    zt_model *m = NULL;
    zt_weights *clips = NULL;
    double planned = 0, cut = 0;
    int err = argc == 3 ? zt_device_open(&d, &(zt_device_params){ .device = "cpu" }) : -1;
    if (!err)
        err = zt_model_open(&m, d, argv[1], ZT_PRECISION_DEFAULT);
    if (!err)
        err = zt_weights_open(&clips, argv[2]);
    for (int i = 0; i < CLIPS && !err; i++)
        err = compare(m, clips, i, &planned, &cut);
    const double db = err ? 0 : 10 * log10(cut / planned);
    if (!err)
        printf("cut from four to two: %.3f dB worse than a plan of two\n", db);
    zt_weights_close(&clips);
    zt_model_close(&m);
    zt_device_close(&d);
    return err || db > 0.3 || isnan(db);
}
