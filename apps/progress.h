// SPDX-License-Identifier: Apache-2.0
// Progress for people (a line on a terminal) and for programs (key=value lines).
#pragma once

#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

// One thread at a time.
typedef struct zt_progress {
    FILE    *terminal;      // or NULL
    FILE    *file;          // or NULL
    int64_t  frames;        // to come in all
    int64_t  started;       // ns, at the first frame
    int64_t  told;          // ns
} zt_progress;

// `path` NULL: none; "-": stdout. 0 or -errno (logged).
int  zt_progress_open(zt_progress *p, const char *path, int64_t frames, int quiet);
void zt_progress_tell(zt_progress *p, int64_t done, int64_t now);      // at most ten times a second
// how: "end", "interrupted", "failed".
void zt_progress_close(zt_progress *p, int64_t done, int64_t now, const char *how);

#ifdef __cplusplus
}
#endif
