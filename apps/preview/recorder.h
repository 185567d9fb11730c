// SPDX-License-Identifier: Apache-2.0
// Writes what is played into a video file, without ever holding up the engine.
#pragma once

#include <stdbool.h>

#include "apps/preview/player.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_recorder zt_recorder;

// On the main thread, once: error is NULL, or why the file is not complete.
typedef void zt_recorded_fn(void *cookie, const char *path, const char *error);

// Takes place 0 of the player's taps. 0, or as zt_stream_open() (logged).
int  zt_recorder_start(zt_recorder **out, zt_player *p, const char *path, int w, int h, int times, int fps,
                       zt_recorded_fn *done, void *cookie);
// Writes what waits and closes the file; then `done` comes. `wait`: it comes before this returns.
void zt_recorder_stop(zt_recorder **r, bool wait);      // takes NULL inside

#ifdef __cplusplus
}
#endif
