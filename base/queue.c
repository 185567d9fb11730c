// SPDX-License-Identifier: Apache-2.0
// The queue: a ring under one lock. Waits are measured on CLOCK_MONOTONIC, so setting the wall clock moves nothing.
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/queue.h"

struct zt_queue {
    int             room;       // only changed by create
    // Protected by lock
    pthread_mutex_t lock;
    pthread_cond_t  filled, drained;
    bool            closed;
    int             head, length;
    void           *item[];     // [room], a ring from head
};

static int conditions_init(zt_queue *q)
{
    pthread_condattr_t attr;
    int err = pthread_condattr_init(&attr);
    if (err)
        return -err;

    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    err = pthread_cond_init(&q->filled, &attr);
    if (!err) {
        err = pthread_cond_init(&q->drained, &attr);
        if (err)
            pthread_cond_destroy(&q->filled);
    }
    pthread_condattr_destroy(&attr);
    return -err;
}

int zt_queue_create(zt_queue **out, int room)
{
    assert(room >= 1);
    zt_queue *q = zt_alloc(sizeof(*q) + (size_t)room * sizeof(q->item[0]));
    if (!q)
        return -ENOMEM;

    q->room = room;
    int err = -pthread_mutex_init(&q->lock, NULL);
    if (err < 0)
        goto out;
    err = conditions_init(q);
    if (err < 0) {
        pthread_mutex_destroy(&q->lock);
        goto out;
    }
    *out = q;
    q = NULL;
out:
    zt_free(q);
    return err;
}

void zt_queue_destroy(zt_queue **q)
{
    if (!*q)
        return;

    pthread_cond_destroy(&(*q)->drained);
    pthread_cond_destroy(&(*q)->filled);
    pthread_mutex_destroy(&(*q)->lock);
    zt_free(*q);
    *q = NULL;
}

// False when `until` has passed. Called and returns with the lock held.
static bool wait_until(zt_queue *q, pthread_cond_t *c, int64_t until)
{
    if (until <= 0)
        return false;
    if (until == INT64_MAX)
        return pthread_cond_wait(c, &q->lock) == 0;

    const struct timespec t = { .tv_sec = (time_t)(until / ZT_S), .tv_nsec = (long)(until % ZT_S) };
    return pthread_cond_timedwait(c, &q->lock, &t) == 0;
}

int zt_queue_push(zt_queue *q, void *item, int64_t until)
{
    pthread_mutex_lock(&q->lock);
    while (!q->closed && q->length == q->room && wait_until(q, &q->drained, until))
        ;

    int err = 0;
    if (q->closed) {
        err = -EPIPE;
    } else if (q->length == q->room) {
        err = -EAGAIN;
    } else {
        q->item[(q->head + q->length++) % q->room] = item;
        pthread_cond_signal(&q->filled);
    }
    pthread_mutex_unlock(&q->lock);
    return err;
}

int zt_queue_pop(zt_queue *q, void **out, int64_t until)
{
    pthread_mutex_lock(&q->lock);
    while (!q->closed && !q->length && wait_until(q, &q->filled, until))
        ;

    int err = 0;
    if (q->length) {
        *out = q->item[q->head];
        q->head = (q->head + 1) % q->room;
        q->length--;
        pthread_cond_signal(&q->drained);
    } else {
        err = q->closed ? -EPIPE : -EAGAIN;
    }
    pthread_mutex_unlock(&q->lock);
    return err;
}

void zt_queue_close(zt_queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->closed = true;
    pthread_cond_broadcast(&q->filled);
    pthread_cond_broadcast(&q->drained);
    pthread_mutex_unlock(&q->lock);
}

int zt_queue_length(zt_queue *q)
{
    pthread_mutex_lock(&q->lock);
    const int n = q->length;
    pthread_mutex_unlock(&q->lock);
    return n;
}
