// SPDX-License-Identifier: Apache-2.0
// Inside apps/batch/: the engine's state beside the chunks of a clip, so that a killed one goes on inside it.
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "apps/batch/folder.h"
#include "apps/contact_sheet.h"
#include "diffusion/model.h"

// One session's.
typedef struct zt_carry {
    const zt_folder *folder;
    int64_t          chunk;     // frames
    pthread_mutex_t  lock;
    struct zt_kept  *kept;      // under lock: what the engine has handed out, the latest first
    void            *data;      // the file that is gone on from, or NULL
    const void      *state;     // of the session, in it
    size_t           bytes;     // of that
    int64_t          number;    // of the chunk that begins with it
} zt_carry;

void zt_carry_init(zt_carry *c, const zt_folder *folder, int64_t chunk);
void zt_carry_finish(zt_carry *c);

// Finds the latest state of the folder from which a chunk up to `kept` can be made; one that is broken, newer or another
// model's is as good as none. `sheet` (or NULL) gets the pictures that were in it then. Returns the first picture that will
// be made, 0: from the beginning.
int64_t zt_carry_load(zt_carry *c, const zt_model *m, int64_t kept, zt_sheet *sheet);
// zt_session_params.on_saved, from the engine's thread.
void zt_carry_take(zt_carry *c, uint64_t next, void *data, size_t bytes);
// Chunk `number` is on the disk: the state for the next one follows it, and replaces the one before. A disk with little room
// goes without.
void zt_carry_store(zt_carry *c, int64_t number, const zt_sheet *sheet);
