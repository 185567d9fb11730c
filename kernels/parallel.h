// SPDX-License-Identifier: Apache-2.0
// The pool of threads behind zt_parallel_for().
#pragma once

#include "kernels/device.h"

// CPUs this process may use, at least 1.
int zt_cpu_count(void);

// threads - 1 workers, each on a CPU of its own when there are as many. 0, -ENOMEM or -EAGAIN.
int  zt_pool_create(struct zt_pool **out, int threads, bool realtime);     // realtime: they may run before all others
void zt_pool_destroy(struct zt_pool **p);
