// SPDX-License-Identifier: Apache-2.0
// What the engine's thread and the sessions' callers share: one lock, held for moments only.
#pragma once

#include <pthread.h>

#include "engine/engine.h"
#include "engine/record.h"
#include "engine/sched.h"
#include "engine/trace.h"

#define ZT_SHOWN         192     // pictures whose packet may still be reported
#define ZT_IGNORED_BYTES 512
#define ZT_MAX_PICTURES  96     // of one model_frame

// Where a session is. Moves down only; the engine's thread moves it, except to LEAVING.
enum zt_phase { ZT_ARRIVING, ZT_RUNNING, ZT_DONE, ZT_LEAVING, ZT_GONE };

struct zt_shown {
    uint64_t index;
    int64_t  sampled, prompted;     // prompted 0: its prompt was not new; sampled 0: reported, or a repeat
};

struct zt_session {
    // Only changed by create
    zt_engine   *engine;
    zt_session **out;
    zt_model    *model;
    zt_pace      pace;
    int          w, h, fps;
    uint64_t     seed;
    const float *image;
    zt_frame_fn *on_frame;
    zt_stage_fn *on_stage;
    void        *cookie;
    zt_event    *event;
    int          events;
    const zt_script *script;
    uint64_t     scripted;
    uint64_t     save_every;
    zt_saved_fn *on_saved;
    const void  *saved;             // until it has its state
    size_t       saved_bytes;
    int64_t      created;
    zt_frame_pool *pool;
    zt_refused  *refused;
    zt_record   *record;            // NULL: nothing is written down

    // The engine's thread only
    zt_state    *state;
    zt_tensor    rgb;               // f32 [pictures, 3, h, w]
    void            *far_planes;    // Y, U, V of one picture where the device is a GPU; NULL elsewhere
    int64_t      period;            // of the pictures in work
    int          wanted;            // how many of them are shown
    zt_frame    *last;              // what a repeat shows
    float        t[ZT_MAX_STEPS + 1];   // of the frame in work
    zt_job       job;               // of the pass whose slices are in work
    int64_t      sampled, prompted, denoise;
    uint64_t     model_frame;
    int          next_event;
    unsigned     set;               // controls that this frame changed
    bool         told;              // its prompt is new
    float        value[ZT_MAX_CONTROLS];
    char         text[ZT_PROMPT_BYTES + 1];
    struct zt_ladder { int window, top_k; int64_t period; } ladder;     // of the frame before, to tell of changes

    // From any thread
    int          stop;              // atomic

    // Under engine->lock
    enum zt_phase phase;
    int          id;                // its lane; -1: none
    int          error;
    int64_t      lease;
    bool         mailed;
    int64_t      mailed_at;
    unsigned     control_set;
    float        control[ZT_MAX_CONTROLS];
    char         mail[ZT_PROMPT_BYTES + 1];
    char         ignored[ZT_IGNORED_BYTES];
    int          known;
    struct zt_shown shown[ZT_SHOWN];
    zt_metrics   metrics;           // outcomes are the lane's while it has one
    uint64_t     counted;           // of its lane's decisions that were looked at
    zt_session  *next;              // in engine->arriving
};

struct zt_engine {
    zt_device      *device;
    pthread_t       thread;
    int64_t         beat;           // atomic

    pthread_mutex_t making;             // held while memory for a session is looked for and taken; before `lock`
    pthread_mutex_t lock;
    pthread_cond_t  work, change;   // for the engine's thread; for everyone else
    // Under lock
    zt_model       *model[ZT_ENGINE_MODELS];
    int             models;
    bool            quit;
    zt_session     *arriving;
    zt_session     *session[ZT_SCHED_SESSIONS];     // by lane
    zt_session     *laneless[ZT_SCHED_SESSIONS];    // failed ones that wait for destroy
    int             sessions;
    zt_metrics      past;
    zt_sched        sched;
    zt_trace        trace;
    int64_t         missed[5];      // when the last slots were missed
    uint64_t        misses, alarms;
    char           *folder;         // for what work costs; NULL: it is forgotten
};

// A session's memory, by whoever creates and destroys it: large models take a while, which live sessions must not wait for.
// That of a backend is its owner's to give: the engine's thread does both.
int  zt_work_allocate(zt_session *s);       // 0 or -errno, and then teardown
void zt_work_teardown(zt_session *s);
// The engine's thread, without the lock. 0 or -errno.
int  zt_work_setup(zt_session *s);
// Carries out todos of one batch and reports them; takes the lock inside.
void zt_work_do(zt_engine *e, const zt_todo *todo, int n);
void zt_work_passes(zt_engine *e, const zt_todo *todo, int n);      // the part of it that is in batch.c
void zt_work_measured(zt_session *s, enum zt_stage stage, int64_t ns);
// Under the lock: ends a session that cannot go on, its lane is free again.
void zt_session_fail(zt_session *s, int err);
void zt_session_leave_lane(zt_session *s);
// Under the lock: looks at slots decided since, for the record and for alarms.
void zt_session_look(zt_session *s);

// Defaults filled in, limits checked; and what the scheduler is told.
int     zt_params_settle(const zt_engine *e, zt_session_params *p);
zt_pace zt_params_pace(const zt_engine *e, const zt_session_params *p);
// What the events before the session's next model_frame have left behind, in a session that was saved.
void    zt_events_pass(zt_session *s);

// Under the lock. 0, or -EBUSY and *out. 0 x 0: its memory is taken already.
int  zt_admit_check(zt_engine *e, const zt_model *m, const zt_pace *p, int w, int h, zt_refused *out);
// Bytes that this process may still take, by the kernel and its control group. (memory.c)
int64_t zt_memory_left(void);

void zt_costs_load(zt_engine *e, int model);        // under the lock
void zt_costs_save(zt_engine *e);                   // the thread has ended
