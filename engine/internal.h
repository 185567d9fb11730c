// SPDX-License-Identifier: Apache-2.0
// What the engine's thread and the sessions' callers share: one lock, held for moments only.
#pragma once

#include <pthread.h>

#include "engine/engine.h"
#include "engine/sched.h"

#define ZT_SHOWN         64     // pictures whose packet may still be reported
#define ZT_IGNORED_BYTES 512

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
    zt_pace      pace;
    int          w, h, fps;
    uint64_t     seed;
    zt_frame_fn *on_frame;
    zt_stage_fn *on_stage;
    void        *cookie;
    zt_event    *event;
    int          events;
    int64_t      created;
    zt_frame_pool *pool;

    // The engine's thread only
    zt_state    *state;
    zt_tensor    rgb;               // f32 [1, 3, h, w]
    zt_frame    *last;              // what a repeat shows
    float        t[ZT_MAX_STEPS];   // of the frame in work
    int64_t      sampled, prompted, denoise;
    uint64_t     model_frame;
    int          next_event;
    char         text[ZT_PROMPT_BYTES + 1];

    // From any thread
    int          stop;              // atomic

    // Under engine->lock
    enum zt_phase phase;
    int          id;                // its lane; -1: none
    int          error;
    bool         mailed;
    int64_t      mailed_at;
    unsigned     control_set;
    float        control[ZT_MAX_CONTROLS];
    char         mail[ZT_PROMPT_BYTES + 1];
    char         ignored[ZT_IGNORED_BYTES];
    int          known;
    struct zt_shown shown[ZT_SHOWN];
    zt_metrics   metrics;           // outcomes are the lane's while it has one
    zt_session  *next;              // in engine->arriving
};

struct zt_engine {
    zt_device      *device;
    zt_model       *model;
    pthread_t       thread;

    pthread_mutex_t lock;
    pthread_cond_t  work, change;   // for the engine's thread; for everyone else
    // Under lock
    bool            quit;
    zt_session     *arriving;
    zt_session     *session[ZT_SCHED_SESSIONS];     // by lane
    zt_session     *laneless[ZT_SCHED_SESSIONS];    // failed ones that wait for destroy
    int             sessions;
    zt_metrics      past;
    zt_sched        sched;
};

// The engine's thread, without the lock. 0 or -errno.
int  zt_work_setup(zt_session *s);
void zt_work_teardown(zt_session *s);
// Carries out todos of one batch and reports them; takes the lock inside.
void zt_work_do(zt_engine *e, const zt_todo *todo, int n);
// Under the lock: ends a session that cannot go on, its lane is free again.
void zt_session_fail(zt_session *s, int err);
void zt_session_leave_lane(zt_session *s);
