// SPDX-License-Identifier: Apache-2.0
// Renders one clip, chunk by chunk, so that it can be stopped and killed at any moment and goes on.
#pragma once

#include "apps/batch/folder.h"
#include "apps/batch/manifest.h"
#include "apps/setup.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_clip_job {
    const zt_clip *clip;        // settled
    zt_setup      *setup;       // open, with its engine
    const char    *out;         // a directory
    int64_t        chunk;       // frames that are encoded by themselves
    bool           anew;        // whatever there is gives way
    bool           slack;       // after live sessions, not packed
    const int     *stop;        // atomic: once not 0, the clip is left as it is
    void         (*told)(void *cookie, int64_t frames);     // so many are on their way to the disk
    void          *cookie;
} zt_clip_job;

// What the clip is with everything that its line leaves open.
typedef struct zt_clip_shape {
    int     w, h, fps, steps;   // of the output; steps of the model's own when the line says none
    int64_t frames;
} zt_clip_shape;

void     zt_clip_shape_of(const zt_clip *c, const zt_model_info *info, zt_clip_shape *out);
uint64_t zt_clip_key(const zt_clip *c, const zt_model_info *info, int64_t chunk);

// Blocks; clips of one engine in several threads are packed into its passes. 0 when OUT/ID.EXT and OUT/ID.json are
// there (already: nothing is done), else an exit code: 75 (stopped, or another process renders it), 73, 65, 69, 70.
// What failed has been said.
int zt_clip_render(const zt_clip_job *job);

#ifdef __cplusplus
}
#endif
