// SPDX-License-Identifier: Apache-2.0
// zoetrope-bench stream: the whole way from prompt to packet, without a network.
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "apps/bench.h"
#include "apps/exits.h"
#include "base/base.h"
#include "base/clock.h"
#include "stream/stream.h"

#define ROOM  (1 << 17)         // samples: 45 minutes at 48 frames a second
#define AHEAD 2                 // pictures that may wait for the encoder when nothing paces

typedef struct bench {
    zt_bench       *b;
    zt_stream      *stream;
    zt_session     *session;
    zt_samples      stage[ZT_STAGES], latency;
    pthread_mutex_t lock;
    pthread_cond_t  moved;
    // Under lock
    int64_t         pushed, packets, first, last;
    bool            failed;
} bench;

static void on_stage(void *cookie, enum zt_stage stage, int64_t ns)
{
    bench *x = cookie;
    zt_samples_add(&x->stage[stage], ns);
}

static void on_frame(void *cookie, zt_frame *f)
{
    bench *x = cookie;
    pthread_mutex_lock(&x->lock);
    while (!x->b->fps && x->pushed - x->packets >= AHEAD && !x->failed)
        pthread_cond_wait(&x->moved, &x->lock);
    x->pushed++;
    pthread_mutex_unlock(&x->lock);
    zt_stream_push(x->stream, f, 0);        // live: never full; and a failed one has said so
}

static void on_packet(void *cookie, const zt_packet *p, int64_t now, int64_t encode_ns)
{
    bench *x = cookie;
    zt_session_delivered(x->session, p->index, now);
    zt_samples_add(&x->stage[ZT_ENCODE], encode_ns);
    zt_samples_add(&x->latency, now - p->sampled);
    pthread_mutex_lock(&x->lock);
    if (!x->packets++)
        x->first = now;
    x->last = now;
    pthread_cond_broadcast(&x->moved);
    pthread_mutex_unlock(&x->lock);
}

static void on_failed(void *cookie, int err)
{
    bench *x = cookie;
    pthread_mutex_lock(&x->lock);
    x->failed = true;
    pthread_cond_broadcast(&x->moved);
    pthread_mutex_unlock(&x->lock);
}

// Until `seconds` after the first packet, or the end of the session.
static void let_run(bench *x)
{
    for (;;) {
        zt_sleep_until(zt_now() + 10 * ZT_MS);
        pthread_mutex_lock(&x->lock);
        const bool over = x->failed || (x->packets && zt_now() - x->first >= x->b->seconds * ZT_S);
        pthread_mutex_unlock(&x->lock);
        if (over || zt_session_done(x->session))
            return;
    }
}

static void print_stages(bench *x)
{
    const char *sep = "";
    for (int i = ZT_DENOISE_STAGE; i < ZT_STAGES; i++) {
        printf("%s\"%s\": {\"p50\": %.3f, \"p99\": %.3f}", sep, zt_stage_name[i],
               (double)zt_samples_quantile(&x->stage[i], 0.5) / 1e6,
               (double)zt_samples_quantile(&x->stage[i], 0.99) / 1e6);
        sep = ", ";
    }
}

