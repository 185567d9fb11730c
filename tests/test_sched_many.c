// SPDX-License-Identifier: Apache-2.0
// Many sessions on a made-up clock: what batches may cost whom, fairness under overload, offline slices, admission.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "apps/simulate.h"
#include "base/base.h"

#define MS INT64_C(1000000)

static zt_sim         sim;
static zt_sim_session session[ZT_SCHED_SESSIONS];

static zt_pace pace_of(int fps, int steps_min, int steps_max)
{
    const int64_t period = 1000 * MS / fps;
    return (zt_pace){ .period = period, .budget = 2 * period, .chunk = 1, .steps_min = steps_min, .steps_max = steps_max,
                      .first_steps = steps_max, .tokens = 144, .layers = 8, .window = 8 };
}

static void start(int sessions, zt_pace p, int64_t seconds)
{
    memset(&sim, 0, sizeof(sim));
    memset(session, 0, sizeof(session));
    sim = (zt_sim){ .session = session, .sessions = sessions, .now = 1000 * MS, .end = (1 + seconds) * 1000 * MS,
                    .random = 88172645463325252ull,
                    .cost = { .fixed = MS / 2, .token = 30000, .show = 4 * MS, .encode = 3 * MS, .jitter = 0.1 } };
    for (int i = 0; i < sessions; i++)
        session[i] = (zt_sim_session){ .pace = p, .from = sim.now + i * 37 * MS };
}

static uint64_t counted(const zt_sim_session *x)
{
    uint64_t n = 0;
    for (int i = 0; i < ZT_OUTCOMES; i++)
        n += x->outcome[i];
    return n;
}

static double kept(const zt_sim_session *x)
{
    return (double)(x->outcome[ZT_ON_TIME] + x->outcome[ZT_DEGRADED]) / (double)counted(x);
}

// A pass costs 0.5 + 4.3 ms a session, a picture 4 ms: 13 ms at one step, 8.7 ms of passes and 4 ms.
static void sessions_that_fit_are_all_on_time(void **state)
{
    (void)state;
    start(6, pace_of(8, 1, 2), 30);                         // 6 * 8 frames/s of 17 ms: 82 %
    for (int i = 0; i < 6; i++)
        session[i].from = sim.now;
    zt_sim_run(&sim);
    for (int i = 0; i < 6; i++)
        assert_true(kept(&session[i]) > 0.999 && session[i].outcome[ZT_ON_TIME] > 200);
    assert_true(sim.jobs > sim.batches * 11 / 10);          // some of it packed
}

static void overload_is_shared(void **state)
{
    (void)state;
    zt_pace p = pace_of(8, 1, 1);
    p.keep_rate = true;
    start(8, p, 60);
    sim.cost.token = 60000;                                 // a frame needs 25 of its share of 15.6 ms
    zt_sim_run(&sim);
    uint64_t least = UINT64_MAX, most = 0;
    for (int i = 0; i < 8; i++) {
        least = ZT_MIN(least, session[i].shows), most = ZT_MAX(most, session[i].shows);
        assert_true(session[i].silence < 1000 * MS);
    }
    assert_true(least > 200 && (double)most <= 1.05 * (double)least);
}

// Without a promise to the contrary, all give up half their rate before pictures are late.
static void overload_halves_the_rate_of_all(void **state)
{
    (void)state;
    start(8, pace_of(8, 1, 1), 60);
    sim.cost.token = 60000;
    zt_sim_run(&sim);
    uint64_t least = UINT64_MAX, most = 0;
    for (int i = 0; i < 8; i++) {
        assert_true(session[i].changes[ZT_CHANGE_RATE] >= 1 && session[i].changes[ZT_CHANGE_RATE] <= 3);
        assert_true(kept(&session[i]) > 0.97);
        least = ZT_MIN(least, session[i].shows), most = ZT_MAX(most, session[i].shows);
    }
    assert_true((double)most <= 1.05 * (double)least);
}

static void the_rate_comes_back_with_the_room(void **state)
{
    (void)state;
    start(8, pace_of(8, 1, 1), 40);
    sim.cost.token = 60000;
    for (int i = 2; i < 8; i++)
        session[i].until = 20000 * MS;
    zt_sim_run(&sim);
    assert_false(sim.sched.slow);
    assert_int_equal(session[0].changes[ZT_CHANGE_RATE] % 2, 0);
    assert_true(session[0].changes[ZT_CHANGE_RATE] >= 2);
}

