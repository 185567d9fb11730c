// SPDX-License-Identifier: Apache-2.0
// Sessions in, pictures out on time. Knows nothing of packets.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/frame.h"
#include "diffusion/public.h"
#include "engine/metrics.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

// A thread that turns what sessions want into pictures.
typedef struct zt_engine  zt_engine;
// Pictures of one prompt, seed and set of controls, one after the other.
typedef struct zt_session zt_session;

// Called on the engine's thread, in order, once per picture (repeats too). Must not block unless the session is
// offline or unpaced. The frame is borrowed; zt_frame_ref() to keep it.
typedef void zt_frame_fn(void *cookie, zt_frame *f);
// Called on the engine's thread for what it measures, as the histograms are filled (benchmarks).
typedef void zt_stage_fn(void *cookie, enum zt_stage stage, int64_t ns);

// Called on the engine's thread: the session as bytes (zt_state_save()), with all that was made before picture `next`. The
// callee owns data: free().
typedef void zt_saved_fn(void *cookie, uint64_t next, void *data, size_t bytes);

// What to do at an exact model_frame (events files, replay).
typedef struct zt_event {
    uint64_t    frame;                  // model_frame from which it holds
    const char *prompt;                 // or NULL
    unsigned    set;                    // bit i: control[i] is given
    float       control[ZT_MAX_CONTROLS];   // -1..1
} zt_event;

#define ZT_PROMPT_BYTES 65536           // a prompt has at most so many
#define ZT_ENGINE_MODELS 8              // of one engine

// How a model_frame was made, for making it again: of a session's log.
typedef struct zt_script {
    int   n;                            // passes, 1..ZT_MAX_STEPS
    float t[ZT_MAX_STEPS + 1];          // pass i goes from t[i] to t[i + 1]
    int   window, top_k;                // 0: the model's own
} zt_script;

// Why a session was refused.
typedef struct zt_refused {
    enum zt_refusal reason;             // never ZT_ADMITTED
    int  retry_s;                       // ask again after so many seconds: the earliest end of a lease, 5..60
    char text[160];                     // one sentence with the numbers
} zt_refused;

// Zero means the default in parentheses.
typedef struct zt_session_params {
    zt_model    *model;         // one of the engine's (the first)
    const char  *prompt;        // UTF-8, copied (the model's default prompt)
    const zt_event *event;      // in the order of their frames; copied with its prompts (none)
    int          events;        // how many
    int          w, h;          // the model's picture size (the model's own)
    int          fps;           // 1..60 (the model's own)
    int          steps_min;     // per frame, under load (1)
    int          steps_max;     // per frame, at leisure (the model's own)
    int          first_steps;   // of the first frame (the model's own)
    int64_t      budget;        // ns from sampling to hand-over (2 periods; F + 1 for chunks of F)
    uint64_t     seed;          // any value, 0 too
    const float *image;         // the first picture, f32 [3][h][w] in [-1, 1]; borrowed while the session lives (none)
    uint64_t     frames;        // pictures, then stop (0: never)
    bool         offline;       // no deadlines: every frame, all steps_max, after live sessions
    bool         unpaced;       // live rules but slots are due as fast as they are made (benchmarks)
    bool         keep_rate;     // never at half of fps, however high the load
    zt_refused  *refused;       // admission decides, says why not here (every session is taken, budgets judged later)
    int64_t      lease;         // monotonic ns when it ends unless renewed: what a refused one is told (unknown)
    const char  *log;           // file that it is written down in, replaced when it exists (none)
    const zt_script *script;    // the first frames are made just so; offline only; borrowed while it lives (none)
    uint64_t     scripted;      // how many
    // The latest state from which picture k * save_every can be made is handed out, for every k; not live (never). The
    // session may be made again from one, in another process too, with the same parameters: its pictures are those from
    // `next` on, the same bits. Prompts and controls of its mailbox are not known then, only events.
    uint64_t     save_every;
    zt_saved_fn *on_saved;      // with save_every; on the engine's thread (none)
    const void  *saved;         // borrowed until zt_session_create() returns (none)
    size_t       saved_bytes;   // of `saved`
    int          pool;          // frames that consumers may hold at once (8; at least those of one chunk and one more)
    zt_frame_fn *on_frame;      // required
    zt_stage_fn *on_stage;      // (none)
    void        *cookie;        // of both
} zt_session_params;

