// SPDX-License-Identifier: Apache-2.0
// How many steps a frame gets, and what is given up when even the fewest do not fit.
#include "engine/sched_lane.h"

#define STRAIN_DOWN 4                   // frames that did not fit, less those that did, before a rung is given up
#define CALM        (2 * ZT_SECOND)     // without one before it is taken back
#define RISE_LOAD   0.90                // of the engine, by the mean, that more steps may lead to
#define BACK_LOAD   ZT_ADMIT_LOAD       // and that going back to the full rate may: what admission lets in

// Engine's time that others still need, by 99 of 100 each, for slots due by `until`.
static int64_t work_due(const struct zt_view *v, int n, const struct zt_view *all, int64_t until)
{
    int64_t sum = 0;
    for (int i = 0; i < n; i++)
        if (all[i].c != v->c && all[i].clocked && all[i].due <= until)
            sum += zt_view_rest(&all[i], false) - all[i].encode;
    return sum;
}

// Do n more passes meet this slot's deadline, leave the next one its least, and all others theirs?
static bool fits(const struct zt_view *v, int n_views, const struct zt_view *all, int64_t now, int n)
{
    const struct zt_lane *c = v->c;
    const int64_t own = zt_view_passes(v, v->commit, n) + v->show;
    const int64_t end = now + work_due(v, n_views, all, v->due) + own;
    if (end + v->encode > v->due)
        return false;
    const int64_t following = zt_lane_due(c, c->next + (uint64_t)zt_lane_chunk(c));
    if (end + zt_view_passes(v, true, c->pace.steps_min) + v->show + v->encode > following)
        return false;
    for (int i = 0; i < n_views; i++) {
        const struct zt_view *o = &all[i];
        if (o->c != c && o->clocked && o->due > v->due &&
            now + own + work_due(v, n_views, all, o->due) + o->encode > o->due)
            return false;
    }
    return true;
}

// Share of the engine that a session's frames take, by the mean.
static double share(const zt_sched *s, const struct zt_lane *c, int steps, int rung, bool slow)
{
    const uint64_t frame = ZT_MAX(c->begun, 1u);
    zt_shape one = { 0 }, two = { 0 };
    zt_lane_shape(c, &one, frame, false, true, rung);
    zt_lane_shape(c, &two, frame, true, true, rung);
    const int64_t mean = zt_costs_of(&s->costs, &two).mean + (steps - 1) * zt_costs_of(&s->costs, &one).mean +
                         zt_lane_show(s, c).mean;
    return (double)mean / (double)(c->pace.chunk * (slow && !c->pace.keep_rate ? 2 : 1) * c->pace.period);
}

// Of all live sessions, `c` apart, as they run now or at the full rate.
static double load(const zt_sched *s, const struct zt_lane *c, bool slow)
{
    double sum = 0;
    for (int i = 0; i < ZT_SCHED_SESSIONS; i++) {
        const struct zt_lane *o = &s->lane[i];
        if (o->used && o != c && zt_lane_live(o))
            sum += share(s, o, slow ? o->steps : o->pace.steps_min, o->rung, slow);
    }
    return sum;
}

static bool lasts(const zt_sched *s, const struct zt_lane *c, int steps, int rung)
{
    return load(s, c, s->slow) + share(s, c, steps, rung, s->slow) <= RISE_LOAD;
}

// ---- the ladder

static void set_rung(struct zt_lane *c, int rung, int64_t now)
{
    const int higher = ZT_MAX(c->rung, rung);
    c->changes[higher > c->pace.windows ? ZT_CHANGE_TOP_K : ZT_CHANGE_WINDOW]++;
    c->rung = rung;
    c->strain = 0;
    c->strained = now;
}

static void set_slow(zt_sched *s, bool slow, int64_t now)
{
    s->slow = slow;
    s->slow_since = now;
    for (int i = 0; i < ZT_SCHED_SESSIONS; i++)
        s->lane[i].strain = 0;
}

static int64_t last_strain(const zt_sched *s)
{
    int64_t last = s->slow_since;
    for (int i = 0; i < ZT_SCHED_SESSIONS; i++)
        if (s->lane[i].used && zt_lane_live(&s->lane[i]))
            last = ZT_MAX(last, s->lane[i].strained);
    return last;
}

// One rung at a time. The rate is given up by all at once: those who kept it would be served twice as often.
static void climb(zt_sched *s, struct zt_lane *c, int64_t now)
{
    if (c->strain >= STRAIN_DOWN) {
        if (c->rung < zt_lane_rungs(c))
            set_rung(c, c->rung + 1, now);
        else if (!s->slow && !c->pace.keep_rate)
            set_slow(s, true, now);
        return;
    }
    if (s->slow) {
        if (now - last_strain(s) >= CALM && load(s, NULL, false) <= BACK_LOAD)
            set_slow(s, false, now);
    } else if (c->rung && now - c->strained >= CALM && lasts(s, c, c->pace.steps_min, c->rung - 1)) {
        set_rung(c, c->rung - 1, now);
    }
}

static void strain(struct zt_lane *c, bool fitted, int64_t now)
{
    if (!fitted)
        c->strained = now;
    c->strain = fitted ? ZT_MAX(c->strain - 1, 0) : ZT_MIN(c->strain + 1, STRAIN_DOWN);
}

void zt_plan_missed(zt_sched *s, struct zt_lane *c, int64_t now)
{
    (void)s;
    strain(c, false, now);
}

// ---- steps

static void set_steps(struct zt_lane *c, int steps, int64_t now)
{
    c->steps = steps;
    c->tight = now;
    c->changes[ZT_CHANGE_STEPS]++;
}

static void take_rate(const zt_sched *s, struct zt_lane *c)
{
    const bool slow = s->slow && !c->pace.keep_rate;
    if (slow == c->slow || !c->exact)
        return;
    c->base_pts = zt_lane_pts(c, c->next);
    c->base = c->next;
    c->slow = slow;
    c->changes[ZT_CHANGE_RATE]++;
}

int zt_plan_begin(zt_sched *s, struct zt_view *v, int n_views, struct zt_view *all, int64_t now)
{
    struct zt_lane *c = v->c;
    c->frame_rung = c->rung;
    if (!c->begun)
        return c->pace.first_steps;
    if (!zt_lane_live(c))
        return c->pace.steps_max;

    strain(c, fits(v, n_views, all, now, c->pace.steps_min), now);
    climb(s, c, now);       // for the frames after this one
    take_rate(s, c);
    int most = c->enough ? c->enough : c->pace.steps_max;
    while (most > c->pace.steps_min && !fits(v, n_views, all, now, most))
        most--;
    if (most < c->steps)
        set_steps(c, most, now);
    else if (most == c->steps || c->rung || s->slow || !lasts(s, c, c->steps + 1, c->rung))
        c->tight = now;
    else if (now - c->tight >= ZT_SECOND)
        set_steps(c, c->steps + 1, now);
    return c->steps;
}

int zt_plan_again(const zt_sched *s, const struct zt_view *v, int n_views, const struct zt_view *all, int64_t now)
{
    (void)s;
    const struct zt_lane *c = v->c;
    if (!zt_lane_live(c) || !c->next)
        return c->left;
    const int least = ZT_MAX(c->pace.steps_min - c->step, 0);
    int left = c->left;
    while (left > least && !fits(v, n_views, all, now, left))
        left--;
    return left;
}
