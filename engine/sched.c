// SPDX-License-Identifier: Apache-2.0
// Deadlines, steps and outcomes as arithmetic on times that the caller gives.
#include "engine/sched.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/base.h"

#define SECOND         INT64_C(1000000000)
#define FIRST_SOON     (SECOND / 2)     // a first frame has no due time: this ranks it among those that have
#define FIRST_PATIENCE SECOND           // for the first packet: then the clock starts without it

static bool live(const struct zt_lane *c)
{
    return c->pace.pacing == ZT_LIVE;
}

static int64_t due(const struct zt_lane *c, uint64_t index)
{
    return c->epoch + (int64_t)index * c->pace.period;
}

// Slots that a session may be behind before they are dropped.
static int64_t patience(const struct zt_lane *c)
{
    return ZT_MAX(c->pace.chunk, 2);
}

static bool more(const struct zt_lane *c)
{
    return !c->finishing && (!c->pace.frames || c->begun < c->pace.frames);
}

// An unknown batch costs as the nearest known one, per segment.
static int64_t pass_cost(const zt_sched *s, int segments, bool mean)
{
    const zt_cost *c = &s->pass[segments];
    for (int i = 1; !c->n && i <= 2; i++)
        if (s->pass[i].n)
            return (mean ? s->pass[i].mean : s->pass[i].p99) * segments / i;
    return mean ? c->mean : c->p99;
}

// n passes of which the first also commits the frame before.
static int64_t passes_cost(const zt_sched *s, bool commit, int n)
{
    return n <= 0 ? 0 : pass_cost(s, commit ? 2 : 1, false) + (n - 1) * pass_cost(s, 1, false);
}

// From now to the packet, with as few steps as the session accepts.
static int64_t least_cost(const zt_sched *s, const struct zt_lane *c)
{
    const int64_t passes = c->working ? passes_cost(s, false, c->pace.steps_min - c->step)
                                      : passes_cost(s, c->uncommitted, c->pace.steps_min);
    return passes + c->show.p99 + c->encode.p99;
}

int64_t zt_sched_least(const zt_sched *s, int id, int steps)
{
    const struct zt_lane *c = &s->lane[id];
    return steps * s->pass[1].least + c->show.least + c->encode.least;
}

int zt_sched_add(zt_sched *s, const zt_pace *p, int64_t now)
{
    assert(p->period > 0 && p->budget > 0 && p->chunk >= 1 && p->first_steps >= 1);
    assert(p->steps_min >= 1 && p->steps_max >= p->steps_min);
    for (int i = 0; i < ZT_SCHED_SESSIONS; i++) {
        if (s->lane[i].used)
            continue;
        memset(&s->lane[i], 0, sizeof(s->lane[i]));
        s->lane[i] = (struct zt_lane){ .used = true, .pace = *p, .added = now, .served = now,
                                       .steps = p->steps_max, .tight = now };
        return i;
    }
    return -EAGAIN;
}

void zt_sched_finish(zt_sched *s, int id)
{
    s->lane[id].finishing = true;
}

bool zt_sched_finished(const zt_sched *s, int id)
{
    const struct zt_lane *c = &s->lane[id];
    return !c->working && !c->taken && !more(c);
}

// ---- outcomes

static struct zt_flight *flight(struct zt_lane *c, int i)
{
    return &c->flight[(c->first + i) % ZT_SCHED_FLIGHT];
}

static void decide(struct zt_flight *f, enum zt_outcome outcome)
{
    if (!f->decided)
        f->outcome = outcome;
    f->decided = true;
}

static void count_first(struct zt_lane *c)
{
    struct zt_flight *f = flight(c, 0);
    decide(f, ZT_DROPPED);
    c->outcome[f->outcome]++;
    c->first = (c->first + 1) % ZT_SCHED_FLIGHT;
    c->flying--;
}

// Counts what is decided and due. A packet that did not come for long will not come.
static void settle(struct zt_lane *c, int64_t now, bool all)
{
    if (live(c) && !c->exact && c->next && now >= c->epoch + FIRST_PATIENCE) {
        c->epoch = now;
        c->exact = true;
    }
    while (c->flying) {
        const struct zt_flight *f = flight(c, 0);
        const int64_t at = live(c) ? due(c, f->index) : 0;
        const bool given_up = live(c) && c->exact && now > at + patience(c) * c->pace.period;
        if (!given_up && (!f->decided || (at > now && !all)))
            break;
        count_first(c);
    }
}

static void fly(struct zt_lane *c, uint64_t index, int steps, int target)
{
    if (c->flying == ZT_SCHED_FLIGHT)
        count_first(c);
    *flight(c, c->flying++) = (struct zt_flight){ .index = index, .steps = steps, .target = target };
}

static struct zt_flight *find_flight(struct zt_lane *c, uint64_t index)
{
    for (int i = 0; i < c->flying; i++)
        if (flight(c, i)->index == index)
            return flight(c, i);
    return NULL;
}

