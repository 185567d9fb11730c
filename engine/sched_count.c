// SPDX-License-Identifier: Apache-2.0
// One outcome for every slot, decided once; and the clock that the first packet starts.
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "engine/sched_lane.h"

struct zt_flight *zt_lane_flight(struct zt_lane *c, int i)
{
    return &c->flight[(c->first + i) % ZT_SCHED_FLIGHT];
}

void zt_lane_decide(struct zt_flight *f, enum zt_outcome outcome)
{
    if (!f->decided)
        f->outcome = outcome;
    f->decided = true;
}

static void tell(struct zt_lane *c, uint64_t index, enum zt_outcome outcome)
{
    const int i = (int)(c->decisions++ % ZT_SCHED_FLIGHT);
    c->decided[i].index = index;
    c->decided[i].outcome = outcome;
}

static void count_first(struct zt_lane *c)
{
    struct zt_flight *f = zt_lane_flight(c, 0);
    zt_lane_decide(f, ZT_DROPPED);
    c->outcome[f->outcome]++;
    tell(c, f->index, f->outcome);
    c->first = (c->first + 1) % ZT_SCHED_FLIGHT;
    c->flying--;
}

void zt_lane_settle(struct zt_lane *c, int64_t now, bool all)
{
    const bool live = zt_lane_live(c);
    if (live && !c->exact && c->next && now >= c->epoch + ZT_FIRST_PATIENCE) {
        c->epoch = now;
        c->exact = true;
    }
    while (c->flying) {
        const struct zt_flight *f = zt_lane_flight(c, 0);
        const int64_t at = live ? c->epoch + f->pts : 0;
        const bool given_up = live && c->exact && now > at + zt_lane_patience(c) * zt_lane_period(c);
        if (!given_up && (!f->decided || (at > now && !all)))
            break;
        count_first(c);
    }
}

void zt_lane_fly(struct zt_lane *c, uint64_t index, bool full)
{
    if (c->flying == ZT_SCHED_FLIGHT)
        count_first(c);
    *zt_lane_flight(c, c->flying++) = (struct zt_flight){ .index = index, .pts = zt_lane_pts(c, index), .full = full };
}

struct zt_flight *zt_lane_find(struct zt_lane *c, uint64_t index)
{
    for (int i = 0; i < c->flying; i++)
        if (zt_lane_flight(c, i)->index == index)
            return zt_lane_flight(c, i);
    return NULL;
}

void zt_sched_lost(zt_sched *s, int id, uint64_t index)
{
    struct zt_flight *f = zt_lane_find(&s->lane[id], index);
    if (f) {
        f->decided = true;
        f->outcome = ZT_DROPPED;
    }
}

static void learn_encode(zt_sched *s, struct zt_lane *c, int64_t ns)
{
    zt_cost_add(&c->encode, ns);
    zt_costs_add(&s->costs, &(zt_shape){ .effort = ZT_EFFORT_ENCODE, .model = c->pace.model,
                                         .tokens = ZT_MAX(c->pace.tokens, 1) }, ns);
}

void zt_sched_delivered(zt_sched *s, int id, uint64_t index, int64_t now)
{
    struct zt_lane *c = &s->lane[id];
    struct zt_flight *f = zt_lane_find(c, index);
    if (!f || f->decided)
        return;
    if (!c->exact && !index)
        c->epoch = now;
    c->exact = true;
    if (f->repeated)
        zt_lane_decide(f, ZT_REPEATED);
    else if (zt_lane_live(c) && now > c->epoch + f->pts)
        zt_lane_decide(f, ZT_LATE);
    else
        zt_lane_decide(f, f->full ? ZT_ON_TIME : ZT_DEGRADED);
    if (!f->repeated)                   // it says nothing of what a new picture costs
        learn_encode(s, c, now - f->made);
    for (int i = 0; zt_lane_flight(c, i) != f; i++)
        zt_lane_decide(zt_lane_flight(c, i), ZT_DROPPED);
    zt_lane_settle(c, now, zt_sched_finished(s, id));
}

bool zt_lane_catch_up(struct zt_lane *c, const struct zt_view *v, int64_t before, int64_t now)
{
    if (!zt_lane_live(c) || c->taken || !c->exact || !(c->working || zt_lane_more(c)))
        return false;
    const int64_t period = zt_lane_period(c), due = zt_lane_due(c, c->next);
    if (now < due)
        return false;
    const int64_t behind = (now - due) / period + 1;
    if (behind > zt_lane_patience(c)) {
        c->outcome[ZT_DROPPED] += (uint64_t)behind;
        for (int i = 0; i < ZT_MIN(behind, 8); i++)     // more in one go say no more
            tell(c, c->next + (uint64_t)i, ZT_DROPPED);
        c->next += (uint64_t)behind;
        c->late = false;
        return false;
    }
    if (c->late || now + before + zt_view_rest(v, false) <= due + period / 2) {
        c->late = true;
        return false;
    }
    return true;
}
