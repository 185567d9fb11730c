// SPDX-License-Identifier: Apache-2.0
// The one clock.
#include <errno.h>
#include <time.h>

#include "base/clock.h"

int64_t zt_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * ZT_S + t.tv_nsec;
}

void zt_sleep_until(int64_t due)
{
    if (due <= 0)
        return;

    const struct timespec t = { .tv_sec = (time_t)(due / ZT_S), .tv_nsec = (long)(due % ZT_S) };
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        ;
}
