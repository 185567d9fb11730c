// SPDX-License-Identifier: Apache-2.0
// What a program needs to know of models: how to open one, and what it says of itself. Installed as zoetrope/model.h.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kernels/public.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

// What weights are computed with. DEFAULT: what the file is quantised to, else bf16 (f32 at kernel level c).
enum zt_precision { ZT_PRECISION_DEFAULT, ZT_PRECISION_F32, ZT_PRECISION_BF16, ZT_PRECISION_INT8,
                    ZT_PRECISION_INT4 };
// How a state keeps the keys and values of its frames: DEFAULT as config.json says ("kv"; float at precision f32), FLOAT
// f32 or bf16 with the precision, INT8 in half the memory of bf16 and attended to in about half the time.
enum zt_kv_choice { ZT_KV_DEFAULT, ZT_KV_FLOAT, ZT_KV_INT8 };

#define ZT_MAX_CONTROLS 16              // of a model
#define ZT_MAX_STEPS    64              // per frame
#define ZT_MAX_TRAINED  8               // smaller windows, and smaller numbers of experts
#define ZT_PARTS        4               // of a block, between which slices may stop

// What a model says of itself. Strings live as long as the model.
typedef struct zt_model_info {
    const char *name;                       // as config.json has it
    int         w, h, fps;                  // native picture, pixels, frames per second
    int         unit;                       // width and height are multiples of it
    int         chunk_frames;               // latents per model_frame
    int         pictures, first_pictures;   // per model_frame, and of a stream's first one
    int         steps, first_frame_steps;   // defaults
    int         dim, heads, layers, experts, top_k;     // of the transformer; experts per token
    int         window_frames, sink_frames; // of context, and of these the ones kept from the beginning
    int         n_windows, window[ZT_MAX_TRAINED];  // smaller ones that it was trained with, the largest first
    int         n_top_k, fewer_k[ZT_MAX_TRAINED];   // numbers of experts below top_k that it was trained with, likewise
    int         n_controls;                 // 0..ZT_MAX_CONTROLS
    const char *control[ZT_MAX_CONTROLS];   // their names
    const char *default_prompt;             // in place of none, or of one without a known word
    int64_t     parameters, weight_bytes, state_bytes;      // in memory, at the opened precision
    int64_t     file_bytes;                 // of all weight files that were opened: transformer, text, decoder
    float       part[ZT_PARTS];             // share of a block's time that each part should take
    int64_t     linear_ops, attention_ops;  // of one denoising pass of one frame, window full: a multiply-add is two
    enum zt_precision precision;            // as opened, never DEFAULT
    enum zt_type kv;                        // of a state's keys and values: ZT_F32, ZT_BF16 or ZT_I8
    uint64_t    hash;                       // of config and weights, and of a choice of 8-bit keys
} zt_model_info;

// Weights, read-only: any number of sessions share them.
typedef struct zt_model zt_model;

// `path`: a directory with config.json. Everything is checked (each tensor, shape, byte range) before anything is used.
// Borrows the device. 0, -ENOENT (missing), -EINVAL (content: logged with the reason), -ENOMEM, -ENOTSUP.
int  zt_model_open(zt_model **out, zt_device *d, const char *path, enum zt_precision precision);
// With a choice of keys and values. INT8 wants heads whose width is a multiple of 16 (-EINVAL, logged).
int  zt_model_open_kv(zt_model **out, zt_device *d, const char *path, enum zt_precision precision, enum zt_kv_choice kv);
// After the engines that borrow it. Takes NULL inside.
void zt_model_close(zt_model **m);
// Borrowed; lives as long as the model. From any thread.
const zt_model_info *zt_model_get_info(const zt_model *m);
// Words of a group ("place", "time", "weather"): the n-th token's name, or NULL. For the viewer page and previews.
const char *zt_model_word(const zt_model *m, const char *group, int n);
// All words that prompts may hold, in the order of their letters, or NULL: for suggestions. None where the text encoder
// takes any word.
const char *zt_model_known_word(const zt_model *m, int n);
// What the model makes of a prompt: how many words it knows. `ignored` (may be NULL) receives the others, separated by
// spaces, cut at `bytes`. From any thread.
int  zt_model_words(const zt_model *m, const char *text, char *ignored, size_t bytes);
// Index of a control, or -1. From any thread.
int  zt_model_control(const zt_model *m, const char *name);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
