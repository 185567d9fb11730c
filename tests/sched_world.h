// SPDX-License-Identifier: Apache-2.0
// One engine and one session on a fake clock, for tests of the scheduler.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "engine/sched.h"

#define MS INT64_C(1000000)
#define FLYING 512

// One engine, one session, costs that a function of the test gives.
typedef struct world {
    zt_sched  sched;
    int       id;
    int64_t   now, end;
    int64_t   pass, commit, show, encode;           // ns; `commit` is what a merged commit adds
    int64_t   stall_at, stall;                      // the first frame begun at or after stall_at takes this much longer
    uint64_t  lose;                                 // no packet for this slot (0: none)
    bool      full;                                 // repeats find no room at the encoder
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

// What is known of passes of one or two frames' tokens.
zt_cost        *world_pass_cost(world *w, int64_t tokens);
// Random, when w->random is not 0.
uint64_t        world_draw(world *w);
struct zt_lane *world_lane(world *w);
uint64_t        world_counted(world *w, int outcome);
uint64_t        world_counted_all(world *w);

// Costs in ns; a static one, valid until the next call.
world *world_make(int64_t pass, int64_t commit, int64_t show, int64_t encode);
void   world_start(world *w, zt_pace p);            // adds the session; zeroes in p get defaults (40 ms, steps 1, 2 periods)
void   world_run(world *w, int64_t until);          // asserts the grammar of passes and slots on the way
// Its parts.
void   world_do(world *w, const zt_todo *t);
void   world_deliver(world *w, int64_t now);
