// SPDX-License-Identifier: Apache-2.0
// The transformer, for any member of the family: what it holds, and one pass of it over packed segments.
#pragma once

#include "diffusion/block_mamba.h"
#include "diffusion/block_mla.h"
#include "diffusion/config.h"
#include "diffusion/ground.h"
#include "diffusion/load.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_block {
    enum zt_block_kind kind;                        // of what mixes the frames
    int          at;                                // which of its sort: plain blocks share kv, the others past
    const float *modulation;                        // [6][d]: shift, scale, gate of attention, then of the feed-forward
    zt_matrix    qkv, o;                            // plain
    zt_mla       mla;                               // or latent attention
    zt_mamba     mamba;                             // or a state
    const float *norm_q, *norm_k;                   // [d]
    const float *norm3_scale, *norm3_shift;         // [d]
    zt_matrix    cross_q, cross_kv, cross_o;
    const float *cross_norm_q, *cross_norm_k;
    zt_matrix    up, down;                          // dense feed-forward
    zt_moe       moe;                               // or experts
    zt_matrix   *expert;                            // what moe points to
} zt_block;

// Two layers: the first one's activation is the caller's.
typedef struct zt_mlp {
    zt_matrix first, second;
} zt_mlp;

// Sees the ground's noise.
typedef struct zt_ground_reader {
    zt_matrix code, mood, shape[3], surface[3], look[2], token, read[2];
    const float *norm_scale, *norm_shift;           // [d]: before read
    const float *sharp;                             // logarithm of how sharply a ray ends, in rays
    float  depth[ZT_GROUND_FINE], log_depth[ZT_GROUND_FINE];
    void  *memory;                                  // of all that follows: buffers of one look
    int64_t bytes;
    zt_ground_sight sight;
    float *prompt, *feeling;                        // the prompt's code and mood
    float *near, *deep_shape, *height, *above, *surface_in, *deep_surface, *texture;     // per sample
    float *inner, *met, *deep, *four;               // per ray (inner: or sample)
    float *normed, *read_in, *read_out;             // per token
    float *native;                                  // latents [C][2 rope_rows][2 rope_columns]
} zt_ground_reader;

// One frame of a segment.
typedef struct zt_frame_in {
    const float *latent[1 + ZT_MAX_PREVIOUS];       // [C][h][w]: noisy, then the frames before
    const float *mask[ZT_MAX_PREVIOUS];             // [h][w]: 1 where that latent is missing
    float        t, t_next;
    const float *control;                           // [n_controls]
    const float *ground;                            // [rope_rows * rope_columns][d], added like places; NULL: none
    const float *place;                             // [C][h][w]: the picture as the ground alone has it
    int          slot;                              // its keys and values go there
    float       *v;                                 // out: velocity [C][h][w]
} zt_frame_in;

// Tokens of consecutive frames of one stream. They attend to each other and to whatever `slot` lists.
typedef struct zt_segment {
    zt_frame_in *frame;                             // [frames]
    int          frames, h, w;                      // h, w of the latent, even
    int64_t      first;                             // number of the first frame
    const zt_kv *kv, *text;                         // [plain blocks], [layers]; text in slot 0
    float *const *past;                             // [other blocks], each of zt_dit_past_floats()
    const float *text_bias;                         // of its keys; NULL: none
    int         *slot;                              // attended, in this order; own frames included
    int          slots;
    bool         commit;                            // keys and values are all that is wanted
} zt_segment;

enum { ZT_DIT_PARTS = ZT_PARTS };      // keys and values, self-attention, text, feed-forward
enum { ZT_MAX_SEGMENTS = ZT_MAX_JOBS * (ZT_MAX_RECACHED + 3), ZT_MAX_SLOTS = 1024 + 64 };

// Buffers of a pass over M tokens of S frames; one allocation.
typedef struct zt_work {
    void    *memory, *near;                         // near: what the host writes and reads; with a GPU only
    int64_t  bytes;
    int      M, S;
    float   *in, *x, *y, *qkv, *hidden, *out;       // [M][4 in], [M][d], [M][d], [M][3d], [M][ffn], [M][4 out]
    float   *moved;                                 // [M][4 out]: a latent moved by a pixel, or warped
    float   *planes;                                // [M][4 head channels]: the head's, unpatchified; with warp only
    float   *angle;                                 // [M][D/2][2]
    float   *past, *past_angle;                     // of blocks that are not plain; [M][rope / 2][2]
    void    *expanded;                              // keys and values of one layer; apart from memory
    size_t   expanded_bytes;
    int32_t *row;                                   // [M]: frame of the token
    float   *angle_near;                            // where the host makes angle and row
    int32_t *row_near;
    float   *wave, *control, *e, *e_silu, *mlp, *e0, *modulation;      // [S][...]
} zt_work;

