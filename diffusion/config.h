// SPDX-License-Identifier: Apache-2.0
// config.json of a model: read strictly, ranges checked, nothing allocated by what it says before it is checked.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "diffusion/model.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    ZT_MAX_PREVIOUS = 4, ZT_MAX_TOKENS = 1024, ZT_MAX_WORDS = 8192, ZT_MAX_GROUPS = 16, ZT_WORD_BYTES = 48,
    ZT_MAX_STAGES = 3, ZT_CONFIG_MAX = 1 << 20, ZT_MAX_RECACHED = 21, ZT_MAX_KINDS = 16,
    ZT_CONFIG_VERSION = 1,      // the newest that is read
};

enum zt_sampler { ZT_EULER, ZT_RENOISE, ZT_UNIPC };
enum zt_block_kind { ZT_BLOCK_PLAIN, ZT_BLOCK_MLA, ZT_BLOCK_MAMBA };        // what mixes the frames of a stream

typedef struct zt_word {
    char text[ZT_WORD_BYTES];
    int  token;
} zt_word;

typedef struct zt_group {
    char name[ZT_WORD_BYTES];
    int  first, last;           // tokens
} zt_group;

// Words encoder and names; tables are allocated while the file is read.
typedef struct zt_text_config {
    char      encoder[16];      // "": found by its file
    int       text_dim, max_tokens;
    char      default_prompt[1024];
    int       tokens;
    char    (*token)[ZT_WORD_BYTES];
    int       n;                // words, sorted
    zt_word  *word;
    int       n_groups;
    zt_group  group[ZT_MAX_GROUPS];
    int       n_usual, usual[ZT_MAX_GROUPS];    // per group, the token that a prompt without one gets; 0: none
} zt_text_config;

// Widths of the network that reads the ground's noise (diffusion/ground.h).
typedef struct zt_ground_config {
    int code, shape, hidden, features;
    int depths;                 // of the ground's samples (36)
} zt_ground_config;

// Absent numbers are 0 unless a default is given in parentheses.
typedef struct zt_config {
    char  name[128];
    int   dim, heads, layers, in_dim, out_dim;
    int   freq_dim;             // (256)
    float eps;                  // (1e-6)
    int   ffn_dim;              // dense; else experts
    int   experts, top_k, shared_experts, inter, groups, limited_groups;
    int   n_kinds, kind[ZT_MAX_KINDS];          // block_types, in turn over the blocks; 0: all plain
    int   q_latent, latent, nope, rope, value;  // of latent attention
    int   state, state_head, conv, expand;      // of Mamba-2 (128, 64, 4, 2)
    int   softmax;              // score_func: 1, else sigmoid
    float route_scale;          // (1)
    int   previous;             // latents before, joined to the input
    bool  previous_shifts;      // and the last one moved by a pixel each way
    bool  residual;             // the head gives x0 less the last latent
    bool  warp;                 // which it moves first
    bool  position_embedding;   // a learnt vector per place of the rope grid
    zt_ground_config ground;    // hidden 0: the model does not see the ground's noise
    int   chunk_frames;         // (3, as the Wan family has it; 1 with previous latents)
    int   window_frames;        // (21), sink and own frames included
    int   sink_frames;
    int   n_trained_windows, trained_window[ZT_MAX_TRAINED];    // windows that the model was trained with, any order
    int   n_trained_top_k, trained_top_k[ZT_MAX_TRAINED];
    int   recache_frames;       // computed again when the prompt changes; at most ZT_MAX_RECACHED
    int   text_len;             // (512) rows of another encoder's text, padding included
    int   version;              // of our own keys; 0: not said, as older files do not
    int   n_controls;
    char  control[ZT_MAX_CONTROLS][ZT_WORD_BYTES];
    int   sampler;              // of enum zt_sampler
    float shift;                // (5)
    float guidance;             // (1: none) v = w + guidance (v - w), w being what the negative prompt gives
    float guidance_high;        // of the high-noise expert (guidance)
    float boundary;             // of sigma, from which on that expert takes over (0.875); of models that have one only
    char  negative_prompt[1024];        // ("")
    bool  step_embed;
    int   kv_int8;              // 1: "kv": keys and values of frames in 8 bits
    int   first_frame_steps, steps;     // (4)
    int   w, h, fps;
    int   rope_rows, rope_columns;      // 0: positions are not scaled
    char  decoder[16];          // type; "": found by its file
    int   stages, stage[ZT_MAX_STAGES]; // its channels
    char  weights[256];         // file name; "" when not given
    zt_text_config text;
    uint64_t hash;              // of the file
} zt_config;

// Reads FOLDER/config.json. 0, -ENOENT, -EINVAL (logged), -ENOMEM. On 0 finish with zt_config_finish().
int  zt_config_read(zt_config *c, const char *path);
// The same from memory.
int  zt_config_parse(zt_config *c, const void *text, size_t bytes, const char *label);
void zt_config_finish(zt_config *c);

#ifdef __cplusplus
}
#endif
