// SPDX-License-Identifier: Apache-2.0
// Opens a model in int8, runs one chunk at 256x144 and prints times and the most anonymous memory that was in use.
//
// one_chunk MODEL [WxH]     the text is random rows, as if its embedding had been computed before
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/estimate.h"
#include "base/base.h"
#include "base/clock.h"

static struct {
    atomic_bool stop;
    _Atomic long peak;          // kB
} watch;

// Anonymous memory of the process, kB.
static long anonymous(void)
{
    char line[256];
    long kb = 0;
    FILE *const f = fopen("/proc/self/status", "re");
    while (f && fgets(line, sizeof(line), f))
        sscanf(line, "RssAnon: %ld", &kb);
    if (f)
        fclose(f);
    return kb;
}

static void *look(void *unused)
{
    while (!atomic_load(&watch.stop)) {
        const long now = anonymous();
        if (now > atomic_load(&watch.peak))
            atomic_store(&watch.peak, now);
        zt_sleep_until(zt_now() + 2 * ZT_MS);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    int w = 256, h = 144;
    zt_device *d = NULL;
    zt_model *m = NULL;
    zt_estimate e;
    pthread_t thread;
    if (argc < 2 || (argc > 2 && sscanf(argv[2], "%dx%d", &w, &h) != 2)) {
        fprintf(stderr, "usage: one_chunk MODEL [WxH]\n");
        return 64;
    }
    pthread_create(&thread, NULL, look, NULL);
    int err = zt_device_open(&d, &(zt_device_params){ 0 });
    const int64_t start = zt_now();
    if (!err)
        err = zt_model_open(&m, d, argv[1], ZT_PRECISION_INT8);
    const int64_t opened = zt_now();
    if (!err)
        err = zt_estimate_chunk(m, w, h, true, &e);
    atomic_store(&watch.stop, true);
    pthread_join(thread, NULL);
    if (!err) {
        const double weights = (double)zt_model_get_info(m)->weight_bytes / 1e6, cache = (double)e.cache_bytes / 1e6;
        const double peak = (double)atomic_load(&watch.peak) * 1024 / 1e6;
        printf("{\"load_ms\": %.0f, \"chunk_ms\": %.0f, \"pass_ms\": %.0f, \"weights_mb\": %.1f, \"cache_mb\": %.1f, "
               "\"work_mb\": %.1f, \"peak_anonymous_mb\": %.1f, \"beyond_mb\": %.1f}\n",
               (double)(opened - start) / 1e6, e.chunk_ms, e.pass_ms, weights, cache, (double)e.work_bytes / 1e6, peak,
               peak - weights - cache);
    }
    zt_model_close(&m);
    zt_device_close(&d);
    return err ? 69 : 0;
}
