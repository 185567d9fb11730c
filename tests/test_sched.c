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
#include "tests/sched_world.h"

static void steady_costs_give_every_frame_its_steps(void **state)
{
    (void)state;
    world *w = world_make(8 * MS, 6 * MS, 5 * MS, 3 * MS);
    world_start(w, (zt_pace){ .steps_max = 2, .first_steps = 4 });
    world_run(w, 11000 * MS);
    assert_int_equal(w->first_packet, 1000 * MS + 4 * 8 * MS + 5 * MS + 3 * MS);
    assert_int_equal(world_counted(w, ZT_ON_TIME), world_counted_all(w));
    const int64_t slots = (w->now - w->first_packet) / (40 * MS) + 1;
    assert_in_range(world_counted_all(w), slots - 1, slots);
    assert_int_equal(w->steps_seen[2], w->shows - 1);
    assert_int_equal(w->steps_seen[4], 1);
    assert_int_equal(world_lane(w)->changes[ZT_CHANGE_STEPS], 0);
}

static void steps_fall_at_once_and_rise_by_one_a_second(void **state)
{
    (void)state;
    world *w = world_make(4 * MS, 4 * MS, 5 * MS, 3 * MS);
    world_start(w, (zt_pace){ .steps_max = 6, .first_steps = 1 });
    world_run(w, 3000 * MS);
    assert_int_equal(world_lane(w)->steps, 6);
    const uint64_t before = world_lane(w)->changes[ZT_CHANGE_STEPS];
    w->stall_at = w->now, w->stall = 85 * MS;               // one hiccup: the plan falls in one frame
    world_run(w, w->now + 150 * MS);
    assert_int_equal(world_lane(w)->changes[ZT_CHANGE_STEPS], before + 1);
    const int fell = world_lane(w)->steps;
    assert_true(fell < 6);
    for (int i = 1; fell + i <= 6; i++) {
        world_run(w, w->now + 1000 * MS);
        assert_in_range(world_lane(w)->steps, fell + i - 1, fell + i);
    }
    world_run(w, w->now + 1000 * MS);
    assert_int_equal(world_lane(w)->steps, 6);
    assert_int_equal(world_counted(w, ZT_REPEATED) + world_counted(w, ZT_DROPPED), 0);
}

// What one frame takes may not cost the next one its least: by the worst that was seen, not by the mean.
static void a_frame_leaves_the_next_its_least(void **state)
{
    (void)state;
    world *w = world_make(8 * MS, 6 * MS, 5 * MS, 3 * MS);
    world_start(w, (zt_pace){ .steps_max = 2, .first_steps = 4 });
    world_run(w, 2000 * MS);
    assert_int_equal(world_lane(w)->steps, 2);
    world_pass_cost(w, 2)->p99 = 95 * MS;                   // 16 + 5 + 95 + 8 > 120; 8 less fits
    world_run(w, 2200 * MS);
    assert_int_equal(world_lane(w)->steps, 1);
}

static void fewer_steps_than_asked_is_degraded(void **state)
{
    (void)state;
    world *w = world_make(8 * MS, 6 * MS, 5 * MS, 3 * MS);
    world_start(w, (zt_pace){ .steps_max = 2, .first_steps = 4 });
    world_run(w, 2000 * MS);
    const uint64_t before = world_counted(w, ZT_ON_TIME);
    zt_cost *one = world_pass_cost(w, 1);
    one->p99 = 38 * MS;                                     // 2 * 38 + 8 > 80
    one->n = ZT_COST_SAMPLES;
    for (int i = 0; i < ZT_COST_SAMPLES; i++)
        one->sample[i] = 38 * MS;
    world_run(w, 3000 * MS);
    assert_int_equal(world_lane(w)->steps, 1);
    assert_int_equal(world_lane(w)->changes[ZT_CHANGE_STEPS], 1);
    assert_in_range(world_counted(w, ZT_ON_TIME), before, before + 3);    // those begun already
    assert_in_range(world_counted(w, ZT_DEGRADED), 20, 26);
    assert_int_equal(world_counted_all(w), world_counted(w, ZT_ON_TIME) + world_counted(w, ZT_DEGRADED));
}

