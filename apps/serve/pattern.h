// SPDX-License-Identifier: Apache-2.0
// A test pattern in the place of a session: pictures on time without a model, controls that show.
#pragma once

#include "engine/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_pattern zt_pattern;

// w, h, fps, budget, on_frame and cookie of p are used; all must be set. on_frame is called on a thread of its own.
// 0 or -ENOMEM (memory, or a thread: logged).
int  zt_pattern_create(zt_pattern **out, const zt_session_params *p);
void zt_pattern_destroy(zt_pattern **p);        // on_frame is never called after it returns; takes NULL inside
// From any thread.
void zt_pattern_control(zt_pattern *p, int control, float value);      // read at the next slot's release
void zt_pattern_delivered(zt_pattern *p, uint64_t index, int64_t now);
void zt_pattern_metrics(zt_pattern *p, zt_metrics *out);

#ifdef __cplusplus
}
#endif
