// SPDX-License-Identifier: Apache-2.0
// Pictures kept for looking back: the last seconds of a live session, or all of a replay.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/frame.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_tape zt_tape;

// Keeps at most `frames` pictures in at most `bytes`; `ring`: the oldest gives way, else it ends when it is full.
// 0 or -ENOMEM. Memory is taken as it fills.
int  zt_tape_create(zt_tape **out, int w, int h, int frames, size_t bytes, bool ring);
void zt_tape_destroy(zt_tape **t);          // takes NULL inside
// Copies. One thread; the reader may be another where it is no ring. 0, -ENOSPC (full), -ENOMEM, -EINVAL (its size).
int  zt_tape_push(zt_tape *t, const zt_frame *f);
int  zt_tape_length(const zt_tape *t);      // from any thread
int  zt_tape_room(const zt_tape *t);        // frames that it can hold
// The i-th, from 0, the oldest: borrowed until the next push into a ring.
const zt_frame *zt_tape_get(const zt_tape *t, int i);
void zt_tape_clear(zt_tape *t);

#ifdef __cplusplus
}
#endif
