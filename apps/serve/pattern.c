// SPDX-License-Identifier: Apache-2.0
// Draws a sky and hills that turn with control 0, one picture per slot, at its release.
#include "apps/serve/pattern.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"

#define SLOTS 64

struct zt_pattern {
    zt_session_params p;
    zt_frame_pool    *pool;
    pthread_t         thread;
    atomic_bool       stop;
    float             angle;        // its thread's

    pthread_mutex_t   lock;         // over what follows
    float             control[ZT_MAX_CONTROLS];
    struct { uint64_t index; int64_t due, sampled; } slot[SLOTS];
    zt_metrics        metrics;
};

static void draw(const zt_frame *f, float angle)
{
    for (int x = 0; x < f->w; x++) {
        const float at = angle + 6.2832f * (float)x / (float)f->w / 2;
        const int hill = (int)((0.62f + 0.12f * sinf(3 * at) + 0.06f * sinf(7 * at + 1)) * (float)f->h);
        for (int y = 0; y < f->h; y++)
            f->plane[0][y * f->pitch[0] + x] = (uint8_t)(y < hill ? 200 - 90 * y / f->h : 60 + 80 * (y - hill) / f->h);
        if (x % 2)
            continue;
        for (int y = 0; y < f->h / 2; y++) {
            f->plane[1][y * f->pitch[1] + x / 2] = 2 * y < hill ? 150 : 110;
            f->plane[2][y * f->pitch[2] + x / 2] = 2 * y < hill ? 118 : 112;
        }
    }
}

static void show(zt_pattern *p, uint64_t k, int64_t due)
{
    const int64_t sampled = zt_now();
    pthread_mutex_lock(&p->lock);
    const float turn = p->control[0];
    p->slot[k % SLOTS].index = k;
    p->slot[k % SLOTS].due = due;
    p->slot[k % SLOTS].sampled = sampled;
    pthread_mutex_unlock(&p->lock);
    zt_frame *f = zt_frame_get(p->pool);
    if (!f) {
        pthread_mutex_lock(&p->lock);
        p->metrics.outcome[ZT_DROPPED]++;
        pthread_mutex_unlock(&p->lock);
        return;
    }
    p->angle += (0.2f + 2 * turn) / (float)p->p.fps;
    draw(f, p->angle);
    f->index = f->model_frame = k;
    f->pts = (int64_t)k * ZT_S / p->p.fps;
    f->due = due;
    f->sampled = sampled;
    f->made = zt_now();
    f->steps = p->p.steps_max;
    f->repeated = f->key = false;
    p->p.on_frame(p->p.cookie, f);
    zt_frame_unref(&f);
}

static void *run(void *cookie)
{
    zt_pattern *p = cookie;
    const int64_t start = zt_now();
    for (uint64_t k = 0; !atomic_load(&p->stop); k++) {
        const int64_t release = start + (int64_t)k * ZT_S / p->p.fps;
        zt_sleep_until(release);
        show(p, k, release + p->p.budget);
    }
    return NULL;
}

int zt_pattern_create(zt_pattern **out, const zt_session_params *params)
{
    zt_pattern *p = zt_alloc(sizeof(*p));
    if (!p)
        return -ENOMEM;
    p->p = *params;
    p->metrics.sessions = 1;
    pthread_mutex_init(&p->lock, NULL);
    int err = zt_frame_pool_create(&p->pool, params->w, params->h, 10);
    if (!err && pthread_create(&p->thread, NULL, run, p)) {
        zt_error("pattern: no thread");
        err = -ENOMEM;
    }
    if (err < 0) {
        zt_frame_pool_destroy(&p->pool);
        pthread_mutex_destroy(&p->lock);
        zt_free(p);
        return err;
    }
    *out = p;
    return 0;
}

void zt_pattern_destroy(zt_pattern **pattern)
{
    zt_pattern *p = *pattern;
    if (!p)
        return;
    atomic_store(&p->stop, true);
    pthread_join(p->thread, NULL);
    zt_frame_pool_destroy(&p->pool);
    pthread_mutex_destroy(&p->lock);
    zt_free(p);
    *pattern = NULL;
}

void zt_pattern_control(zt_pattern *p, int control, float value)
{
    pthread_mutex_lock(&p->lock);
    if (control >= 0 && control < ZT_MAX_CONTROLS)
        p->control[control] = value;
    pthread_mutex_unlock(&p->lock);
}

void zt_pattern_delivered(zt_pattern *p, uint64_t index, int64_t now)
{
    pthread_mutex_lock(&p->lock);
    if (p->slot[index % SLOTS].index == index && p->slot[index % SLOTS].due) {
        p->metrics.outcome[now <= p->slot[index % SLOTS].due ? ZT_ON_TIME : ZT_LATE]++;
        zt_histogram_add(&p->metrics.latency, now - p->slot[index % SLOTS].sampled);
        p->slot[index % SLOTS].due = 0;
    }
    pthread_mutex_unlock(&p->lock);
}

void zt_pattern_metrics(zt_pattern *p, zt_metrics *out)
{
    pthread_mutex_lock(&p->lock);
    *out = p->metrics;
    pthread_mutex_unlock(&p->lock);
}
