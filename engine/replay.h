// SPDX-License-Identifier: Apache-2.0
// Reads what engine/record.c wrote: how to make a session's frames again.
#pragma once

#include <stdint.h>
#include <stdio.h>

#include "engine/engine.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

// A session as its log has it: what zt_session_params wants to make it again.
typedef struct zt_replay {
    char       model[128], level[16], precision[16];    // names: of the model, its kernels and precision
    uint64_t   hash, seed;      // zt_model_info.hash; the session's
    int        w, h, fps;       // pixels, frames per second
    uint64_t   frames;          // pictures of the model
    zt_script *script;          // [frames]
    zt_event  *event;           // [events], in order; owns the prompts
    int        events;          // how many
    uint64_t   room, event_room;    // the reader's own
} zt_replay;

// Strict: frames are dense from 0, controls are the model's, times descend. The last line may be cut off (a program
// that was killed). 0, -ENOENT and the like, -EINVAL (content: logged with the line), -ENOMEM.
int  zt_replay_read(zt_replay **out, const char *path, const zt_model *m);
// The same from an open file; `label` is for the log.
int  zt_replay_parse(zt_replay **out, FILE *f, const char *label, const zt_model *m);
void zt_replay_free(zt_replay **r);     // takes NULL inside

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
