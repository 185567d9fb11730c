// SPDX-License-Identifier: Apache-2.0
// What a peer's reports say of the way to it: how much it loses, and how long packets stand in queues on it.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"
#include "base/clock.h"

#define ZT_PATH_WINDOW (30 * ZT_S)
#define ZT_PATH_QUEUE  100000       // us of queue from which a way is too narrow: later than a steered frame may be
#define ZT_PATH_LOSS   (256 / 10)   // of 256: from here on retransmission alone does not mend it

// One thread.
typedef struct zt_path {
    int     loss;                   // of 256, smoothed
    int     trip;                   // the last round trip, us; 0: none yet
    int     least, before;          // round trips of this window and the one before, us; 0: none
    int64_t began;                  // of this window, monotonic ns
} zt_path;

// A report at `now`: loss of 256 since the one before, and the round trip in us (0: it does not say).
static inline void zt_path_report(zt_path *p, int loss, int trip, int64_t now)
{
    p->loss = (7 * p->loss + loss) / 8;
    if (trip <= 0)
        return;
    if (now - p->began > ZT_PATH_WINDOW) {
        p->before = now - p->began > 2 * ZT_PATH_WINDOW ? 0 : p->least;
        p->least = 0;
        p->began = now;
    }
    p->trip = trip;
    p->least = p->least ? ZT_MIN(p->least, trip) : trip;
}

// How long what is sent now stands in queues, us: the round trip beyond the least of the last 30 to 60 seconds (the way's
// own length, as BBR estimates it; in a queue that stands for longer it is forgotten, but by then less is sent).
static inline int zt_path_queue(const zt_path *p)
{
    const int least = p->before ? ZT_MIN(p->before, p->least) : p->least;
    return p->trip - least;
}

// -1: less must be sent; 1: more may be; 0: as it is.
static inline int zt_path_room(const zt_path *p)
{
    const int queue = zt_path_queue(p);
    if (p->loss > ZT_PATH_LOSS || queue > ZT_PATH_QUEUE)
        return -1;
    return p->loss < 256 / 50 && queue < ZT_PATH_QUEUE / 2;
}
