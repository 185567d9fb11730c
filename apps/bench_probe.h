// SPDX-License-Identifier: Apache-2.0
// A thread that does nothing but look at the clock: when it was kept from it, so was everyone else.
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ZT_PROBE_EVENTS 4096

typedef struct zt_bench_probe {
    pthread_t thread;
    bool      running;
    int       quit;             // atomic
    struct { int64_t at, ns; } gap[ZT_PROBE_EVENTS];        // longer than 5 ms; written by the thread
    int       gaps;             // atomic
    struct { int64_t at; uint64_t n; } miss[ZT_PROBE_EVENTS];
    int       misses;
    uint64_t  seen;
} zt_bench_probe;

int  zt_bench_probe_start(zt_bench_probe *p);       // 0 or -errno
void zt_bench_probe_stop(zt_bench_probe *p);        // takes one that was not started
// `total` slots have been missed until now; call it every 10 ms or so.
void zt_bench_probe_missed(zt_bench_probe *p, int64_t now, uint64_t total);
// , "probe": {...}: gaps, misses, and those of them within 50 ms of a gap; misses by second after `since`.
void zt_bench_probe_print(const zt_bench_probe *p, int64_t since);

#ifdef __cplusplus
}
#endif
