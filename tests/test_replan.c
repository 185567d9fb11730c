// SPDX-License-Identifier: Apache-2.0
// A plan of four steps that is cut to two half-way is worth a plan of two: the rest is planned again from where it is.
// Measured against the true next frames of two clips that turn, unseen in training, made by the shipped encoder.
//   test_replan MODEL CLIPS
#include <math.h>
#include <stdio.h>

#include "apps/truth.h"

int main(int argc, char **argv)
{
    zt_device *d = NULL;
    zt_model *m = NULL;
    zt_truth *clips = NULL;
    zt_quality planned = { 0 }, cut = { 0 };
    const zt_recipe two = { .n = 2 };
    zt_recipe four = { .n = 2 };
    int err = argc == 3 ? zt_device_open(&d, &(zt_device_params){ .device = "cpu" }) : -1;
    if (!err)
        err = zt_model_open(&m, d, argv[1], ZT_PRECISION_DEFAULT);
    if (!err)
        err = zt_truth_open(&clips, m, argv[2]);
    if (!err) {
        zt_model_steps(m, 4, four.t);
        zt_model_steps_from(m, four.t[1], 1, four.t + 1);   // after one of four passes: one more, from there
        four.t[2] = 0;
        err = zt_truth_measure(clips, m, &two, &planned);
    }
    if (!err)
        err = zt_truth_measure(clips, m, &four, &cut);
    const double db = err ? 0 : 10 * log10(cut.latents / planned.latents);
    if (!err)
        printf("cut from four to two: %.3f dB worse than a plan of two\n", db);
    zt_truth_close(&clips);
    zt_model_close(&m);
    zt_device_close(&d);
    return err || db > 0.3 || isnan(db);
}
