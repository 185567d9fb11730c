// SPDX-License-Identifier: Apache-2.0
// Inside apps/batch/: a clip while it is rendered, and what is done with it when all its chunks are there.
#pragma once

#include "apps/batch/carry.h"
#include "apps/batch/clip.h"
#include "apps/contact_sheet.h"
#include "base/queue.h"
#include "engine/replay.h"
#include "stream/stream.h"

typedef struct zt_rendering {
    const zt_clip_job *job;
    zt_origin      from;
    zt_folder      folder;
    zt_clip_shape  shape;
    zt_replay     *log;             // or NULL
    const char    *chunk_format;
    int64_t        chunks, kept;    // in all, and there before
    zt_queue      *queue;           // of frames, from the engine's thread
    zt_stream     *stream;          // of the chunk `at`, or NULL
    int64_t        at;
    zt_sheet      *sheet;           // or NULL
    zt_carry       carry;
    int64_t        first;           // picture that this session makes; those before the chunk `carry.number` are there
} zt_rendering;

// OUT/.ID/chunk-N.EXT; of pictures a directory, called .part while it grows.
void zt_rendering_chunk(const zt_rendering *r, char path[ZT_FOLDER_PATH], int64_t number, bool part);
// Joins the chunks to OUT/ID.EXT, writes OUT/ID.json, removes OUT/.ID/. 0 or an exit code (logged).
int  zt_rendering_finish(zt_rendering *r);
