// SPDX-License-Identifier: Apache-2.0
// Inside apps/batch/: the clips of a run, those of one model together.
#pragma once

#include "apps/batch/batch.h"
#include "apps/batch/clip.h"

// Clips [first, last] of the manifest, with what each model says of them.
typedef struct zt_batch_work {
    const zt_batch *b;
    zt_manifest     manifest;
    int             first, last;
    zt_setup        setup;          // of `opened`; closed when opened is NULL
    const zt_clip  *opened;
    int64_t         frames;         // of all clips in the range
} zt_batch_work;

// Opens the model that the clip is made with, unless it is open. 0 or an exit code.
int  zt_work_open(zt_batch_work *w, const zt_clip *c);
void zt_work_close(zt_batch_work *w);
bool zt_work_same(const zt_clip *a, const zt_clip *b);     // the same model at the same precision

int  zt_batch_render(zt_batch_work *w);     // returns an exit code
int  zt_batch_check(zt_batch_work *w);      // --check: time and bytes to stdout
int  zt_batch_collect(zt_batch_work *w);    // --collect: what is there and whole, to stdout
int  zt_batch_submit(zt_batch_work *w);     // --submit: the script to stdout, or into the queue
