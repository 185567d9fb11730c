// SPDX-License-Identifier: Apache-2.0
// What next: batches of live work by deadline, or in turn where a deadline is lost; then offline slices.
#include "engine/sched.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "engine/sched_lane.h"

int zt_sched_add(zt_sched *s, const zt_pace *p, int64_t now)
{
    assert(p->period > 0 && p->budget > 0 && p->chunk >= 1 && p->chunk <= ZT_SCHED_FLIGHT / 2);
    assert(p->first_chunk >= 0 && p->first_chunk <= p->chunk && p->first_steps >= 1);
    assert(p->steps_min >= 1 && p->steps_max >= p->steps_min && (!p->begun || p->pacing != ZT_LIVE));
    const uint64_t first = (uint64_t)(p->first_chunk ? p->first_chunk : p->chunk);
    const uint64_t next = p->begun ? first + (p->begun - 1) * (uint64_t)p->chunk : 0;
    for (int i = 0; i < ZT_SCHED_SESSIONS; i++) {
        if (s->lane[i].used)
            continue;
        memset(&s->lane[i], 0, sizeof(s->lane[i]));
        s->lane[i] = (struct zt_lane){ .used = true, .pace = *p, .added = now, .served = now, .steps = p->steps_max,
                                       .tight = now, .strained = now, .begun = p->begun, .next = next,
                                       .uncommitted = p->begun > 0 };
        return i;
    }
    return -EAGAIN;
}

void zt_sched_remove(zt_sched *s, int id)
{
    struct zt_lane *c = &s->lane[id];
    for (int i = 0; i < c->flying; i++)
        zt_lane_decide(zt_lane_flight(c, i), ZT_DROPPED);
    zt_lane_settle(c, INT64_MAX / 2, true);
    c->used = false;
}

void zt_sched_finish(zt_sched *s, int id)
{
    s->lane[id].finishing = true;
}

void zt_sched_target(zt_sched *s, int id, int steps)
{
    struct zt_lane *c = &s->lane[id];
    c->pace.steps_max = ZT_MAX(steps, c->pace.steps_min);
    c->enough = ZT_MIN(c->enough, c->pace.steps_max);
}

void zt_sched_enough(zt_sched *s, int id, int steps)
{
    struct zt_lane *c = &s->lane[id];
    c->enough = steps ? ZT_MIN(ZT_MAX(steps, c->pace.steps_min), c->pace.steps_max) : 0;
}

bool zt_sched_finished(const zt_sched *s, int id)
{
    const struct zt_lane *c = &s->lane[id];
    return !c->working && !c->taken && !zt_lane_more(c);
}

// ---- one session's next thing

static void todo_show(const zt_sched *s, struct zt_lane *c, zt_todo *t)
{
    const int target = c->begun == 1 ? c->pace.first_steps : c->pace.steps_max;
    const bool full = c->step >= target && !c->frame_rung && !c->slow;
    (void)s;
    for (int i = 0; i < zt_lane_chunk(c); i++)
        zt_lane_fly(c, c->next + (uint64_t)i, full);
    t->action = ZT_DO_SHOW;
    t->steps = c->step;
}

static void todo_begin(zt_sched *s, struct zt_view *v, int n_views, struct zt_view *all, int64_t now, zt_todo *t)
{
    struct zt_lane *c = v->c;
    if (v->alone) {
        t->pass = ZT_COMMIT;
        t->left = 1;
        return;
    }
    c->left = zt_plan_begin(s, v, n_views, all, now);
    c->step = 0;
    c->working = true;
    c->begun++;
    t->pass = c->uncommitted ? ZT_COMMIT_DENOISE : ZT_DENOISE;
    t->begin = true;
    t->left = c->left;
    t->window = zt_lane_window(c, c->frame_rung);
    t->top_k = zt_lane_top_k(c, c->frame_rung);
    t->pts = zt_lane_pts(c, c->next);
}

void zt_todo_make(zt_sched *s, struct zt_view *v, int n_views, struct zt_view *all, int64_t now, zt_todo *t)
{
    struct zt_lane *c = v->c;
    *t = (zt_todo){ .id = (int)(c - s->lane), .action = ZT_DO_PASS, .to = ZT_MAX(c->pace.layers, 1),
                    .index = c->next, .pts = zt_lane_pts(c, c->next),
                    .due = zt_lane_live(c) && c->next ? zt_lane_due(c, c->next) : 0 };
    c->taken = true;
    if (!c->working) {
        todo_begin(s, v, n_views, all, now, t);
        return;
    }
    const int left = zt_plan_again(s, v, n_views, all, now);
    if (!left) {
        todo_show(s, c, t);
        return;
    }
    t->pass = ZT_DENOISE;
    t->replan = left != c->left;
    t->step = c->step;
    t->left = left;
    c->left = left;
}

// ---- batches

