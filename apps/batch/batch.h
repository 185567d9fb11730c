// SPDX-License-Identifier: Apache-2.0
// zoetrope-render --manifest: many clips, unattended.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "apps/setup.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_batch {
    zt_setup    setup;          // what the command line says of model and device; not opened
    const char *manifest;
    const char *index;          // "A" or "A-B", clips from 0; NULL: all
    const char *out;            // a directory, made when it is not there; NULL with `check`
    const char *progress;       // as zt_progress_open()
    const char *submit;         // "slurm", or NULL
    int64_t     jobs;           // clips at once; 0: by memory, 8 or as many for each thread at the most
    int64_t     chunk;          // frames that are encoded by themselves
    int64_t     per_task;       // clips a task of an array; 0: as few as the array allows
    bool        resume, overwrite, check, collect, go, quiet;
    const int  *interrupted;    // atomic
} zt_batch;

// Returns the exit code; everything has been said.
int zt_batch_run(const zt_batch *b);

#ifdef __cplusplus
}
#endif
