// SPDX-License-Identifier: Apache-2.0
// The scheduler on a made-up clock: sessions that come and go, passes that cost what a formula says.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "engine/sched.h"

#ifdef __cplusplus
extern "C" {
#endif

// ns; a pass costs fixed + tokens * token + pairs * pair, then varies.
typedef struct zt_sim_cost {
    int64_t fixed;
    double  token, pair;
    int64_t show, encode;       // of each picture
    double  jitter;             // up to so much more, evenly
    double  outlier;            // share of passes that cost four times as much
} zt_sim_cost;

typedef struct zt_sim_session {
    zt_pace  pace;
    int64_t  from, until;       // ns; until 0: to the end
    bool     guarded;           // admission decides
    // What came of it
    bool     refused;
    int      id;                // its lane while it runs; -1: it does not
    uint64_t outcome[ZT_OUTCOMES], changes[ZT_CHANGES];
    uint64_t shows, frames;     // new pictures; model frames begun
    int64_t  silence;           // longest time between new pictures
    int64_t  last, came;
    int64_t  encoder_free;
    struct { uint64_t index; int64_t at; } packet[16];
    int      flying;
} zt_sim_session;

typedef struct zt_sim {
    zt_sched        sched;
    zt_sim_cost     cost;
    zt_sim_session *session;
    int             sessions;
    int64_t         now, end;
    uint64_t        random;     // not 0
    int64_t         live, offline;      // ns that went into them
    uint64_t        batches, jobs;
    // Called for each decision before and after it is taken; may be NULL.
    void          (*before)(struct zt_sim *s);
    void          (*after)(struct zt_sim *s, const zt_todo *todo, int n);
    void           *cookie;
} zt_sim;

void zt_sim_run(zt_sim *s);     // until s->end
zt_sim_session *zt_sim_of(zt_sim *s, int lane);

#ifdef __cplusplus
}
#endif
