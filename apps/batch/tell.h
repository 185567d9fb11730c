// SPDX-License-Identifier: Apache-2.0
// Inside apps/batch/: how far a run is, for people (a line on a terminal) and for programs (key=value lines).
#pragma once

#include <stdint.h>
#include <stdio.h>

#include "apps/batch/manifest.h"

#define ZT_TELL_PLACES 32

typedef struct zt_tell_place {
    char    id[ZT_CLIP_ID + 1];     // empty: nothing is rendered here
    int64_t frame, frames, started;
} zt_tell_place;

// One thread at a time.
typedef struct zt_tell {
    FILE         *terminal, *file;  // or NULL
    int           clips, done, failed;
    int64_t       frames, made;     // of the whole run
    int64_t       ended;            // frames of clips that ended
    int64_t       started, told;    // ns
    zt_tell_place place[ZT_TELL_PLACES];
} zt_tell;

int  zt_tell_open(zt_tell *t, const char *path, int clips, int64_t frames, int quiet);  // as zt_progress_open()
void zt_tell_begin(zt_tell *t, int place, const char *id, int64_t frames);
void zt_tell_frame(zt_tell *t, int place, int64_t frame);
void zt_tell_end(zt_tell *t, int place, int code);
void zt_tell_now(zt_tell *t, int64_t now);          // at most five times a second
void zt_tell_close(zt_tell *t, int64_t now, const char *how);