// What admission lets in is served at the full rate again once those have left who were too many.
static void a_full_house_gets_its_rate_back(void **state)
{
    (void)state;
    start(16, pace_of(8, 1, 1), 40);                        // 13.8 ms a frame: 177 %
    for (int i = 7; i < 16; i++)
        session[i].until = 10000 * MS;                      // then 77 %
    zt_sim_run(&sim);
    assert_true(session[0].changes[ZT_CHANGE_RATE] >= 2);
    assert_false(sim.sched.slow);
    for (int i = 0; i < 7; i++)
        assert_true(session[i].shows > 27 * 8);             // of 40 s, some 10 at half the rate
}

// At half the rate commits run alone: what a merged pass took in a bad moment is not measured again, and must not be
// believed for long.
static void a_bad_moment_is_forgotten(void **state)
{
    (void)state;
    start(1, pace_of(24, 1, 1), 10);
    sim.cost.fixed = 120 * MS;
    zt_sim_run(&sim);
    assert_true(sim.sched.slow);
    sim.cost.fixed = 2 * MS;
    sim.end += 40000 * MS;
    zt_sim_run(&sim);
    assert_false(sim.sched.slow);
}

// Steps first, then windows, then experts; and back in the other order.
static void rungs_are_given_up_in_order(void **state)
{
    (void)state;
    zt_pace p = pace_of(24, 1, 3);
    p.windows = 2, p.smaller[0] = 4, p.smaller[1] = 1, p.top_ks = 1, p.fewer[0] = 1, p.keep_rate = true;
    start(1, p, 20);
    sim.cost = (zt_sim_cost){ .fixed = MS, .token = 30000, .pair = 110, .show = 4 * MS, .encode = 3 * MS };
    zt_sim_run(&sim);                                       // 144 tokens: 4.3 ms and 18.2 ms of attention at window 8
    const struct zt_lane *c = &sim.sched.lane[session[0].id];
    assert_int_equal(c->rung, 1);                           // 1 + 2 * (4.3 + 18.2) + 4 > 41.7; window 4 fits
    assert_true(session[0].changes[ZT_CHANGE_STEPS] >= 1 && session[0].changes[ZT_CHANGE_WINDOW] >= 1);
    assert_int_equal(session[0].changes[ZT_CHANGE_TOP_K], 0);
    assert_true(session[0].outcome[ZT_DEGRADED] > 400);
    assert_int_equal(c->steps, 1);
    sim.cost.pair = 1;                                      // room: once what was learnt is forgotten, all comes back
    sim.end += 100000 * MS;
    zt_sim_run(&sim);
    assert_int_equal(c->rung, 0);
    assert_int_equal(c->steps, 3);
}

static void offline_work_fills_what_is_left(void **state)
{
    (void)state;
    start(2, pace_of(24, 1, 2), 30);
    session[1].pace.pacing = ZT_OFFLINE;
    session[1].pace.layers = 30, session[1].pace.tokens = 1560;     // a large model: a pass takes 47 ms
    session[1].pace.model = 1;
    zt_sim_run(&sim);
    assert_true(kept(&session[0]) > 0.999);
    assert_true(session[0].outcome[ZT_DEGRADED] < 3);
    const int64_t idle = 30000 * MS - sim.live;
    assert_true(sim.offline > idle * 85 / 100);
    assert_true(sim.sched.wait.count > 100);
    // A slice is a tenth of a period at most: 4.2 ms, and jitter.
    for (int i = 4; i < ZT_BUCKETS; i++)
        assert_int_equal(sim.sched.wait.bucket[i], 0);
}

static void blocks_longer_than_a_slice_run_only_where_they_fit(void **state)
{
    (void)state;
    start(2, pace_of(24, 1, 2), 30);
    session[1].pace.pacing = ZT_OFFLINE;
    session[1].pace.layers = 30, session[1].pace.tokens = 12000;    // a block takes 12 ms, more than a slice
    session[1].pace.model = 1;
    zt_sim_run(&sim);
    assert_true(kept(&session[0]) > 0.999);
    assert_true(sim.offline > 5000 * MS);
    uint64_t longer = 0;
    for (int i = 4; i < ZT_BUCKETS; i++)
        longer += sim.sched.wait.bucket[i];
    assert_true(longer <= 1);                               // the first block, of which nothing was known
}

