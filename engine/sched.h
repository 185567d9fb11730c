// SPDX-License-Identifier: Apache-2.0
// Decides what the engine does next. Pure: the time is an argument; no thread, no clock, no memory of its own.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "diffusion/model.h"
#include "engine/cost.h"
#include "engine/metrics.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ZT_SCHED_SESSIONS 32    // at once
#define ZT_SCHED_FLIGHT   192   // slots of a session that were shown and have no outcome yet

enum zt_pacing {
    ZT_LIVE,        // slot k is due at T0 + k * period, T0 being the hand-over of slot 0
    ZT_UNPACED,     // the order of live work, due whenever it is made
    ZT_OFFLINE,     // no deadlines, after all live work, in slices
};

// Zero means the default in parentheses.
typedef struct zt_pace {
    enum zt_pacing pacing;
    int64_t        period;          // ns, > 0
    int64_t        budget;          // ns from release to due; > 0
    int            chunk;           // slots per model_frame, >= 1
    int            steps_min;       // >= 1
    int            steps_max;       // >= steps_min: the target
    int            first_steps;     // of the first model_frame, >= 1
    uint64_t       frames;          // model_frames to make; 0: until zt_sched_finish()
    // What its passes are
    int            model;           // a batch never mixes models
    int            tokens;          // of a model_frame (1)
    int            layers;          // blocks of a pass, between which offline passes stop (1)
    int            rows;            // and within which, between parts for groups of at least so many tokens (not within)
    float          part[ZT_PARTS];  // with `rows`: share of a block's time that each part takes; their sum is 1
    int            window;          // frames that a frame attends to, its own included (1)
    // Rungs of the quality ladder below fewer steps, in this order: smaller windows, fewer experts, half the rate
    int            windows, smaller[ZT_MAX_TRAINED];    // (none)
    int            top_ks, fewer[ZT_MAX_TRAINED];       // (none)
    bool           keep_rate;       // never at half the rate
    int            first_chunk;     // of the first chunk, in slots; 0: as all others
    int            latents;         // per model_frame, for costs; 0: one a slot
    uint64_t       begun;           // model_frames that were made before, the last not committed; not live
    uint64_t       pictures;        // in all, where the last model_frame makes more; 0: all of them
} zt_pace;

enum zt_action {
    ZT_DO_PASS,     // run `pass`; several at once are one batch
    ZT_DO_SHOW,     // decode, convert, hand over as slot `index` (and the chunk's others after it)
    ZT_DO_REPEAT,   // hand over the last picture again as slot `index`
};

typedef struct zt_todo {
    int            id;          // the session's
    enum zt_action action;
    enum zt_pass   pass;        // ZT_DO_PASS only, and so are the next eight
    bool           begin;       // the first pass of a model_frame: read the mailboxes, begin the frame
    bool           replan;      // fewer passes are left than planned: make a new time list from the present time
    int            step;        // of this frame, from 0; ZT_COMMIT: unused
    int            left;        // passes to run, this one included
    int            groups;      // offline: of rows, for zt_model_slice(); 0: blocks are not cut
    int            from, to;    // blocks, all of them; offline: units as zt_model_slice() has them, or blocks if not cut
    int            window;      // frames, with `begin`; 0: the model's own
    int            top_k;       // experts, with `begin`; 0: the model's own
    int            steps;       // ZT_DO_SHOW: spent on this picture
    uint64_t       index;       // slot
    int64_t        pts;         // of the slot, ns since slot 0
    int64_t        due;         // of the slot, monotonic ns; 0 unless live (slot 0: predicted)
} zt_todo;

// A slot that has been shown: decided once, counted when it is due.
struct zt_flight {
    uint64_t        index;
    int64_t         pts, made;
    bool            full;           // at least the target steps, no rung down
    bool            repeated;       // the picture before once more
    bool            decided;
    enum zt_outcome outcome;
};

struct zt_lane {
    bool     used;
    zt_pace  pace;
    int64_t  added, served;     // when it came; when its last new picture was made
    int64_t  epoch;             // T0: predicted when slot 0 is made, exact when it is delivered
    bool     exact;             // a packet has been delivered: T0 moves no more
    bool     slow;              // at half the rate, from slot `base` on
    uint64_t base;
    int64_t  base_pts;

    uint64_t next;              // slot of the model_frame in work, or of the one to begin
    uint64_t begun;             // model_frames
    bool     working;           // between a frame's first pass and its show
    bool     taken;             // a todo is out
    bool     finishing;         // nothing new is begun
    bool     uncommitted;       // the last frame is not in the cache yet
    bool     apart;             // and gets there by itself: the next one has other experts, as its log says
    bool     late;              // was due, and is expected within half a period
    int      step, left;        // done, to do
    int64_t  held;              // nothing before then

