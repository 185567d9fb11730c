// SPDX-License-Identifier: Apache-2.0
// A flight recorder: what was done when, in a ring that is always on.
#pragma once

#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ZT_TRACE_SPANS 8192     // ten seconds and more

enum zt_span_kind { ZT_SPAN_BATCH, ZT_SPAN_SLICE, ZT_SPAN_DECODE, ZT_SPAN_CONVERT, ZT_SPAN_REPEAT, ZT_SPAN_PACKET,
                    ZT_SPAN_MISS, ZT_SPANS };

typedef struct zt_moment {
    int64_t from, to;           // ns
    uint8_t kind;
    int16_t lane;               // -1: several
    int32_t n;                  // jobs of a batch, units of a slice, steps of a picture, outcome of a miss
    uint64_t slot;
} zt_moment;

// Zeroed is empty and valid.
typedef struct zt_trace {
    zt_moment  span[ZT_TRACE_SPANS];
    uint64_t n;                 // ever added
} zt_trace;

void zt_trace_add(zt_trace *t, zt_moment s);
// The spans that ended at or after `since`, as a Chrome trace.
void zt_trace_print(const zt_trace *t, int64_t since, FILE *f);

#ifdef __cplusplus
}
#endif
