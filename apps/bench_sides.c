// SPDX-License-Identifier: Apache-2.0
// Times several ways to do the same, in turn, so that what else the machine does falls on all of them alike. On one
// thread its own processor time counts, which other programs do not touch.
#include <stdbool.h>
#include <time.h>

#include "apps/bench.h"
#include "base/base.h"
#include "base/clock.h"
#include "kernels/device.h"

#define BATCH  ZT_MS            // calls are timed so long at a time
#define TIMES  41
#define TOTAL  (600 * ZT_MS)    // of a side: where a call takes long, fewer times do
#define LEAST  5

static int64_t now(bool one_thread)
{
    if (!one_thread)
        return zt_now();
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * ZT_S + t.tv_nsec;
}

static int64_t time_batch(const zt_side *s, bool one_thread)
{
    const int64_t before = now(one_thread);
    for (int i = 0; i < s->calls; i++)
        s->call(s->cookie);
    if (s->queue)
        zt_device_wait(s->queue);
    return (now(one_thread) - before) / s->calls;
}

int zt_sides_measure(zt_side *side, int n, bool one_thread)
{
    int err = 0, times = TIMES;
    for (int i = 0; i < n && !err; i++) {
        err = zt_samples_create(&side[i].samples, TIMES);
        side[i].calls = 1;
        time_batch(&side[i], one_thread);
        const int64_t once = ZT_MAX(time_batch(&side[i], one_thread), 1);
        side[i].calls = (int)ZT_MAX(1, BATCH / once);
        times = (int)ZT_MIN(times, ZT_MAX(LEAST, TOTAL / once));
    }
    for (int t = 0; t < times && !err; t++) {
        for (int i = 0; i < n; i++)
            zt_samples_add(&side[i].samples, time_batch(&side[i], one_thread));
    }
    for (int i = 0; i < n; i++) {
        side[i].ns = (double)zt_samples_quantile(&side[i].samples, 0.5);
        zt_samples_finish(&side[i].samples);
    }
    return err;
}