    int      unit;              // offline: units of the pass in work that are done; 0: none is in work
    zt_todo  sliced;            // that pass
    double   done;              // share of it
    int64_t  spent;             // ns on it

    int      steps;             // planned for now: rises by one per second of headroom, falls at once
    int      enough;            // never more than these; 0: steps_max
    int64_t  tight;             // when there was last no headroom
    int      rung, strain;      // down the ladder; frames that did not fit, less those that did
    int      frame_rung;        // of the frame in work
    int64_t  strained;          // when a frame last did not fit
    zt_cost  show, encode;      // decode + convert; made -> delivered

    struct zt_flight flight[ZT_SCHED_FLIGHT];
    int      first, flying;

    uint64_t outcome[ZT_OUTCOMES];
    uint64_t changes[ZT_CHANGES];
    struct { uint64_t index; enum zt_outcome outcome; } decided[ZT_SCHED_FLIGHT];   // the last slots counted
    uint64_t decisions;         // ever
};

// Zeroed is empty and valid.
typedef struct zt_sched {
    struct zt_lane lane[ZT_SCHED_SESSIONS];
    zt_costs       costs;
    bool           slow;            // live sessions run at half their rate
    int64_t        slow_since;
    int            threads;         // of the device, for admission: encoding takes one of them (1)
    zt_histogram   wait;            // how long a live session that had something to do waited for an offline slice
} zt_sched;

// Its id >= 0, or -EAGAIN: all lanes are taken.
int  zt_sched_add(zt_sched *s, const zt_pace *p, int64_t now);
// Shown slots without a packet count as dropped. The lane can be read until it is added again.
void zt_sched_remove(zt_sched *s, int id);
void zt_sched_finish(zt_sched *s, int id);                      // the frame in work is the last
void zt_sched_target(zt_sched *s, int id, int steps);           // another steps_max, steps_min at least
// Live: nobody sees more steps than these, so no frame gets more; those below steps_max are degraded like others.
// Kept between steps_min and steps_max; 0: as many as fit again.
void zt_sched_enough(zt_sched *s, int id, int steps);
bool zt_sched_finished(const zt_sched *s, int id);              // all is made that will be

// What to do now: n > 0 passes that form one batch, or one show or repeat. 0: nothing before *wake
// (INT64_MAX: before something else happens); *wake is then later than now. Every todo must be reported.
int  zt_sched_next(zt_sched *s, int64_t now, zt_todo *todo, int max, int64_t *wake);
// They are done: started, ended. A show is reported before its picture is handed on.
void zt_sched_done(zt_sched *s, const zt_todo *todo, int n, int64_t started, int64_t ended);
// A show could not be done now: it is asked for again, not before `until`.
void zt_sched_put_back(zt_sched *s, const zt_todo *t, int64_t until);
// Offline: the frame that was just begun takes n passes. apart: the one after it has another number of experts.
void zt_sched_passes(zt_sched *s, int id, int n, bool apart);
// The picture of a show or repeat could not be handed on: dropped.
void zt_sched_lost(zt_sched *s, int id, uint64_t index);
// The packet of a slot was handed to the transports: decides its outcome. Shown slots before it had none: dropped.
void zt_sched_delivered(zt_sched *s, int id, uint64_t index, int64_t now);

// ns that a frame takes at least at `steps` from its first pass to its packet, by all that was measured.
int64_t zt_sched_least(const zt_sched *s, int id, int steps);
// ns that the passes of these todos take together, by 99 of 100.
int64_t zt_sched_batch_cost(const zt_sched *s, const zt_todo *todo, int n);
// Share of its pass that a todo is; 1: it is all of it.
double  zt_sched_share(const zt_sched *s, const zt_todo *t);
// ns that a session still needs, alone, until the packet of its slot, at the fewest steps it accepts, by 99 of 100.
int64_t zt_sched_rest(const zt_sched *s, int id);

// ---- admission

#define ZT_ADMIT_LOAD 0.85      // of the machine may be promised

// Share of the machine that live sessions need at the fewest steps they accept, by the mean.
double zt_sched_load(const zt_sched *s);
double zt_sched_load_of(const zt_sched *s, const zt_pace *p);       // what one more like this would add
// Can it be served on time beside those that are? Memory is not looked at.
enum zt_refusal zt_sched_admit(const zt_sched *s, const zt_pace *p);

#ifdef __cplusplus
}
#endif