static int views(zt_sched *s, int64_t now, struct zt_view *v, int64_t *wake)
{
    int n = 0;
    for (int i = 0; i < ZT_SCHED_SESSIONS; i++) {
        struct zt_lane *c = &s->lane[i];
        if (!c->used || c->pace.pacing == ZT_OFFLINE)
            continue;
        zt_view_fill(s, c, now, &v[n]);
        if (!v[n].ready && !c->taken && (c->working || zt_lane_more(c)))
            *wake = ZT_MIN(*wake, now < c->held ? c->held : zt_lane_release(c));
        n++;
    }
    return n;
}

static bool met(const struct zt_view *v, int64_t now, int64_t batch, bool in_batch)
{
    return now + batch + zt_view_rest(v, in_batch) <= v->due;
}

// Can some deadline not be met: by the session alone, by 99 of 100, or after those due before it, by the mean?
static bool any_lost(const struct zt_view *v, int n, int64_t now)
{
    for (int i = 0; i < n; i++) {
        if (!v[i].clocked)
            continue;
        int64_t at = now + v[i].encode;
        for (int j = 0; j < n; j++)
            at += v[j].clocked && v[j].due <= v[i].due ? v[j].work : 0;
        if (at > v[i].due || !met(&v[i], now, 0, false))
            return true;
    }
    return false;
}

static bool shows_next(const zt_sched *s, const struct zt_view *v, int n, const struct zt_view *all, int64_t now)
{
    return v->c->working && !zt_plan_again(s, v, n, all, now);
}

// By deadline; where one is lost, finished pictures, then who was served longest ago: earliest-due alone starves.
static bool goes_before(const struct zt_view *a, const struct zt_view *b, bool lost)
{
    if (lost) {
        const bool x = a->c->working && !a->c->left, y = b->c->working && !b->c->left;
        if (x != y)
            return x;
    } else if (a->due != b->due) {
        return a->due < b->due;
    }
    return a->c->served < b->c->served;
}

static int in_order(struct zt_view *v, int n, bool lost, struct zt_view **out)
{
    int count = 0;
    for (int i = 0; i < n; i++) {
        if (!v[i].ready)
            continue;
        int at = count++;
        for (; at > 0 && goes_before(&v[i], out[at - 1], lost); at--)
            out[at] = out[at - 1];
        out[at] = &v[i];
    }
    return count;
}

static void add_shape(const struct zt_view *v, zt_shape *shape)
{
    const struct zt_lane *c = v->c;
    const uint64_t frame = c->working || v->alone ? c->begun - 1 : c->begun;
    zt_lane_shape(c, shape, frame, v->commit, !v->alone, c->working || v->alone ? c->frame_rung : c->rung);
}

static int top_k_of(const struct zt_view *v)
{
    const struct zt_lane *c = v->c;
    return zt_lane_top_k(c, c->working || v->alone ? c->frame_rung : c->rung);
}

// Would the longer batch cost a session its deadline that it keeps with the shorter one?
static bool breaks(const struct zt_view *v, int n, const bool *in, const struct zt_view *more, int64_t now,
                   int64_t shorter, int64_t longer)
{
    for (int i = 0; i < n; i++) {
        if (v[i].clocked && met(&v[i], now, shorter, in[i]) && !met(&v[i], now, longer, in[i] || &v[i] == more))
            return true;
    }
    return false;
}

// The first of the order and, one by one, those that harm nobody.
static int batch(zt_sched *s, struct zt_view *v, int n, struct zt_view **order, int count, int64_t now, zt_todo *todo,
                 int max)
{
    bool in[ZT_SCHED_SESSIONS] = { false };
    struct zt_view *chosen[ZT_MAX_JOBS];
    zt_shape shape = { 0 };
    int64_t cost = 0;
    int jobs = 0;
    for (int i = 0; i < count && jobs < ZT_MIN(max, ZT_MAX_JOBS); i++) {
        struct zt_view *w = order[i];
        if (jobs && (w->c->pace.model != chosen[0]->c->pace.model || top_k_of(w) != top_k_of(chosen[0]) ||
                     shows_next(s, w, n, v, now)))
            continue;
        zt_shape longer = shape;
        add_shape(w, &longer);
        const int64_t more = zt_costs_of(&s->costs, &longer).p99;
        if (jobs && breaks(v, n, in, w, now, cost, more))
            break;
        shape = longer;
        cost = more;
        in[w - v] = true;
        chosen[jobs++] = w;
    }
    for (int i = 0; i < jobs; i++)
        zt_todo_make(s, chosen[i], n, v, now, &todo[i]);
    return jobs;
}

// ---- what next

// Others' work that goes first, by the time they were served last.
static int64_t work_before(const struct zt_view *v, int n, const struct zt_view *all)
{
    int64_t sum = 0;
    for (int i = 0; i < n; i++)
        if (all[i].c != v->c && all[i].ready && all[i].clocked && all[i].c->served < v->c->served)
            sum += zt_view_rest(&all[i], false) - all[i].encode;
    return sum;
}

