// SPDX-License-Identifier: Apache-2.0
// The policy of time, by arithmetic on a fake clock: what is planned, what is shown, what is counted.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/base.h"
#include "engine/sched.h"

#define MS INT64_C(1000000)
#define FLYING 512

// One engine, one session, costs that a function of the test gives.
typedef struct world {
    zt_sched  sched;
    int       id;
    int64_t   now, end;
    int64_t   pass, commit, show, encode;           // ns; `commit` is what a merged commit adds
    int64_t   stall_at, stall;                      // the first pass at or after stall_at takes this much longer
    uint64_t  lose;                                 // no packet for this slot (0: none)
    uint64_t  random;                               // non-zero: costs vary up to `spread` times
    int       spread;
    // what happened
    struct { uint64_t index; int64_t at; } packet[FLYING];
    int       flying, taken;
    uint64_t  shows, repeats, begins, last_index, commits;
    int64_t   begun_at;
    int       steps, uncommitted, working, planned;
    bool      any;
    int       steps_seen[ZT_MAX_STEPS + 1];
    int64_t   first_packet, encoder_free;
} world;

static uint64_t draw(world *w)
{
    w->random ^= w->random << 13, w->random ^= w->random >> 7, w->random ^= w->random << 17;
    return w->random;
}

static int64_t vary(world *w, int64_t cost)
{
    if (!w->random)
        return cost;
    const int64_t more = draw(w) % 50 == 0 ? cost * w->spread : cost / 4;
    return cost + (more ? (int64_t)(draw(w) % (uint64_t)more) : 0);
}

static struct zt_lane *lane(world *w)
{
    return &w->sched.lane[w->id];
}

static uint64_t counted(world *w, int outcome)
{
    return lane(w)->outcome[outcome];
}

static uint64_t counted_all(world *w)
{
    uint64_t n = 0;
    for (int i = 0; i < ZT_OUTCOMES; i++)
        n += counted(w, i);
    return n;
}

static void deliver_until(world *w, int64_t now)
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
    const int chunk = t->action == ZT_DO_SHOW ? lane(w)->pace.chunk : 1;
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
    const zt_pace *p = &lane(w)->pace;
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
    if (w->stall && w->now >= w->stall_at) {
        cost += w->stall;
        w->stall = 0;
    }
    return cost;
}

static void do_it(world *w, const zt_todo *t)
{
    const int64_t started = w->now;
    if (t->action == ZT_DO_PASS)
        check_pass(w, t);
    w->now += cost_of(w, t);
    if (t->action == ZT_DO_SHOW) {
        assert_true(w->working && w->steps == t->steps && w->steps >= ZT_MIN(lane(w)->pace.steps_min, w->planned));
        w->steps_seen[w->steps]++;
        w->working = 0, w->uncommitted = 1;
        w->shows++;
    } else if (t->action == ZT_DO_REPEAT) {
        assert_true(w->now >= t->due);
        w->repeats++;
    }
    // Packets that came while this ran are reported with their own times, as another thread would.
    deliver_until(w, w->now);
    zt_sched_done(&w->sched, t, 1, started, w->now);
    if (t->action != ZT_DO_PASS)
        hand_over(w, t);
}

static void start(world *w, zt_pace p)
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

