// SPDX-License-Identifier: Apache-2.0
// One line per event, to stderr or to a callback.
#pragma once

#include "base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

enum zt_level { ZT_LOG_ERROR, ZT_LOG_WARN, ZT_LOG_INFO, ZT_LOG_DEBUG };

// From any thread. `line` has no newline at its end.
typedef void zt_log_fn(void *cookie, enum zt_level level, const char *line);

// Before other threads start. NULL restores the default: "zoetrope: LINE" on stderr.
// Level: WARN unless ZOETROPE_LOG says error|warn|info|debug, or zt_log_level() was called.
void zt_log_set(zt_log_fn *fn, void *cookie);
void zt_log_level(enum zt_level level);

// Machine-readable lines: {"level": …, "message": …, "time": …} on stderr, one JSON object each.
void zt_log_json(int on);

// From any thread. Lines over 1000 bytes are cut; control characters become spaces.
void zt_log(enum zt_level level, const char *fmt, ...) ZT_PRINTF(2, 3);

#define zt_error(...) zt_log(ZT_LOG_ERROR, __VA_ARGS__)
#define zt_warn(...)  zt_log(ZT_LOG_WARN, __VA_ARGS__)
#define zt_info(...)  zt_log(ZT_LOG_INFO, __VA_ARGS__)
#define zt_debug(...) zt_log(ZT_LOG_DEBUG, __VA_ARGS__)

#ifdef __cplusplus
}
#endif
