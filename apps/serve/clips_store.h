// SPDX-License-Identifier: Apache-2.0
// Inside apps/serve/: clips on the disk. DIR/.queue.d/NUMBER-ID is a line that is not done; the rest is as zoetrope-render
// has it.
#pragma once

#include "apps/serve/clips.h"

#ifdef __cplusplus
extern "C" {
#endif

// 0 or -errno (logged). *lock: an fd that holds the directory for this process.
int  zt_store_open(const char *folder, int *lock);
int  zt_store_put(const char *folder, unsigned number, const char *id, const char *line);      // it is on the disk now
void zt_store_drop(const char *folder, unsigned number, const char *id);
void zt_store_erase(const char *folder, const char *id, const char *format);   // all files of a clip, the mark first
int64_t zt_store_working(const char *folder, const char *id);      // bytes of its chunks

// Each done clip, then each line of the queue in its order. `text` is a NUL-terminated mark or line.
typedef void zt_store_fn(void *cookie, unsigned number, const char *id, const char *text);
void zt_store_marks(const char *folder, zt_store_fn *fn, void *cookie);
void zt_store_lines(const char *folder, zt_store_fn *fn, void *cookie);

#ifdef __cplusplus
}
#endif
