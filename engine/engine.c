// SPDX-License-Identifier: Apache-2.0
// The thread that asks the scheduler what to do, does it, and sleeps in between.
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/live.h"
#include "base/log.h"
#include "engine/internal.h"
#include "engine/probes.h"

#define REST 9          // of a slice, before the next when nothing else may run: or the kernel takes 5 % of a second at once
#define LONGEST_SLEEP (100 * ZT_MS)     // zt_session_stop() cannot wake the thread: a signal handler may call it

static void beat(zt_engine *e, int64_t at)
{
    __atomic_store_n(&e->beat, at, __ATOMIC_RELAXED);
}

int64_t zt_engine_beat(const zt_engine *e)
{
    return __atomic_load_n(&e->beat, __ATOMIC_RELAXED);
}

static void sleep_until(zt_engine *e, int64_t wake)
{
    if (e->sessions)
        wake = ZT_MIN(wake, zt_now() + LONGEST_SLEEP);
    if (wake == INT64_MAX) {
        beat(e, INT64_MAX);
        pthread_cond_wait(&e->work, &e->lock);
        return;
    }
    const struct timespec at = { (time_t)(wake / ZT_S), (long)(wake % ZT_S) };
    pthread_cond_timedwait(&e->work, &e->lock, &at);
}

// Five within a second are worth a look at what the engine did.
static void missed(zt_engine *e, int16_t lane, uint64_t slot, enum zt_outcome outcome)
{
    const int64_t now = zt_now();
    int64_t *fifth = &e->missed[e->misses++ % ZT_LEN(e->missed)];
    zt_trace_add(&e->trace, (zt_moment){ now, now, ZT_SPAN_MISS, lane, (int)outcome, slot });
    if (*fifth && now - *fifth < ZT_S) {
        e->alarms++;
        memset(e->missed, 0, sizeof(e->missed));
        return;
    }
    *fifth = now;
}

void zt_session_look(zt_session *s)
{
    const struct zt_lane *c = &s->engine->sched.lane[s->id];
    if (c->decisions - s->counted > ZT_SCHED_FLIGHT)
        s->counted = c->decisions - ZT_SCHED_FLIGHT;
    for (; s->counted < c->decisions; s->counted++) {
        const int i = (int)(s->counted % ZT_SCHED_FLIGHT);
        const uint64_t slot = c->decided[i].index;
        const enum zt_outcome outcome = c->decided[i].outcome;
        ZT_PROBE3(outcome, s->id, slot, (int)outcome);
        if (s->record)
            zt_record_decide(s->record, slot, outcome);
        if (outcome >= ZT_LATE && c->pace.pacing == ZT_LIVE)
            missed(s->engine, (int16_t)s->id, slot, outcome);
    }
}

void zt_session_leave_lane(zt_session *s)
{
    if (s->id < 0)
        return;
    zt_engine *e = s->engine;
    zt_sched_remove(&e->sched, s->id);
    zt_session_look(s);
    const struct zt_lane *c = &e->sched.lane[s->id];
    for (int i = 0; i < ZT_OUTCOMES; i++)
        s->metrics.outcome[i] += c->outcome[i];
    for (int i = 0; i < ZT_CHANGES; i++)
        s->metrics.changes[i] += c->changes[i];
    e->session[s->id] = NULL;
    s->id = -1;
}

void zt_session_fail(zt_session *s, int err)
{
    zt_engine *e = s->engine;
    zt_session_leave_lane(s);
    for (int i = 0; i < ZT_SCHED_SESSIONS; i++) {
        if (e->laneless[i])
            continue;
        e->laneless[i] = s;
        break;
    }
    s->error = err;
    if (s->phase == ZT_RUNNING)
        s->phase = ZT_DONE;
    pthread_cond_broadcast(&e->change);
}

// Memory that only this thread may give back; the rest is its creator's to free.
static void give_back(zt_engine *e, zt_session *s)
{
    if (!e->device->backend)
        return;
    pthread_mutex_unlock(&e->lock);
    zt_work_teardown(s);
    pthread_mutex_lock(&e->lock);
}

// Gives a new session, whose memory is there, its lane.
static void admit(zt_engine *e, zt_session *s)
{
    int err = s->refused ? zt_admit_check(e, s->model, &s->pace, 0, 0, s->refused) : 0;
    if (err)
        e->past.refused[s->refused->reason]++;
    pthread_mutex_unlock(&e->lock);
    if (!err)
        err = zt_work_setup(s);
    pthread_mutex_lock(&e->lock);
    if (!err)
        err = e->sessions < ZT_SCHED_SESSIONS ? zt_sched_add(&e->sched, &s->pace, zt_now()) : -EAGAIN;
    s->id = err;
    if (err < 0) {
        s->id = -1;
        s->error = err;
        give_back(e, s);
        s->phase = ZT_GONE;         // from here on it is its creator's
    } else {
        e->session[s->id] = s;
        e->sessions++;
        *s->out = s;
        s->phase = ZT_RUNNING;
    }
    pthread_cond_broadcast(&e->change);
}

static void release(zt_engine *e, zt_session *s, zt_session **place)
{
    zt_session_leave_lane(s);
    *place = NULL;
    zt_metrics_merge(&e->past, &s->metrics);        // at once: counters that are read meanwhile never go back
    give_back(e, s);
    e->sessions--;
    s->phase = ZT_GONE;
    pthread_cond_broadcast(&e->change);
}