static void no_more_steps_than_are_enough(void **state)
{
    (void)state;
    world *w = world_make(2 * MS, 2 * MS, 5 * MS, 3 * MS);
    world_start(w, (zt_pace){ .steps_max = 4, .steps_min = 2, .first_steps = 4 });
    world_run(w, 2000 * MS);
    assert_int_equal(world_lane(w)->steps, 4);
    zt_sched_enough(&w->sched, w->id, 1);               // it accepts no fewer than 2
    const uint64_t before = world_counted(w, ZT_ON_TIME);
    world_run(w, 3000 * MS);
    assert_int_equal(world_lane(w)->steps, 2);
    assert_int_equal(world_lane(w)->changes[ZT_CHANGE_STEPS], 1);
    assert_in_range(world_counted(w, ZT_ON_TIME), before, before + 3);     // those begun already
    assert_in_range(world_counted(w, ZT_DEGRADED), 20, 26);
    zt_sched_enough(&w->sched, w->id, 0);
    world_run(w, 4900 * MS);                        // a second each
    assert_int_equal(world_lane(w)->steps, 3);
    world_run(w, 5200 * MS);
    assert_int_equal(world_lane(w)->steps, 4);
}

static void the_target_of_steps_may_change(void **state)
{
    (void)state;
    world *w = world_make(2 * MS, 2 * MS, 5 * MS, 3 * MS);
    world_start(w, (zt_pace){ .steps_max = 3, .first_steps = 4 });
    world_run(w, 2000 * MS);
    assert_int_equal(world_lane(w)->steps, 3);
    zt_sched_target(&w->sched, w->id, 1);
    world_run(w, 3000 * MS);
    assert_int_equal(world_lane(w)->steps, 1);
    assert_int_equal(world_counted(w, ZT_DEGRADED), 0); // nobody asked for more
    zt_sched_target(&w->sched, w->id, 4);
    world_run(w, 6500 * MS);                        // a second each
    assert_int_equal(world_lane(w)->steps, 4);
}

// A plan that fails at a boundary is cut there, and the picture is on time.
static void a_frame_is_shown_early_when_its_plan_fails(void **state)
{
    (void)state;
    world *w = world_make(8 * MS, 6 * MS, 5 * MS, 3 * MS);
    world_start(w, (zt_pace){ .steps_max = 3, .first_steps = 4 });
    world_run(w, 2000 * MS);
    assert_int_equal(w->steps_seen[2], 0);
    w->stall_at = w->now, w->stall = 50 * MS;               // 58 + 16 + 8 > 80, one pass less fits
    const uint64_t shows = w->shows;
    while (w->shows < shows + 2)
        world_run(w, w->now + MS);
    assert_int_equal(w->steps_seen[1] + w->steps_seen[2], 1);      // how many still fit depends on what was learnt
    world_run(w, 3000 * MS);
    assert_int_equal(world_counted(w, ZT_LATE) + world_counted(w, ZT_REPEATED) + world_counted(w, ZT_DROPPED), 0);
}

static void steps_that_do_not_last_are_not_tried(void **state)
{
    (void)state;
    world *w = world_make(10 * MS, 10 * MS, 8 * MS, 2 * MS);      // n steps take 18 + 10 n of 40 ms
    world_start(w, (zt_pace){ .steps_max = 4, .first_steps = 1 });
    world_run(w, 31000 * MS);
    assert_int_equal(world_lane(w)->steps, 2);
    assert_true(world_counted(w, ZT_DEGRADED) > 740);
    assert_int_equal(world_counted(w, ZT_LATE) + world_counted(w, ZT_REPEATED) + world_counted(w, ZT_DROPPED), 0);
    assert_true(world_lane(w)->changes[ZT_CHANGE_STEPS] <= 3);
}

