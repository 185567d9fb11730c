// SPDX-License-Identifier: Apache-2.0
// Ranks that are threads of one process: they show one another where their data lies and copy it.
#include "kernels/comm.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/base.h"

// What all ranks share.
typedef struct meeting {
    pthread_mutex_t lock;
    pthread_cond_t  changed;
    int             size, here, open;
    unsigned        turn;                       // how often all have met
    const float    *shown[ZT_RANKS_MAX];
    const float    *sent[ZT_RANKS_MAX];         // from each rank to the next; NULL: received
} meeting;

typedef struct member {
    zt_comm  comm;
    meeting *m;
} member;

static void meet(meeting *m)
{
    pthread_mutex_lock(&m->lock);
    const unsigned turn = m->turn;
    if (++m->here == m->size) {
        m->here = 0;
        m->turn++;
        pthread_cond_broadcast(&m->changed);
    }
    while (turn == m->turn)
        pthread_cond_wait(&m->changed, &m->lock);
    pthread_mutex_unlock(&m->lock);
}

// Shows `from`, copies what the others show, leaves when all have.
static void exchange(zt_comm *c, zt_device *d, float *to, const float *from, size_t n, bool own_block)
{
    meeting *const m = ((member *)c)->m;
    zt_device_wait(d);
    m->shown[c->rank] = from;
    meet(m);
    for (int q = 0; q < c->size; q++)
        memcpy(to + (size_t)q * n, m->shown[q] + (own_block ? (size_t)c->rank * n : 0), n * sizeof(float));
    meet(m);
}

static void all_to_all(zt_comm *c, zt_device *d, float *to, const float *from, size_t n)
{
    exchange(c, d, to, from, n, true);
}

static void all_gather(zt_comm *c, zt_device *d, float *to, const float *from, size_t n)
{
    exchange(c, d, to, from, n, false);
}

static void send(zt_comm *c, zt_device *d, const float *from, size_t n)
{
    meeting *const m = ((member *)c)->m;
    (void)n;
    zt_device_wait(d);
    pthread_mutex_lock(&m->lock);
    m->sent[c->rank] = from;
    pthread_cond_broadcast(&m->changed);
    while (m->sent[c->rank])
        pthread_cond_wait(&m->changed, &m->lock);
    pthread_mutex_unlock(&m->lock);
}

static void receive(zt_comm *c, zt_device *d, float *to, size_t n)
{
    meeting *const m = ((member *)c)->m;
    const int before = (c->rank + c->size - 1) % c->size;
    zt_device_wait(d);
    pthread_mutex_lock(&m->lock);
    while (!m->sent[before])
        pthread_cond_wait(&m->changed, &m->lock);
    memcpy(to, m->sent[before], n * sizeof(float));
    m->sent[before] = NULL;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
}

static void leave(zt_comm *c)
{
    member *const own = (member *)c;
    meeting *const m = own->m;
    pthread_mutex_lock(&m->lock);
    const bool last = --m->open == 0;
    pthread_mutex_unlock(&m->lock);
    if (last) {
        pthread_cond_destroy(&m->changed);
        pthread_mutex_destroy(&m->lock);
        zt_free(m);
    }
    zt_free(own);
}

int zt_comm_threads(zt_comm **out, int size)
{
    if (size < 1 || size > ZT_RANKS_MAX)
        return -EINVAL;
    meeting *const m = zt_alloc(sizeof(*m));
    if (!m)
        return -ENOMEM;
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->changed, NULL);
    m->size = m->open = size;
    for (int i = 0; i < size; i++) {
        member *const one = zt_alloc(sizeof(*one));
        if (!one) {
            m->open = ZT_MAX(i, 1);
            for (int j = 0; j < i; j++)
                leave(out[j]);
            if (i == 0)
                zt_free(m);
            return -ENOMEM;
        }
        *one = (member){ { i, size, all_to_all, all_gather, send, receive, leave }, m };
        out[i] = &one->comm;
    }
    return 0;
}
