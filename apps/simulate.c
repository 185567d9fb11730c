// SPDX-License-Identifier: Apache-2.0
// Plays engine, encoders and clock for the scheduler.
#include "apps/simulate.h"

#include <assert.h>
#include <string.h>

#include "base/base.h"

#define AHEAD 8         // pictures that an encoder holds: a live one skips, others are waited for

static double draw(zt_sim *s)
{
    s->random ^= s->random << 13, s->random ^= s->random >> 7, s->random ^= s->random << 17;
    return (double)(s->random >> 11) / 9007199254740992.0;
}

static int64_t vary(zt_sim *s, double ns)
{
    ns *= 1 + s->cost.jitter * draw(s);
    return ZT_MAX((int64_t)ns, 1);
}

zt_sim_session *zt_sim_of(zt_sim *s, int lane)
{
    for (int i = 0; i < s->sessions; i++)
        if (s->session[i].id == lane && s->session[i].came)
            return &s->session[i];
    return NULL;
}

static void read_lane(zt_sim *s, zt_sim_session *x)
{
    const struct zt_lane *c = &s->sched.lane[x->id];
    memcpy(x->outcome, c->outcome, sizeof(x->outcome));
    memcpy(x->changes, c->changes, sizeof(x->changes));
    x->frames = c->begun;
}

static void come_and_go(zt_sim *s)
{
    for (int i = 0; i < s->sessions; i++) {
        zt_sim_session *x = &s->session[i];
        if (!x->came && !x->refused && s->now >= x->from) {
            if (x->guarded && zt_sched_admit(&s->sched, &x->pace) != ZT_ADMITTED) {
                x->refused = true;
                continue;
            }
            x->id = zt_sched_add(&s->sched, &x->pace, s->now);
            x->refused = x->id < 0;
            x->came = x->refused ? 0 : s->now;
            x->last = s->now;
        } else if (x->came && x->id >= 0 && x->until && s->now >= x->until) {
            zt_sched_remove(&s->sched, x->id);
            read_lane(s, x);
            x->id = -1;
        }
    }
}

static int64_t next_event(const zt_sim *s)
{
    int64_t at = s->end;
    for (int i = 0; i < s->sessions; i++) {
        const zt_sim_session *x = &s->session[i];
        if (!x->came && !x->refused)
            at = ZT_MIN(at, x->from);
        if (x->came && x->id >= 0 && x->until)
            at = ZT_MIN(at, x->until);
        for (int j = 0; x->id >= 0 && j < x->flying; j++)
            at = ZT_MIN(at, x->packet[j].at);
    }
    return at;
}

static void deliver(zt_sim *s)
{
    for (int i = 0; i < s->sessions; i++) {
        zt_sim_session *x = &s->session[i];
        int kept = 0;
        for (int j = 0; j < x->flying; j++) {
            if (x->packet[j].at > s->now)
                x->packet[kept++] = x->packet[j];
            else if (x->id >= 0)
                zt_sched_delivered(&s->sched, x->id, x->packet[j].index, x->packet[j].at);
        }
        x->flying = kept;
    }
}

static int64_t pass_cost(zt_sim *s, const zt_todo *todo, int n)
{
    double ns = (double)s->cost.fixed;
    for (int i = 0; i < n; i++) {
        const struct zt_lane *c = &s->sched.lane[todo[i].id];
        const double T = c->pace.tokens * (todo[i].pass == ZT_COMMIT_DENOISE ? 2 : 1);
        const int window = todo[i].window ? todo[i].window : ZT_MAX(c->pace.window, 1);
        ns += T * (s->cost.token + s->cost.pair * c->pace.tokens * window);
    }
    ns *= zt_sched_share(&s->sched, &todo[0]);
    if (draw(s) < s->cost.outlier)
        ns *= 4;
    return vary(s, ns);
}

static void hand_over(zt_sim *s, const zt_todo *t)
{
    zt_sim_session *x = zt_sim_of(s, t->id);
    const int chunk = t->action == ZT_DO_SHOW ? x->pace.chunk : 1;
    if (t->action == ZT_DO_SHOW) {
        x->shows++;
        x->silence = ZT_MAX(x->silence, s->now - x->last);
        x->last = s->now;
    }
    for (int i = 0; i < chunk; i++) {
        if (x->flying == AHEAD && x->pace.pacing == ZT_LIVE) {
            x->packet[AHEAD - 1].index = t->index + (uint64_t)i;    // in place of the newest that waits
            continue;
        }
        x->encoder_free = ZT_MAX(x->encoder_free, s->now) + vary(s, (double)s->cost.encode);
        assert(x->flying < (int)ZT_LEN(x->packet));
        x->packet[x->flying].index = t->index + (uint64_t)i;
        x->packet[x->flying++].at = x->encoder_free;
    }
}

static void carry_out(zt_sim *s, const zt_todo *todo, int n)
{
    const int64_t started = s->now;
    const zt_sim_session *x = zt_sim_of(s, todo[0].id);
    if (todo[0].action == ZT_DO_SHOW && x->pace.pacing != ZT_LIVE && x->flying + x->pace.chunk > AHEAD) {
        zt_sched_put_back(&s->sched, &todo[0], x->packet[0].at);
        return;
    }
    const bool passes = todo[0].action == ZT_DO_PASS;
    const bool offline = s->sched.lane[todo[0].id].pace.pacing == ZT_OFFLINE;
    s->now += passes ? pass_cost(s, todo, n) : todo[0].action == ZT_DO_SHOW ? vary(s, (double)s->cost.show) : 1;
    *(offline ? &s->offline : &s->live) += s->now - started;
    s->batches += passes && !offline;
    s->jobs += passes && !offline ? (uint64_t)n : 0;
    deliver(s);
    zt_sched_done(&s->sched, todo, n, started, s->now);
    if (!passes)
        hand_over(s, &todo[0]);
}

void zt_sim_run(zt_sim *s)
{
    for (int i = 0; i < s->sessions; i++)
        s->session[i].id = s->session[i].came ? s->session[i].id : -1;
    while (s->now < s->end) {
        zt_todo todo[ZT_MAX_JOBS];
        int64_t wake;
        deliver(s);
        come_and_go(s);
        if (s->before)
            s->before(s);
        const int n = zt_sched_next(&s->sched, s->now, todo, ZT_MAX_JOBS, &wake);
        if (s->after)
            s->after(s, todo, n);
        if (n)
            carry_out(s, todo, n);
        else
            s->now = ZT_MAX(ZT_MIN(wake, next_event(s)), s->now + 1);
    }
    for (int i = 0; i < s->sessions; i++)
        if (s->session[i].id >= 0)
            read_lane(s, &s->session[i]);
}
