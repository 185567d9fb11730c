// SPDX-License-Identifier: Apache-2.0
// Puts packets on a pipeline's clock.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"
#include "base/clock.h"

typedef struct zt_place {
    bool    placed;             // the rest is set
    int64_t shift;              // ns from a packet's pts to the pipeline's running time
    int64_t last;               // what was returned last
} zt_place;

// The running time at which a packet of `pts` belongs, `now` being the running time at present. Keeps the cadence of
// the pts but never lies in the future, so that no sink waits before it sends; grows.
static inline int64_t zt_place_packet(zt_place *p, int64_t pts, int64_t now)
{
    const int64_t shift = now - pts;
    // The pipeline's time stands still while it is paused: after a jump begin anew.
    if (!p->placed || shift < p->shift || shift - p->shift > ZT_S / 2)
        p->shift = shift;
    p->last = p->placed ? ZT_MAX(pts + p->shift, p->last + 1) : pts + p->shift;
    p->placed = true;
    return p->last;
}
