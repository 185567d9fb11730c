// SPDX-License-Identifier: Apache-2.0
// Offline work: passes cut into slices at the ends of units, in the time that live sessions leave.
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

static int units(const struct zt_lane *c, int groups)
{
    return ZT_MAX(c->pace.layers, 1) * (groups ? ZT_PARTS * groups : 1);
}

// Of the pass's time that unit i takes.
static double unit_share(const struct zt_lane *c, int groups, int i)
{
    if (!groups)
        return 1.0 / units(c, 0);
    const int u = i % (ZT_PARTS * groups);
    const int part = u < groups ? 0 : 1 + (u - groups) % (ZT_PARTS - 1);
    return (double)c->pace.part[part] / groups / ZT_MAX(c->pace.layers, 1);
}

double zt_sched_share(const zt_sched *s, const zt_todo *t)
{
    const struct zt_lane *c = &s->lane[t->id];
    if (c->pace.pacing != ZT_OFFLINE)
        return 1;
    double sum = 0;
    for (int i = t->from; i < t->to; i++)
        sum += unit_share(c, t->groups, i);
    return sum;
}

// ns of the pass as a whole: as it goes, or by 99 of 100 when it has not begun.
static double pass_cost(const zt_sched *s, const struct zt_lane *c, const zt_todo *t)
{
    return c->unit ? (double)c->spent / c->done : (double)zt_sched_batch_cost(s, t, 1);
}

// Groups of rows with which the longest part fits into a slice, as far as they have rows enough.
static int split(const zt_sched *s, const struct zt_lane *c, const zt_todo *t)
{
    const int rows = ZT_MAX(c->pace.tokens, 1) * (t->pass == ZT_COMMIT_DENOISE ? 2 : 1);
    float longest = 0;
    if (c->unit || !c->pace.rows)
        return t->groups;
    for (int p = 0; p < ZT_PARTS; p++)
        longest = ZT_MAX(longest, c->pace.part[p]);
    const double ns = pass_cost(s, c, t) * (double)longest / ZT_MAX(c->pace.layers, 1);
    const double most = ZT_MAX(rows / c->pace.rows, 1);
    return (int)(ns > 0 ? ZT_MIN(1 + ns / (double)limit(s), most) : most);      // of which nothing is known: the finest
}

// One pass at a time per model can be in work.
static bool model_busy(const zt_sched *s, const struct zt_lane *c)
{
    for (int i = 0; i < ZT_SCHED_SESSIONS; i++) {
        const struct zt_lane *o = &s->lane[i];
        if (o->used && o != c && o->unit && o->pace.model == c->pace.model)
            return true;
    }
    return false;
}

static bool shows_next(const struct zt_lane *c)
{
    return c->working && !c->left && !c->unit;
}

static zt_todo next_pass(zt_sched *s, struct zt_lane *c, int64_t now)
{
    zt_todo t = c->sliced;
    if (!c->unit) {
        struct zt_view v;
        zt_view_fill(s, c, now, &v);
        zt_todo_make(s, &v, 1, &v, now, &t);
    }
    t.from = c->unit;
    t.begin &= !c->unit;
    return t;
}

// Units that fit into a slice, at least one; 0 when even that would make a live session wait for longer.
static int fitting(const zt_sched *s, const struct zt_lane *c, const zt_todo *t, int groups, int64_t now, int64_t live_at)
{
    const double most = (double)limit(s), pass = pass_cost(s, c, t);
    double ns = pass * unit_share(c, groups, c->unit);
    if (ns > most && live_at != INT64_MAX && (double)now + ns > (double)live_at + most)
        return 0;
    int n = 1;
    while (pass > 0 && c->unit + n < units(c, groups)) {
        ns += pass * unit_share(c, groups, c->unit + n);
        if (ns > most)
            break;
        n++;
    }
    return n;
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
    const zt_todo ahead = c->unit ? c->sliced : (zt_todo){ .id = (int)(c - s->lane), .action = ZT_DO_PASS,
                                                           .pass = c->uncommitted && !c->working ? ZT_COMMIT_DENOISE
                                                                                                 : ZT_DENOISE };
    const int groups = split(s, c, &ahead), n = fitting(s, c, &ahead, groups, now, live_at);
    if (!n)
        return 0;
    *todo = next_pass(s, c, now);
    todo->groups = groups;
    todo->to = c->unit + n;
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
    const bool over = t->to >= units(c, t->groups);
    c->done = over ? 0 : c->done + zt_sched_share(s, t);
    c->spent = over ? 0 : c->spent + (ended - started);
    c->unit = over ? 0 : t->to;
}
