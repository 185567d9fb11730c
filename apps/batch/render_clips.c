// SPDX-License-Identifier: Apache-2.0
// Renders the clips of a run: a thread each for as many as go at once; the engine packs them.
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "apps/batch/tell.h"
#include "apps/batch/work.h"
#include "apps/exits.h"
#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "kernels/device.h"

#define JOBS  8                         // at least, and as many for each thread: it takes whole clips through a pass
#define SPACE (INT64_C(64) << 20)       // of an encoder with its pictures

typedef struct crew {
    zt_batch_work  *w;
    const zt_clip **clip;       // of one model
    int             n;

    pthread_mutex_t lock;       // of the rest
    int             next, running, code;
    int             stop;       // atomic
    zt_tell         tell;
} crew;

typedef struct worker {
    crew     *c;
    int       place;
    pthread_t thread;
} worker;

static void on_told(void *cookie, int64_t frames)
{
    worker *me = cookie;
    pthread_mutex_lock(&me->c->lock);
    zt_tell_frame(&me->c->tell, me->place, frames);
    pthread_mutex_unlock(&me->c->lock);
}

// Under the lock. The worst that can be said of the run is said first.
static void note(crew *c, int code)
{
    if (code == ZT_EXIT_NO_OUTPUT)          // the disk: nothing else would fare better
        __atomic_store_n(&c->stop, 1, __ATOMIC_RELAXED);
    if (code && (!c->code || c->code == ZT_EXIT_AGAIN))
        c->code = code;
}

static void *work(void *cookie)
{
    worker *me = cookie;
    crew *c = me->c;
    const zt_batch *b = c->w->b;
    pthread_mutex_lock(&c->lock);
    while (c->next < c->n && !__atomic_load_n(&c->stop, __ATOMIC_RELAXED)) {
        const zt_clip *clip = c->clip[c->next++];
        zt_clip_shape shape;
        zt_clip_shape_of(clip, zt_model_get_info(c->w->setup.model), &shape);
        zt_tell_begin(&c->tell, me->place, clip->id, shape.frames);
        pthread_mutex_unlock(&c->lock);
        const zt_clip_job job = { .clip = clip, .setup = &c->w->setup, .out = b->out, .chunk = b->chunk,
                                  .anew = b->overwrite && !b->resume, .stop = &c->stop, .told = on_told, .cookie = me };
        const int code = zt_clip_render(&job);
        pthread_mutex_lock(&c->lock);
        note(c, code);
        zt_tell_end(&c->tell, me->place, code);
    }
    c->running--;
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

static int64_t memory_left(void)
{
    long long kib = 0;
    char line[128];
    FILE *f = fopen("/proc/meminfo", "re");
    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "MemAvailable: %lld kB", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib ? kib << 10 : INT64_C(1) << 30;
}

// Half of what is free is left to others.
static int jobs(const zt_batch_work *w, int n)
{
    const zt_model_info *info = zt_model_get_info(w->setup.model);
    const int64_t fit = memory_left() / 2 / (info->state_bytes + (int64_t)info->w * info->h * 64 + SPACE);
    const zt_device *d = w->setup.device;
    const int64_t even = d->backend ? JOBS : ZT_MIN(zt_round_up(JOBS, d->threads), ZT_TELL_PLACES);
    const int64_t wanted = w->b->jobs ? w->b->jobs : ZT_MIN(ZT_MAX(fit, 1), even);
    return (int)ZT_MIN(wanted, n);
}

// Signals are the main thread's.
static int start(crew *c, worker *crowd, int n)
{
    sigset_t all, before;
    int started = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_mutex_lock(&c->lock);
    for (; started < n; started++) {
        crowd[started] = (worker){ .c = c, .place = started };
        if (pthread_create(&crowd[started].thread, NULL, work, &crowd[started]))
            break;
        c->running++;
    }
    pthread_mutex_unlock(&c->lock);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

static void watch(crew *c)
{
    bool running = true;
    while (running) {
        const struct timespec nap = { 0, 20 * (long)ZT_MS };
        if (__atomic_load_n(c->w->b->interrupted, __ATOMIC_RELAXED))
            __atomic_store_n(&c->stop, 1, __ATOMIC_RELAXED);
        nanosleep(&nap, NULL);
        pthread_mutex_lock(&c->lock);
        running = c->running > 0;
        zt_tell_now(&c->tell, zt_now());
        pthread_mutex_unlock(&c->lock);
    }
}

// The clips of one model.
static int render_group(crew *c)
{
    worker crowd[ZT_TELL_PLACES];
    int code = zt_work_open(c->w, c->clip[0]);
    if (code)
        return code;
    const int n = start(c, crowd, jobs(c->w, c->n));
    if (!n)
        return ZT_EXIT_UNAVAILABLE;
    watch(c);
    for (int i = 0; i < n; i++)
        pthread_join(crowd[i].thread, NULL);
    return 0;
}

static int render_groups(crew *c, bool *done)
{
    const zt_batch_work *w = c->w;
    const int n = w->last - w->first + 1;
    int code = 0;
    for (int i = 0; i < n && !code && !__atomic_load_n(&c->stop, __ATOMIC_RELAXED); i++) {
        const zt_clip *head = &w->manifest.clip[w->first + i];
        if (done[i])
            continue;
        c->n = c->next = 0;
        for (int k = i; k < n; k++) {
            const zt_clip *clip = &w->manifest.clip[w->first + k];
            if (done[k] || !zt_work_same(head, clip))
                continue;
            done[k] = true;
            c->clip[c->n++] = clip;
        }
        code = render_group(c);
    }
    return code;
}

int zt_batch_render(zt_batch_work *w)
{
    const int n = w->last - w->first + 1;
    crew c = { .w = w, .clip = calloc((size_t)n, sizeof(*c.clip)) };
    bool *done = calloc((size_t)n, sizeof(*done));
    if (!c.clip || !done) {
        free(c.clip);
        free(done);
        return ZT_EXIT_UNAVAILABLE;
    }
    pthread_mutex_init(&c.lock, NULL);
    int code = zt_tell_open(&c.tell, w->b->progress, n, w->frames, w->b->quiet) < 0 ? ZT_EXIT_NO_OUTPUT : 0;
    if (!code)
        code = render_groups(&c, done);
    if (!code)
        code = c.code;
    const bool left = c.tell.done + c.tell.failed < n;
    if (!code && left)
        code = ZT_EXIT_AGAIN;
    if (code == ZT_EXIT_AGAIN)
        zt_warn("%d of %d clips are done, --resume goes on", c.tell.done, n);
    zt_tell_close(&c.tell, zt_now(), !code ? "end" : code == ZT_EXIT_AGAIN ? "interrupted" : "failed");
    pthread_mutex_destroy(&c.lock);
    free(c.clip);
    free(done);
    return code;
}
