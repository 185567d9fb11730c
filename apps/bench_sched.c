// SPDX-License-Identifier: Apache-2.0
// zoetrope-bench sched: the scheduler alone, on a made-up clock: the same numbers on every machine.
#include <stdio.h>
#include <string.h>

#include "apps/bench.h"
#include "apps/exits.h"
#include "apps/simulate.h"
#include "base/base.h"
#include "base/clock.h"

// As measured for 256x144, 256 wide, 8 deep, window 8 on two Zen 4 cores; a pass of 144 tokens takes 8 ms.
static const zt_sim_cost costs = { .fixed = ZT_MS, .token = 40000, .pair = 8, .show = 5 * ZT_MS, .encode = 3 * ZT_MS,
                                   .jitter = 0.1, .outlier = 0.001 };

static void fill(const zt_bench *b, zt_sim_session *x, int i)
{
    const int64_t period = ZT_S / (b->fps ? b->fps : 24);
    const bool clip = i >= b->sessions;
    *x = (zt_sim_session){
        .pace = { .pacing = clip ? ZT_OFFLINE : ZT_LIVE, .period = period,
                  .budget = b->budget_ms ? b->budget_ms * ZT_MS : 2 * period, .chunk = 1,
                  .steps_min = ZT_MAX((int)b->steps_min, 1), .steps_max = (int)b->steps, .first_steps = (int)b->steps,
                  .tokens = 144, .layers = 8, .window = 8, .keep_rate = b->keep_rate },
        .from = ZT_S + i * (b->admission ? ZT_S : ZT_S / 20), .guarded = b->admission && !clip,
    };
}

static void print_outcomes(const uint64_t *outcome)
{
    printf("\"outcomes\": {");
    for (int i = 0; i < ZT_OUTCOMES; i++)
        printf("%s\"%s\": %llu", i ? ", " : "", zt_outcome_name[i], (unsigned long long)outcome[i]);
    printf("}");
}

static void print(const zt_sim *s, int64_t span)
{
    uint64_t kept = 0, all = 0, least = UINT64_MAX, most = 0;
    int refused = 0;
    const char *sep = "";
    printf("{\"sessions\": [");
    for (int i = 0; i < s->sessions; i++) {
        const zt_sim_session *x = &s->session[i];
        refused += x->refused;
        if (x->refused)
            continue;
        printf("%s\n  {\"id\": %d, \"clip\": %s, \"frames\": %llu, \"silence_ms\": %.1f, ", sep, i,
               x->pace.pacing == ZT_OFFLINE ? "true" : "false", (unsigned long long)x->shows, (double)x->silence / 1e6);
        print_outcomes(x->outcome);
        printf("}");
        sep = ",";
        if (x->pace.pacing == ZT_OFFLINE)
            continue;
        for (int j = 0; j < ZT_OUTCOMES; j++)
            all += x->outcome[j];
        kept += x->outcome[ZT_ON_TIME] + x->outcome[ZT_DEGRADED];
        least = ZT_MIN(least, x->shows), most = ZT_MAX(most, x->shows);
    }
    const double idle = (double)(span - s->live);
    printf("],\n \"on_time\": %.5f, \"fairness\": %.4f, \"slack_used\": %.4f, \"refused\": %d, \"jobs_per_batch\": %.3f}\n",
           all ? (double)kept / (double)all : 1, least && most ? (double)most / (double)least : 1,
           idle > 0 ? (double)s->offline / idle : 0, refused, s->batches ? (double)s->jobs / (double)s->batches : 0);
}

int zt_bench_sched(zt_bench *b)
{
    static zt_sim sim;
    static zt_sim_session session[2 * ZT_SCHED_SESSIONS];
    const int n = (int)ZT_MIN(b->sessions + b->clips, (int64_t)ZT_LEN(session));
    sim = (zt_sim){ .cost = costs, .session = session, .sessions = n, .now = ZT_S, .end = (1 + b->seconds) * ZT_S,
                    .random = b->seed * 2 + 88172645463325253ull };
    sim.sched.threads = 2;
    for (int i = 0; i < n; i++)
        fill(b, &session[i], i);
    zt_sim_run(&sim);
    print(&sim, b->seconds * ZT_S);
    return ZT_EXIT_OK;
}
