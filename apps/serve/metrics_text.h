// SPDX-License-Identifier: Apache-2.0
// Metrics as Prometheus reads them (text format 0.0.4).
#pragma once

#include <stddef.h>

#include "apps/serve/clips.h"
#include "engine/metrics.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_metrics_text {
    zt_metrics  metrics;        // "encode" included
    int         viewers;
    uint64_t    rejected;       // sessions: all were in use
    bool        takes_clips;
    int         clips[ZT_CLIP_STATES];
    const char *backend;        // "cpu avx512"
} zt_metrics_text;

// Allocates; the caller frees. NULL: no memory.
char *zt_metrics_print(const zt_metrics_text *m, size_t *bytes);

#ifdef __cplusplus
}
#endif
