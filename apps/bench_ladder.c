// SPDX-License-Identifier: Apache-2.0
// zoetrope-bench ladder: what each rung of the quality ladder costs, and with --truth what it does to the picture.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "apps/bench.h"
#include "apps/exits.h"
#include "apps/truth.h"
#include "base/base.h"
#include "base/clock.h"
#include "base/live.h"

enum { RUNGS = 2 + 2 * ZT_MAX_TRAINED + ZT_MAX_STEPS, SAMPLES = 1 << 14 };

typedef struct rung {
    char       name[32];
    zt_recipe  recipe;
    zt_state  *state;
    zt_samples frame;
    zt_quality quality;
} rung;

typedef struct ladder {
    zt_model *m;
    zt_tensor rgb;
    rung      rung[RUNGS];
    int       n;
} ladder;

static void add(ladder *l, int steps, int window, int top_k)
{
    rung *const r = &l->rung[l->n++];
    r->recipe = (zt_recipe){ .n = steps, .window = window, .top_k = top_k };
    if (top_k)
        snprintf(r->name, sizeof(r->name), "%d expert%s", top_k, top_k > 1 ? "s" : "");
    else if (window)
        snprintf(r->name, sizeof(r->name), "window %d", window);
    else
        snprintf(r->name, sizeof(r->name), "%d step%s", steps, steps > 1 ? "s" : "");
}

// As the scheduler gives them up; the rate apart, which changes no picture.
static void list(ladder *l, int steps)
{
    const zt_model_info *const info = zt_model_get_info(l->m);
    int window = 0;
    for (int n = steps; n >= 1; n--)
        add(l, n, 0, 0);
    for (int i = 0; i < info->n_windows; i++)
        add(l, 1, window = info->window[i], 0);
    for (int i = 0; i < info->n_top_k; i++)
        add(l, 1, window, info->fewer_k[i]);
}

// A frame of the engine: its passes, the frame before committed with the first, decoding.
static int one_frame(ladder *l, rung *r, bool timed)
{
    const int64_t started = zt_now();
    int err = zt_recipe_frame(&r->recipe, l->m, r->state);
    zt_state_decode(r->state, l->rgb);
    if (!err && timed)
        zt_samples_add(&r->frame, zt_now() - started);
    return err;
}

// Rungs in turn, so that whatever else the machine does meets all of them alike.
static int time_them(ladder *l, int64_t seconds)
{
    const int warm = zt_model_get_info(l->m)->window_frames + 2;
    int err = 0;
    int64_t until = INT64_MAX;
    for (int round = 0; !err && (zt_now() < until || round < warm + 3); round++) {
        if (round == warm)
            until = zt_now() + seconds * ZT_S;
        for (int i = 0; i < l->n && !err; i++)
            err = one_frame(l, &l->rung[i], round >= warm);
    }
    return err;
}

static int open_rungs(ladder *l, const zt_bench *b)
{
    const zt_model_info *const info = zt_model_get_info(l->m);
    void *const rgb = zt_device_alloc(b->setup.device, (size_t)info->pictures * 3 * (size_t)info->h * (size_t)info->w * sizeof(float));
    l->rgb = zt_tensor_4d(rgb, ZT_F32, info->pictures, 3, info->h, info->w);
    int err = rgb ? 0 : -ENOMEM;
    for (int i = 0; i < l->n && !err; i++) {
        err = zt_samples_create(&l->rung[i].frame, SAMPLES);
        if (!err)
            err = zt_state_create(&l->rung[i].state, l->m, 0, 0, b->seed);
        if (!err)
            zt_state_prompt(l->rung[i].state, b->prompt, NULL, 0);
    }
    return err;
}

static int judge(ladder *l, const char *path)
{
    zt_truth *truth = NULL;
    int err = zt_truth_open(&truth, l->m, path);
    for (int i = 0; i < l->n && !err; i++)
        err = zt_truth_measure(truth, l->m, &l->rung[i].recipe, &l->rung[i].quality);
    zt_truth_close(&truth);
    return err;
}

static void print(ladder *l, const zt_bench *b)
{
    const zt_model_info *const info = zt_model_get_info(l->m);
    const zt_quality *const best = &l->rung[0].quality;
    if (!b->json)
        printf("%s, %s, %d threads\n%-12s %10s %8s %10s %10s\n", info->name, zt_precision_names[info->precision],
               b->setup.device->threads, "rung", "ms/frame", "p99", "dB", "against 1st");
    for (int i = 0; i < l->n; i++) {
        rung *const r = &l->rung[i];
        const double p50 = (double)zt_samples_quantile(&r->frame, 0.5) / 1e6, p99 = (double)zt_samples_quantile(&r->frame, 0.99) / 1e6;
        char psnr[32] = "null", off[32] = "null";
        if (b->truth) {
            snprintf(psnr, sizeof(psnr), "%.2f", r->quality.psnr);
            snprintf(off, sizeof(off), "%.2f", r->quality.psnr - best->psnr);
        }
        if (b->json)
            printf("{\"rung\": \"%s\", \"steps\": %d, \"window\": %d, \"top_k\": %d, \"ms\": {\"p50\": %.3f, \"p99\": %.3f}, "
                   "\"psnr\": %s, \"against_first\": %s}\n",
                   r->name, r->recipe.n, r->recipe.window ? r->recipe.window : info->window_frames,
                   r->recipe.top_k ? r->recipe.top_k : info->top_k, p50, p99, psnr, off);
        else
            printf("%-12s %10.2f %8.2f %10s %10s\n", r->name, p50, p99, psnr, off);
    }
    if (b->truth && !b->json)
        printf("the last true picture again: %.2f dB\n", best->repeat_psnr);
}

int zt_bench_ladder(zt_bench *b)
{
    static ladder l;
    const int code = zt_setup_open(&b->setup, false);
    if (code)
        return code;
    l = (ladder){ .m = b->setup.model };
    if (b->setup.device->realtime)
        zt_thread_first(0);
    list(&l, (int)b->steps);
    int err = open_rungs(&l, b);
    if (!err && b->truth)
        err = judge(&l, b->truth);
    if (!err)
        err = time_them(&l, b->seconds);
    if (!err)
        print(&l, b);
    for (int i = 0; i < l.n; i++) {
        zt_state_destroy(&l.rung[i].state);
        zt_samples_finish(&l.rung[i].frame);
    }
    zt_device_free(b->setup.device, l.rgb.data);
    return err == -EINVAL || err == -ENOENT ? zt_exit_input(err) : err ? ZT_EXIT_UNAVAILABLE : ZT_EXIT_OK;
}
