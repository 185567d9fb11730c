// SPDX-License-Identifier: Apache-2.0
// What every file may use: lengths, bounds, alignment, the version.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/version.h"

#define ZT_LEN(a)      (sizeof(a) / sizeof((a)[0]))
#define ZT_MIN(a, b)   ((a) < (b) ? (a) : (b))
#define ZT_MAX(a, b)   ((a) > (b) ? (a) : (b))

#if defined(__GNUC__)
#define ZT_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define ZT_PRINTF(fmt, args)
#endif

#ifdef __cplusplus
extern "C" {
#endif

// The smallest multiple of `unit` (> 0) that is >= n.
static inline int64_t zt_round_up(int64_t n, int64_t unit)
{
    return (n + unit - 1) / unit * unit;
}

// Bytes of the UTF-8 character at s, 0 when there is none: overlong forms and surrogates do not count. At most n >= 1
// bytes are read, none of them after a zero.
int zt_utf8_length(const char *s, size_t n);

// 256-byte aligned, zeroed; NULL when there is no memory. Free with zt_free(), which takes NULL.
void *zt_alloc(size_t bytes);
// The same with any content: its pages come when they are first written, on whatever thread does it.
void *zt_alloc_raw(size_t bytes);
void  zt_free(void *p);

// A regular file of at most `max` bytes, whole, ended by a zero that *n does not count; free() it. 0, -errno, -EFBIG
// (larger), -EINVAL (a device or pipe, which could block); nothing is logged.
int zt_file_read(void **out, size_t *n, const char *path, size_t max);

#ifdef __cplusplus
}
#endif