static void look_after(zt_engine *e, zt_session **place)
{
    zt_session *s = *place;
    if (!s)
        return;
    if (s->phase == ZT_LEAVING) {
        release(e, s, place);
        return;
    }
    if (s->id < 0)
        return;
    if (__atomic_load_n(&s->stop, __ATOMIC_ACQUIRE))
        zt_sched_finish(&e->sched, s->id);
    if (s->phase == ZT_RUNNING && zt_sched_finished(&e->sched, s->id)) {
        s->phase = ZT_DONE;
        pthread_cond_broadcast(&e->change);
    }
}

static void account(zt_engine *e, enum zt_busy what, int64_t *since)
{
    const int64_t now = zt_now();
    e->past.busy[what] += now - *since;
    *since = now;
}

static void *run(void *cookie)
{
    zt_engine *e = cookie;
    zt_todo todo[ZT_MAX_JOBS];
    int64_t since = zt_now();
    pthread_setname_np(pthread_self(), "zt-engine");
    if (e->device->realtime)
        zt_thread_first(0);

    pthread_mutex_lock(&e->lock);
    while (!e->quit) {
        beat(e, zt_now());
        while (e->arriving) {
            zt_session *s = e->arriving;
            e->arriving = s->next;
            admit(e, s);
        }
        for (int i = 0; i < ZT_SCHED_SESSIONS; i++) {
            look_after(e, &e->session[i]);
            look_after(e, &e->laneless[i]);
        }
        int64_t wake;
        const int n = zt_sched_next(&e->sched, zt_now(), todo, ZT_MAX_JOBS, &wake);
        for (int i = 0; i < ZT_SCHED_SESSIONS; i++)
            if (e->session[i])
                zt_session_look(e->session[i]);
        if (!n) {
            sleep_until(e, wake);
            account(e, ZT_BUSY_IDLE, &since);
            continue;
        }
        const bool offline = e->sched.lane[todo[0].id].pace.pacing == ZT_OFFLINE;
        pthread_mutex_unlock(&e->lock);
        zt_work_do(e, todo, n);
        pthread_mutex_lock(&e->lock);
        const int64_t began = since;
        account(e, offline ? ZT_BUSY_OFFLINE : ZT_BUSY_LIVE, &since);
        if (offline && e->device->realtime) {
            sleep_until(e, since + (since - began) / REST);
            account(e, ZT_BUSY_IDLE, &since);
        }
    }
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

int zt_engine_create(zt_engine **out, zt_device *d, zt_model *m)
{
    zt_engine *e = zt_alloc(sizeof(*e));
    if (!e) {
        zt_error("engine: no memory");
        return -ENOMEM;
    }
    e->device = d;
    e->model[0] = m;
    e->models = 1;
    e->sched.threads = d->threads;
    e->beat = zt_now();
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&e->making, NULL);
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->work, &attr);
    pthread_cond_init(&e->change, &attr);
    pthread_condattr_destroy(&attr);

    const int err = -pthread_create(&e->thread, NULL, run, e);
    if (err < 0) {
        zt_error("engine: no thread (%d)", -err);
        pthread_cond_destroy(&e->change);
        pthread_cond_destroy(&e->work);
        pthread_mutex_destroy(&e->making);
        pthread_mutex_destroy(&e->lock);
        zt_free(e);
        return err;
    }
    *out = e;
    return 0;
}

void zt_engine_destroy(zt_engine **engine)
{
    zt_engine *e = *engine;
    if (!e)
        return;
    pthread_mutex_lock(&e->lock);
    assert(!e->sessions && !e->arriving);
    e->quit = true;
    pthread_cond_signal(&e->work);
    pthread_mutex_unlock(&e->lock);
    pthread_join(e->thread, NULL);
    zt_costs_save(e);
    free(e->folder);
    pthread_cond_destroy(&e->change);
    pthread_cond_destroy(&e->work);
    pthread_mutex_destroy(&e->making);
    pthread_mutex_destroy(&e->lock);
    zt_free(e);
    *engine = NULL;
}

int zt_engine_add_model(zt_engine *e, zt_model *m)
{
    pthread_mutex_lock(&e->lock);
    const int i = e->models < ZT_ENGINE_MODELS ? e->models++ : -EAGAIN;
    if (i >= 0) {
        e->model[i] = m;
        zt_costs_load(e, i);
    }
    pthread_mutex_unlock(&e->lock);
    return i < 0 ? i : 0;
}

char *zt_engine_trace(zt_engine *e, size_t *bytes)
{
    char *text = NULL;
    zt_trace *copy = malloc(sizeof(*copy));     // printed without the lock
    FILE *f = copy ? open_memstream(&text, bytes) : NULL;
    if (f) {
        pthread_mutex_lock(&e->lock);
        memcpy(copy, &e->trace, sizeof(*copy));
        pthread_mutex_unlock(&e->lock);
        zt_trace_print(copy, zt_now() - 10 * ZT_S, f);
        if (fclose(f)) {
            free(text);
            text = NULL;
        }
    }
    free(copy);
    return text;
}

uint64_t zt_engine_alarms(zt_engine *e)
{
    pthread_mutex_lock(&e->lock);
    const uint64_t n = e->alarms;
    pthread_mutex_unlock(&e->lock);
    return n;
}
