// SPDX-License-Identifier: Apache-2.0
// One session in the scheduler: when it may begin, what its passes are, what they cost.
#include "engine/sched_lane.h"

int64_t zt_lane_release(const struct zt_lane *c)
{
    if (!c->next)
        return c->added;
    if (!c->exact && c->begun >= 2)
        return c->epoch + ZT_FIRST_PATIENCE;
    return zt_lane_due(c, c->next) - c->pace.budget;
}

int zt_lane_window(const struct zt_lane *c, int rung)
{
    const int i = ZT_MIN(rung, c->pace.windows);
    return i ? c->pace.smaller[i - 1] : ZT_MAX(c->pace.window, 1);
}

int zt_lane_top_k(const struct zt_lane *c, int rung)
{
    const int i = rung - c->pace.windows;
    return i > 0 ? c->pace.fewer[i - 1] : 0;
}

static int64_t pairs(const struct zt_lane *c, int64_t tokens, uint64_t frame, int rung)
{
    const int latents = c->pace.latents ? c->pace.latents : c->pace.chunk;
    const int64_t frames = (int64_t)ZT_MIN((frame + 1) * (uint64_t)latents,
                                           (uint64_t)ZT_MAX(zt_lane_window(c, rung), latents));
    return tokens * (tokens / latents * frames);
}

void zt_lane_shape(const struct zt_lane *c, zt_shape *shape, uint64_t frame, bool commit, bool denoise, int rung)
{
    const int64_t T = ZT_MAX(c->pace.tokens, 1);
    shape->effort = ZT_EFFORT_PASS;
    shape->model = c->pace.model;
    shape->top_k = zt_lane_top_k(c, rung);
    if (commit) {
        shape->tokens += T;
        shape->pairs += pairs(c, T, frame - (denoise && frame ? 1 : 0), rung);
    }
    if (denoise) {
        shape->tokens += T;
        shape->pairs += pairs(c, T, frame, rung);
    }
}

// A session's own measurements, until there are some those of others with such pictures.
static zt_estimate other_cost(const zt_sched *s, const struct zt_lane *c, const zt_cost *own, enum zt_effort effort)
{
    if (own->n)
        return (zt_estimate){ own->mean, own->p99, own->least };
    return zt_costs_of(&s->costs, &(zt_shape){ .effort = effort, .model = c->pace.model,
                                               .tokens = ZT_MAX(c->pace.tokens, 1) });
}

zt_estimate zt_lane_show(const zt_sched *s, const struct zt_lane *c)
{
    return other_cost(s, c, &c->show, ZT_EFFORT_SHOW);
}

zt_estimate zt_lane_encode(const zt_sched *s, const struct zt_lane *c)
{
    return other_cost(s, c, &c->encode, ZT_EFFORT_ENCODE);
}

void zt_view_fill(const zt_sched *s, struct zt_lane *c, int64_t now, struct zt_view *v)
{
    const uint64_t frame = c->working ? c->begun - 1 : c->begun;
    const int rung = c->working ? c->frame_rung : c->rung;
    zt_shape one = { 0 }, two = { 0 };
    zt_lane_shape(c, &one, frame, false, true, rung);
    zt_lane_shape(c, &two, frame, true, true, rung);
    const zt_estimate a = zt_costs_of(&s->costs, &one), b = zt_costs_of(&s->costs, &two), show = zt_lane_show(s, c);
    const bool live = zt_lane_live(c), more = zt_lane_more(c);
    const bool released = c->working || (more && (!live || now >= zt_lane_release(c)));
    const bool other = c->uncommitted && (c->apart || zt_lane_top_k(c, c->rung) != zt_lane_top_k(c, c->frame_rung));
    *v = (struct zt_view){
        .c = c, .one = a.p99, .merged = b.p99, .show = show.p99, .encode = zt_lane_encode(s, c).p99,
        .due = !live ? INT64_MAX : c->next ? zt_lane_due(c, c->next) : c->added + ZT_FIRST_SOON,
        .need = !c->working ? c->pace.steps_min : c->left ? ZT_MAX(c->pace.steps_min - c->step, 0) : 0,
        .commit = !c->working && c->uncommitted,
        .alone = !c->working && c->uncommitted && (!released || other),
        .clocked = live && c->next && released,
        .ready = !c->taken && now >= c->held && (released || (c->uncommitted && more)),
    };
    v->work = show.mean + (v->need ? (v->commit ? b.mean : a.mean) + (v->need - 1) * a.mean : 0);
}

int64_t zt_view_passes(const struct zt_view *v, bool commit, int n)
{
    return n <= 0 ? 0 : (commit ? v->merged : v->one) + (n - 1) * v->one;
}

int64_t zt_view_rest(const struct zt_view *v, bool after)
{
    const int need = (int)v->need - (after && !v->alone ? 1 : 0);
    return zt_view_passes(v, v->commit && !after, need) + v->show + v->encode;
}

int64_t zt_sched_least(const zt_sched *s, int id, int steps)
{
    const struct zt_lane *c = &s->lane[id];
    zt_shape one = { 0 };
    zt_lane_shape(c, &one, c->begun ? c->begun - 1 : 0, false, true, c->rung);
    return steps * zt_costs_of(&s->costs, &one).least + zt_lane_show(s, c).least + zt_lane_encode(s, c).least;
}

int64_t zt_sched_rest(const zt_sched *s, int id)
{
    struct zt_view v;
    zt_view_fill(s, (struct zt_lane *)&s->lane[id], s->costs.now, &v);
    return zt_view_rest(&v, false);
}
