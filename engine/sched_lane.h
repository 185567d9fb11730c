// SPDX-License-Identifier: Apache-2.0
// What the files of the scheduler share: the arithmetic of one session, and a session as a decision sees it.
#pragma once

#include "base/base.h"
#include "engine/sched.h"

#define ZT_SECOND INT64_C(1000000000)
#define ZT_FIRST_SOON (ZT_SECOND / 4)       // a first frame has no due time: this ranks it among those that have
#define ZT_FIRST_PATIENCE ZT_SECOND         // for the first packet: then the clock starts without it

static inline bool zt_lane_live(const struct zt_lane *c)
{
    return c->pace.pacing == ZT_LIVE;
}

static inline int64_t zt_lane_period(const struct zt_lane *c)
{
    return c->slow ? 2 * c->pace.period : c->pace.period;
}

// Of a slot not shown yet.
static inline int64_t zt_lane_pts(const struct zt_lane *c, uint64_t index)
{
    return c->base_pts + (int64_t)(index - c->base) * zt_lane_period(c);
}

static inline int64_t zt_lane_due(const struct zt_lane *c, uint64_t index)
{
    return c->epoch + zt_lane_pts(c, index);
}

// Slots of the frame in work: its pictures, as far as they are wanted.
static inline int zt_lane_chunk(const struct zt_lane *c)
{
    const int each = c->pace.chunk, first = c->pace.first_chunk ? c->pace.first_chunk : each;
    const int n = c->begun <= 1 ? first : each;
    const uint64_t before = c->begun <= 1 ? 0 : (uint64_t)first + (c->begun - 2) * (uint64_t)each;
    return c->pace.pictures && c->pace.pictures - before < (uint64_t)n ? (int)(c->pace.pictures - before) : n;
}

// Slots that a session may be behind before they are dropped.
static inline int64_t zt_lane_patience(const struct zt_lane *c)
{
    return ZT_MAX(c->pace.chunk, 2);
}

static inline bool zt_lane_more(const struct zt_lane *c)
{
    return !c->finishing && (!c->pace.frames || c->begun < c->pace.frames);
}

// When the next frame may begin. Until slot 0 has been delivered there is no clock, and one frame is made ahead.
int64_t zt_lane_release(const struct zt_lane *c);

// Rungs are numbered from 0, nothing given up; the rate is nobody's own rung.
static inline int zt_lane_rungs(const struct zt_lane *c)
{
    return c->pace.windows + c->pace.top_ks;
}
int zt_lane_window(const struct zt_lane *c, int rung);      // frames
int zt_lane_top_k(const struct zt_lane *c, int rung);       // 0: the model's own

// ---- costs

// Adds the tokens of todo-like work: `commit` the frame before, `denoise` the frame numbered `frame`.
void zt_lane_shape(const struct zt_lane *c, zt_shape *shape, uint64_t frame, bool commit, bool denoise, int rung);
zt_estimate zt_lane_show(const zt_sched *s, const struct zt_lane *c);
zt_estimate zt_lane_encode(const zt_sched *s, const struct zt_lane *c);

// Costs of one session by 99 of 100, for the frame in work or the one to begin.
struct zt_view {
    struct zt_lane *c;
    int64_t one, merged;        // a pass alone; one that also commits the frame before
    int64_t show, encode;
    int64_t due;                // of its slot
    int64_t need;               // passes to steps_min
    int64_t work;               // ns of the engine to steps_min and the picture, by the mean
    bool    commit;             // the frame before is not committed
    bool    alone;              // its next pass commits only
    bool    clocked;            // has a deadline, and may be worked for now
    bool    ready;              // has something to do now
};

void    zt_view_fill(const zt_sched *s, struct zt_lane *c, int64_t now, struct zt_view *v);
// n passes of which the first also commits the frame before.
int64_t zt_view_passes(const struct zt_view *v, bool commit, int n);
// From now to the packet, at the fewest steps, after its next pass too when `after`.
int64_t zt_view_rest(const struct zt_view *v, bool after);

// ---- steps and rungs (sched_plan.c)

// Passes for the frame about to begin; moves the session's plan and the ladder.
int zt_plan_begin(zt_sched *s, struct zt_view *v, int n_views, struct zt_view *all, int64_t now);
// Passes of the present frame that still fit, at most those planned.
int zt_plan_again(const zt_sched *s, const struct zt_view *v, int n_views, const struct zt_view *all, int64_t now);
// A slot went by without a new picture.
void zt_plan_missed(zt_sched *s, struct zt_lane *c, int64_t now);

// ---- outcomes (sched_count.c)

// Counts what is decided and due. A packet that did not come for long will not come.
void zt_lane_settle(struct zt_lane *c, int64_t now, bool all);
void zt_lane_fly(struct zt_lane *c, uint64_t index, bool full);
void zt_lane_decide(struct zt_flight *f, enum zt_outcome outcome);
struct zt_flight *zt_lane_flight(struct zt_lane *c, int i);
struct zt_flight *zt_lane_find(struct zt_lane *c, uint64_t index);
// The slot to fill is due and has no packet. True: show the last picture again in it. `before`: ns of others' work that
// goes first.
bool zt_lane_catch_up(struct zt_lane *c, const struct zt_view *v, int64_t before, int64_t now);

// ---- offline work (sched_slice.c)

// One todo, or 0 and *wake; nothing that a live session, due to begin at `live_at`, would wait for longer than a slice.
int  zt_slice_next(zt_sched *s, int64_t now, int64_t live_at, zt_todo *todo, int64_t *wake);
void zt_slice_done(zt_sched *s, const zt_todo *t, int64_t started, int64_t ended);
// What the session does next (sched.c).
void zt_todo_make(zt_sched *s, struct zt_view *v, int n_views, struct zt_view *all, int64_t now, zt_todo *t);
