// SPDX-License-Identifier: Apache-2.0
// A plan of four steps that is cut to two half-way is worth a plan of two: the rest is planned again from where it is.
//   test_replan MODEL
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diffusion/model.h"

enum { FRAMES = 24, SEEDS = 2, TRUTH = 16 };

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

static size_t floats(const zt_state *s)
{
    const zt_tensor x = zt_state_x0(s);
    return (size_t)x.n[1] * (size_t)x.n[2] * (size_t)x.n[3];
}

static double distance(const zt_state *a, const zt_state *b)
{
    const float *x = zt_state_x0(a).data, *y = zt_state_x0(b).data;
    double sum = 0;
    for (size_t i = 0; i < floats(a); i++)
        sum += (double)(x[i] - y[i]) * (double)(x[i] - y[i]);
    return sum / (double)floats(a);
}

// Sums of squares against many steps, over frames with the same past.
static int compare(zt_model *m, uint64_t seed, double *planned, double *cut)
{
    zt_state *s[3] = { NULL };
    float two[3] = { 0 }, four[5] = { 0 }, many[TRUTH + 1] = { 0 };
    zt_model_steps(m, 2, two);
    zt_model_steps(m, 4, four);
    zt_model_steps(m, TRUTH, many);
    zt_model_steps_from(m, four[1], 1, four + 1);       // after one of four passes: one more, from there
    four[2] = 0;
    int err = 0;
    for (int i = 0; i < 3 && !err; i++)
        err = zt_state_create(&s[i], m, 0, 0, seed);
    float *truth = err ? NULL : malloc(floats(s[0]) * sizeof(float));
    for (int k = 0; k < FRAMES && truth && !err; k++) {
        for (int i = 0; i < 3; i++)
            zt_state_control(s[i], 0, (float)(k % 8) / 4 - 1);
        err = make(m, s[0], many, TRUTH);
        err = err ? err : make(m, s[1], two, 2);
        err = err ? err : make(m, s[2], four, 2);
        if (err)
            break;
        if (k > 0) {                                    // the first frame has nothing to go by
            *planned += distance(s[1], s[0]);
            *cut += distance(s[2], s[0]);
        }
        memcpy(truth, zt_state_x0(s[0]).data, floats(s[0]) * sizeof(float));
        zt_state_put(s[1], truth);
        zt_state_put(s[2], truth);
    }
    free(truth);
    for (int i = 0; i < 3; i++)
        zt_state_destroy(&s[i]);
    return err;
}

int main(int argc, char **argv)
{
    zt_device *d = NULL;
    zt_model *m = NULL;
    double planned = 0, cut = 0;
    int err = argc == 2 ? zt_device_open(&d, &(zt_device_params){ .device = "cpu" }) : -1;
    if (!err)
        err = zt_model_open(&m, d, argv[1], ZT_PRECISION_DEFAULT);
    for (int i = 0; i < SEEDS && !err; i++)
        err = compare(m, (uint64_t)i, &planned, &cut);
    const double db = err ? 0 : 10 * log10(cut / planned);
    if (!err)
        printf("cut from four to two: %.3f dB worse than a plan of two\n", db);
    zt_model_close(&m);
    zt_device_close(&d);
    return err || db > 0.3 || isnan(db);
}