void zt_sched_lost(zt_sched *s, int id, uint64_t index)
{
    struct zt_flight *f = find_flight(&s->lane[id], index);
    if (f) {
        f->decided = true;
        f->outcome = ZT_DROPPED;
    }
}

void zt_sched_delivered(zt_sched *s, int id, uint64_t index, int64_t now)
{
    struct zt_lane *c = &s->lane[id];
    struct zt_flight *f = find_flight(c, index);
    if (!f || f->decided)
        return;
    if (!c->exact && !index)
        c->epoch = now;
    c->exact = true;
    if (live(c) && now > due(c, index))
        decide(f, ZT_LATE);
    else
        decide(f, f->steps >= f->target ? ZT_ON_TIME : ZT_DEGRADED);
    zt_cost_add(&c->encode, now - f->made);

    for (int i = 0; flight(c, i) != f; i++)
        decide(flight(c, i), ZT_DROPPED);
    settle(c, now, zt_sched_finished(s, id));
}

void zt_sched_remove(zt_sched *s, int id)
{
    struct zt_lane *c = &s->lane[id];
    while (c->flying)
        count_first(c);
    c->used = false;
}

// The slot to fill is due and has no packet. True: show the last picture again in it.
static bool catch_up(const zt_sched *s, struct zt_lane *c, int64_t now)
{
    if (!live(c) || c->taken || !c->exact || now < due(c, c->next) || !(c->working || more(c)))
        return false;
    const int64_t behind = (now - due(c, c->next)) / c->pace.period + 1;
    if (behind > patience(c)) {
        c->outcome[ZT_DROPPED] += (uint64_t)behind;
        c->next += (uint64_t)behind;
        c->late = false;
        return false;
    }
    if (c->late || now + least_cost(s, c) <= due(c, c->next) + c->pace.period / 2) {
        c->late = true;
        return false;
    }
    return true;
}

// ---- steps

// Do n more passes meet this slot's deadline, and leave the next one its least?
static bool fits(const zt_sched *s, const struct zt_lane *c, int64_t now, int n)
{
    const int64_t rest = c->show.p99 + c->encode.p99;
    const int64_t end = now + passes_cost(s, !c->working && c->uncommitted, n);
    if (end > due(c, c->next) - rest)
        return false;
    const uint64_t following = c->next + (uint64_t)c->pace.chunk;
    return end + c->show.p99 + passes_cost(s, true, c->pace.steps_min) <= due(c, following) - rest;
}

// Can every frame have n steps? What is shared by all is one period's worth of the engine.
static bool lasts(const zt_sched *s, const struct zt_lane *c, int n)
{
    const int64_t mean = pass_cost(s, 2, true) + (n - 1) * pass_cost(s, 1, true) + c->show.mean;
    return mean <= c->pace.chunk * c->pace.period;
}

static void set_steps(struct zt_lane *c, int steps, int64_t now)
{
    c->steps = steps;
    c->tight = now;
    c->changes++;
}

static int plan(const zt_sched *s, struct zt_lane *c, int64_t now)
{
    if (!c->begun)
        return c->pace.first_steps;
    if (!live(c))
        return c->pace.steps_max;

    int most = c->pace.steps_max;
    while (most > c->pace.steps_min && !fits(s, c, now, most))
        most--;
    if (most < c->steps)
        set_steps(c, most, now);
    else if (most == c->steps || !lasts(s, c, c->steps + 1))
        c->tight = now;
    else if (now - c->tight >= SECOND)
        set_steps(c, c->steps + 1, now);
    return c->steps;
}

// Passes of the present frame that still fit, at most those planned.
static int replan(const zt_sched *s, const struct zt_lane *c, int64_t now)
{
    if (!live(c) || !c->next)
        return c->left;
    const int least = ZT_MAX(c->pace.steps_min - c->step, 0);
    int left = c->left;
    while (left > least && !fits(s, c, now, left))
        left--;
    return left;
}

// ---- what next

// When the next frame may begin. Until slot 0 has been delivered there is no clock, and one frame is made ahead.
static int64_t release(const struct zt_lane *c)
{
    if (!c->next)
        return c->added;
    if (!c->exact && c->begun >= 2)
        return c->epoch + FIRST_PATIENCE;
    return due(c, c->next) - c->pace.budget;
}

// True when the session has something to do now; else *at is when it will (or is not touched).
static bool ready(const struct zt_lane *c, int64_t now, int64_t *at)
{
    if (!c->used || c->taken)
        return false;
    if (c->working)
        return true;
    if (!more(c))
        return false;
    if (c->uncommitted || !live(c))
        return true;
    const int64_t start = release(c);
    if (now >= start)
        return true;
    *at = ZT_MIN(*at, start);
    return false;
}

static int64_t rank_due(const struct zt_lane *c)
{
    return c->next ? due(c, c->next) : c->added + FIRST_SOON;
}

