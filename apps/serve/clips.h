// SPDX-License-Identifier: Apache-2.0
// Clips that were asked for over HTTP: a queue, rendered one after the other in what live sessions leave, and its
// files.
#pragma once

#include "apps/batch/clip.h"
#include "apps/setup.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ZT_CLIPS 1000           // that are kept at most, done ones too

typedef struct zt_clips zt_clips;

enum zt_clip_state { ZT_CLIP_QUEUED, ZT_CLIP_RENDERING, ZT_CLIP_DONE, ZT_CLIP_FAILED, ZT_CLIP_STATES };
extern const char *const zt_clip_state_name[ZT_CLIP_STATES];

typedef struct zt_clip_status {
    char        id[ZT_CLIP_ID + 1];
    char        format[8];
    enum zt_clip_state state;
    int         ahead;          // clips before it in the queue
    int64_t     frame, frames;  // on their way to the disk, of all
    int64_t     bytes;          // of the file; 0 until it is done
    const char *why;            // it failed; static
} zt_clip_status;

// Makes the directory, takes up what is in it and goes on with what was queued. The setup is borrowed, with its engine.
// 0 or an exit code (logged): 73 (cannot be written, another server has it), 69 (memory, threads).
int  zt_clips_open(zt_clips **out, zt_setup *setup, const char *folder, int64_t quota);
void zt_clips_close(zt_clips **q);      // within a frame; what is there stays. Takes NULL inside

void zt_clips_quota(zt_clips *q, int64_t bytes);        // anew; from any thread

// NULL, or why the clip is not one for a server. Settled or not.
const char *zt_clips_refuse(const zt_clip *c);

// From any thread. Takes the clip, settled, also when it fails; `line` is what it was parsed from. 0, -EEXIST (the id
// is in use), -EDQUOT (the quota, or ZT_CLIPS), -ENOMEM, or -errno of the disk (logged).
int  zt_clips_add(zt_clips *q, zt_clip *c, const char *line);
bool zt_clips_find(zt_clips *q, const char *id, zt_clip_status *out);
void zt_clips_count(zt_clips *q, int count[ZT_CLIP_STATES]);
bool zt_clips_at(zt_clips *q, int i, zt_clip_status *out);     // in the order of their arrival
// It is gone at once, its files when rendering has let go of them. False: there is none.
bool zt_clips_delete(zt_clips *q, const char *id);
// Of a done clip: its file, and its mark (doc/formats.md).
void zt_clips_paths(const zt_clips *q, const zt_clip_status *of, char file[ZT_FOLDER_PATH], char mark[ZT_FOLDER_PATH]);

#ifdef __cplusplus
}
#endif
