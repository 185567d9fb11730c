// SPDX-License-Identifier: Apache-2.0
// Pictures to latents, for streams that start from one. A kind is one file and a line in encoders.c.
#pragma once

#include "kernels/device.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_encoder_kind {
    const char *files[8];               // names by which it is found beside a model; NULL ends
    // rgb f32 [3][8h][8w], 16h and 16w where a latent is that wide, in [-1, 1]; z f32 [C][h][w], as the model's latents are. 0, -EINVAL (logged), -ENOENT, -ENOMEM.
    int (*encode)(zt_device *d, const char *path, const float *rgb, int h, int w, int C, float *z);
} zt_encoder_kind;

// With whichever encoder lies in `folder` (with its slash), opened for this one picture. -ENOENT, logged, when none does.
int zt_encode_picture(zt_device *d, const char *folder, const float *rgb, int h, int w, int C, float *z);

#ifdef __cplusplus
}
#endif