// What lasts on paper with a twentieth to spare is late as soon as costs vary.
static void steps_do_not_rise_into_the_last_tenth(void **state)
{
    (void)state;
    world *w = world_make(10 * MS, 10 * MS, 8 * MS, 2 * MS);      // two steps take 38 of 40 ms
    world_start(w, (zt_pace){ .steps_max = 2, .first_steps = 1 });
    world_run(w, 5000 * MS);
    zt_sched_enough(&w->sched, w->id, 1);
    world_run(w, 6000 * MS);
    assert_int_equal(world_lane(w)->steps, 1);
    zt_sched_enough(&w->sched, w->id, 0);
    world_run(w, 20000 * MS);
    assert_int_equal(world_lane(w)->steps, 1);
}

static void overload_repeats_pictures_and_keeps_the_clock(void **state)
{
    (void)state;
    world *w = world_make(50 * MS, 1 * MS, 8 * MS, 2 * MS);       // one step takes 59 of 40 ms
    world_start(w, (zt_pace){ .steps_max = 2, .first_steps = 1, .keep_rate = true });
    world_run(w, 21000 * MS);
    const uint64_t slots = (uint64_t)((w->now - w->first_packet) / (40 * MS)) + 1;
    assert_in_range(world_counted_all(w), slots - 1, slots + 1);
    assert_true(world_counted(w, ZT_REPEATED) > slots / 5);       // a third of the slots cannot have a new picture
    assert_int_equal(world_counted(w, ZT_DROPPED), 0);
    assert_int_equal(w->repeats, world_counted(w, ZT_REPEATED));
    assert_true(w->shows >= (uint64_t)(20000 / 59) - 2);    // the machine is never idle
}

static void a_repeat_that_nobody_gets_is_dropped(void **state)
{
    (void)state;
    world *w = world_make(50 * MS, 1 * MS, 8 * MS, 2 * MS);
    w->full = true;
    world_start(w, (zt_pace){ .steps_max = 2, .first_steps = 1, .keep_rate = true });
    world_run(w, 21000 * MS);
    const uint64_t slots = (uint64_t)((w->now - w->first_packet) / (40 * MS)) + 1;
    assert_in_range(world_counted_all(w), slots - 2, slots + 1);
    assert_true(w->repeats > slots / 5);
    assert_int_equal(world_counted(w, ZT_REPEATED), 0);
    assert_in_range(world_counted(w, ZT_DROPPED), w->repeats - 2, w->repeats);
}

static void a_long_stall_drops_slots_and_loses_no_frame(void **state)
{
    (void)state;
    world *w = world_make(8 * MS, 6 * MS, 5 * MS, 3 * MS);
    world_start(w, (zt_pace){ .steps_max = 2, .first_steps = 1 });
    world_run(w, 3000 * MS);
    w->stall_at = w->now, w->stall = 1000 * MS;
    world_run(w, 8000 * MS);
    const uint64_t slots = (uint64_t)((w->now - w->first_packet) / (40 * MS)) + 1;
    assert_in_range(world_counted_all(w), slots - 1, slots + 1);
    assert_in_range(world_counted(w, ZT_DROPPED), 22, 26);        // a second is 25 slots, of which 1 to 2 were ready
    assert_true(world_counted(w, ZT_REPEATED) <= 2);
    assert_true(w->begins - w->shows <= 1);
}

static void a_short_stall_repeats(void **state)
{
    (void)state;
    world *w = world_make(8 * MS, 6 * MS, 5 * MS, 3 * MS);
    world_start(w, (zt_pace){ .steps_max = 2, .first_steps = 1 });
    world_run(w, 3000 * MS);
    w->stall_at = w->now, w->stall = 130 * MS;              // 80 ms were in hand
    world_run(w, 6000 * MS);
    assert_int_equal(world_counted(w, ZT_DROPPED), 0);
    assert_in_range(world_counted(w, ZT_REPEATED) + world_counted(w, ZT_LATE), 1, 3);
}