static bool repeat(zt_sched *s, struct zt_view *v, int n, int64_t now, zt_todo *todo)
{
    for (int i = 0; i < n; i++) {
        struct zt_lane *c = v[i].c;
        const uint64_t slot = c->next;
        const bool again = zt_lane_catch_up(c, &v[i], work_before(&v[i], n, v), now);
        if (c->next != slot) {          // slots were dropped
            zt_plan_missed(s, c, now);
            zt_view_fill(s, c, now, &v[i]);
        }
        if (!again)
            continue;
        *todo = (zt_todo){ .id = (int)(c - s->lane), .action = ZT_DO_REPEAT, .index = c->next,
                           .pts = zt_lane_pts(c, c->next), .due = zt_lane_due(c, c->next) };
        zt_lane_fly(c, c->next, false);
        zt_lane_flight(c, c->flying - 1)->repeated = true;
        zt_plan_missed(s, c, now);
        c->next++;
        c->taken = true;
        return true;
    }
    return false;
}

int zt_sched_next(zt_sched *s, int64_t now, zt_todo *todo, int max, int64_t *wake)
{
    assert(max >= 1);
    *wake = INT64_MAX;
    s->costs.now = now;
    for (int i = 0; i < ZT_SCHED_SESSIONS; i++)
        if (s->lane[i].used)
            zt_lane_settle(&s->lane[i], now, zt_sched_finished(s, i));

    struct zt_view v[ZT_SCHED_SESSIONS], *order[ZT_SCHED_SESSIONS];
    const int n = views(s, now, v, wake);
    if (repeat(s, v, n, now, todo))
        return 1;
    const int count = in_order(v, n, any_lost(v, n, now), order);
    if (!count)
        return zt_slice_next(s, now, *wake, todo, wake);
    if (shows_next(s, order[0], n, v, now)) {
        zt_todo_make(s, order[0], n, v, now, todo);
        return 1;
    }
    return batch(s, v, n, order, count, now, todo, max);
}

// ---- done

static void shown(zt_sched *s, struct zt_lane *c, const zt_todo *t, int64_t started, int64_t ended)
{
    zt_cost_add(&c->show, ended - started);
    zt_costs_add(&s->costs, &(zt_shape){ .effort = ZT_EFFORT_SHOW, .model = c->pace.model,
                                         .tokens = ZT_MAX(c->pace.tokens, 1) }, ended - started);
    if (!t->index)
        c->epoch = ended + zt_lane_encode(s, c).mean;
    const int chunk = zt_lane_chunk(c);
    for (int i = 0; i < chunk; i++) {
        struct zt_flight *f = zt_lane_find(c, t->index + (uint64_t)i);
        if (f)
            f->made = ended;
    }
    c->next = t->index + (uint64_t)chunk;
    c->working = c->late = false;
    c->uncommitted = true;
    c->served = ended;
}

static void passed(struct zt_lane *c, const zt_todo *t)
{
    if (t->pass != ZT_DENOISE)
        c->uncommitted = false;
    if (t->pass != ZT_COMMIT) {
        c->step++;
        c->left--;
    }
}

// What the passes of these todos are.
static zt_shape shape_of(const zt_sched *s, const zt_todo *todo, int n)
{
    zt_shape shape = { 0 };
    for (int i = 0; i < n; i++) {
        const struct zt_lane *c = &s->lane[todo[i].id];
        const bool ahead = !c->working && todo[i].pass != ZT_COMMIT;    // not begun yet
        zt_lane_shape(c, &shape, ahead || !c->begun ? c->begun : c->begun - 1, todo[i].pass != ZT_DENOISE,
                      todo[i].pass != ZT_COMMIT, ahead ? c->rung : c->frame_rung);
    }
    return shape;
}

int64_t zt_sched_batch_cost(const zt_sched *s, const zt_todo *todo, int n)
{
    const zt_shape shape = shape_of(s, todo, n);
    return zt_costs_of(&s->costs, &shape).p99;
}

void zt_sched_done(zt_sched *s, const zt_todo *todo, int n, int64_t started, int64_t ended)
{
    int64_t took = ended - started;
    const bool passes = todo[0].action == ZT_DO_PASS;
    const zt_shape shape = passes ? shape_of(s, todo, n) : (zt_shape){ 0 };
    for (int i = 0; i < n; i++) {
        const zt_todo *t = &todo[i];
        struct zt_lane *c = &s->lane[t->id];
        c->taken = false;
        if (c->pace.pacing == ZT_OFFLINE) {
            took += c->spent;           // of the slices before
            zt_slice_done(s, t, started, ended);
            if (c->unit)
                return;
        }
        if (t->action == ZT_DO_SHOW)
            shown(s, c, t, started, ended);
        else if (passes)
            passed(c, t);
    }
    if (passes)
        zt_costs_add(&s->costs, &shape, took);
}

void zt_sched_passes(zt_sched *s, int id, int n, bool apart)
{
    assert(s->lane[id].pace.pacing == ZT_OFFLINE && n >= 1);
    s->lane[id].left = n;
    s->lane[id].apart = apart;
}

void zt_sched_put_back(zt_sched *s, const zt_todo *t, int64_t until)
{
    struct zt_lane *c = &s->lane[t->id];
    assert(t->action == ZT_DO_SHOW && c->flying >= zt_lane_chunk(c));
    c->flying -= zt_lane_chunk(c);
    c->taken = false;
    c->held = until;
}
