// SPDX-License-Identifier: Apache-2.0
// Locked memory and real-time priorities, as Linux has them.
#include "base/live.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

int zt_memory_keep(void *p, size_t bytes)
{
    return mlock2(p, bytes, MLOCK_ONFAULT) ? -errno : 0;
}

int zt_thread_first(int above)
{
    const struct sched_param p = { .sched_priority = sched_get_priority_min(SCHED_RR) + above };
    return -pthread_setschedparam(pthread_self(), SCHED_RR, &p);
}

bool zt_thread_may_be_first(void)
{
    struct sched_param before;
    int policy;
    if (pthread_getschedparam(pthread_self(), &policy, &before) || zt_thread_first(1) < 0)
        return false;
    pthread_setschedparam(pthread_self(), policy, &before);
    return true;
}
