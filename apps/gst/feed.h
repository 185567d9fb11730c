// SPDX-License-Identifier: Apache-2.0
// The engine as the element sees it: a session, the pictures of it that wait, and what the pipeline asks of it.
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_feed zt_feed;

// Zero means the model's own.
typedef struct zt_feed_params {
    const char *prompt;             // copied
    uint64_t    seed;
    int         w, h, fps, steps;
    unsigned    set;                // bit i: control[i] is given
    float       control[ZT_MAX_CONTROLS];
} zt_feed_params;

// Feeds of one model share device, weights and engine. 0 or -errno of the model (logged).
int  zt_feed_open(zt_feed **out, const char *model);
void zt_feed_close(zt_feed **f);                // takes NULL inside
const zt_model *zt_feed_model(const zt_feed *f);
// ns from the reading of controls to the picture, and how many pictures may wait.
int64_t zt_feed_budget(const zt_feed *f, int fps);
int     zt_feed_depth(const zt_feed *f);

// A session from its first picture on; ends the one before. 0 or as zt_session_create(). The taker's thread.
int  zt_feed_start(zt_feed *f, const zt_feed_params *p);
// Waits for a picture: the caller's reference. -EINTR while interrupted, else the error that ended the session. The
// taker's thread.
int  zt_feed_take(zt_feed *f, zt_frame **out);
// The picture was taken and is out. The taker's thread.
void zt_feed_delivered(zt_feed *f, uint64_t index, int64_t now);

// From any thread.
void zt_feed_interrupt(zt_feed *f, bool on);
void zt_feed_forget(zt_feed *f);                // pictures that wait
int  zt_feed_prompt(zt_feed *f, const char *text);
int  zt_feed_control(zt_feed *f, int control, float value);
int  zt_feed_steps(zt_feed *f, int steps);
bool zt_feed_metrics(zt_feed *f, zt_metrics *out);      // false: there is no session
// The pipeline shows pictures too late, or not: a step fewer at once, one more after two seconds without. Returns how
// many a picture may have.
int  zt_feed_qos(zt_feed *f, bool late, int64_t now);

#ifdef __cplusplus
}
#endif