typedef struct zt_dit {
    zt_device   *d;
    const zt_config *c;
    enum zt_type cache_type, text_type;             // of the keys and values of frames, of text
    zt_kv_append_fn *kv_append;                     // the device's, but the plain ones for heads that only those take
    zt_qkv_append_fn *qkv_append;
    zt_attention_fn *attention;
    zt_matrix    patch, time_projection, head;
    zt_mlp       time, step, control, text;
    const float *head_modulation;                   // [2][d]
    const float *position;                          // [rope_rows * rope_columns][d]; NULL: none
    zt_ground_reader ground;
    zt_block    *block;
    int          text_dim;                          // width of the rows that text takes
    int          plain, others;                     // blocks of each sort
    int          past_rope;                         // width of latent attention's rotated part; 0: none
    int          n_time, n_space;                   // rotary pairs
    double      *freq, *rope_time, *rope_space, *past_time, *past_space;       // frequencies; one allocation

    zt_work      work;
    float       *text_work;                         // [text_rows][4d]: prompts may change while a pass is in work
    int          text_rows;
    // the pass in work
    zt_segment   segment[ZT_MAX_SEGMENTS];
    bool         running;
    int          top_k;                             // experts per token; 0: the model's own
    int          segments, M, S, live;              // tokens, frames; tokens that are wanted to the end come first
} zt_dit;

// Gives back what a pass works in.
void zt_dit_release(zt_dit *t);

// Loads all but the decoder and the words. Borrows the configuration.
int  zt_dit_load(zt_dit *t, zt_device *d, const zt_config *c, zt_loader *l, enum zt_type cache_type,
                 enum zt_type text_type);
void zt_dit_finish(zt_dit *t);

// Of a latent pixel: out_dim, two of its movement when the last latent is warped, its share when there is the ground.
int zt_dit_head_channels(const zt_config *c);

// Makes room for passes of M tokens in S frames; while a pass is in work, the next one does it. 0 or -ENOMEM (then
// nothing has changed). Bytes of such a pass.
int     zt_dit_reserve(zt_dit *t, int M, int S);
int64_t zt_dit_work_bytes(const zt_dit *t, int M, int S);

// What the blocks that are not plain need: floats of one state, kept as long as the stream; of a pass over M tokens; room to
// expand `slots` slots of `valid` tokens (0 or -ENOMEM). Runs such a block on work.y, adds to the first `live` rows of work.x.
size_t zt_dit_past_floats(const zt_dit *t, int layer, int slots, int tokens);
size_t zt_dit_past_work(const zt_dit *t, size_t M);
int    zt_dit_reserve_past(zt_dit *t, int slots, int valid);
void   zt_dit_run_past(zt_dit *t, const zt_block *b, int live);

// A pass: begin (copies the segments, not what they point to), blocks [from, to) in order, end. Or units [from, to) of
// blocks: each has ZT_DIT_PARTS parts, and a unit is a part for one of `groups` groups of the pass's rows, the same number
// until the end: first all groups up to their keys and values, then each group through the other parts. Same bits.
int  zt_dit_begin(zt_dit *t, const zt_segment *s, int n);
void zt_dit_blocks(zt_dit *t, int from, int to);
void zt_dit_units(zt_dit *t, int groups, int from, int to);
void zt_dit_end(zt_dit *t);

// Rows f32 [n][text_dim] become the keys and values of a text, for every block: kv[layers], each of `n` valid keys in
// slot 0. mean [d]: of the rows as the model takes them; NULL: not wanted. 0 or -ENOMEM; cannot fail for texts of up to
// the rows that zt_dit_reserve_text() made room for. May run while a pass is in work.
int  zt_dit_reserve_text(zt_dit *t, int rows);
int  zt_dit_text(zt_dit *t, zt_kv *kv, const float *rows, int n, float *mean);

// For models with the key "ground": what a camera sees, for one frame. Like zt_dit_text() it has buffers of its own, so that
// frames begin while a pass is in work; one thread at a time.
typedef struct zt_dit_look {
    const zt_ground *ground;
    bool         climb;                             // sets the camera's height first
    const float *prompt;                            // [d]: mean of the prompt's rows as the model takes them
    float       *tokens, *latents;                  // out: [rope_rows * rope_columns][d], [C][h][w]
    int          h, w;
} zt_dit_look;

int  zt_dit_ground_load(zt_dit *t, zt_loader *l);
void zt_dit_ground(zt_dit *t, zt_ground_camera *c, const zt_dit_look *l);

// PREFIXgate.weight and so on; *expert (free() it) holds what m points to.
int  zt_load_moe(zt_loader *l, zt_moe *m, zt_matrix **expert, const zt_config *c, const char *prefix);

// Tables, for whoever wants to check them. angle [h/2 * w/2][D/2][2]; wave [width].
void zt_dit_angles(const zt_dit *t, int64_t frame, int rows, int columns, float *angle);
void zt_frequencies(double *freq, int n);           // 10000^(-i / n)
void zt_sinusoid(float *out, int width, double t, const double *freq);         // freq [width / 2]

#ifdef __cplusplus
}
#endif
