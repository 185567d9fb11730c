// SPDX-License-Identifier: Apache-2.0
// What a model and a state hold; for the files of this folder and for checks.
#pragma once

#include "diffusion/cache.h"
#include "diffusion/decoder.h"
#include "diffusion/dit.h"
#include "diffusion/model.h"
#include "diffusion/sampler_unipc.h"
#include "diffusion/text.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    ZT_MAX_KEPT = 24,           // x0
    ZT_MAX_NETS = 2,            // the transformer, and the one for high noise
    ZT_SIDES = 2,               // with the prompt, and with the negative one
};

// What a thread needs to take some of a batch's states through a pass by itself.
struct zt_share {
    zt_dit dit[ZT_MAX_NETS];            // the model's weights, buffers of its own
};

struct zt_model {
    zt_device    *d, *host;             // host: d, or a CPU beside a GPU, for text and pictures
    char         *folder;               // with its slash
    zt_config     c;
    zt_model_info info;
    zt_memory     memory, words;        // weights; those that the host reads, when d is a GPU
    zt_dit        dit;
    zt_text_encoder text;
    zt_decoder    decoder;
    float        *text_rows;            // [max_text + 1][text_dim]
    int           max_text, padded_text;    // rows of a prompt; rows that take part, padding included (0: only its own)
    int           scale;                // pixels of a picture per latent pixel
    zt_dit        slice;                // the same weights with buffers of its own, for zt_model_slice()
    int           nets;                 // 2: `high` takes the steps from the boundary on
    zt_dit        high, high_slice;
    int           sides;                // 2: guidance
    int           jobs, slice_jobs;     // of the passes in work
    int           shares;               // threads of a device with several; 0: none, or more than there may be jobs
    struct zt_share *share;
    int           parts;                // of zt_model_pass(): shares that run it; 1: all threads together
    int           part_of[ZT_MAX_JOBS];
};

// One begun frame, as it was when it was begun.
struct zt_begun {
    int64_t number;
    float   control[ZT_MAX_CONTROLS];
    int     text;                       // index into zt_state.text
    int     window, top_k;
};

struct zt_text {
    zt_cache cache[ZT_MAX_NETS];        // one slot
    bool     set, biased;
    int      n, *id;                    // [max_text]
    float   *bias;                      // [max_text + 1]: of the keys
    float   *mean;                      // [d]: of the rows as the model takes them; with the ground's noise only
    uint64_t embedding;                 // 0: made of ids
};

// What one transformer remembers of a stream, with one prompt; and its part of the pass in work.
struct zt_side {
    zt_cache     cache;                 // of the plain blocks
    float      **past;                  // of the others
    void        *past_memory;
    size_t       past_bytes;
    zt_frame_in *in;                    // [segments][F], what is committed first
    int         *slot;                  // [segments][window]
};

struct zt_state {
    zt_model       *m;
    int             w, h, lw, lh;       // picture, latent
    uint64_t        seed, begun;
    struct zt_side  side[ZT_MAX_NETS][ZT_SIDES];
    struct zt_text  text[2];            // of the latest frame, and of the one before when the prompt changed
    struct zt_text  negative;           // with guidance only
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
    float          *unguided;                               // v of the negative prompt; NULL without guidance
    float          *estimate[3];                            // of UniPC
    zt_unipc        unipc;
    float          *x0[ZT_MAX_KEPT];                        // of the frames before, a ring
    void           *latents;
    size_t          latent_bytes;

    bool            recache;            // the next pass computes the window's keys again: the prompt is new
    int64_t         bytes;
};

// Reads the configuration of `path`, a folder with config.json or a weights file beside one, or a directory with folders of
// transformers, and finds its weights: a file or an index each. `high` is "" where one transformer does all. 0, -ENOENT,
// -EINVAL (logged), -ENOMEM. On 0 finish c.
typedef struct zt_model_files {
    char folder[4096], config[4096], weights[4096], high[4096];         // folder: with its slash
} zt_model_files;
int zt_model_find_all(const char *path, zt_config *c, zt_model_files *f);

// The same for a part of a model (autoencoder, text encoder), whose configuration may be missing: names only, of `bytes` each.
int zt_model_find_weights(const char *path, char *config, char *weights, size_t bytes);

// The transformer that a pass at noise t is made with: 0, or 1 from the boundary on.
int zt_model_net(const zt_model *m, float t);
zt_dit *zt_model_dit(zt_model *m, int net, bool slice);

// 0 or -ENOMEM; finish takes what open left behind, too.
int  zt_shares_open(zt_model *m);
void zt_shares_finish(zt_model *m);
// How many shares run a pass of these jobs, and in part_of which runs each; 1: all threads together, where the shares would
// be uneven.
int  zt_shares_divide(zt_model *m, const zt_job *job, int n);

// Do later chunks see a chunk? Those of a model whose window is its own chunk do not: then nothing is committed.
bool zt_model_remembers(const zt_model *m);

// For state.c and state_pass.c: floats of a model_frame; chunks that a new prompt computes again, besides the latest; x0 that
// are kept, and that of a frame; floats of the tokens' vectors that one frame is told of the ground.
size_t zt_state_floats(const zt_state *s);
int    zt_recached(const zt_config *c);
int    zt_kept(const zt_config *c);
float *zt_state_x0_of(const zt_state *s, int64_t number);
size_t zt_told_floats(const zt_config *c);

// Keys and values of the negative prompt, which a state has once and for all.
void zt_state_text_against(zt_state *s);
// The set of text that the next frame takes: `current`, or the other one, filled with the new prompt.
int zt_state_text_for(zt_state *s, int current);

// The next frame is seen from there instead of one step on. For models with the ground's noise; others take no notice.
void zt_state_place(zt_state *s, const zt_ground *g, const zt_ground_camera *c);

// Bytes of a state of w x h pixels.
int64_t zt_state_bytes(const zt_model *m, int w, int h);

#ifdef __cplusplus
}
#endif
