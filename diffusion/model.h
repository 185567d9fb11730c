// SPDX-License-Identifier: Apache-2.0
// Weights (shared, read-only) and states (one stream's latents, keys and values, text, history).
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "diffusion/public.h"
#include "kernels/device.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_state zt_state;

// 0 x 0 means the model's own size. 0, -EINVAL (w or h is not a positive multiple of the unit or above 4096), -ENOTSUP
// (no decoder: such a model can be checked only), -ENOMEM; all logged. Borrows the model.
int  zt_state_create(zt_state **out, zt_model *m, int w, int h, uint64_t seed);
// It in two: the memory, from any thread, which takes a while for large models; then, before anything else is done with the
// state and by whoever runs the model's passes, the rest (0 or -ENOMEM, logged; the state is to be destroyed).
int  zt_state_allocate(zt_state **out, zt_model *m, int w, int h, uint64_t seed);
int  zt_state_start(zt_state *s);
void zt_state_destroy(zt_state **s);                    // from any thread, outside of passes

// The next frame that is begun follows it. UTF-8; NULL or a prompt without known words: the model's default prompt.
// Models with recache_frames then compute the keys and values of that many frames again in the frame's first pass.
// `ignored` (may be NULL) receives the unknown words, separated by spaces, cut at `bytes`. Returns
// the number of known words (tokens). A model without a text encoder takes every prompt as none.
int  zt_state_prompt(zt_state *s, const char *text, char *ignored, size_t bytes);
// The next frame follows rows of text that were made elsewhere, f32 [n][text_dim], instead of a prompt: for models that
// pad their text (the Wan family). Copies; cut at the model's length.
void zt_state_embedding(zt_state *s, const float *rows, int n);
// The stream starts from a picture, rgb f32 [3][h][w] of the state's size in [-1, 1]: the first latent of the first frame is
// that of the picture, all others are made. Before the first zt_state_begin(). Takes the encoder beside the model for the
// moment. 0, -ENOENT (no encoder), -EINVAL, -ENOMEM; logged.
int  zt_state_image(zt_state *s, const float *rgb);
void zt_state_control(zt_state *s, int i, float value);     // clamped to [-1, 1]; holds until changed
// Fewer frames of context than the model's own (quality ladder); 0: the model's own.
void zt_state_window(zt_state *s, int frames);
// Fewer experts per token than the model's own, from the next frame on; 0: the model's own. States of one pass must
// agree; a frame is committed with as many as it was denoised with.
void zt_state_top_k(zt_state *s, int k);

// Begins the next model_frame: draws its noise (Philox keyed by seed and frame), reads prompt and controls. The frame
// before it need not be committed yet: then the next pass must be ZT_COMMIT_DENOISE. Returns its number.
uint64_t zt_state_begin(zt_state *s);
uint64_t zt_state_frame(const zt_state *s);     // frames begun so far

// The time list of n steps: t[0..n-1] descending in (0, 1000], from the model's shift. n in 1..ZT_MAX_STEPS.
void zt_model_steps(const zt_model *m, int n, float *t);
// The same from a present time: the n steps that lead from t_now to 0, t[0] = t_now.
void zt_model_steps_from(const zt_model *m, float t_now, int n, float *t);

enum zt_pass {
    ZT_DENOISE,             // step of the frame begun last, from t to t_next
    ZT_COMMIT,              // write the latest x0 of the frame begun last into keys and values
    ZT_COMMIT_DENOISE,      // commit the frame before, and step 0 of the frame begun last
};
typedef struct zt_job {
    zt_state    *s;
    enum zt_pass pass;
    float        t, t_next;     // t_next 0: the last step. Unused by ZT_COMMIT
} zt_job;

#define ZT_MAX_JOBS 32

// One pass over the weights for n <= ZT_MAX_JOBS jobs of different states, possibly at different steps. Tokens are
// packed back to back; attention stays inside each state's own cache: the same bits as n separate passes. Runs blocks
// [from, to); from 0 begins the pass, to == layers ends it (x0 and x of each state move). One pass at a time per
// model; its states live until it ends. 0 or -ENOMEM (nothing moved). A kernel that lacks memory shows at
// zt_device_sync().
int zt_model_pass(zt_model *m, const zt_job *job, int n, int from, int to);
// The same, on buffers of its own: such a pass may be in work, between its units, while zt_model_pass() runs others. There
// are layers * ZT_PARTS * groups of them: of each block part 0 for each of `groups` groups of rows, then for each group the
// other parts. The same bits with any number of groups; it holds for the whole pass. From unit 0 begins a new pass and
// forgets one that was not ended.
int zt_model_slice(zt_model *m, const zt_job *job, int n, int groups, int from, int to);

// The latest x0 becomes pictures: the decoder advances by one model_frame. rgb f32 [n, 3, H, W] in [-1, 1], n as the next
// function says.
void zt_state_decode(zt_state *s, zt_tensor rgb);
// Pictures of the frame begun last: the model's first_pictures or pictures.
int  zt_state_pictures(const zt_state *s);
// A stream as bytes: everything that frames after the one begun last depend on, once that has been denoised and decoded.
// Another state of the same model, size and seed that restores it goes on with the same bits. Picture and prompt of the
// state stay as they were set until restore, which replaces the prompt.
// Returns the bytes it takes, with `out` NULL too; 0: there is no frame, or its text was put by zt_state_embedding().
size_t zt_state_save(zt_state *s, void *out);
// 0, or -EINVAL (logged): it is of another model, size or seed, of a newer version, or broken. Untouched on failure.
int  zt_state_restore(zt_state *s, const void *data, size_t bytes);
// Frames that were begun when it was saved. 0 or -EINVAL (logged).
int  zt_state_saved(const zt_model *m, const void *data, size_t bytes, uint64_t *begun);

// The latest clean estimate, f32 [F, C, h, w], F latents; borrowed, valid until the next pass.
zt_tensor zt_state_x0(const zt_state *s);
// Puts x0 [F][C][h][w] in place of the latest estimate of the frame begun last, as if it had been denoised to it: a stream
// that starts from a picture, or a measurement with true context. Copies.
void zt_state_put(zt_state *s, const float *x0);

#ifdef __cplusplus
}
#endif