// A block takes 12 ms, its parts 2 to 6; in groups of rows none is longer than a slice, so that all of the slack is used.
static void longer_blocks_are_cut_within(void **state)
{
    (void)state;
    start(2, pace_of(24, 1, 2), 30);
    const zt_pace cut = { .layers = 30, .tokens = 12000, .rows = 144, .part = { 0.2f, 0.15f, 0.15f, 0.5f } };
    session[1].pace.pacing = ZT_OFFLINE;
    session[1].pace.layers = cut.layers, session[1].pace.tokens = cut.tokens, session[1].pace.rows = cut.rows;
    memcpy(session[1].pace.part, cut.part, sizeof(cut.part));
    session[1].pace.model = 1;
    zt_sim_run(&sim);
    assert_true(kept(&session[0]) > 0.999);
    assert_true(session[0].outcome[ZT_DEGRADED] < 3);
    assert_true(sim.offline > (30000 * MS - sim.live) * 85 / 100);
    assert_true(sim.sched.wait.count > 100);
    for (int i = 4; i < ZT_BUCKETS; i++)
        assert_int_equal(sim.sched.wait.bucket[i], 0);
}

static void admission_keeps_its_promises(void **state)
{
    (void)state;
    start(16, pace_of(8, 1, 2), 60);
    for (int i = 0; i < 16; i++) {
        session[i].guarded = true;
        session[i].from = sim.now + i * 1000 * MS;
    }
    zt_sim_run(&sim);
    int admitted = 0;
    for (int i = 0; i < 16; i++) {
        if (session[i].refused)
            continue;
        admitted++;
        assert_true(kept(&session[i]) >= 0.995);
    }
    // A frame needs 0.5 + 2 * 4.54 + 4.2 + 3.15 = 17 ms: 6.2 sessions of 8 frames/s in 85 %.
    assert_in_range(admitted, 6, 7);
}

// ---- any workload

struct seen {
    bool    clocked;
    int64_t due, rest;
    int     need;
};
static struct seen seen[ZT_SCHED_SESSIONS];

static void look(zt_sim *s)
{
    s->sched.costs.now = s->now;
    for (int i = 0; i < ZT_SCHED_SESSIONS; i++) {
        const struct zt_lane *c = &s->sched.lane[i];
        seen[i] = (struct seen){ 0 };
        if (!c->used || c->pace.pacing != ZT_LIVE || !c->next)
            continue;
        const int64_t due = c->epoch + c->base_pts + (int64_t)(c->next - c->base) * c->pace.period * (c->slow ? 2 : 1);
        const bool more = !c->finishing && (!c->pace.frames || c->begun < c->pace.frames);
        const bool waits = !c->exact && c->begun >= 2;
        seen[i] = (struct seen){ c->working || (more && !waits && s->now >= due - c->pace.budget), due,
                                 zt_sched_rest(&s->sched, i),
                                 !c->working ? c->pace.steps_min : c->left ? c->pace.steps_min - c->step : 0 };
    }
}

static bool meets(zt_sim *s, int i, const zt_todo *todo, int n)
{
    int64_t rest = seen[i].rest;
    for (int j = 0; j < n; j++)
        if (todo[j].id == i && todo[j].pass == ZT_COMMIT)       // of another number of experts than the next frame
            return true;
        else if (todo[j].id == i && seen[i].need > 0)
            rest -= zt_sched_batch_cost(&s->sched, &todo[j], 1);
    return s->now + zt_sched_batch_cost(&s->sched, todo, n) + rest <= seen[i].due;
}

static void judge(zt_sim *s, const zt_todo *todo, int n)
{
    if (!n || todo[0].action != ZT_DO_PASS)
        return;
    for (int i = 0; i < n; i++) {
        const zt_pace *p = &s->sched.lane[todo[i].id].pace;
        assert_int_equal(p->model, s->sched.lane[todo[0].id].pace.model);
        assert_true(p->pacing != ZT_OFFLINE || n == 1);
        for (int j = 0; j < i; j++)
            assert_int_not_equal(todo[i].id, todo[j].id);
        if (todo[i].begin && p->pacing == ZT_LIVE && todo[i].index)
            assert_true(s->now >= todo[i].due - p->budget);
    }
    for (int m = 2; m <= n; m++)
        for (int i = 0; i < ZT_SCHED_SESSIONS; i++)
            if (seen[i].clocked && meets(s, i, todo, m - 1))
                assert_true(meets(s, i, todo, m));
}

