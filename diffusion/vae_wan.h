// SPDX-License-Identifier: Apache-2.0
// The autoencoders of Wan 2.1 and 2.2, one frame at a time in both directions: what encoder and decoder share, and each.
//
// Formulas: Wan-Video/Wan2.1 wan/modules/vae.py, Wan-Video/Wan2.2 wan/modules/vae2_2.py. All convolutions over time look
// back only; a stream keeps their last two inputs, so frame by frame gives what the whole clip gives. The decoder's first
// latent makes one frame, every other four; the encoder turns one frame, then groups of four into latents. That of 2.2 sees
// squares of 2x2 pixels as one and leads the input of each stage past it.
#pragma once

#include "diffusion/load.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { ZT_VAE_STAGES = 4, ZT_VAE_RES = 3, ZT_VAE_PASTS = 40, ZT_VAE_MAX_Z = 64 };

// y = conv2(SiLU(norm(conv1(SiLU(norm(x)))))) + shortcut(x)
typedef struct zt_vae_res {
    int          in, out;               // channels
    const float *norm1, *norm2;
    zt_conv      conv1, conv2;          // over three frames
    zt_matrix    shortcut;              // N 0: the identity
} zt_vae_res;

// One head as wide as the picture has channels, over the pixels of a frame.
typedef struct zt_vae_attention {
    const float *norm;
    zt_matrix    qkv, proj;
} zt_vae_attention;

// Between stages: twice or half the size in space, and with `time` in time as well.
typedef struct zt_vae_resample {
    zt_conv   conv;
    zt_matrix time;                     // three frames of channels to two (decoder) or one; N 0: space only
} zt_vae_resample;

typedef struct zt_vae_half {            // encoder or decoder; N 0: not loaded
    zt_conv          in, out;
    zt_vae_res       middle[2], res[ZT_VAE_STAGES][ZT_VAE_RES];
    zt_vae_attention attention;
    zt_vae_resample  resample[ZT_VAE_STAGES - 1];
    const float     *norm;
    zt_matrix        quant;             // 1x1, to or from the latent
    int              blocks;            // per stage
    bool             shortcuts;         // past each stage (Wan 2.2)
    int              channels[ZT_VAE_STAGES];   // after each stage's blocks
} zt_vae_half;

typedef struct zt_vae {
    zt_device   *d;
    zt_memory    memory;
    enum zt_type type;                  // of convolutions and what they read: ZT_F32 or ZT_BF16; sums stay f32
    int          z;
    int          patch;                 // pixels of a square on each side: 1, or 2 (Wan 2.2)
    float        mean[ZT_VAE_MAX_Z], std[ZT_VAE_MAX_Z];
    zt_vae_half  encoder, decoder;
} zt_vae;

enum zt_vae_parts { ZT_VAE_DECODER = 1, ZT_VAE_ENCODER = 2 };

// `path`: a file with original or diffusers names, or a folder with one; a config.json beside it may give latents_mean and
// latents_std, the published ones are used otherwise. Shapes follow from the tensors. 0, -ENOENT, -EINVAL (logged),
// -ENOMEM. On 0 finish it; borrows the device.
int  zt_vae_open(zt_vae *v, zt_device *d, const char *path, enum zt_type type, unsigned parts);
void zt_vae_finish(zt_vae *v);

// One stream through one half.
typedef struct zt_vae_state {
    zt_vae      *v;
    zt_vae_half *half;
    int          h, w;                  // of the latent
    int64_t      frames;                // latents (decoder) or pictures (encoder) so far
    void        *past[ZT_VAE_PASTS];
    int          pasts, at;             // at: the next one to use within a frame
    int64_t      seen[ZT_VAE_STAGES - 1];       // frames that came to the encoder's resampling in time
    float       *x[ZT_VAE_STAGES], *split[ZT_VAE_STAGES - 1];   // frames of each stage
    float       *kept[ZT_VAE_STAGES];   // what came to a stage, for its shortcut; the encoder's pairs in time
    float       *y;
    void        *joined;
    zt_kv        kv;
    void        *memory;
    int64_t      bytes;
    float       *out;                   // where the next frame goes
    int          made;                  // frames or latents of this call
} zt_vae_state;

// A stream of latents h x w. 0 or -ENOMEM.
int     zt_vae_state_init(zt_vae_state *s, zt_vae *v, zt_vae_half *half, int h, int w);
void    zt_vae_state_finish(zt_vae_state *s);
void    zt_vae_state_restart(zt_vae_state *s);          // the next frame is the first
int64_t zt_vae_state_bytes(const zt_vae *v, const zt_vae_half *half, int h, int w);

// z [z][h][w], normalised; frames [n][3][8h][8w], 16h and 16w with patch 2, not clamped. Returns n: 1 for the first latent, else 4.
int zt_vae_decode(zt_vae_state *s, const float *z, float *frames);
// frame [3][8h][8w], or 16h and 16w, in [-1, 1]; latent [z][h][w], normalised. Returns 1 when a latent was made: for the first frame and
// every fourth after it.
int zt_vae_encode(zt_vae_state *s, const float *frame, float *latent);

// What both are made of. x [rows][channels] f32, `level` as above. Each moves s->at on.
void zt_vae_run_conv(zt_vae_state *s, const zt_conv *c, float *out, const float *x, int C, const float *norm, int level);
void zt_vae_run_res(zt_vae_state *s, const zt_vae_res *r, float *x, int level);
void zt_vae_run_middle(zt_vae_state *s, float *x, int level);
// A convolution of the present frame alone.
void zt_vae_run_plain(zt_vae_state *s, const zt_conv *c, float *out, zt_tensor x, int level);
// Three frames side by side, for s->split: [rows][3 C] f32.
float *zt_vae_join(zt_vae_state *s, const float *x, int C, int level);
// Shortcuts, nothing without them. Keep what comes to stage i: frame n of the stage. Then, on its output: the decoder's frame
// `half` (0 or 1) of a stage that makes two of one, the encoder's mean over what became one pixel.
void zt_vae_keep(zt_vae_state *s, int i, int64_t n);
void zt_vae_add_up(zt_vae_state *s, int i, int half);
void zt_vae_add_down(zt_vae_state *s, int i);

#ifdef __cplusplus
}
#endif
