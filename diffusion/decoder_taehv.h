// SPDX-License-Identifier: Apache-2.0
// The tiny decoder of the Wan family, TAEHV: latents to four frames each, with memory blocks at three sizes.
//
// Formulas: madebyollin/taehv taehv.py. It takes latents as the transformer gives them (no mean, no deviation).
#pragma once

#include "diffusion/load.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { ZT_TAEHV_LEVELS = 3, ZT_TAEHV_GROWS = 2 };

typedef struct zt_taehv {
    zt_device   *d;
    zt_memory    memory;
    enum zt_type type;                  // of weights and activations: ZT_F32 or ZT_BF16
    int          z, channels[ZT_TAEHV_LEVELS + 1], patch;
    zt_conv      in, mem[ZT_TAEHV_LEVELS][3][3], out;
    zt_conv      up[ZT_TAEHV_LEVELS][ZT_TAEHV_GROWS];       // to each of the frames that one becomes
} zt_taehv;

// `path`: a file, or a folder with one. Shapes follow from the tensors; a tensor that grows frames may have more rows than
// needed: the last ones count. 0, -ENOENT, -EINVAL (logged), -ENOMEM. On 0 finish it; borrows the device.
int  zt_taehv_open(zt_taehv *k, zt_device *d, const char *path, enum zt_type type);
void zt_taehv_finish(zt_taehv *k);

typedef struct zt_taehv_state {
    zt_taehv *k;
    int       h, w;                     // of the latent
    bool      all;                      // hand out the first latent's surplus frames, too
    int64_t   latents;                  // so far
    void     *now[ZT_TAEHV_LEVELS][3], *before[ZT_TAEHV_LEVELS][3], *x[ZT_TAEHV_LEVELS + 1];
    void     *work[2];
    float    *pixels, *to;              // [8h / patch][8w / patch][3 patch^2]; the next frame's place
    int       skip, made;
    void     *memory;
    int64_t   bytes;
} zt_taehv_state;

// 0 or -ENOMEM.
int     zt_taehv_state_init(zt_taehv_state *s, zt_taehv *k, int h, int w);
void    zt_taehv_state_finish(zt_taehv_state *s);
int64_t zt_taehv_state_bytes(const zt_taehv *k, int h, int w);

// z f32 [z][h][w]; frames f32 [n][3][8 h][8 w] (16 for a patch of 2), in [0, 1] but not clamped. Returns n: 4, and 1 for a
// stream's first latent, whose first three frames have no meaning.
int zt_taehv_decode(zt_taehv_state *s, const float *z, float *frames);

#ifdef __cplusplus
}
#endif