static void run(world *w, int64_t until)
{
    zt_todo t;
    int64_t wake;
    while (w->now < until) {
        deliver_until(w, w->now);
        if (zt_sched_next(&w->sched, w->now, &t, 1, &wake)) {
            do_it(w, &t);
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

static world *make(int64_t pass, int64_t commit, int64_t show, int64_t encode)
{
    static world w;
    w = (world){ .now = 1000 * MS, .pass = pass, .commit = commit, .show = show, .encode = encode };
    return &w;
}

static void steady_costs_give_every_frame_its_steps(void **state)
{
    (void)state;
    world *w = make(8 * MS, 6 * MS, 5 * MS, 3 * MS);
    start(w, (zt_pace){ .steps_max = 2, .first_steps = 4 });
    run(w, 11000 * MS);
    assert_int_equal(w->first_packet, 1000 * MS + 4 * 8 * MS + 5 * MS + 3 * MS);
    assert_int_equal(counted(w, ZT_ON_TIME), counted_all(w));
    const int64_t slots = (w->now - w->first_packet) / (40 * MS) + 1;
    assert_in_range(counted_all(w), slots - 1, slots);
    assert_int_equal(w->steps_seen[2], w->shows - 1);
    assert_int_equal(w->steps_seen[4], 1);
    assert_int_equal(lane(w)->changes, 0);
}

static void steps_fall_at_once_and_rise_by_one_a_second(void **state)
{
    (void)state;
    world *w = make(4 * MS, 4 * MS, 5 * MS, 3 * MS);
    start(w, (zt_pace){ .steps_max = 6, .first_steps = 1 });
    run(w, 3000 * MS);
    assert_int_equal(lane(w)->steps, 6);
    const uint64_t before = lane(w)->changes;
    w->stall_at = w->now, w->stall = 60 * MS;               // one hiccup: the plan falls in one frame
    run(w, w->now + 150 * MS);
    assert_int_equal(lane(w)->changes, before + 1);
    const int fell = lane(w)->steps;
    assert_true(fell < 6);
    for (int i = 1; fell + i <= 6; i++) {
        run(w, w->now + 1000 * MS);
        assert_in_range(lane(w)->steps, fell + i - 1, fell + i);
    }
    run(w, w->now + 1000 * MS);
    assert_int_equal(lane(w)->steps, 6);
    assert_int_equal(counted(w, ZT_REPEATED) + counted(w, ZT_DROPPED), 0);
}

static void steps_that_do_not_last_are_not_tried(void **state)
{
    (void)state;
    world *w = make(10 * MS, 10 * MS, 8 * MS, 2 * MS);      // n steps take 18 + 10 n of 40 ms
    start(w, (zt_pace){ .steps_max = 4, .first_steps = 1 });
    run(w, 31000 * MS);
    assert_int_equal(lane(w)->steps, 2);
    assert_true(counted(w, ZT_DEGRADED) > 740);
    assert_int_equal(counted(w, ZT_LATE) + counted(w, ZT_REPEATED) + counted(w, ZT_DROPPED), 0);
    assert_true(lane(w)->changes <= 3);
}

static void overload_repeats_pictures_and_keeps_the_clock(void **state)
{
    (void)state;
    world *w = make(50 * MS, 1 * MS, 8 * MS, 2 * MS);       // one step takes 59 of 40 ms
    start(w, (zt_pace){ .steps_max = 2, .first_steps = 1 });
    run(w, 21000 * MS);
    const uint64_t slots = (uint64_t)((w->now - w->first_packet) / (40 * MS)) + 1;
    assert_in_range(counted_all(w), slots - 1, slots + 1);
    assert_true(counted(w, ZT_REPEATED) > slots / 5);       // a third of the slots cannot have a new picture
    assert_int_equal(counted(w, ZT_DROPPED), 0);
    assert_int_equal(w->repeats, counted(w, ZT_REPEATED));
    assert_true(w->shows >= (uint64_t)(20000 / 59) - 2);    // the machine is never idle
}

static void a_long_stall_drops_slots_and_loses_no_frame(void **state)
{
    (void)state;
    world *w = make(8 * MS, 6 * MS, 5 * MS, 3 * MS);
    start(w, (zt_pace){ .steps_max = 2, .first_steps = 1 });
    run(w, 3000 * MS);
    w->stall_at = w->now, w->stall = 1000 * MS;
    run(w, 8000 * MS);
    const uint64_t slots = (uint64_t)((w->now - w->first_packet) / (40 * MS)) + 1;
    assert_in_range(counted_all(w), slots - 1, slots + 1);
    assert_in_range(counted(w, ZT_DROPPED), 22, 26);        // a second is 25 slots, of which 1 to 2 were ready
    assert_true(counted(w, ZT_REPEATED) <= 2);
    assert_true(w->begins - w->shows <= 1);
}

static void a_short_stall_repeats(void **state)
{
    (void)state;
    world *w = make(8 * MS, 6 * MS, 5 * MS, 3 * MS);
    start(w, (zt_pace){ .steps_max = 2, .first_steps = 1 });
    run(w, 3000 * MS);
    w->stall_at = w->now, w->stall = 130 * MS;              // 80 ms were in hand
    run(w, 6000 * MS);
    assert_int_equal(counted(w, ZT_DROPPED), 0);
    assert_in_range(counted(w, ZT_REPEATED) + counted(w, ZT_LATE), 1, 3);
}

static void a_little_late_is_late(void **state)
{
    (void)state;
    world *w = make(8 * MS, 6 * MS, 5 * MS, 3 * MS);
    start(w, (zt_pace){ .steps_max = 1, .first_steps = 1 });
    run(w, 3000 * MS);
    w->stall_at = w->now, w->stall = 75 * MS;
    run(w, 6000 * MS);
    assert_int_equal(counted(w, ZT_DROPPED) + counted(w, ZT_REPEATED), 0);
    assert_int_equal(counted(w, ZT_LATE), 1);
}

static void the_first_slots_packet_sets_the_clock(void **state)
{
    (void)state;
    world *w = make(8 * MS, 6 * MS, 5 * MS, 30 * MS);
    start(w, (zt_pace){ .steps_max = 2, .first_steps = 1 });
    run(w, 2000 * MS);
    assert_int_equal(lane(w)->epoch, w->first_packet);
}

// While the first packet is awaited nothing is due, and nothing but the next frame is made.
static void a_slow_first_packet_delays_the_clock(void **state)
{
    (void)state;
    world *w = make(8 * MS, 6 * MS, 5 * MS, 300 * MS);
    start(w, (zt_pace){ .steps_max = 2, .first_steps = 1 });
    run(w, 1300 * MS);
    assert_int_equal(w->shows, 2);
    assert_int_equal(counted_all(w), 0);
    run(w, 1330 * MS);
    assert_int_equal(lane(w)->epoch, w->first_packet);
}

static void without_a_first_packet_the_clock_starts_after_a_second(void **state)
{
    (void)state;
    world *w = make(8 * MS, 6 * MS, 5 * MS, 3 * MS);
    start(w, (zt_pace){ .steps_max = 2, .first_steps = 1 });
    w->encoder_free = 100000 * MS;
    run(w, 1900 * MS);
    assert_int_equal(w->shows, 2);
    run(w, 4000 * MS);
    assert_in_range(w->shows, 45, 55);
    assert_in_range(counted(w, ZT_DROPPED), 40, 50);
}

static void a_packet_that_never_comes_is_dropped(void **state)
{
    (void)state;
    world *w = make(8 * MS, 6 * MS, 5 * MS, 3 * MS);
    w->lose = 20;
    start(w, (zt_pace){ .steps_max = 2, .first_steps = 1 });
    run(w, 3000 * MS);
    assert_int_equal(counted(w, ZT_DROPPED), 1);
    assert_int_equal(counted_all(w), (w->now - w->first_packet) / (40 * MS) + 1);
}

static void a_picture_that_could_not_be_handed_on_is_dropped(void **state)
{
    (void)state;
    world *w = make(8 * MS, 6 * MS, 5 * MS, 3 * MS);
    start(w, (zt_pace){ .steps_max = 2, .first_steps = 1 });
    run(w, 2000 * MS);
    zt_todo t;
    int64_t wake;
    for (;; w->now = wake) {                                // by hand until something is shown
        while (zt_sched_next(&w->sched, w->now, &t, 1, &wake) && t.action == ZT_DO_PASS)
            do_it(w, &t);
        if (t.action == ZT_DO_SHOW)
            break;
        deliver_until(w, wake);
    }
    zt_sched_done(&w->sched, &t, 1, w->now, w->now + MS);
    zt_sched_lost(&w->sched, w->id, t.index);
    w->working = 0, w->uncommitted = 1;
    run(w, 3000 * MS);
    assert_int_equal(counted(w, ZT_DROPPED), 1);
}

static void offline_makes_every_frame_at_full_steps_and_stops(void **state)
{
    (void)state;
    world *w = make(300 * MS, 6 * MS, 5 * MS, 3 * MS);
    start(w, (zt_pace){ .pacing = ZT_OFFLINE, .steps_max = 3, .first_steps = 5, .frames = 20 });
    run(w, 1000000 * MS);
    assert_true(zt_sched_finished(&w->sched, w->id));
    assert_int_equal(w->shows, 20);
    assert_int_equal(w->steps_seen[3], 19);
    assert_int_equal(w->steps_seen[5], 1);
    assert_int_equal(w->commits, 19);                       // the last has no successor
    assert_int_equal(counted(w, ZT_ON_TIME), 20);
    assert_int_equal(counted_all(w), 20);
}

static void unpaced_is_never_late_and_merges_every_commit(void **state)
{
    (void)state;
    world *w = make(300 * MS, 6 * MS, 5 * MS, 3 * MS);
    start(w, (zt_pace){ .pacing = ZT_UNPACED, .steps_max = 2, .first_steps = 2, .frames = 10 });
    run(w, 1000000 * MS);
    assert_int_equal(counted(w, ZT_ON_TIME), 10);
    assert_int_equal(w->now - 1000 * MS, 20 * 300 * MS + 9 * 6 * MS + 10 * 5 * MS + 3 * MS);
}

static void finish_ends_after_the_frame_in_work(void **state)
{
    (void)state;
    world *w = make(8 * MS, 6 * MS, 5 * MS, 3 * MS);
    start(w, (zt_pace){ .steps_max = 2, .first_steps = 1 });
    run(w, 2000 * MS);
    zt_sched_finish(&w->sched, w->id);
    run(w, 3000 * MS);
    assert_true(zt_sched_finished(&w->sched, w->id));
    assert_int_equal(w->shows, w->begins);
    assert_int_equal(counted_all(w), w->shows);
}

static void live_work_goes_before_offline_work(void **state)
{
    (void)state;
    static zt_sched s;
    memset(&s, 0, sizeof(s));
    const zt_pace offline = { ZT_OFFLINE, 40 * MS, 80 * MS, 1, 1, 2, 1, 0 };
    const zt_pace paced = { ZT_LIVE, 40 * MS, 80 * MS, 1, 1, 2, 1, 0 };
    const int a = zt_sched_add(&s, &offline, 0), b = zt_sched_add(&s, &paced, 0);
    int64_t now = 0, wake;
    uint64_t shows[2] = { 0, 0 };
    while (now < 10000 * MS) {
        zt_todo t;
        assert_int_equal(zt_sched_next(&s, now, &t, 1, &wake), 1);      // offline work always waits
        const int64_t cost = t.action == ZT_DO_PASS ? 5 * MS : 4 * MS;
        zt_sched_done(&s, &t, 1, now, now + cost);
        now += cost;
        if (t.action == ZT_DO_SHOW) {
            zt_sched_delivered(&s, t.id, t.index, now);
            shows[t.id == b]++;
        }
    }
    assert_int_equal(s.lane[b].outcome[ZT_ON_TIME] + s.lane[b].outcome[ZT_DEGRADED], s.lane[b].outcome[ZT_ON_TIME]);
    assert_true(shows[1] >= 249 && shows[0] > 200);
    assert_int_equal(s.lane[a].outcome[ZT_ON_TIME], shows[0]);
}

static void sessions_behind_share_what_there_is(void **state)
{
    (void)state;
    static zt_sched s;
    memset(&s, 0, sizeof(s));
    const zt_pace p = { ZT_LIVE, 100 * MS, 200 * MS, 1, 1, 1, 1, 0 };
    for (int i = 0; i < 8; i++)
        zt_sched_add(&s, &p, 0);                            // each needs 20 of 100 ms: 1.6 times what there is
    int64_t now = 0, wake;
    int shows[8] = { 0 };
    while (now < 30000 * MS) {
        zt_todo t;
        if (!zt_sched_next(&s, now, &t, 1, &wake)) {
            now = wake;
            continue;
        }
        const int64_t cost = t.action == ZT_DO_REPEAT ? 1 : 20 * MS / 3;
        zt_sched_done(&s, &t, 1, now, now + cost);
        now += cost;
        if (t.action == ZT_DO_SHOW) {
            zt_sched_delivered(&s, t.id, t.index, now);
            shows[t.id]++;
        }
    }
    int least = INT32_MAX, most = 0;
    for (int i = 0; i < 8; i++)
        least = ZT_MIN(least, shows[i]), most = ZT_MAX(most, shows[i]);
    assert_true(least >= 170 && most <= least + least / 10);
}

static void costs_are_learnt(void **state)
{
    (void)state;
    zt_cost c = { 0 };
    zt_cost_add(&c, 10 * MS);
    assert_int_equal(c.p99, 10 * MS);
    for (int i = 0; i < 40; i++)
        zt_cost_add(&c, i % 2 ? 8 * MS : 12 * MS);
    assert_in_range(c.mean, 9.5 * MS, 10.5 * MS);
    assert_in_range(c.p99, 15 * MS, 17 * MS);               // mean + 3 * 2 ms
    for (int i = 0; i < 200; i++)
        zt_cost_add(&c, i == 5 || i == 77 ? 90 * MS : i == 150 ? 30 * MS : 10 * MS);
    assert_int_equal(c.p99, 30 * MS);                       // two of 200 may be longer
}

// Whatever the costs: each slot has one outcome, frames are dense, nothing early, nothing twice (do_it() and
// hand_over() assert), and the counts are the clock's.
static void random_workloads_keep_the_books(void **state)
{
    (void)state;
    uint64_t seed = 88172645463325252ull;
    for (int i = 0; i < 12000; i++) {
        world *w = make(0, 0, 0, 0);
        w->random = seed += 0x9e3779b97f4a7c15ull;
        zt_pace p = { .period = 10 * MS + (int64_t)(draw(w) % 90) * MS, .steps_min = 1 + (int)(draw(w) % 2),
                      .chunk = draw(w) % 4 ? 1 : 3, .first_steps = 1 + (int)(draw(w) % 16) };
        p.steps_max = p.steps_min + (int)(draw(w) % 4);
        p.budget = p.period * p.chunk + (int64_t)(draw(w) % 3) * p.period;
        const uint64_t unit = (uint64_t)(p.period * p.chunk);
        w->pass = (int64_t)(draw(w) % unit), w->commit = w->pass / 2 + 1, w->show = (int64_t)(draw(w) % (unit / 4)) + 1;
        w->encode = (int64_t)(draw(w) % (uint64_t)(p.period * 3 / 4)) + 1;
        w->spread = 1 + (int)(draw(w) % 20);
        start(w, p);
        const int64_t until = w->now + (20 + (int64_t)(draw(w) % 40)) * p.period * p.chunk;
        run(w, until);
        if (!w->first_packet)
            continue;
        // Undecided are at most those on their way and those not given up yet.
        int64_t wake;
        zt_todo t;
        deliver_until(w, w->now);
        if (!lane(w)->taken)
            zt_sched_next(&w->sched, w->now, &t, 1, &wake);
        const int64_t slots = (w->now - w->first_packet) / p.period + 1;
        const int64_t books = (int64_t)counted_all(w), undecided = lane(w)->flying + ZT_MAX(p.chunk, 2) + 1;
        assert_true(books <= slots + 1 && books >= slots - undecided - p.chunk);
        assert_true(w->begins - w->shows <= 1);
    }
}

// A session with room for its frames never misses one.
static void whatever_fits_is_on_time(void **state)
{
    (void)state;
    uint64_t seed = 362436069ull;
    for (int i = 0; i < 2000; i++) {
        world *w = make(0, 0, 0, 0);
        w->random = seed += 0x9e3779b97f4a7c15ull;
        const zt_pace p = { .period = 20 * MS + (int64_t)(draw(w) % 80) * MS, .steps_min = 1,
                            .steps_max = 1 + (int)(draw(w) % 4), .first_steps = 1 + (int)(draw(w) % 16) };
        // Mean cost of everything: 90 % of the period at most; single passes up to a quarter longer.
        const int64_t all = p.period * 9 / 10 * 8 / 9;
        w->encode = (int64_t)(draw(w) % (uint64_t)(p.period / 3)) + 1;
        w->pass = all / (p.steps_max + 2), w->commit = w->pass, w->show = w->pass;
        w->random = 0;
        start(w, p);
        run(w, w->now + 60 * p.period);
        assert_int_equal(counted(w, ZT_ON_TIME), counted_all(w));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steady_costs_give_every_frame_its_steps),
        cmocka_unit_test(steps_fall_at_once_and_rise_by_one_a_second),
        cmocka_unit_test(steps_that_do_not_last_are_not_tried),
        cmocka_unit_test(overload_repeats_pictures_and_keeps_the_clock),
        cmocka_unit_test(a_long_stall_drops_slots_and_loses_no_frame),
        cmocka_unit_test(a_short_stall_repeats),
        cmocka_unit_test(a_little_late_is_late),
        cmocka_unit_test(the_first_slots_packet_sets_the_clock),
        cmocka_unit_test(a_slow_first_packet_delays_the_clock),
        cmocka_unit_test(without_a_first_packet_the_clock_starts_after_a_second),
        cmocka_unit_test(a_packet_that_never_comes_is_dropped),
        cmocka_unit_test(a_picture_that_could_not_be_handed_on_is_dropped),
        cmocka_unit_test(offline_makes_every_frame_at_full_steps_and_stops),
        cmocka_unit_test(unpaced_is_never_late_and_merges_every_commit),
        cmocka_unit_test(finish_ends_after_the_frame_in_work),
        cmocka_unit_test(live_work_goes_before_offline_work),
        cmocka_unit_test(sessions_behind_share_what_there_is),
        cmocka_unit_test(costs_are_learnt),
        cmocka_unit_test(random_workloads_keep_the_books),
        cmocka_unit_test(whatever_fits_is_on_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
