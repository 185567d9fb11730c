// SPDX-License-Identifier: Apache-2.0
// The arena: one allocation, a mark that only moves up.
#include <errno.h>

#include "base/arena.h"
#include "base/base.h"

int zt_arena_init(zt_arena *a, size_t bytes)
{
    char *base = zt_alloc(bytes);
    if (!base)
        return -ENOMEM;

    *a = (zt_arena){ .base = base, .bytes = bytes };
    return 0;
}

void zt_arena_finish(zt_arena *a)
{
    zt_free(a->base);
    *a = (zt_arena){ 0 };
}

void *zt_arena_take(zt_arena *a, size_t bytes)
{
    const size_t at = (a->used + 63) & ~(size_t)63;     // used <= bytes <= PTRDIFF_MAX: no overflow
    if (!a->base || at > a->bytes || bytes > a->bytes - at)
        return NULL;

    a->used = at + bytes;
    return a->base + at;
}
