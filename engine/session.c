// SPDX-License-Identifier: Apache-2.0
// What callers see of a session: parameters, mailboxes, feedback, counters.
#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "engine/internal.h"

static int copy_events(zt_session *s, const zt_session_params *p)
{
    if (!p->events)
        return 0;
    s->event = calloc((size_t)p->events, sizeof(*s->event));
    if (!s->event)
        return -ENOMEM;
    s->events = p->events;
    for (int i = 0; i < p->events; i++) {
        s->event[i] = p->event[i];
        if (!p->event[i].prompt)
            continue;
        s->event[i].prompt = strdup(p->event[i].prompt);
        if (!s->event[i].prompt)
            return -ENOMEM;
    }
    return 0;
}

static void free_session(zt_session *s)
{
    for (int i = 0; i < s->events; i++)
        free((char *)s->event[i].prompt);
    free(s->event);
    zt_work_teardown(s);
    zt_record_close(&s->record);
    zt_frame_pool_destroy(&s->pool);
    zt_free(s);
}

static int open_record(zt_session *s, const char *path)
{
    const zt_record_head head = { zt_model_get_info(s->model), s->engine->device->level, s->seed, s->w, s->h, s->fps };
    return zt_record_open(&s->record, path, &head);
}

static int make_session(zt_session **out, zt_engine *e, const zt_session_params *p)
{
    zt_session *s = zt_alloc(sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->engine = e;
    s->created = zt_now();
    s->id = -1;
    s->model = p->model;
    s->w = p->w, s->h = p->h, s->fps = p->fps, s->seed = p->seed, s->image = p->image;
    s->on_frame = p->on_frame, s->on_stage = p->on_stage, s->cookie = p->cookie;
    s->script = p->script, s->scripted = p->scripted;
    s->save_every = p->on_saved ? p->save_every : 0, s->on_saved = p->on_saved;
    s->saved = p->saved, s->saved_bytes = p->saved_bytes;
    s->refused = p->refused, s->lease = p->lease;
    s->pace = zt_params_pace(e, p);
    if (p->prompt)
        strcpy(s->text, p->prompt);
    int err = copy_events(s, p);
    if (!err)
        err = zt_frame_pool_create(&s->pool, p->w, p->h, p->pool + 2);     // one being filled, one to repeat
    if (err < 0)
        zt_error("session: no memory");
    if (!err && p->log)
        err = open_record(s, p->log);
    if (!err && !e->device->backend)
        err = zt_work_allocate(s);
    if (err < 0) {
        free_session(s);
        return err;
    }
    *out = s;
    return 0;
}

int zt_session_create(zt_session **out, zt_engine *e, const zt_session_params *params)
{
    assert(params->on_frame);
    zt_session_params p = *params;
    pthread_mutex_lock(&e->lock);
    int err = zt_params_settle(e, &p);
    pthread_mutex_unlock(&e->lock);
    if (err < 0)
        return err;
    zt_session *s = NULL;
    pthread_mutex_lock(&e->making);
    if (p.refused)                      // those who come in vain are not made; the last word on time is said under way
        err = zt_engine_admit(e, &p, p.refused);
    if (!err)
        err = make_session(&s, e, &p);
    pthread_mutex_unlock(&e->making);
    if (err < 0)
        return err;
    s->out = out;

    pthread_mutex_lock(&e->lock);
    zt_session **tail = &e->arriving;
    while (*tail)
        tail = &(*tail)->next;
    *tail = s;
    pthread_cond_signal(&e->work);
    while (s->phase == ZT_ARRIVING)
        pthread_cond_wait(&e->change, &e->lock);
    err = s->phase == ZT_GONE ? s->error : 0;
    pthread_mutex_unlock(&e->lock);
    if (err < 0)
        free_session(s);
    return err;
}

void zt_session_destroy(zt_session **session)
{
    zt_session *s = *session;
    if (!s)
        return;
    zt_engine *e = s->engine;
    assert(!pthread_equal(pthread_self(), e->thread));
    pthread_mutex_lock(&e->lock);
    s->phase = ZT_LEAVING;
    pthread_cond_signal(&e->work);
    while (s->phase != ZT_GONE)
        pthread_cond_wait(&e->change, &e->lock);
    pthread_mutex_unlock(&e->lock);
    free_session(s);
    *session = NULL;
}

int zt_session_wait(zt_session *s)
{
    zt_engine *e = s->engine;
    pthread_mutex_lock(&e->lock);
    while (s->phase < ZT_DONE)
        pthread_cond_wait(&e->change, &e->lock);
    const int err = s->error;
    pthread_mutex_unlock(&e->lock);
    return err;
}

bool zt_session_done(zt_session *s)
{
    pthread_mutex_lock(&s->engine->lock);
    const bool done = s->phase >= ZT_DONE;
    pthread_mutex_unlock(&s->engine->lock);
    return done;
}

void zt_session_lease(zt_session *s, int64_t until)
{
    pthread_mutex_lock(&s->engine->lock);
    s->lease = until;
    pthread_mutex_unlock(&s->engine->lock);
}

void zt_session_stop(zt_session *s)
{
    __atomic_store_n(&s->stop, 1, __ATOMIC_RELEASE);
}

int zt_session_prompt(zt_session *s, const char *text)
{
    const int err = zt_prompt_check(text);
    if (err < 0)
        return err;
    pthread_mutex_lock(&s->engine->lock);
    strcpy(s->mail, text);
    s->mailed_at = zt_now();
    s->mailed = true;
    pthread_mutex_unlock(&s->engine->lock);
    return 0;
}

int zt_session_control(zt_session *s, int control, float value)
{
    if (control < 0 || control >= zt_model_get_info(s->model)->n_controls || !isfinite(value)) {
        zt_error("session: control %d cannot be %g", control, (double)value);
        return -EINVAL;
    }
    pthread_mutex_lock(&s->engine->lock);
    s->control[control] = value;
    s->control_set |= 1u << control;
    pthread_mutex_unlock(&s->engine->lock);
    return 0;
}

int zt_session_steps(zt_session *s, int steps)
{
    if (steps < 0 || steps > ZT_MAX_STEPS) {
        zt_error("session: %d steps: 1 to %d", steps, ZT_MAX_STEPS);
        return -EINVAL;
    }
    pthread_mutex_lock(&s->engine->lock);
    if (s->id >= 0)
        zt_sched_target(&s->engine->sched, s->id, steps ? steps : zt_model_get_info(s->model)->steps);
    pthread_mutex_unlock(&s->engine->lock);
    return 0;
}

void zt_session_hint(zt_session *s, int steps)
{
    pthread_mutex_lock(&s->engine->lock);
    if (s->id >= 0)
        zt_sched_enough(&s->engine->sched, s->id, steps);
    pthread_mutex_unlock(&s->engine->lock);
}

int zt_session_ignored(zt_session *s, char *out, size_t bytes)
{
    pthread_mutex_lock(&s->engine->lock);
    if (bytes) {
        const size_t n = strnlen(s->ignored, ZT_MIN(bytes - 1, sizeof(s->ignored) - 1));
        memcpy(out, s->ignored, n);
        out[n] = 0;
    }
    const int known = s->known;
    pthread_mutex_unlock(&s->engine->lock);
    return known;
}

void zt_session_delivered(zt_session *s, uint64_t index, int64_t now)
{
    zt_engine *e = s->engine;
    pthread_mutex_lock(&e->lock);
    struct zt_shown *shown = &s->shown[index % ZT_SHOWN];
    if (shown->index == index && shown->sampled) {
        zt_histogram_add(&s->metrics.latency, now - shown->sampled);
        if (shown->prompted)
            zt_histogram_add(&s->metrics.prompt_to_frame, now - shown->prompted);
        if (!index)
            zt_histogram_add(&s->metrics.first_frame, now - s->created);
        shown->sampled = 0;
    }
    if (s->id >= 0) {
        zt_sched_delivered(&e->sched, s->id, index, now);
        zt_session_look(s);
        pthread_cond_signal(&e->work);
    }
    pthread_mutex_unlock(&e->lock);
}

// Under the lock.
static void add_metrics(const zt_session *s, zt_metrics *out)
{
    zt_metrics_merge(out, &s->metrics);
    out->sessions++;
    if (s->id < 0)
        return;
    const struct zt_lane *c = &s->engine->sched.lane[s->id];
    for (int i = 0; i < ZT_OUTCOMES; i++)
        out->outcome[i] += c->outcome[i];
    for (int i = 0; i < ZT_CHANGES; i++)
        out->changes[i] += c->changes[i];
}

void zt_session_metrics(zt_session *s, zt_metrics *out)
{
    *out = (zt_metrics){ 0 };
    pthread_mutex_lock(&s->engine->lock);
    add_metrics(s, out);
    pthread_mutex_unlock(&s->engine->lock);
}

void zt_engine_metrics(zt_engine *e, zt_metrics *out)
{
    pthread_mutex_lock(&e->lock);
    *out = e->past;
    for (int i = 0; i < ZT_SCHED_SESSIONS; i++) {
        if (e->session[i])
            add_metrics(e->session[i], out);
        if (e->laneless[i])
            add_metrics(e->laneless[i], out);
    }
    const zt_costs *c = &e->sched.costs;
    out->cost_passes = c->passes, out->cost_over = c->over;
    out->cost_predicted = c->predicted, out->cost_error = c->error;
    out->slice_wait = e->sched.wait;
    pthread_mutex_unlock(&e->lock);
}