static void a_little_late_is_late(void **state)
{
    (void)state;
    world *w = world_make(8 * MS, 6 * MS, 5 * MS, 3 * MS);
    world_start(w, (zt_pace){ .steps_max = 1, .first_steps = 1 });
    world_run(w, 3000 * MS);
    w->stall_at = w->now, w->stall = 75 * MS;
    world_run(w, 6000 * MS);
    assert_int_equal(world_counted(w, ZT_DROPPED) + world_counted(w, ZT_REPEATED), 0);
    assert_int_equal(world_counted(w, ZT_LATE), 1);
}

static void the_first_slots_packet_sets_the_clock(void **state)
{
    (void)state;
    world *w = world_make(8 * MS, 6 * MS, 5 * MS, 30 * MS);
    world_start(w, (zt_pace){ .steps_max = 2, .first_steps = 1 });
    world_run(w, 2000 * MS);
    assert_int_equal(world_lane(w)->epoch, w->first_packet);
}

// While the first packet is awaited nothing is due, and nothing but the next frame is made.
static void a_slow_first_packet_delays_the_clock(void **state)
{
    (void)state;
    world *w = world_make(8 * MS, 6 * MS, 5 * MS, 300 * MS);
    world_start(w, (zt_pace){ .steps_max = 2, .first_steps = 1 });
    world_run(w, 1300 * MS);
    assert_int_equal(w->shows, 2);
    assert_int_equal(world_counted_all(w), 0);
    world_run(w, 1330 * MS);
    assert_int_equal(world_lane(w)->epoch, w->first_packet);
}

static void without_a_first_packet_the_clock_starts_after_a_second(void **state)
{
    (void)state;
    world *w = world_make(8 * MS, 6 * MS, 5 * MS, 3 * MS);
    world_start(w, (zt_pace){ .steps_max = 2, .first_steps = 1 });
    w->encoder_free = 100000 * MS;
    world_run(w, 1900 * MS);
    assert_int_equal(w->shows, 2);
    world_run(w, 4000 * MS);
    assert_in_range(w->shows, 45, 55);
    assert_in_range(world_counted(w, ZT_DROPPED), 40, 50);
}

static void a_packet_that_never_comes_is_dropped(void **state)
{
    (void)state;
    world *w = world_make(8 * MS, 6 * MS, 5 * MS, 3 * MS);
    w->lose = 20;
    world_start(w, (zt_pace){ .steps_max = 2, .first_steps = 1 });
    world_run(w, 1500 * MS);
    world_run(w, w->first_packet + 21 * 40 * MS + MS);            // packets are in order: the next one's tells at once
    assert_int_equal(world_counted(w, ZT_DROPPED), 1);
    world_run(w, 3000 * MS);
    assert_int_equal(world_counted(w, ZT_DROPPED), 1);
    assert_int_equal(world_counted_all(w), (w->now - w->first_packet) / (40 * MS) + 1);
}

static void a_picture_that_could_not_be_handed_on_is_dropped(void **state)
{
    (void)state;
    world *w = world_make(8 * MS, 6 * MS, 5 * MS, 3 * MS);
    world_start(w, (zt_pace){ .steps_max = 2, .first_steps = 1 });
    world_run(w, 2000 * MS);
    zt_todo t;
    int64_t wake;
    for (;; w->now = wake) {                                // by hand until something is shown
        while (zt_sched_next(&w->sched, w->now, &t, 1, &wake) && t.action == ZT_DO_PASS)
            world_do(w, &t);
        if (t.action == ZT_DO_SHOW)
            break;
        world_deliver(w, wake);
    }
    zt_sched_done(&w->sched, &t, 1, w->now, w->now + MS);
    zt_sched_lost(&w->sched, w->id, t.index);
    w->working = 0, w->uncommitted = 1;
    world_run(w, 3000 * MS);
    assert_int_equal(world_counted(w, ZT_DROPPED), 1);
}

