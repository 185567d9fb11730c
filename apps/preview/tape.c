// SPDX-License-Identifier: Apache-2.0
// Pictures one by one in memory of their own, so that a short tape is a small one.
#include "apps/preview/tape.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

struct zt_tape {
    int        w, h, room;
    bool       ring;
    uint64_t   first;           // of a ring: pictures that gave way
    atomic_int n;
    zt_frame  *frame[];         // [room], each with its planes behind it
};

int zt_tape_create(zt_tape **out, int w, int h, int frames, size_t bytes, bool ring)
{
    const size_t one = sizeof(zt_frame) + (size_t)w * (size_t)h * 3 / 2;
    const int room = (int)ZT_MAX(ZT_MIN((size_t)frames, bytes / one), 2);
    zt_tape *t = calloc(1, sizeof(*t) + (size_t)room * sizeof(*t->frame));
    if (!t)
        return -ENOMEM;
    t->w = w, t->h = h, t->room = room, t->ring = ring;
    *out = t;
    return 0;
}

void zt_tape_destroy(zt_tape **tape)
{
    zt_tape *t = *tape;
    if (!t)
        return;
    for (int i = 0; i < t->room; i++)
        free(t->frame[i]);
    free(t);
    *tape = NULL;
}

static zt_frame *place(zt_tape *t, int at)
{
    const size_t pixels = (size_t)t->w * (size_t)t->h;
    zt_frame *f = t->frame[at];
    if (!f)
        f = t->frame[at] = malloc(sizeof(*f) + pixels * 3 / 2);
    if (!f)
        return NULL;
    *f = (zt_frame){ .w = t->w, .h = t->h, .pitch = { t->w, t->w / 2, t->w / 2 } };
    f->plane[0] = (uint8_t *)(f + 1);
    f->plane[1] = f->plane[0] + pixels;
    f->plane[2] = f->plane[1] + pixels / 4;
    return f;
}

static void copy(zt_frame *to, const zt_frame *from)
{
    for (int k = 0; k < 3; k++) {
        const int w = from->w >> (k > 0), h = from->h >> (k > 0);
        for (int y = 0; y < h; y++)
            memcpy(to->plane[k] + y * to->pitch[k], from->plane[k] + y * from->pitch[k], (size_t)w);
    }
    to->index = from->index;
    to->model_frame = from->model_frame;
    to->pts = from->pts;
    to->steps = from->steps;
}

int zt_tape_push(zt_tape *t, const zt_frame *f)
{
    const int n = atomic_load(&t->n);
    if (f->w != t->w || f->h != t->h)
        return -EINVAL;
    if (n == t->room && !t->ring)
        return -ENOSPC;
    zt_frame *to = place(t, (int)((t->first + (uint64_t)n) % (uint64_t)t->room));
    if (!to)
        return -ENOMEM;
    copy(to, f);
    if (n == t->room)
        t->first++;
    else
        atomic_store(&t->n, n + 1);
    return 0;
}

int zt_tape_length(const zt_tape *t)
{
    return atomic_load(&t->n);
}

int zt_tape_room(const zt_tape *t)
{
    return t->room;
}

const zt_frame *zt_tape_get(const zt_tape *t, int i)
{
    return t->frame[(t->first + (uint64_t)i) % (uint64_t)t->room];
}

void zt_tape_clear(zt_tape *t)
{
    t->first = 0;
    atomic_store(&t->n, 0);
}
