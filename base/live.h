// SPDX-License-Identifier: Apache-2.0
// What live work asks of the system: memory that stays, threads that go first. Both need a right, and do without.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// These pages are never written out to swap; those not touched yet from when they are. Until they are unmapped. 0, or
// -errno: -EPERM, -ENOMEM (RLIMIT_MEMLOCK), -ENOSYS. From any thread.
int  zt_memory_keep(void *p, size_t bytes);

// The calling thread runs before all threads without a real-time priority, in turn with others of the same priority
// (SCHED_RR): the lowest, plus `above`. 0, or -EPERM.
int  zt_thread_first(int above);
// May it? Then nothing has changed.
bool zt_thread_may_be_first(void);

#ifdef __cplusplus
}
#endif