static void print(bench *x)
{
    zt_metrics m;
    zt_session_metrics(x->session, &m);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    const zt_device *d = x->b->setup.device;
    const double fps = x->packets > 1 ? (double)(x->packets - 1) / ((double)(x->last - x->first) / (double)ZT_S) : 0;
    const double first_ms = (double)(x->first - x->b->started) / 1e6, rss = (double)usage.ru_maxrss / 1024;
    if (x->b->json) {
        printf("{\"device\": \"cpu\", \"level\": \"%s\", \"threads\": %d, \"precision\": \"%s\", \"steps\": %d, "
               "\"fps\": %.3f, \"frames\": %lld, \"first_frame_ms\": %.1f, \"rss_mb\": %.1f,\n \"stages_ms\": {",
               d->level, d->threads, zt_precision_names[zt_model_get_info(x->b->setup.model)->precision],
               (int)x->b->steps, fps, (long long)x->packets, first_ms, rss);
        print_stages(x);
        printf("},\n \"latency_ms\": {\"p50\": %.3f, \"p99\": %.3f, \"max\": %.3f}, \"outcomes\": {",
               (double)zt_samples_quantile(&x->latency, 0.5) / 1e6,
               (double)zt_samples_quantile(&x->latency, 0.99) / 1e6, (double)zt_samples_quantile(&x->latency, 1) / 1e6);
        for (int i = 0; i < ZT_OUTCOMES; i++)
            printf("%s\"%s\": %llu", i ? ", " : "", zt_outcome_name[i], (unsigned long long)m.outcome[i]);
        printf("}}\n");
        return;
    }
    printf("%s, %d threads, %d steps: %.2f frames/s, first after %.0f ms, %.0f MB\n", d->level, d->threads,
           (int)x->b->steps, fps, first_ms, rss);
    for (int i = ZT_DENOISE_STAGE; i < ZT_STAGES; i++)
        printf("  %-8s p50 %7.2f ms  p99 %7.2f ms\n", zt_stage_name[i],
               (double)zt_samples_quantile(&x->stage[i], 0.5) / 1e6,
               (double)zt_samples_quantile(&x->stage[i], 0.99) / 1e6);
    printf("  %-8s p50 %7.2f ms  p99 %7.2f ms  max %.2f ms\n ", "latency",
           (double)zt_samples_quantile(&x->latency, 0.5) / 1e6, (double)zt_samples_quantile(&x->latency, 0.99) / 1e6,
           (double)zt_samples_quantile(&x->latency, 1) / 1e6);
    for (int i = 0; i < ZT_OUTCOMES; i++)
        printf(" %s %llu", zt_outcome_name[i], (unsigned long long)m.outcome[i]);
    printf("\n");
}

static int open_stream(bench *x)
{
    const zt_model_info *info = zt_model_get_info(x->b->setup.model);
    const zt_stream_params p = {
        .url = "null:",
        .w = info->w,
        .h = info->h,
        .out_w = x->b->size.a ? x->b->size.a : 2 * info->w,
        .out_h = x->b->size.b ? x->b->size.b : 2 * info->h,
        .fps = x->b->fps ? (int)x->b->fps : info->fps,
        .codec = "h264",
        .bitrate = x->b->bitrate,
        .live = true,
        .on_packet = on_packet,
        .on_failed = on_failed,
        .cookie = x,
    };
    int err = 0;
    for (int i = 0; i < ZT_STAGES && !err; i++)
        err = zt_samples_create(&x->stage[i], ROOM);
    if (!err)
        err = zt_samples_create(&x->latency, ROOM);
    return err ? err : zt_stream_open(&x->stream, &p);
}

static int run(bench *x)
{
    // Paced, the scheduler may take fewer steps; unpaced, every frame has them all.
    const zt_session_params p = {
        .prompt = x->b->prompt,
        .fps = (int)x->b->fps,
        .steps_max = (int)x->b->steps,
        .steps_min = 1,
        .seed = x->b->seed,
        .unpaced = !x->b->fps,
        .on_frame = on_frame,
        .on_stage = on_stage,
        .cookie = x,
    };
    int err = zt_session_create(&x->session, x->b->setup.engine, &p);
    if (err < 0)
        return err;
    let_run(x);
    zt_session_stop(x->session);
    err = zt_session_wait(x->session);
    if (!err)
        err = zt_stream_finish(x->stream);
    if (!err && !x->packets)
        err = -EIO;
    if (!err)
        print(x);
    return err;
}

int zt_bench_stream(zt_bench *b)
{
    bench x = { .b = b, .lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER };
    const int code = zt_setup_open(&b->setup, true);
    if (code)
        return code;
    int err = open_stream(&x);
    if (!err)
        err = run(&x);
    zt_stream_close(&x.stream);
    zt_session_destroy(&x.session);
    for (int i = 0; i < ZT_STAGES; i++)
        zt_samples_finish(&x.stage[i]);
    zt_samples_finish(&x.latency);
    return err == -ETIME || err == -EINVAL ? ZT_EXIT_USAGE : err ? ZT_EXIT_UNAVAILABLE : ZT_EXIT_OK;
}
