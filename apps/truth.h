// SPDX-License-Identifier: Apache-2.0
// Next frames against true ones: what a way of making frames is worth.
//
// A file of truth is safetensors with, for clip N = 0, 1, …, N.latents f32 [frames, C, h, w] by the model's own encoder, and
// N.camera f32 [frames, 12]: x, z, yaw, light, pitch, roll, height, rise, four controls, in the world 1000000501 + N of the
// training's renderer. Clips are of a volcano and of islands by day, in turn.
#pragma once

#include "diffusion/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_truth zt_truth;

// A way to make every frame. Zero means the model's own, but for n.
typedef struct zt_recipe {
    int   n;                        // steps
    float t[ZT_MAX_STEPS + 1];      // their times and where the last one leads; t[0] 0: those of n steps
    int   window, top_k;
} zt_recipe;

typedef struct zt_quality {
    double latents;                 // mean square of what is off, in latents
    double psnr, repeat_psnr;       // dB, of pictures, against the true latents decoded; of the last true picture again
} zt_quality;

// 0, or -errno: what is wrong is logged.
int  zt_truth_open(zt_truth **out, const zt_model *m, const char *path);
void zt_truth_close(zt_truth **t);
// Each frame but the first two of a clip is made after true ones. 0 or -errno.
int  zt_truth_measure(const zt_truth *t, zt_model *m, const zt_recipe *r, zt_quality *out);

// The next frame of a state, its commit merged with that of the frame before. 0 or -errno.
int  zt_recipe_frame(const zt_recipe *r, zt_model *m, zt_state *s);

#ifdef __cplusplus
}
#endif
