// SPDX-License-Identifier: Apache-2.0
// One line per event, to stderr or to a callback.
#pragma once

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

// How grave a line is.
enum zt_level { ZT_LOG_ERROR, ZT_LOG_WARN, ZT_LOG_INFO, ZT_LOG_DEBUG };

// From any thread. `line` has no newline at its end.
typedef void zt_log_fn(void *cookie, enum zt_level level, const char *line);

// Before other threads start. NULL restores the default: "zoetrope: LINE" on stderr.
void zt_log_set(zt_log_fn *fn, void *cookie);
// The last that is said: WARN unless ZOETROPE_LOG says error|warn|info|debug or this is called. Before other threads start.
void zt_log_level(enum zt_level level);
// What becomes of a line without a callback: for one that only listens. From any thread.
void zt_log_write(enum zt_level level, const char *line);

// Machine-readable lines: {"level": …, "message": …, "time": …} on stderr, one JSON object each.
void zt_log_json(int on);

// From any thread. Lines over 1000 bytes are cut; control characters become spaces.
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void zt_log(enum zt_level level, const char *fmt, ...);

#define zt_error(...) zt_log(ZT_LOG_ERROR, __VA_ARGS__)     // something failed
#define zt_warn(...)  zt_log(ZT_LOG_WARN, __VA_ARGS__)      // something is not as it was asked for
#define zt_info(...)  zt_log(ZT_LOG_INFO, __VA_ARGS__)      // what happens
#define zt_debug(...) zt_log(ZT_LOG_DEBUG, __VA_ARGS__)     // what only its author wants to know

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
