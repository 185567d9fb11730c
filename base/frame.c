// SPDX-License-Identifier: Apache-2.0
// The frame pool, and the reference counts of frames and packets.
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/base.h"
#include "base/frame.h"
#include "base/packet.h"

// A frame as the pool sees it. The public part is first, so one address serves both.
struct pooled {
    zt_frame       f;
    atomic_int     refs;
    zt_frame_pool *pool;
    struct pooled *next;        // free list; protected by the pool's lock
};

struct zt_frame_pool {
    // Only changed by create
    uint8_t        *pixels;
    struct pooled  *frame;      // [n]
    // Protected by lock
    pthread_mutex_t lock;
    struct pooled  *free;
    int             users;      // frames out, and one for the owner
};

static void lay_out(struct pooled *p, int w, int h, uint8_t *at)
{
    for (int i = 0; i < 3; i++) {
        p->f.pitch[i] = (ptrdiff_t)zt_round_up(i ? w / 2 : w, 64);
        p->f.plane[i] = at;
        at += p->f.pitch[i] * (i ? h / 2 : h);
    }
    p->f.w = w;
    p->f.h = h;
}

static void pool_free(zt_frame_pool *p)
{
    pthread_mutex_destroy(&p->lock);
    zt_free(p->pixels);
    zt_free(p->frame);
    zt_free(p);
}

int zt_frame_pool_create(zt_frame_pool **out, int w, int h, int n)
{
    assert(w > 0 && h > 0 && w % 2 == 0 && h % 2 == 0 && n > 0);
    const int64_t bytes = zt_round_up(w, 64) * h + 2 * zt_round_up(w / 2, 64) * (h / 2);

    zt_frame_pool *p = zt_alloc(sizeof(*p));
    if (!p)
        return -ENOMEM;
    pthread_mutex_init(&p->lock, NULL);
    p->users = 1;
    p->frame = zt_alloc((size_t)n * sizeof(*p->frame));
    p->pixels = n <= PTRDIFF_MAX / bytes ? zt_alloc((size_t)(n * bytes)) : NULL;
    if (!p->frame || !p->pixels) {
        pool_free(p);
        return -ENOMEM;
    }

    for (int i = n - 1; i >= 0; i--) {
        lay_out(&p->frame[i], w, h, p->pixels + i * bytes);
        p->frame[i].pool = p;
        p->frame[i].next = p->free;
        p->free = &p->frame[i];
    }
    *out = p;
    return 0;
}

// Takes back a frame, or the owner's share when f is NULL.
static void give_back(zt_frame_pool *p, struct pooled *f)
{
    pthread_mutex_lock(&p->lock);
    if (f) {
        f->next = p->free;
        p->free = f;
    }
    const int users = --p->users;
    pthread_mutex_unlock(&p->lock);
    if (!users)
        pool_free(p);
}

void zt_frame_pool_destroy(zt_frame_pool **p)
{
    if (*p)
        give_back(*p, NULL);
    *p = NULL;
}

zt_frame *zt_frame_get(zt_frame_pool *p)
{
    pthread_mutex_lock(&p->lock);
    struct pooled *f = p->free;
    if (f) {
        p->free = f->next;
        p->users++;
    }
    pthread_mutex_unlock(&p->lock);
    if (!f)
        return NULL;

    // What the last user wrote must not leak into this picture; the layout stays.
    zt_frame clean = { .w = f->f.w, .h = f->f.h };
    for (int i = 0; i < 3; i++) {
        clean.plane[i] = f->f.plane[i];
        clean.pitch[i] = f->f.pitch[i];
    }
    f->f = clean;
    atomic_store_explicit(&f->refs, 1, memory_order_relaxed);
    return &f->f;
}

zt_frame *zt_frame_ref(zt_frame *f)
{
    const int before = atomic_fetch_add_explicit(&((struct pooled *)f)->refs, 1, memory_order_relaxed);
    assert(before > 0);
    (void)before;
    return f;
}

void zt_frame_unref(zt_frame **f)
{
    struct pooled *p = (struct pooled *)*f;
    *f = NULL;
    if (p && atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) == 1)
        give_back(p->pool, p);
}

// zt_packet's count is a plain int so that its header is C++ too.
static atomic_int *packet_refs(zt_packet *p)
{
    _Static_assert(sizeof(atomic_int) == sizeof(int), "an atomic int is an int");
    return (atomic_int *)&p->refs;
}

zt_packet *zt_packet_ref(zt_packet *p)
{
    const int before = atomic_fetch_add_explicit(packet_refs(p), 1, memory_order_relaxed);
    assert(before > 0);
    (void)before;
    return p;
}

void zt_packet_unref(zt_packet **p)
{
    zt_packet *last = *p;
    *p = NULL;
    if (last && atomic_fetch_sub_explicit(packet_refs(last), 1, memory_order_acq_rel) == 1)
        last->release(last);
}
