// SPDX-License-Identifier: Apache-2.0
// Latents to pictures: three resolutions of 3x3 convolutions that remember the frame before.
#pragma once

#include "diffusion/config.h"
#include "diffusion/load.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_tiny {
    zt_device   *d;
    enum zt_type type;                  // of weights and activations: ZT_F32 or ZT_BF16
    int          latent, channels[ZT_MAX_STAGES];
    zt_conv      in, mem[2][3], up[2], res[2], out;
    void        *work[3];               // activations
    float       *pixels;                // [4h][4w][12]
    void        *memory;                // of both
    int64_t      area;                  // h * w that there is room for
} zt_tiny;

// What the frame before left behind.
typedef struct zt_tiny_state {
    int   h, w;                         // latent
    void *now[2], *before[2];           // input of the memory blocks
    void *memory;
} zt_tiny_state;

int  zt_tiny_load(zt_tiny *k, zt_device *d, const zt_config *c, zt_loader *l, enum zt_type type);
void zt_tiny_finish(zt_tiny *k);

// 0 or -ENOMEM. Makes room in the decoder, too.
int  zt_tiny_state_init(zt_tiny_state *s, zt_tiny *k, int h, int w);
void zt_tiny_state_finish(zt_tiny_state *s, zt_tiny *k);
int64_t zt_tiny_state_bytes(const zt_tiny *k, int h, int w);

// z f32 [1, C, h, w]; rgb f32 [1, 3, 8h, 8w]. The stream moves on by one frame.
void zt_tiny_run(zt_tiny *k, zt_tiny_state *s, zt_tensor rgb, zt_tensor z);

#ifdef __cplusplus
}
#endif
