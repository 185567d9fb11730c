// SPDX-License-Identifier: Apache-2.0
// Where a clip is on the disk: OUT/ID.EXT and OUT/ID.json when it is done, OUT/.ID/ while it is not.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "apps/batch/manifest.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ZT_FOLDER_PATH 4608

typedef struct zt_folder {
    const char    *out;         // borrowed
    const zt_clip *clip;        // borrowed
    int            lock;        // fd of OUT/.ID/owner, or -1
} zt_folder;

// What there is of a clip.
enum zt_there { ZT_THERE_NOTHING, ZT_THERE_BEGUN, ZT_THERE_OTHER, ZT_THERE_DONE };

// What a clip's bytes depend on.
typedef struct zt_origin {
    uint64_t    key;            // of its line, the model and how it is cut
    const char *level;          // of the kernels
} zt_origin;

// Names: `what` in OUT/.ID/, or OUT/ID`end`.
void zt_folder_work(const zt_folder *f, char path[ZT_FOLDER_PATH], const char *what);
void zt_folder_final(const zt_folder *f, char path[ZT_FOLDER_PATH], const char *end);
void zt_folder_output(const zt_folder *f, char path[ZT_FOLDER_PATH]);       // OUT/ID.EXT, or OUT/ID of pictures

// Looks only. DONE: of this origin, and its file is there; OTHER: something of its name is in the way.
enum zt_there zt_folder_look(const zt_folder *f, uint64_t key);
// Makes OUT/.ID/ and takes its lock. 0, -EBUSY (another process has it: said with its owner), or -errno (logged).
int  zt_folder_lock(zt_folder *f);
// Locked. Throws away what is of another origin, or `anew` whatever there is, the mark that the clip is done first.
// 0 or -errno (logged).
int  zt_folder_plan(const zt_folder *f, const zt_origin *from, bool anew);
void zt_folder_close(zt_folder *f);                 // lets go of the lock; the folder stays
int  zt_folder_remove(zt_folder *f);                // OUT/.ID/ and all in it, the lock last
// Writes `text` as OUT/.ID/`what` and renames it to `path`. 0 or -errno (logged).
int  zt_folder_write(const zt_folder *f, const char *what, const char *path, const char *text);
int  zt_folder_put(const char *part, const char *path, const char *text);       // the same, by names
int  zt_folder_sync(const char *path);              // a directory's names are on the disk
int  zt_folder_wipe(const char *path, bool self);   // what is in a directory, and itself; 0 or -errno

#ifdef __cplusplus
}
#endif
