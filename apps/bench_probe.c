// SPDX-License-Identifier: Apache-2.0
// Wakes every millisecond at normal priority and writes down when it came more than five late.
#include "apps/bench_probe.h"

#include <stdio.h>

#include "base/base.h"
#include "base/clock.h"

#define EVERY (ZT_MS)
#define GAP   (5 * ZT_MS)
#define NEAR  (50 * ZT_MS)

static void *run(void *cookie)
{
    zt_bench_probe *p = cookie;
    pthread_setname_np(pthread_self(), "zt-probe");
    int64_t due = zt_now() + EVERY;
    while (!__atomic_load_n(&p->quit, __ATOMIC_RELAXED)) {
        zt_sleep_until(due);
        const int64_t now = zt_now(), n = p->gaps;
        if (now - due > GAP && n < ZT_PROBE_EVENTS) {
            p->gap[n].at = now;
            p->gap[n].ns = now - due;
            __atomic_store_n(&p->gaps, (int)n + 1, __ATOMIC_RELEASE);
        }
        due = now + EVERY;
    }
    return NULL;
}

int zt_bench_probe_start(zt_bench_probe *p)
{
    const int err = -pthread_create(&p->thread, NULL, run, p);
    p->running = !err;
    return err;
}

void zt_bench_probe_stop(zt_bench_probe *p)
{
    if (!p->running)
        return;
    __atomic_store_n(&p->quit, 1, __ATOMIC_RELAXED);
    pthread_join(p->thread, NULL);
    p->running = false;
}

void zt_bench_probe_missed(zt_bench_probe *p, int64_t now, uint64_t total)
{
    if (total > p->seen && p->misses < ZT_PROBE_EVENTS) {
        p->miss[p->misses].at = now;
        p->miss[p->misses++].n = total - p->seen;
    }
    p->seen = total;
}

static bool near_gap(const zt_bench_probe *p, int gaps, int64_t at)
{
    for (int i = 0; i < gaps; i++)
        if (at >= p->gap[i].at - p->gap[i].ns - NEAR && at <= p->gap[i].at + NEAR)
            return true;
    return false;
}

void zt_bench_probe_print(const zt_bench_probe *p, int64_t since)
{
    const int gaps = __atomic_load_n(&p->gaps, __ATOMIC_ACQUIRE);
    int64_t longest = 0;
    uint64_t all = 0, apart = 0;
    for (int i = 0; i < gaps; i++)
        longest = ZT_MAX(longest, p->gap[i].ns);
    for (int i = 0; i < p->misses; i++) {
        all += p->miss[i].n;
        apart += near_gap(p, gaps, p->miss[i].at) ? p->miss[i].n : 0;
    }
    printf(",\n \"probe\": {\"gaps\": %d, \"longest_ms\": %.1f, \"missed\": %llu, \"missed_near_gap\": %llu, \"misses\": [", gaps,
           (double)longest / 1e6, (unsigned long long)all, (unsigned long long)apart);
    for (int i = 0; i < p->misses; i++)
        printf("%s[%.2f, %llu, %s]", i ? ", " : "", (double)(p->miss[i].at - since) / 1e9,
               (unsigned long long)p->miss[i].n, near_gap(p, gaps, p->miss[i].at) ? "true" : "false");
    printf("]}");
}
