// SPDX-License-Identifier: Apache-2.0
// Memory that is taken piece by piece and given back all at once.
#pragma once

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// Zeroed is empty and valid. One thread at a time.
typedef struct zt_arena {
    char  *base;
    size_t used, bytes;
} zt_arena;

int   zt_arena_init(zt_arena *a, size_t bytes);     // 0 or -ENOMEM; the memory is zeroed
void  zt_arena_finish(zt_arena *a);                 // takes a zeroed arena too
void *zt_arena_take(zt_arena *a, size_t bytes);     // 64-byte aligned; NULL when it does not fit

#ifdef __cplusplus
}
#endif
