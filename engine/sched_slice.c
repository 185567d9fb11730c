// SPDX-License-Identifier: Apache-2.0
// Offline work: passes cut into slices at block boundaries, in the time that live sessions leave.
#include "engine/sched_lane.h"

#define SLICE      (5 * INT64_C(1000000))
#define SLICE_IDLE (20 * INT64_C(1000000))  // while no session is live: one that comes waits for so long

// The longest slice.
static int64_t limit(const zt_sched *s)
{
    int64_t fastest = INT64_MAX;
    for (int i = 0; i < ZT_SCHED_SESSIONS; i++)
        if (s->lane[i].used && zt_lane_live(&s->lane[i]))
            fastest = ZT_MIN(fastest, s->lane[i].pace.period);
    return fastest == INT64_MAX ? SLICE_IDLE : ZT_MIN(SLICE, fastest / 10);
}

static int layers(const struct zt_lane *c)
{
    return ZT_MAX(c->pace.layers, 1);
}

static int64_t block_cost(const zt_sched *s, const struct zt_lane *c, const zt_todo *t)
{
    return c->block ? c->spent / c->block : zt_sched_batch_cost(s, t, 1) / layers(c);
}

// One pass at a time per model can be in work.
static bool model_busy(const zt_sched *s, const struct zt_lane *c)
{
    for (int i = 0; i < ZT_SCHED_SESSIONS; i++) {
        const struct zt_lane *o = &s->lane[i];
        if (o->used && o != c && o->block && o->pace.model == c->pace.model)
            return true;
    }
    return false;
}

static bool shows_next(const struct zt_lane *c)
{
    return c->working && !c->left && !c->block;
}

static zt_todo next_pass(zt_sched *s, struct zt_lane *c, int64_t now)
{
    zt_todo t = c->sliced;
    if (!c->block) {
        struct zt_view v;
        zt_view_fill(s, c, now, &v);
        zt_todo_make(s, &v, 1, &v, now, &t);
    }
    t.from = c->block;
    t.begin &= !c->block;
    return t;
}

// Blocks that fit into a slice, at least one; 0 when even that would make a live session wait for longer.
static int blocks(const zt_sched *s, const struct zt_lane *c, const zt_todo *t, int64_t now, int64_t live_at)
{
    const int64_t most = limit(s), cost = block_cost(s, c, t), left = layers(c) - c->block;
    if (cost <= 0)
        return 1;
    if (cost > most && live_at != INT64_MAX && now + cost > live_at + most)
        return 0;
    return (int)ZT_MAX(ZT_MIN(most / cost, left), 1);
}

static struct zt_lane *choose(zt_sched *s, int64_t now, int64_t live_at, int64_t *wake)
{
    struct zt_lane *first = NULL;
    for (int i = 0; i < ZT_SCHED_SESSIONS; i++) {
        struct zt_lane *c = &s->lane[i];
        if (!c->used || c->taken || c->pace.pacing != ZT_OFFLINE || !(c->working || zt_lane_more(c)))
            continue;
        if (now < c->held) {
            *wake = ZT_MIN(*wake, c->held);
            continue;
        }
        const bool show = shows_next(c);
        if (show && live_at != INT64_MAX && now + zt_lane_show(s, c).mean > live_at + limit(s))
            continue;
        if (!show && model_busy(s, c))
            continue;
        if (!first || c->served < first->served)
            first = c;
    }
    return first;
}

int zt_slice_next(zt_sched *s, int64_t now, int64_t live_at, zt_todo *todo, int64_t *wake)
{
    struct zt_lane *c = choose(s, now, live_at, wake);
    if (!c)
        return 0;
    if (shows_next(c)) {
        struct zt_view v;
        zt_view_fill(s, c, now, &v);
        zt_todo_make(s, &v, 1, &v, now, todo);
        return 1;
    }
    // What its next pass costs is known without beginning it.
    const zt_todo ahead = c->block ? c->sliced : (zt_todo){ .id = (int)(c - s->lane), .action = ZT_DO_PASS,
                                                            .pass = c->uncommitted && !c->working ? ZT_COMMIT_DENOISE
                                                                                                  : ZT_DENOISE };
    const int n = blocks(s, c, &ahead, now, live_at);
    if (!n)
        return 0;
    *todo = next_pass(s, c, now);
    todo->to = c->block + n;
    c->sliced = *todo;
    c->taken = true;
    return 1;
}

static void count_waits(zt_sched *s, int64_t started, int64_t ended)
{
    for (int i = 0; i < ZT_SCHED_SESSIONS; i++) {
        const struct zt_lane *c = &s->lane[i];
        if (!c->used || !zt_lane_live(c) || c->working || !zt_lane_more(c))
            continue;
        const int64_t at = zt_lane_release(c);
        if (at > started && at < ended)
            zt_histogram_add(&s->wait, ended - at);
    }
}

void zt_slice_done(zt_sched *s, const zt_todo *t, int64_t started, int64_t ended)
{
    struct zt_lane *c = &s->lane[t->id];
    count_waits(s, started, ended);
    if (t->action != ZT_DO_PASS)
        return;
    const bool over = t->to >= layers(c);
    c->block = over ? 0 : t->to;
    c->spent = over ? 0 : c->spent + (ended - started);
}