static void offline_makes_every_frame_at_full_steps_and_stops(void **state)
{
    (void)state;
    world *w = world_make(300 * MS, 6 * MS, 5 * MS, 3 * MS);
    world_start(w, (zt_pace){ .pacing = ZT_OFFLINE, .steps_max = 3, .first_steps = 5, .frames = 20 });
    world_run(w, 1000000 * MS);
    assert_true(zt_sched_finished(&w->sched, w->id));
    assert_int_equal(w->shows, 20);
    assert_int_equal(w->steps_seen[3], 19);
    assert_int_equal(w->steps_seen[5], 1);
    assert_int_equal(w->commits, 19);                       // the last has no successor
    assert_int_equal(world_counted(w, ZT_ON_TIME), 20);
    assert_int_equal(world_counted_all(w), 20);
}

static void unpaced_is_never_late_and_merges_every_commit(void **state)
{
    (void)state;
    world *w = world_make(300 * MS, 6 * MS, 5 * MS, 3 * MS);
    world_start(w, (zt_pace){ .pacing = ZT_UNPACED, .steps_max = 2, .first_steps = 2, .frames = 10 });
    world_run(w, 1000000 * MS);
    assert_int_equal(world_counted(w, ZT_ON_TIME), 10);
    assert_int_equal(w->now - 1000 * MS, 20 * 300 * MS + 9 * 6 * MS + 10 * 5 * MS + 3 * MS);
}

