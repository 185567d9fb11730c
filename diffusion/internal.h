// SPDX-License-Identifier: Apache-2.0
// What a model and a state hold; for the files of this folder and for checks.
#pragma once

#include "diffusion/cache.h"
#include "diffusion/decoder.h"
#include "diffusion/dit.h"
#include "diffusion/model.h"
#include "diffusion/text.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { ZT_MAX_KEPT = 24 };      // x0

struct zt_model {
    zt_device    *d;
    char         *folder;               // with its slash
    zt_config     c;
    zt_model_info info;
    zt_memory     memory;               // weights
    zt_dit        dit;
    zt_text_encoder text;
    zt_decoder    decoder;
    float        *text_rows;            // [max_text + 1][text_dim]
    int           max_text, padded_text;    // rows of a prompt; rows that take part, padding included (0: only its own)
    int           scale;                // pixels of a picture per latent pixel
    zt_dit        slice;                // the same weights with buffers of its own, for zt_model_slice()
    int           jobs, slice_jobs;     // of the passes in work
};

// One begun frame, as it was when it was begun.
struct zt_begun {
    int64_t number;
    float   control[ZT_MAX_CONTROLS];
    int     text;                       // index into zt_state.text
    int     window, top_k;
};

struct zt_text {
    zt_cache cache;                     // one slot
    bool     set, biased;
    int      n, *id;                    // [max_text]
    float   *bias;                      // [max_text + 1]: of the keys
    float   *mean;                      // [d]: of the rows as the model takes them; with the ground's noise only
    uint64_t embedding;                 // 0: made of ids
};

struct zt_state {
    zt_model       *m;
    int             w, h, lw, lh;       // picture, latent
    uint64_t        seed, begun;
    zt_cache        cache;              // of the plain blocks
    float         **past;               // of the others
    void           *past_memory;
    struct zt_text  text[2];            // of the latest frame, and of the one before when the prompt changed
    void           *decoder;            // its state

    int             n_prompt, *prompt;  // token ids for the next frame
    float          *rows;               // or rows, when embedding is not 0
    uint64_t        embedding, embeddings;
    float           control[ZT_MAX_CONTROLS];
    int             window, top_k;

    struct zt_begun now, before;
    float          *image;              // [C][lh][lw]: the first latent and those before are it; NULL: it is made
    zt_ground       ground;             // with the ground's noise only
    zt_ground_camera camera;            // of the latest frame
    bool            placed;             // the next frame is seen from `camera` as it is
    float          *seen[2];            // what the latest frame and the one before are told, by number:
                                        // [rope_rows * rope_columns][d], [C][lh][lw]
    int             step;               // passes done of the latest frame
    int64_t         committed;          // frames whose clean keys are in the cache
    int64_t         estimated;          // frames that have an x0

    float          *x, *v, *blank, *ones;                   // [F][C][lh][lw], ones [lh][lw]
    float          *x0[ZT_MAX_KEPT];                        // of the frames before, a ring
    void           *latents;

    bool            recache;            // the next pass computes the window's keys again: the prompt is new
    zt_frame_in    *in;                 // of the pass in work: [segments][F], what is committed first
    int            *slot;               // [segments][window]
    int64_t         bytes;
};

// Reads the configuration of `path`, a folder with config.json or a weights file beside one, and finds its weights: a
// file or an index. config and weights [bytes] are file names. 0, -ENOENT, -EINVAL (logged), -ENOMEM. On 0 finish c.
int zt_model_find_files(const char *path, zt_config *c, char *config, char *weights, size_t bytes);

// The same for a part of a model (autoencoder, text encoder), whose configuration may be missing: names only.
int zt_model_find_weights(const char *path, char *config, char *weights, size_t bytes);

// The set of text that the next frame takes: `current`, or the other one, filled with the new prompt.
int zt_state_text_for(zt_state *s, int current);

// The next frame is seen from there instead of one step on. For models with the ground's noise; others take no notice.
void zt_state_place(zt_state *s, const zt_ground *g, const zt_ground_camera *c);

// Bytes of a state of w x h pixels.
int64_t zt_state_bytes(const zt_model *m, int w, int h);

#ifdef __cplusplus
}
#endif
