// SPDX-License-Identifier: Apache-2.0
// Where the time of a step goes: products, attention, and what is neither.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kernels/device.h"

#ifdef __cplusplus
extern "C" {
#endif

// LINEAR and MOE: what those do beside their products (packing, routing, SwiGLU, epilogues, waiting for each other). REST:
// all that is in no part, the host's work among it.
enum zt_part { ZT_PART_PRODUCTS, ZT_PART_ATTENTION, ZT_PART_LINEAR, ZT_PART_MOE, ZT_PART_NORM, ZT_PART_ROPE, ZT_PART_APPEND,
               ZT_PART_REST, ZT_PARTS_OF_STEP };
extern const char *const zt_part_name[ZT_PARTS_OF_STEP];

// Puts itself before the operations of a CPU, before a model is opened there. One device at a time.
void zt_parts_watch(zt_device *d);
// What lies between these two is one pass (its tiles are timed, too, which slows them a little: that is taken off again).
void zt_parts_start(void);
void zt_parts_stop(void);
// Medians over the passes (of one thread only those that nothing interrupted for long), in milliseconds: time of all threads over their number. False where tiles cannot be timed, or
// there was no pass. Once.
bool zt_parts_get(double ms[ZT_PARTS_OF_STEP]);

#ifdef __cplusplus
}
#endif
