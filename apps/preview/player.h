// SPDX-License-Identifier: Apache-2.0
// Runs a model for a window: opens it, makes sessions of it, hands their pictures over. Functions and callbacks belong to
// the main thread and never wait for the engine; what may take time happens on a thread of the player's own. The engine
// never waits for the window either: a picture that was not taken gives way to the next.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "apps/setup.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ZT_LANES 2              // sessions side by side

typedef struct zt_player zt_player;

// How a lane runs. Zero means the default in parentheses.
typedef struct zt_take {
    uint64_t seed;
    int      steps;             // per frame, at leisure (the model's own)
    int      fps;               // (the model's own)
    bool     exact;             // never fewer steps than that: the frame rate gives way instead
} zt_take;

// What became of one slot.
typedef struct zt_shot {
    uint64_t index, model_frame;
    int64_t  sampled, made, due, shown;     // monotonic ns; shown is 0 when a newer picture took its place
    int64_t  stage[ZT_STAGES];              // ns, the encoder's 0
    int      steps;
    enum zt_outcome outcome;
} zt_shot;

typedef struct zt_player_events {
    // A model is open, or (error) the one that was open stays. missing: there is nothing at that path.
    void (*opened)(void *cookie, const char *error, bool missing);
    // zt_player_start() is done. error: NULL, or why nothing runs.
    void (*started)(void *cookie, const char *error);
    // A picture to show now; f (borrowed) is NULL for one that was skipped.
    void (*shot)(void *cookie, int lane, const zt_shot *shot, const zt_frame *f);
    // What was being made has ended by itself. busy: frames take too long at present, later it may do.
    void (*ended)(void *cookie, const char *error, bool busy);
    void *cookie;
} zt_player_events;

// 0 or -ENOMEM.
int  zt_player_create(zt_player **out, const zt_player_events *e, int64_t threads);
void zt_player_destroy(zt_player **p);          // ends what runs; takes NULL inside

// Copies the path; NULL: the shipped model. Ends with `opened`; the sessions of the model before have ended then.
void zt_player_open(zt_player *p, const char *path);
const zt_model *zt_player_model(const zt_player *p);            // NULL: none yet; valid until `opened`
zt_setup *zt_player_setup(zt_player *p);        // borrowed, its device, model and engine likewise

// Ends what runs and begins n sessions with the latest prompt, the first written down in `log` (or NULL), from a picture
// `image` (a file's name, or NULL). Copies. Ends with `started`; of several calls before that the last one counts.
void zt_player_start(zt_player *p, const zt_take *take, int n, const char *log, const char *image);
void zt_player_stop(zt_player *p);              // no more pictures from here on
bool zt_player_runs(const zt_player *p);

// For all lanes, those that are begun later too. 0 or -EINVAL (empty, too long, not UTF-8).
int  zt_player_prompt(zt_player *p, const char *text);
const char *zt_player_get_prompt(const zt_player *p);
void zt_player_control(zt_player *p, int control, float value);
void zt_player_metrics(zt_player *p, int lane, zt_metrics *out);

// Every picture of the first lane from here on also goes to `fn`, on the engine's thread: it must not wait. The frames'
// indices rise from one session to the next. One at a place, 0..1; NULL: none, and it is not called any more. From any thread.
void zt_player_tap(zt_player *p, int place, zt_frame_fn *fn, void *cookie);

// Runs `work` on the player's thread, in order with the rest, then `done` (or NULL) on the main thread.
typedef void zt_player_fn(void *cookie);
void zt_player_do(zt_player *p, zt_player_fn *work, zt_player_fn *done, void *cookie);
// The last error that was logged since it was last asked for, or NULL; the caller frees. From any thread.
char *zt_player_error(void);

#ifdef __cplusplus
}
#endif
