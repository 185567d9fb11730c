// SPDX-License-Identifier: Apache-2.0
// Plays engine, encoder and clock for the scheduler, and checks that what it asks for makes sense.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/base.h"
#include "tests/sched_world.h"

uint64_t world_draw(world *w)
{
    w->random ^= w->random << 13, w->random ^= w->random >> 7, w->random ^= w->random << 17;
    return w->random;
}

static int64_t vary(world *w, int64_t cost)
{
    if (!w->random)
        return cost;
    const int64_t more = world_draw(w) % 50 == 0 ? cost * w->spread : cost / 4;
    return cost + (more ? (int64_t)(world_draw(w) % (uint64_t)more) : 0);
}

zt_cost *world_pass_cost(world *w, int64_t tokens)
{
    for (int i = 0; i < ZT_COST_SHAPES; i++) {
        struct zt_known *k = &w->sched.costs.known[i];
        if (k->cost.n && k->shape.effort == ZT_EFFORT_PASS && k->shape.tokens == tokens)
            return &k->cost;
    }
    fail();
    return NULL;
}

struct zt_lane *world_lane(world *w)
{
    return &w->sched.lane[w->id];
}

uint64_t world_counted(world *w, int outcome)
{
    return world_lane(w)->outcome[outcome];
}

uint64_t world_counted_all(world *w)
{
    uint64_t n = 0;
    for (int i = 0; i < ZT_OUTCOMES; i++)
        n += world_counted(w, i);
    return n;
}

void world_deliver(world *w, int64_t now)
{
    int kept = 0;
    for (int i = 0; i < w->flying; i++) {
        if (w->packet[i].at > now) {
            w->packet[kept++] = w->packet[i];
            continue;
        }
        if (!w->first_packet)
            w->first_packet = w->packet[i].at;
        if (!w->lose || w->packet[i].index != w->lose)
            zt_sched_delivered(&w->sched, w->id, w->packet[i].index, w->packet[i].at);
    }
    w->flying = kept;
}

static void hand_over(world *w, const zt_todo *t)
{
    const int chunk = t->action == ZT_DO_SHOW ? world_lane(w)->pace.chunk : 1;
    for (int i = 0; i < chunk; i++) {
        const uint64_t index = t->index + (uint64_t)i;
        assert_true(!w->any || index > w->last_index);      // never backwards, never twice
        w->any = true;
        w->last_index = index;
        w->encoder_free = ZT_MAX(w->encoder_free, w->now) + vary(w, w->encode);
        assert_true(w->flying < FLYING);
        w->packet[w->flying].index = index;
        w->packet[w->flying++].at = w->encoder_free;
    }
}

// The grammar of passes: commit before the next frame's passes, steps in order, show after at least steps_min.
static void check_pass(world *w, const zt_todo *t)
{
    const zt_pace *p = &world_lane(w)->pace;
    if (t->pass == ZT_COMMIT) {
        assert_true(w->uncommitted && !w->working);
        w->uncommitted = 0, w->commits++;
        return;
    }
    if (t->begin) {
        assert_false(w->working);
        assert_int_equal(t->pass == ZT_COMMIT_DENOISE, w->uncommitted);
        if (p->pacing == ZT_LIVE && t->index)
            assert_true(w->now >= t->due - p->budget);      // nothing is made ahead of its release
        w->commits += (uint64_t)w->uncommitted;
        w->uncommitted = 0, w->working = 1, w->steps = 0;
        w->begins++, w->begun_at = w->now, w->planned = t->left;
        assert_true(!p->frames || w->begins <= p->frames);
    }
    assert_true(w->working);
    assert_int_equal(t->step, w->steps);
    assert_true(t->left >= 1 && t->left <= w->planned - w->steps);
    assert_int_equal(t->replan, t->left < w->planned - w->steps);
    w->planned = t->left + w->steps;
    w->steps++;
}

static int64_t cost_of(world *w, const zt_todo *t)
{
    if (t->action != ZT_DO_PASS)
        return t->action == ZT_DO_SHOW ? vary(w, w->show) : 1;
    int64_t cost = vary(w, t->pass == ZT_COMMIT ? w->commit : t->pass == ZT_DENOISE ? w->pass : w->pass + w->commit);
    if (w->stall && t->begin && w->now >= w->stall_at) {
        cost += w->stall;
        w->stall = 0;
    }
    return cost;
}

void world_do(world *w, const zt_todo *t)
{
    const int64_t started = w->now;
    if (t->action == ZT_DO_PASS)
        check_pass(w, t);
    w->now += cost_of(w, t);
    if (t->action == ZT_DO_SHOW) {
        assert_true(w->working && w->steps == t->steps && w->steps >= ZT_MIN(world_lane(w)->pace.steps_min, w->planned));
        w->steps_seen[w->steps]++;
        w->working = 0, w->uncommitted = 1;
        w->shows++;
    } else if (t->action == ZT_DO_REPEAT) {
        assert_true(w->now >= t->due);
        w->repeats++;
    }
    // Packets that came while this ran are reported with their own times, as another thread would.
    world_deliver(w, w->now);
    zt_sched_done(&w->sched, t, 1, started, w->now);
    if (t->action == ZT_DO_SHOW || (t->action == ZT_DO_REPEAT && !w->full))
        hand_over(w, t);
}

void world_start(world *w, zt_pace p)
{
    memset(&w->sched, 0, sizeof(w->sched));
    if (!p.period)
        p.period = 40 * MS;
    p.chunk = ZT_MAX(p.chunk, 1);
    if (!p.budget)
        p.budget = (p.chunk == 1 ? 2 : p.chunk + 1) * p.period;
    p.steps_min = ZT_MAX(p.steps_min, 1);
    p.steps_max = ZT_MAX(p.steps_max, p.steps_min);
    p.first_steps = ZT_MAX(p.first_steps, 1);
    w->id = zt_sched_add(&w->sched, &p, w->now);
    assert_true(w->id >= 0);
}

void world_run(world *w, int64_t until)
{
    zt_todo t;
    int64_t wake;
    while (w->now < until) {
        world_deliver(w, w->now);
        if (zt_sched_next(&w->sched, w->now, &t, 1, &wake)) {
            world_do(w, &t);
            continue;
        }
        assert_true(wake > w->now);                         // never spins
        for (int i = 0; i < w->flying; i++)
            wake = ZT_MIN(wake, w->packet[i].at);
        if (wake == INT64_MAX)
            break;
        w->now = ZT_MIN(wake, until);
    }
}

world *world_make(int64_t pass, int64_t commit, int64_t show, int64_t encode)
{
    static world w;
    w = (world){ .now = 1000 * MS, .pass = pass, .commit = commit, .show = show, .encode = encode };
    return &w;
}
