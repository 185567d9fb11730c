// SPDX-License-Identifier: Apache-2.0
// Monotonic time in nanoseconds.
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

#define ZT_US INT64_C(1000)             // a microsecond in ns
#define ZT_MS INT64_C(1000000)          // a millisecond
#define ZT_S  INT64_C(1000000000)       // a second

int64_t zt_now(void);                   // CLOCK_MONOTONIC, ns
void    zt_sleep_until(int64_t due);    // returns at once when due has passed

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
