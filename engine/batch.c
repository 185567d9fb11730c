// SPDX-License-Identifier: Apache-2.0
// Passes: what a frame begins with, and batches or slices of them on the model. The engine's thread only.
#include <errno.h>
#include <string.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "engine/internal.h"
#include "engine/probes.h"

static void set_control(zt_session *s, int i, float value)
{
    value = ZT_MIN(ZT_MAX(value, -1), 1);
    if (s->value[i] == value)
        return;
    zt_state_control(s->state, i, value);
    s->value[i] = value;
    s->set |= 1u << i;
}

// Controls at once, the prompt into s->text. True when the prompt is new.
static bool read_mail(zt_session *s)
{
    zt_engine *e = s->engine;
    pthread_mutex_lock(&e->lock);
    const bool mailed = s->mailed;
    if (mailed)
        strcpy(s->text, s->mail);
    s->prompted = mailed ? s->mailed_at : 0;
    s->mailed = false;
    for (int i = 0; i < ZT_MAX_CONTROLS; i++)
        if (s->control_set >> i & 1)
            set_control(s, i, s->control[i]);
    s->control_set = 0;
    pthread_mutex_unlock(&e->lock);
    return mailed;
}

// Events come after mail: a file says exactly what frame k is.
static bool read_events(zt_session *s, uint64_t frame)
{
    bool prompt = false;
    for (; s->next_event < s->events && s->event[s->next_event].frame <= frame; s->next_event++) {
        const zt_event *v = &s->event[s->next_event];
        for (int i = 0; i < ZT_MAX_CONTROLS; i++)
            if (v->set >> i & 1)
                set_control(s, i, v->control[i]);
        if (!v->prompt)
            continue;
        strcpy(s->text, v->prompt);
        prompt = true;
    }
    return prompt;
}

void zt_events_pass(zt_session *s)
{
    const uint64_t next = zt_state_frame(s->state);
    if (next)
        read_events(s, next - 1);
    s->set = 0;
}

static void new_prompt(zt_session *s)
{
    char ignored[ZT_IGNORED_BYTES] = "";
    const int known = zt_state_prompt(s->state, s->text, ignored, sizeof(ignored));
    pthread_mutex_lock(&s->engine->lock);
    s->known = known;
    memcpy(s->ignored, ignored, sizeof(ignored));
    pthread_mutex_unlock(&s->engine->lock);
}

static void tell_ladder(zt_session *s, const zt_todo *t, int64_t period)
{
    const struct zt_ladder now = { t->window, t->top_k, period }, before = s->ladder;
    s->ladder = now;
    if (!before.period || !memcmp(&before, &now, sizeof(now)))
        return;
    ZT_PROBE4(ladder, t->id, now.window, now.top_k, now.period);
    zt_info("session %d: window %d, %d experts, %.1f ms a frame from slot %llu on", t->id, now.window,
            now.top_k ? now.top_k : zt_model_get_info(s->model)->top_k, (double)period / 1e6,
            (unsigned long long)t->index);
}

// Of a frame: what its script says, or all.
static int experts(const zt_session *s, uint64_t frame)
{
    const int all = zt_model_get_info(s->model)->top_k, k = frame < s->scripted ? s->script[frame].top_k : 0;
    return k > 0 ? ZT_MIN(k, all) : all;
}

// The window and the experts of the frame about to begin, from the ladder or the script; and its times.
static void plan(zt_session *s, const zt_todo *t)
{
    zt_engine *e = s->engine;
    const uint64_t frame = zt_state_frame(s->state);
    if (frame >= s->scripted) {
        zt_state_window(s->state, t->window);
        zt_state_top_k(s->state, t->top_k);
        zt_model_steps(s->model, t->left, s->t);
        s->t[t->left] = 0;
        return;
    }
    const zt_script *script = &s->script[frame];
    zt_state_window(s->state, script->window);
    zt_state_top_k(s->state, script->top_k);
    memcpy(s->t, script->t, sizeof(s->t));
    pthread_mutex_lock(&e->lock);
    zt_sched_passes(&e->sched, t->id, script->n, experts(s, frame) != experts(s, frame + 1));
    pthread_mutex_unlock(&e->lock);
}

static void begin(zt_session *s, const zt_todo *t)
{
    const int64_t started = zt_now();
    const bool first = !zt_state_frame(s->state);
    s->sampled = started;
    s->denoise = 0;
    s->set = 0;
    bool prompt = read_mail(s);
    prompt |= read_events(s, zt_state_frame(s->state));
    s->told = prompt || (first && s->text[0]);
    if (prompt)
        new_prompt(s);
    plan(s, t);
    tell_ladder(s, t, s->engine->sched.lane[t->id].slow ? 2 * s->pace.period : s->pace.period);
    s->model_frame = zt_state_begin(s->state);
    if (prompt || first)
        zt_work_measured(s, ZT_TEXT, zt_now() - started);
}

static zt_job job_of(zt_session *s, const zt_todo *t)
{
    if (t->from)
        return s->job;
    if (t->pass == ZT_COMMIT)
        return (zt_job){ s->state, ZT_COMMIT, 0, 0 };
    if (t->begin)
        begin(s, t);
    if (t->replan) {
        zt_model_steps_from(s->model, s->t[t->step], t->left, s->t + t->step);
        s->t[t->step + t->left] = 0;
    }
    return (zt_job){ s->state, t->pass, s->t[t->step], s->t[t->step + 1] };
}

static int run(zt_engine *e, zt_session *s, const zt_job *job, const zt_todo *todo, int n)
{
    int err;
    if (s->pace.pacing == ZT_OFFLINE)
        err = zt_model_slice(s->model, job, n, todo[0].groups, todo[0].from, todo[0].to);
    else
        err = zt_model_pass(s->model, job, n, todo[0].from, todo[0].to);
    return err ? err : zt_device_sync(e->device);
}

void zt_work_passes(zt_engine *e, const zt_todo *todo, int n)
{
    zt_job job[ZT_MAX_JOBS];
    const int64_t started = zt_now();           // beginning a frame is work as well: text, the ground
    for (int i = 0; i < n; i++)
        job[i] = job_of(e->session[todo[i].id], &todo[i]);
    zt_session *first = e->session[todo[0].id];
    first->job = job[0];

    const int err = run(e, first, job, todo, n);
    const int64_t ended = zt_now();
    ZT_PROBE3(batch, n, todo[0].to - todo[0].from, ended - started);

    pthread_mutex_lock(&e->lock);
    const bool slice = first->pace.pacing == ZT_OFFLINE;
    zt_trace_add(&e->trace, (zt_moment){ started, ended, slice ? ZT_SPAN_SLICE : ZT_SPAN_BATCH,
                                       (int16_t)(n > 1 ? -1 : todo[0].id), slice ? todo[0].to - todo[0].from : n,
                                       todo[0].index });
    zt_sched_done(&e->sched, todo, n, started, ended);
    for (int i = 0; i < n; i++) {
        zt_session *s = e->session[todo[i].id];
        s->denoise += ended - started;
        if (err < 0) {
            zt_error("session: a pass failed (%s)", strerror(-err));
            zt_session_fail(s, err);
        }
    }
    pthread_mutex_unlock(&e->lock);
}
