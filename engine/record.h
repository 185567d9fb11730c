// SPDX-License-Identifier: Apache-2.0
// Writes a session down, a JSON object a line, so that it can be made again bit by bit.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "diffusion/model.h"
#include "engine/metrics.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_record zt_record;

typedef struct zt_record_head {
    const zt_model_info *model;         // borrowed while the record is open
    const char *level;                  // of the kernels
    uint64_t    seed;
    int         w, h, fps;
} zt_record_head;

// One model_frame. Filled by the engine's thread; written by the record's own.
typedef struct zt_record_line {
    uint64_t frame, slot;
    int      n;                         // passes
    float    t[ZT_MAX_STEPS + 1];
    int      window, top_k;
    unsigned set;                       // controls given
    float    control[ZT_MAX_CONTROLS];
    bool     prompted;
    enum zt_outcome outcome;
    char     prompt[];                  // ZT_PROMPT_BYTES and a zero
} zt_record_line;

// Creates or replaces the file. 0 or -errno (logged).
int  zt_record_open(zt_record **out, const char *path, const zt_record_head *head);
// Writes what waits. Takes NULL inside.
void zt_record_close(zt_record **r);

// The engine's thread; allocate nothing and never wait. An empty line, the caller's until it is put; NULL: the disk is
// behind, and the record ends here (logged once): one with a hole could not be replayed.
zt_record_line *zt_record_line_get(zt_record *r);
// The picture of the line is shown in `slot`: kept until that is decided.
void zt_record_show(zt_record *r, zt_record_line *l, uint64_t slot);
// From any thread, one at a time: the slot's outcome. Slots nobody showed are nothing to it.
void zt_record_decide(zt_record *r, uint64_t slot, enum zt_outcome outcome);

#ifdef __cplusplus
}
#endif
