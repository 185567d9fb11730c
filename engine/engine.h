// SPDX-License-Identifier: Apache-2.0
// Sessions in, pictures out on time. Knows nothing of packets.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/frame.h"
#include "diffusion/model.h"
#include "engine/metrics.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_engine  zt_engine;
typedef struct zt_session zt_session;

// Called on the engine's thread, in order, once per picture (repeats too). Must not block unless the session is
// offline. The frame is borrowed; zt_frame_ref() to keep it.
typedef void zt_frame_fn(void *cookie, zt_frame *f);

// Zero means the default in parentheses.
typedef struct zt_session_params {
    const char  *prompt;        // UTF-8, copied (the model's default prompt)
    int          w, h;          // the model's picture size (the model's own)
    int          fps;           // 1..60 (the model's own)
    int          steps_min;     // per frame, under load (1)
    int          steps_max;     // per frame, at leisure (the model's own)
    int64_t      budget;        // ns from sampling to hand-over (2 periods; F + 1 for chunks of F)
    uint64_t     seed;          // any value, 0 too
    uint64_t     frames;        // then stop (0: never)
    bool         offline;       // no deadlines: every frame, all steps_max, after live sessions
    bool         unpaced;       // live rules but slots are due as fast as they are made (benchmarks)
    int          pool;          // frames that consumers may hold at once (8)
    zt_frame_fn *on_frame;      // required
    void        *cookie;
} zt_session_params;

// Borrows the model (which borrows its device): both belong to the engine's thread from here on.
int  zt_engine_create(zt_engine **out, zt_model *m);
void zt_engine_destroy(zt_engine **e);      // ends its sessions' work first; takes NULL inside
// Takes a reference to nothing: counters of all sessions together. From any thread.
void zt_engine_metrics(zt_engine *e, zt_metrics *out);

// From any thread. 0, -EINVAL (a parameter is out of range: logged), -EAGAIN (no room: too many sessions), -ENOMEM.
// `ignored` (may be NULL): unknown words of the prompt.
int  zt_session_create(zt_session **out, zt_engine *e, const zt_session_params *p);
void zt_session_destroy(zt_session **s);    // on_frame is never called after this returns; from any thread but the engine's
int  zt_session_wait(zt_session *s);        // until `frames` are made or it failed: 0 or -errno
void zt_session_stop(zt_session *s);        // finish the frame in work, then be done; from any thread, async-signal-safe

// Mailboxes, read when the next frame's first pass is launched. From any thread. 0 or -EINVAL (not UTF-8, too long).
int  zt_session_prompt(zt_session *s, const char *text);
int  zt_session_control(zt_session *s, int control, float value);
// What to do at an exact model_frame (events files, replay): before the session's first frame only. Copies.
typedef struct zt_event {
    uint64_t frame;
    char    *prompt;                    // or NULL
    unsigned set;                       // bit i: control[i] is given
    float    control[ZT_MAX_CONTROLS];
} zt_event;
int  zt_session_events(zt_session *s, const zt_event *e, int n);
// Words of the latest prompt that the model does not know, separated by spaces; copied. From any thread.
void zt_session_ignored(zt_session *s, char *out, size_t bytes);

// Report that the packet of slot `index` was handed to the transports at `now`. Decides its outcome. From any thread.
void zt_session_delivered(zt_session *s, uint64_t index, int64_t now);
void zt_session_metrics(zt_session *s, zt_metrics *out);   // from any thread

#ifdef __cplusplus
}
#endif
