// SPDX-License-Identifier: Apache-2.0
// Navigation events become values of controls: arrows, W A S D, R F, and a pointer that drags.
#pragma once

#include <gst/gst.h>
#include <stdbool.h>

#include "diffusion/public.h"

#ifdef __cplusplus
extern "C" {
#endif

// Zeroed: nothing is held.
typedef struct zt_keys {
    unsigned held;          // keys, by their places in the table
    bool     dragging;
} zt_keys;

// Which controls of the model the event changes, as bits, and their values in -1..1. w, h: of the picture that the
// pointer is on. A pointer that is dragged from the middle to an edge turns all the way.
unsigned zt_keys_read(zt_keys *k, GstEvent *event, const zt_model *m, int w, int h, float value[ZT_MAX_CONTROLS]);

#ifdef __cplusplus
}
#endif