static void finish_ends_after_the_frame_in_work(void **state)
{
    (void)state;
    world *w = world_make(8 * MS, 6 * MS, 5 * MS, 3 * MS);
    world_start(w, (zt_pace){ .steps_max = 2, .first_steps = 1 });
    world_run(w, 2000 * MS);
    zt_sched_finish(&w->sched, w->id);
    world_run(w, 3000 * MS);
    assert_true(zt_sched_finished(&w->sched, w->id));
    assert_int_equal(w->shows, w->begins);
    assert_int_equal(world_counted_all(w), w->shows);
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
    const zt_pace p = { .period = 100 * MS, .budget = 200 * MS, .chunk = 1, .steps_min = 1, .steps_max = 1, .first_steps = 1,
                        .keep_rate = true };
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

// A class that is never measured again does not outlive its neighbours' word in the file.
static void bad_moments_are_not_kept(void **state)
{
    (void)state;
    static zt_costs c, next;
    const zt_shape merged = { .tokens = 288, .pairs = 331776 }, one = { .tokens = 144, .pairs = 165888 };
    c.now = 1;
    for (int i = 0; i < 40; i++)
        zt_costs_add(&c, &merged, 80 * MS);
    for (int64_t end = 0; end <= 20; end += 20) {           // at once; ten seconds later
        c.now += end * 1000 * MS;
        for (int i = 0; i < 40; i++)
            zt_costs_add(&c, &one, 10 * MS);
        char text[1024] = "";
        FILE *f = fmemopen(text, sizeof(text), "w+");
        zt_costs_write(&c, 0, "key", f);
        rewind(f);
        memset(&next, 0, sizeof(next));
        next.now = c.now;
        assert_int_equal(zt_costs_read(&next, 0, "key", f), end ? 1 : 2);
        assert_int_equal(zt_costs_of(&next, &merged).p99, end ? 20 * MS : 80 * MS);
        fclose(f);
    }
}

// Whatever the costs: each slot has one outcome, frames are dense, nothing early, nothing twice (world_do() and
// hand_over() assert), and the counts are the clock's.
static void random_workloads_keep_the_books(void **state)
{
    (void)state;
    uint64_t seed = 88172645463325252ull;
    for (int i = 0; i < 12000; i++) {
        world *w = world_make(0, 0, 0, 0);
        w->random = seed += 0x9e3779b97f4a7c15ull;
        zt_pace p = { .period = 10 * MS + (int64_t)(world_draw(w) % 90) * MS, .steps_min = 1 + (int)(world_draw(w) % 2),
                      .chunk = world_draw(w) % 4 ? 1 : 3, .first_steps = 1 + (int)(world_draw(w) % 16) };
        p.steps_max = p.steps_min + (int)(world_draw(w) % 4);
        p.budget = p.period * p.chunk + (int64_t)(world_draw(w) % 3) * p.period;
        const uint64_t unit = (uint64_t)(p.period * p.chunk);
        w->pass = (int64_t)(world_draw(w) % unit), w->commit = w->pass / 2 + 1, w->show = (int64_t)(world_draw(w) % (unit / 4)) + 1;
        w->encode = (int64_t)(world_draw(w) % (uint64_t)(p.period * 3 / 4)) + 1;
        w->spread = 1 + (int)(world_draw(w) % 20);
        world_start(w, p);
        const int64_t until = w->now + (20 + (int64_t)(world_draw(w) % 40)) * p.period * p.chunk;
        world_run(w, until);
        if (!w->first_packet)
            continue;
        // Undecided are at most those on their way and those not given up yet.
        int64_t wake;
        zt_todo t;
        world_deliver(w, w->now);
        if (!world_lane(w)->taken)
            zt_sched_next(&w->sched, w->now, &t, 1, &wake);
        const struct zt_lane *c = world_lane(w);            // its rate may have been halved
        const int64_t ns = w->now - c->epoch - c->base_pts;
        const int64_t slots = (int64_t)c->base + ns / (p.period * (c->slow ? 2 : 1)) + 1;
        const int64_t books = (int64_t)world_counted_all(w), undecided = world_lane(w)->flying + ZT_MAX(p.chunk, 2) + 1;
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
        world *w = world_make(0, 0, 0, 0);
        w->random = seed += 0x9e3779b97f4a7c15ull;
        const zt_pace p = { .period = 20 * MS + (int64_t)(world_draw(w) % 80) * MS, .steps_min = 1,
                            .steps_max = 1 + (int)(world_draw(w) % 4), .first_steps = 1 + (int)(world_draw(w) % 16) };
        // Mean cost of everything: 90 % of the period at most; single passes up to a quarter longer.
        const int64_t all = p.period * 9 / 10 * 8 / 9;
        w->encode = (int64_t)(world_draw(w) % (uint64_t)(p.period / 3)) + 1;
        w->pass = all / (p.steps_max + 2), w->commit = w->pass, w->show = w->pass;
        w->random = 0;
        world_start(w, p);
        world_run(w, w->now + 60 * p.period);
        assert_int_equal(world_counted(w, ZT_ON_TIME), world_counted_all(w));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steady_costs_give_every_frame_its_steps),
        cmocka_unit_test(steps_fall_at_once_and_rise_by_one_a_second),
        cmocka_unit_test(steps_do_not_rise_into_the_last_tenth),
        cmocka_unit_test(a_frame_leaves_the_next_its_least),
        cmocka_unit_test(fewer_steps_than_asked_is_degraded),
        cmocka_unit_test(no_more_steps_than_are_enough),
        cmocka_unit_test(the_target_of_steps_may_change),
        cmocka_unit_test(a_frame_is_shown_early_when_its_plan_fails),
        cmocka_unit_test(steps_that_do_not_last_are_not_tried),
        cmocka_unit_test(overload_repeats_pictures_and_keeps_the_clock),
        cmocka_unit_test(a_repeat_that_nobody_gets_is_dropped),
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
        cmocka_unit_test(bad_moments_are_not_kept),
        cmocka_unit_test(random_workloads_keep_the_books),
        cmocka_unit_test(whatever_fits_is_on_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
