// SPDX-License-Identifier: Apache-2.0
// Latents to pictures, whichever way a model does it. A kind of decoder is one file and a line in decoders.c.
#pragma once

#include "diffusion/config.h"
#include "diffusion/load.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_decoder zt_decoder;

// What a decoder may be made from.
typedef struct zt_decoder_source {
    zt_device       *d;
    const zt_config *c;
    zt_loader       *l;                 // the model's own weights
    enum zt_type     type;              // of the model's matrices: ZT_F32 or ZT_BF16
    const char      *path;              // a file or folder of its own; NULL: the model's
} zt_decoder_source;

// Is given a piece of memory; an error ends the walk.
typedef int zt_walk_fn(void *cookie, void *data, size_t bytes);

// State: one stream's, of latents h x w.
typedef struct zt_decoder_kind {
    const char *name;                   // "type" in config.json
    const char *files[8];               // names by which it is found beside a model that has no "decoder"; NULL ends
    int       (*open)(zt_decoder *k, const zt_decoder_source *s);       // fills self and the numbers; 0 or -errno
    void      (*close)(zt_decoder *k);
    int64_t   (*state_bytes)(const zt_decoder *k, int h, int w);
    int       (*state_open)(zt_decoder *k, void **state, int h, int w);         // 0 or -ENOMEM
    void      (*state_close)(zt_decoder *k, void *state);
    // Everything that the latents before have left behind, piece by piece, always in the same order and as many bytes.
    int       (*state_walk)(const zt_decoder *k, void *state, zt_walk_fn *fn, void *cookie);
    // z f32 [C][h][w]; rgb f32 [n][3][scale h][scale w] in [-1, 1]. The stream moves on by one latent. Returns n.
    int       (*run)(zt_decoder *k, void *state, const float *z, float *rgb);
} zt_decoder_kind;

struct zt_decoder {
    const zt_decoder_kind *kind;        // NULL: none
    void  *self;
    int    channels, scale;             // of a latent; pixels per latent pixel
    int    first, next;                 // pictures of a stream's first latent and of every other
    int64_t bytes, files;               // of weights: in memory, in files of its own
};

extern const zt_decoder_kind *const zt_decoders[];      // NULL ends

// The decoder that the configuration names, or one whose file lies in `folder` (with its slash); kind stays NULL when there
// is none. 0, -EINVAL (logged), -ENOMEM, -ENOENT.
int  zt_decoder_open(zt_decoder *k, const zt_decoder_source *s, const char *folder);
void zt_decoder_close(zt_decoder *k);

#ifdef __cplusplus
}
#endif
