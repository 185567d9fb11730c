// SPDX-License-Identifier: Apache-2.0
// Who may come in: what is promised to those that are in is kept.
#include "engine/sched_lane.h"

// Alone, at the fewest steps, in the steady state: the window is full and each commit rides with the next frame.
static void frame_cost(const zt_sched *s, const struct zt_lane *c, int64_t *mean, int64_t *p99)
{
    const uint64_t frame = 1 << 20;
    zt_shape one = { 0 }, two = { 0 };
    zt_lane_shape(c, &one, frame, false, true, 0);
    zt_lane_shape(c, &two, frame, true, true, 0);
    const zt_estimate a = zt_costs_of(&s->costs, &one), b = zt_costs_of(&s->costs, &two);
    const zt_estimate show = zt_lane_show(s, c), encode = zt_lane_encode(s, c);
    const int more = c->pace.steps_min - 1;
    *mean = b.mean + more * a.mean + show.mean + encode.mean / ZT_MAX(s->threads, 1);
    *p99 = b.p99 + more * a.p99 + show.p99 + encode.p99;
}

static double share(const zt_sched *s, const struct zt_lane *c)
{
    int64_t mean, p99;
    frame_cost(s, c, &mean, &p99);
    return (double)mean / (double)(c->pace.chunk * c->pace.period);
}

double zt_sched_load(const zt_sched *s)
{
    double sum = 0;
    for (int i = 0; i < ZT_SCHED_SESSIONS; i++)
        if (s->lane[i].used && zt_lane_live(&s->lane[i]))
            sum += share(s, &s->lane[i]);
    return sum;
}

double zt_sched_load_of(const zt_sched *s, const zt_pace *p)
{
    const struct zt_lane c = { .used = true, .pace = *p };
    return share(s, &c);
}

// The longest slice of offline work that a pass may wait for.
static int64_t slice(const zt_sched *s, const zt_pace *p)
{
    int64_t fastest = p->period;
    for (int i = 0; i < ZT_SCHED_SESSIONS; i++)
        if (s->lane[i].used && zt_lane_live(&s->lane[i]))
            fastest = ZT_MIN(fastest, s->lane[i].pace.period);
    return ZT_MIN(fastest / 10, 5 * INT64_C(1000000));
}

static bool keeps_budget(const zt_sched *s, const struct zt_lane *c, int64_t slice)
{
    int64_t mean, p99;
    frame_cost(s, c, &mean, &p99);
    return p99 + slice <= c->pace.budget;
}

enum zt_refusal zt_sched_admit(const zt_sched *s, const zt_pace *p)
{
    const struct zt_lane c = { .used = true, .pace = *p };
    bool room = false;
    for (int i = 0; i < ZT_SCHED_SESSIONS; i++)
        room |= !s->lane[i].used;
    if (!room)
        return ZT_REFUSED_SESSIONS;
    // Alone on the machine, and all that is known was measured long ago, perhaps under another load: nothing would ever
    // be measured again if it were sent away. Its budget is judged by its first frames.
    if (p->pacing != ZT_LIVE || (zt_sched_load(s) <= 0 && !zt_costs_fresh(&s->costs, p->model)))
        return ZT_ADMITTED;
    if (zt_sched_load(s) + share(s, &c) > ZT_ADMIT_LOAD)
        return ZT_REFUSED_LOAD;
    const int64_t wait = slice(s, p);
    if (!keeps_budget(s, &c, wait))
        return ZT_REFUSED_BUDGET;
    return ZT_ADMITTED;
}
