// SPDX-License-Identifier: Apache-2.0
// zoetrope-bench step: one denoising pass of one or several streams with full windows, nothing else.
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "apps/bench.h"
#include "apps/exits.h"
#include "base/base.h"
#include "base/clock.h"

typedef struct streams {
    zt_model *m;
    int       n, layers;
    zt_state *state[ZT_MAX_JOBS];
} streams;

static int pass(streams *s, enum zt_pass kind)
{
    zt_job job[ZT_MAX_JOBS];
    for (int i = 0; i < s->n; i++)
        job[i] = (zt_job){ s->state[i], kind, 1000, 0 };
    return zt_model_pass(s->m, job, s->n, 0, s->layers);
}

// One frame of each: begin, a pass (timed), commit.
static int one_frame(streams *s, zt_samples *timed)
{
    for (int i = 0; i < s->n; i++)
        zt_state_begin(s->state[i]);
    const int64_t before = zt_now();
    int err = pass(s, ZT_DENOISE);
    if (!err && timed)
        zt_samples_add(timed, zt_now() - before);
    return err ? err : pass(s, ZT_COMMIT);
}

static void print(const zt_bench *b, const zt_model_info *info, zt_samples *timed)
{
    zt_device *d = b->setup.device;
    const double p50 = (double)zt_samples_quantile(timed, 0.5) / 1e6,
                 p99 = (double)zt_samples_quantile(timed, 0.99) / 1e6;
    const double linear = (double)(info->linear_ops * b->sessions),
                 attention = (double)(info->attention_ops * b->sessions);
    const bool f32 = info->precision == ZT_PRECISION_F32;
    const double peak = zt_bench_peak(d, f32                                      ? ZT_PEAK_F32
                                           : info->precision >= ZT_PRECISION_INT8 ? ZT_PEAK_I8
                                                                                  : ZT_PEAK_BF16);
    const double peak2 = zt_bench_peak(d, f32 ? ZT_PEAK_F32 : ZT_PEAK_BF16);
    const double gops = (linear + attention) / (p50 * 1e6);
    const int tokens = info->w / 16 * (info->h / 16) * (int)b->sessions;
    char of_limit[32] = "null";
    if (peak > 0 && peak2 > 0)
        snprintf(of_limit, sizeof(of_limit), "%.3f", (linear / peak + attention / peak2) / (p50 / 1e3));
    const char *precision = zt_precision_names[info->precision];
    if (b->json)
        printf("{\"device\": \"cpu\", \"level\": \"%s\", \"threads\": %d, \"precision\": \"%s\", \"tokens\": %d, "
               "\"cache\": %d, \"jobs\": %d, \"ms\": {\"p50\": %.3f, \"p99\": %.3f}, \"gops\": %.1f, "
               "\"of_limit\": %s}\n",
               d->level, d->threads, precision, tokens, info->window_frames, (int)b->sessions, p50, p99, gops,
               of_limit);
    else
        printf("%s %s, %d threads: %d tokens, window %d, %d jobs: %.2f ms (p99 %.2f), %.0f GOP/s, %s of the limit\n",
               d->level, precision, d->threads, tokens, info->window_frames, (int)b->sessions, p50, p99, gops,
               of_limit);
}

int zt_bench_step(zt_bench *b)
{
    zt_samples timed = { 0 };
    int code = zt_setup_open(&b->setup, false);
    if (code)
        return code;
    const zt_model_info *info = zt_model_get_info(b->setup.model);
    streams s = { .m = b->setup.model, .n = (int)b->sessions, .layers = info->layers };
    int err = zt_samples_create(&timed, 1 << 16);
    for (int i = 0; i < s.n && !err; i++) {
        err = zt_state_create(&s.state[i], s.m, 0, 0, b->seed + (uint64_t)i);
        if (!err)
            zt_state_prompt(s.state[i], b->prompt, NULL, 0);
    }
    for (int i = 0; i < info->window_frames + 2 && !err; i++)
        err = one_frame(&s, NULL);
    const int64_t until = zt_now() + b->seconds * ZT_S;
    while (!err && (zt_now() < until || timed.n < 3))
        err = one_frame(&s, &timed);
    if (!err)
        print(b, info, &timed);
    for (int i = 0; i < s.n; i++)
        zt_state_destroy(&s.state[i]);
    zt_samples_finish(&timed);
    return err ? ZT_EXIT_UNAVAILABLE : ZT_EXIT_OK;
}