static int64_t rank_served(const struct zt_lane *c)
{
    return c->served;
}

static struct zt_lane *first_by(zt_sched *s, int64_t now, bool offline, int64_t *wake,
                                int64_t (*rank)(const struct zt_lane *c))
{
    struct zt_lane *first = NULL;
    for (int i = 0; i < ZT_SCHED_SESSIONS; i++) {
        struct zt_lane *c = &s->lane[i];
        if ((c->pace.pacing == ZT_OFFLINE) == offline && ready(c, now, wake) && (!first || rank(c) < rank(first)))
            first = c;
    }
    return first;
}

// Live work first, the earliest due first. When that one cannot be met, who has waited longest:
// earliest-due alone starves whoever is behind.
static struct zt_lane *choose(zt_sched *s, int64_t now, int64_t *wake)
{
    struct zt_lane *c = first_by(s, now, false, wake, rank_due);
    if (c && live(c) && now + least_cost(s, c) > rank_due(c))
        c = first_by(s, now, false, wake, rank_served);
    return c ? c : first_by(s, now, true, wake, rank_served);
}

static void todo_show(struct zt_lane *c, zt_todo *t)
{
    const int target = c->begun == 1 ? c->pace.first_steps : c->pace.steps_max;
    for (int i = 0; i < c->pace.chunk; i++)
        fly(c, c->next + (uint64_t)i, c->step, target);
    t->action = ZT_DO_SHOW;
    t->steps = c->step;
}

static void todo_begin(const zt_sched *s, struct zt_lane *c, int64_t now, zt_todo *t)
{
    t->action = ZT_DO_PASS;
    if (live(c) && now < release(c)) {
        t->pass = ZT_COMMIT;
        t->left = 1;
        return;
    }
    c->left = plan(s, c, now);
    c->step = 0;
    c->working = true;
    c->begun++;
    t->pass = c->uncommitted ? ZT_COMMIT_DENOISE : ZT_DENOISE;
    t->begin = true;
    t->left = c->left;
}

static void todo_step(const zt_sched *s, struct zt_lane *c, int64_t now, zt_todo *t)
{
    const int left = replan(s, c, now);
    if (!left) {
        todo_show(c, t);
        return;
    }
    *t = (zt_todo){ .id = t->id, .action = ZT_DO_PASS, .pass = ZT_DENOISE, .replan = left != c->left,
                    .step = c->step, .left = left, .index = t->index, .due = t->due };
    c->left = left;
}

int zt_sched_next(zt_sched *s, int64_t now, zt_todo *todo, int max, int64_t *wake)
{
    assert(max >= 1);
    *wake = INT64_MAX;
    for (int i = 0; i < ZT_SCHED_SESSIONS; i++) {
        struct zt_lane *c = &s->lane[i];
        if (!c->used)
            continue;
        settle(c, now, zt_sched_finished(s, i));
        if (!catch_up(s, c, now))
            continue;
        *todo = (zt_todo){ .id = i, .action = ZT_DO_REPEAT, .index = c->next, .due = due(c, c->next) };
        fly(c, c->next++, 0, 0);
        decide(flight(c, c->flying - 1), ZT_REPEATED);
        c->taken = true;
        return 1;
    }

    struct zt_lane *c = choose(s, now, wake);
    if (!c)
        return 0;
    *todo = (zt_todo){ .id = (int)(c - s->lane), .index = c->next, .due = live(c) && c->next ? due(c, c->next) : 0 };
    if (c->working)
        todo_step(s, c, now, todo);
    else
        todo_begin(s, c, now, todo);
    c->taken = true;
    return 1;
}

static void shown(struct zt_lane *c, const zt_todo *t, int64_t started, int64_t ended)
{
    zt_cost_add(&c->show, ended - started);
    if (!t->index)
        c->epoch = ended + c->encode.mean;
    for (int i = 0; i < c->pace.chunk; i++) {
        struct zt_flight *f = find_flight(c, t->index + (uint64_t)i);
        if (f)
            f->made = ended;
    }
    c->next = t->index + (uint64_t)c->pace.chunk;
    c->working = c->late = false;
    c->uncommitted = true;
}

void zt_sched_done(zt_sched *s, const zt_todo *todo, int n, int64_t started, int64_t ended)
{
    int segments = 0;
    for (int i = 0; i < n; i++) {
        const zt_todo *t = &todo[i];
        struct zt_lane *c = &s->lane[t->id];
        c->taken = false;
        c->served = ended;
        if (t->action == ZT_DO_SHOW)
            shown(c, t, started, ended);
        if (t->action != ZT_DO_PASS)
            continue;
        segments += t->pass == ZT_COMMIT_DENOISE ? 2 : 1;
        if (t->pass != ZT_DENOISE)
            c->uncommitted = false;
        if (t->pass != ZT_COMMIT) {
            c->step++;
            c->left--;
        }
    }
    if (segments)
        zt_cost_add(&s->pass[segments], ended - started);
}