static double uniform(uint64_t *x)
{
    *x ^= *x << 13, *x ^= *x >> 7, *x ^= *x << 17;
    return (double)(*x >> 11) / 9007199254740992.0;
}

static void make_workload(uint64_t *x)
{
    const int n = 1 + (int)(uniform(x) * 9);
    start(n, pace_of(24, 1, 2), 1);
    sim.random = *x | 1;
    sim.cost = (zt_sim_cost){ (int64_t)(uniform(x) * 2e6), uniform(x) * 40000, uniform(x) * 20,
                              1 + (int64_t)(uniform(x) * 6e6), 1 + (int64_t)(uniform(x) * 8e6), uniform(x),
                              uniform(x) < 0.3 ? 0.02 : 0 };
    for (int i = 0; i < n; i++) {
        zt_pace *p = &session[i].pace;
        const int min = 1 + (int)(uniform(x) * 2);
        *p = pace_of(5 + (int)(uniform(x) * 40), min, min + (int)(uniform(x) * 3));
        p->model = uniform(x) < 0.2;
        p->pacing = uniform(x) < 0.75 ? ZT_LIVE : uniform(x) < 0.5 ? ZT_OFFLINE : ZT_UNPACED;
        p->tokens = uniform(x) < 0.5 ? 144 : 16 + (int)(uniform(x) * 200);
        p->first_steps = 1 + (int)(uniform(x) * 8);
        p->keep_rate = uniform(x) < 0.5;
        if (uniform(x) < 0.3)
            p->windows = 1, p->smaller[0] = 2;
        if (uniform(x) < 0.3)
            p->top_ks = 1, p->fewer[0] = 1;
        session[i].from = sim.now + (int64_t)(uniform(x) * 400e6);
        session[i].until = uniform(x) < 0.2 ? session[i].from + (int64_t)(uniform(x) * 600e6) : 0;
    }
    sim.before = look;
    sim.after = judge;
}

// What one round of all live sessions costs at most, with what a long pass may add.
static int64_t round_of_all(void)
{
    double sum = 0;
    for (int i = 0; i < sim.sessions; i++) {
        const zt_pace *p = &session[i].pace;
        if (p->pacing == ZT_OFFLINE)
            continue;
        const double pass = (double)sim.cost.fixed + 2 * p->tokens * (sim.cost.token + sim.cost.pair * p->tokens * 8);
        const int steps = ZT_MAX(p->steps_max, p->first_steps);
        sum += (1 + sim.cost.jitter) * (steps * pass * (sim.cost.outlier > 0 ? 4 : 1) + (double)sim.cost.show);
    }
    return (int64_t)sum;
}

static void check_books(const zt_sim_session *x)
{
    if (x->id < 0 || x->pace.pacing != ZT_LIVE)
        return;
    const struct zt_lane *c = &sim.sched.lane[x->id];
    // Every slot before the next one has an outcome or is on its way.
    assert_int_equal(counted(x) + (uint64_t)c->flying, c->next);
    assert_true(x->frames - x->shows <= 1);
}

static void any_workload_keeps_the_rules(void **state)
{
    (void)state;
    uint64_t x = 362436069ull;
    for (int i = 0; i < 10000; i++) {
        make_workload(&x);
        zt_sim_run(&sim);
        const int64_t round = round_of_all();
        for (int j = 0; j < sim.sessions; j++) {
            const zt_sim_session *one = &session[j];
            check_books(one);
            if (!one->came || one->pace.pacing != ZT_LIVE || one->id < 0)
                continue;
            const int64_t silent = ZT_MAX(one->silence, sim.now - one->last);
            assert_true(silent <= 2 * round + 8 * one->pace.period + one->pace.budget + 300 * MS);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sessions_that_fit_are_all_on_time),
        cmocka_unit_test(overload_is_shared),
        cmocka_unit_test(overload_halves_the_rate_of_all),
        cmocka_unit_test(the_rate_comes_back_with_the_room),
        cmocka_unit_test(a_full_house_gets_its_rate_back),
        cmocka_unit_test(a_bad_moment_is_forgotten),
        cmocka_unit_test(rungs_are_given_up_in_order),
        cmocka_unit_test(offline_work_fills_what_is_left),
        cmocka_unit_test(blocks_longer_than_a_slice_run_only_where_they_fit),
        cmocka_unit_test(longer_blocks_are_cut_within),
        cmocka_unit_test(admission_keeps_its_promises),
        cmocka_unit_test(any_workload_keeps_the_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
