// SPDX-License-Identifier: Apache-2.0
// zoetrope-bench step: one denoising pass of one or several streams with full windows, nothing else.
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "apps/bench.h"
#include "apps/bench_parts.h"
#include "apps/exits.h"
#include "base/base.h"
#include "base/clock.h"
#include "base/live.h"
#include "diffusion/model.h"

typedef struct streams {
    zt_device *d;
    zt_model *m;
    int       n, layers;
    zt_state *state[ZT_MAX_JOBS];
    bool      alone;            // one thread does all
} streams;

static int pass(streams *s, enum zt_pass kind)
{
    zt_job job[ZT_MAX_JOBS];
    for (int i = 0; i < s->n; i++)
        job[i] = (zt_job){ s->state[i], kind, 1000, 0 };
    return zt_model_pass(s->m, job, s->n, 0, s->layers);
}

static int separate_passes(streams *s)
{
    int err = 0;
    for (int i = 0; i < s->n && !err; i++)
        err = zt_model_pass(s->m, &(zt_job){ s->state[i], ZT_DENOISE, 1000, 0 }, 1, 0, s->layers);
    return err;
}

// Processor time where one thread does all: others may have been on its processor.
static int64_t time_now(const streams *s)
{
    struct timespec t;
    if (!s->alone)
        return zt_now();
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * ZT_S + t.tv_nsec;
}

// One frame of each: begin, a pass (timed, or watched), commit.
static int one_frame(streams *s, zt_samples *timed, bool packed, bool watched)
{
    for (int i = 0; i < s->n; i++)
        zt_state_begin(s->state[i]);
    if (watched)
        zt_parts_start();
    const int64_t before = time_now(s);
    int err = packed ? pass(s, ZT_DENOISE) : separate_passes(s);
    zt_device_wait(s->d);
    if (watched)
        zt_parts_stop();
    if (!err && timed)
        zt_samples_add(timed, time_now(s) - before);
    return err ? err : pass(s, ZT_COMMIT);
}

// Packed, and in turn with it one after the other; then to see where the time goes.
static int frames(streams *s, const zt_bench *b, zt_samples *timed, zt_samples *apart)
{
    int err = 0;
    for (int i = 0; i < zt_model_get_info(s->m)->window_frames + 2 && !err; i++)
        err = one_frame(s, NULL, true, false);
    int64_t until = zt_now() + b->seconds * ZT_S;
    while (!err && (zt_now() < until || timed->n < 3)) {
        err = one_frame(s, timed, true, false);
        if (!err && s->n > 1)
            err = one_frame(s, apart, false, false);
    }
    until = zt_now() + b->seconds * ZT_S / 4;
    for (int i = 0; !err && (zt_now() < until || i < 3); i++)
        err = one_frame(s, NULL, true, true);
    return err;
}

// {"products": ms, ...} and the share of what is neither product nor attention.
static void print_parts(bool json)
{
    double ms[ZT_PARTS_OF_STEP], all = 0;
    if (!zt_parts_get(ms)) {
        printf(json ? "\"parts_ms\": null, \"other\": null}\n" : "");
        return;
    }
    printf(json ? "\"parts_ms\": {" : " ");
    for (int i = 0; i < ZT_PARTS_OF_STEP; i++) {
        all += ms[i];
        printf(json ? "%s\"%s\": %.3f" : "%s %s %.2f", i && json ? ", " : "", zt_part_name[i], ms[i]);
    }
    const double other = 1 - (ms[ZT_PART_PRODUCTS] + ms[ZT_PART_ATTENTION]) / all;
    printf(json ? "}, \"other\": %.3f}\n" : " ms: %.3f neither product nor attention\n", other);
}

static void print(const zt_bench *b, const zt_model_info *info, zt_samples *timed, zt_samples *apart)
{
    zt_device *d = b->setup.device;
    const double p50 = (double)zt_samples_quantile(timed, 0.5) / 1e6,
                 p99 = (double)zt_samples_quantile(timed, 0.99) / 1e6;
    const double operations = (double)((info->linear_ops + info->attention_ops) * b->sessions);
    const double limit = zt_bench_pass_limit(d, info) * (double)b->sessions, gops = operations / (p50 * 1e6);
    const int tokens = info->w / 16 * (info->h / 16) * (int)b->sessions;
    char of_limit[32] = "null";
    if (limit > 0)
        snprintf(of_limit, sizeof(of_limit), "%.3f", limit / (p50 * 1e6));
    char gain[32] = "null";
    if (apart->n)
        snprintf(gain, sizeof(gain), "%.3f", (double)zt_samples_quantile(apart, 0.5) / 1e6 / p50);
    const char *precision = zt_precision_names[info->precision];
    if (b->json)
        printf("{\"device\": \"%s\", \"level\": \"%s\", \"threads\": %d, \"precision\": \"%s\", \"tokens\": %d, "
               "\"cache\": %d, \"jobs\": %d, \"ms\": {\"p50\": %.3f, \"p99\": %.3f}, \"gops\": %.1f, "
               "\"of_limit\": %s, \"packed_gain\": %s, ",
               d->backend ? "cuda" : "cpu", d->level, d->threads, precision, tokens, info->window_frames, (int)b->sessions,
               p50, p99, gops, of_limit, gain);
    else
        printf("%s %s, %d threads: %d tokens, window %d, %d jobs: %.2f ms (p99 %.2f), %.0f GOP/s, %s of the limit\n",
               d->level, precision, d->threads, tokens, info->window_frames, (int)b->sessions, p50, p99, gops,
               of_limit);
    print_parts(b->json);
}

int zt_bench_step(zt_bench *b)
{
    zt_samples timed = { 0 }, apart = { 0 };
    b->setup.on_device = zt_parts_watch;
    int code = zt_setup_open(&b->setup, false);
    if (code)
        return code;
    const zt_model_info *info = zt_model_get_info(b->setup.model);
    streams s = { .d = b->setup.device, .m = b->setup.model, .n = (int)b->sessions, .layers = info->layers };
    int err = zt_samples_create(&timed, 1 << 16);
    s.alone = b->setup.device->threads == 1;
    if (b->setup.device->realtime)
        zt_thread_first(0);
    if (!err)
        err = zt_samples_create(&apart, 1 << 16);
    for (int i = 0; i < s.n && !err; i++) {
        err = zt_state_create(&s.state[i], s.m, 0, 0, b->seed + (uint64_t)i);
        if (!err)
            zt_state_prompt(s.state[i], b->prompt, NULL, 0);
    }
    if (!err)
        err = frames(&s, b, &timed, &apart);
    if (!err)
        print(b, info, &timed, &apart);
    for (int i = 0; i < s.n; i++)
        zt_state_destroy(&s.state[i]);
    zt_samples_finish(&timed);
    zt_samples_finish(&apart);
    return err ? ZT_EXIT_UNAVAILABLE : ZT_EXIT_OK;
}