// 0 or -EINVAL (logged): empty, not UTF-8 or longer than ZT_PROMPT_BYTES. From any thread.
int  zt_prompt_check(const char *text);

// Borrows both; they belong to the engine's thread from here on.
int  zt_engine_create(zt_engine **out, zt_device *d, zt_model *m);
void zt_engine_destroy(zt_engine **e);      // after its sessions; takes NULL inside
// One more model of the same device, for zt_session_params.model; borrowed likewise. From any thread but the engine's.
// 0 or -EAGAIN: ZT_ENGINE_MODELS are there.
int  zt_engine_add_model(zt_engine *e, zt_model *m);
// Remembers what work costs in `folder`, which exists: reads at once, writes in zt_engine_destroy(). Before the first
// session. A file that is missing, broken or of another machine is as good as none. 0 or -EINVAL: the name is too long.
int  zt_engine_remember(zt_engine *e, const char *folder);
// Would zt_session_create() take it? 0, -EBUSY (*out says why not) or -EINVAL. From any thread but the engine's.
int  zt_engine_admit(zt_engine *e, const zt_session_params *p, zt_refused *out);
// What the engine did in the last ten seconds, as a Chrome trace (chrome://tracing, Perfetto). Allocates; the caller
// frees. NULL: no memory. From any thread.
char *zt_engine_trace(zt_engine *e, size_t *bytes);
// Times that five slots or more were missed within a second: a trace taken then shows why. From any thread.
uint64_t zt_engine_alarms(zt_engine *e);
// When its thread last went round, monotonic ns; INT64_MAX while it sleeps because there is no session. With sessions it
// goes round ten times a second at least, and between passes. From any thread.
int64_t zt_engine_beat(const zt_engine *e);
// Counters of all sessions, past ones too. From any thread.
void zt_engine_metrics(zt_engine *e, zt_metrics *out);

// From any thread but the engine's. 0, -EINVAL (a parameter is out of range: logged), -EAGAIN (too many sessions),
// -EBUSY (admission: p->refused says why), another -errno of opening p->log (logged), -ENOTSUP (the model makes several
// pictures per pass), -ENOMEM. *out is written before the first on_frame.
int  zt_session_create(zt_session **out, zt_engine *e, const zt_session_params *p);
// on_frame is never called after it returns. From any thread but the engine's.
void zt_session_destroy(zt_session **s);
int  zt_session_wait(zt_session *s);        // until `frames` are made, it was stopped, or it failed: 0 or -errno
void zt_session_lease(zt_session *s, int64_t until);    // params.lease anew; from any thread
void zt_session_stop(zt_session *s);        // finish the frame in work, then be done; any thread, async-signal-safe
bool zt_session_done(zt_session *s);        // zt_session_wait() would return at once; from any thread

// Mailboxes: the latest is read when the next frame's first pass is launched. From any thread. 0 or -EINVAL.
int  zt_session_prompt(zt_session *s, const char *text);
// The same for a control of the model, by its index: -1..1, clamped; it holds until changed. From any thread. 0 or -EINVAL.
int  zt_session_control(zt_session *s, int control, float value);
// Another steps_max from the next frame on, 1..ZT_MAX_STEPS (0: the model's own; steps_min where that is more). From any
// thread. 0 or -EINVAL (logged).
int  zt_session_steps(zt_session *s, int steps);
// Nobody sees more than so many steps per frame at present (a poor line): a live session makes no more, though never
// fewer than its steps_min, and what is saved is others'. 0: as many as fit again. From any thread.
void zt_session_hint(zt_session *s, int steps);
// Words of the latest prompt read that the model does not know, separated by spaces; copied. From any thread.
// Returns how many it knows.
int  zt_session_ignored(zt_session *s, char *out, size_t bytes);

// Report that the packet of slot `index` was handed to the transports at `now`. Decides its outcome. From any thread.
void zt_session_delivered(zt_session *s, uint64_t index, int64_t now);
void zt_session_metrics(zt_session *s, zt_metrics *out);   // from any thread

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
