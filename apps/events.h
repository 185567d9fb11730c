// SPDX-License-Identifier: Apache-2.0
// Events files: what to change at which model_frame, one JSON object a line.
#pragma once

#include "engine/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_events {
    zt_event *event;        // by frame
    int       n;
    void     *text;         // what the prompts point into
} zt_events;

// {"frame": k, "prompt": "…", "controls": {"yaw": -0.5}} a line; prompt and controls may be absent.
// 0, or an exit code: 66 (missing) or 65 (content: said with its line).
int  zt_events_read(zt_events *out, const char *path, const zt_model *m);
void zt_events_finish(zt_events *e);        // takes a zeroed one

#ifdef __cplusplus
}
#endif
