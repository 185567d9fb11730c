// SPDX-License-Identifier: Apache-2.0
// Makes the frames of a session's log again, bit by bit, onto a tape that can be looked at meanwhile.
#pragma once

#include "apps/preview/player.h"
#include "apps/preview/tape.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_replayer zt_replayer;

typedef struct zt_replay_info {
    const zt_tape *tape;        // grows
    int  frames, fps;           // that it will have in the end
} zt_replay_info;

// On the main thread, once: error NULL, or why there is nothing to see; then close it.
typedef void zt_replayer_fn(void *cookie, const char *error);

// Ends the player's sessions. Copies the path. Before the model changes it is closed.
zt_replayer *zt_replayer_open(zt_player *p, const char *path, zt_replayer_fn *ready, void *cookie);
// What `ready` without an error has promised.
zt_replay_info zt_replayer_info(const zt_replayer *r);
// The prompt of a model_frame, borrowed; NULL: the model's default. *changed: it is the first with it.
const char *zt_replayer_prompt(const zt_replayer *r, uint64_t model_frame, bool *changed);
// `ready` is not called any more. Takes NULL inside.
void zt_replayer_close(zt_replayer **r);

#ifdef __cplusplus
}
#endif
