// SPDX-License-Identifier: Apache-2.0
// Functions in the place of a device's operations: they call those and look at the clock. In linear and moe the tiles that
// multiply are timed one by one.
#include "apps/bench_parts.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/base.h"
#include "base/clock.h"
#include "kernels/gemm.h"

enum { THREADS_MAX = 256, PASSES_MAX = 4096 };

const char *const zt_part_name[ZT_PARTS_OF_STEP] = { "products", "attention", "linear", "moe", "norm", "rope", "append", "rest" };

// What a thread has spent: an operation of all threads counts once for each. Products within linear and within moe.
struct spent {
    _Alignas(64) int64_t part[ZT_PARTS_OF_STEP], looks[ZT_PARTS_OF_STEP], products[2], tiles[2];
};

static struct watch {
    const zt_gemm *own;
    zt_gemm        linear, moe;         // own, with multiply() timed
    zt_kernels     plain;
    int            threads;             // of the device
    bool           on;
    double         clock;               // ticks from one look at it to the next
    int64_t        started, started_ns, started_cpu;
    int            passes;
    double         pass[ZT_PARTS_OF_STEP][PASSES_MAX];     // ms of each
    struct spent   spent[THREADS_MAX];
    atomic_int     seen;                // threads that have spent any
} watch;

static struct spent *mine(void)
{
    static _Thread_local struct spent *own;
    if (!own)
        own = &watch.spent[atomic_fetch_add(&watch.seen, 1) % THREADS_MAX];
    return own;
}

// Of a clock that a tile of 0.4 us can be timed with. It waits for what was begun before.
static int64_t ticks(void)
{
#if defined(__x86_64__)
    unsigned on;
    return (int64_t)__builtin_ia32_rdtscp(&on);
#else
    return zt_now();
#endif
}

static void count(const zt_device *d, enum zt_part part, int64_t began)
{
    struct spent *const m = mine();
    if (!watch.on)
        return;
    m->part[part] += (ticks() - began) * d->threads;
    m->looks[part] += d->threads;
}

static void timed(int within, float *y, int64_t step, const zt_rows *r, int quad, int rows, const zt_matrix *w, int panels,
                  const void *const ahead[2])
{
    struct spent *const m = mine();
    const int64_t began = ticks();
    watch.own->multiply(y, step, r, quad, rows, w, panels, ahead);
    m->products[within] += ticks() - began;
    m->tiles[within]++;
}

static void multiply_linear(float *y, int64_t step, const zt_rows *r, int quad, int rows, const zt_matrix *w, int panels,
                            const void *const ahead[2])
{
    timed(0, y, step, r, quad, rows, w, panels, ahead);
}

static void multiply_moe(float *y, int64_t step, const zt_rows *r, int quad, int rows, const zt_matrix *w, int panels,
                         const void *const ahead[2])
{
    timed(1, y, step, r, quad, rows, w, panels, ahead);
}

static void linear(zt_device *d, zt_tensor out, zt_tensor x, const zt_matrix *w, const zt_epilogue *e)
{
    const int64_t began = ticks();
    if (watch.on)
        zt_linear_tiled(d, out, x, w, e, &watch.linear);
    else
        watch.plain.linear(d, out, x, w, e);
    count(d, ZT_PART_LINEAR, began);
}

static void moe(zt_device *d, zt_tensor out, zt_tensor x, const zt_moe *w, const zt_epilogue *e)
{
    const int64_t began = ticks();
    if (watch.on)
        zt_moe_tiled(d, out, x, w, e, &watch.moe);
    else
        watch.plain.moe(d, out, x, w, e);
    count(d, ZT_PART_MOE, began);
}

static void attention(zt_device *d, zt_tensor out, zt_tensor q, const zt_span *span, int n)
{
    const int64_t began = ticks();
    watch.plain.attention(d, out, q, span, n);
    count(d, ZT_PART_ATTENTION, began);
}

static void layer_norm(zt_device *d, zt_tensor out, zt_tensor x, const float *scale, const float *shift, int64_t step,
                       const int32_t *row, float eps)
{
    const int64_t began = ticks();
    watch.plain.layer_norm(d, out, x, scale, shift, step, row, eps);
    count(d, ZT_PART_NORM, began);
}

static void rms_rope(zt_device *d, zt_tensor x, const float *weight, const float *angle, int D, float eps)
{
    const int64_t began = ticks();
    watch.plain.rms_rope(d, x, weight, angle, D, eps);
    count(d, ZT_PART_ROPE, began);
}

static void qkv_append(zt_device *d, const zt_kv *kv, int slot, zt_tensor qkv, const float *weight_q, const float *weight_k,
                       const float *angle, float eps)
{
    const int64_t began = ticks();
    watch.plain.qkv_append(d, kv, slot, qkv, weight_q, weight_k, angle, eps);
    count(d, ZT_PART_APPEND, began);
}

void zt_parts_watch(zt_device *d)
{
    watch.own = d->space == ZT_HOST ? zt_gemm_find(d->level) : NULL;
    if (!watch.own)
        return;
    watch.plain = d->k;
    watch.threads = d->threads;
    watch.linear = watch.moe = *watch.own;
    watch.linear.multiply = multiply_linear;
    watch.moe.multiply = multiply_moe;
    d->k.linear = linear;
    d->k.moe = moe;
    d->k.attention = attention;
    d->k.layer_norm = layer_norm;
    d->k.rms_rope = rms_rope;
    d->k.qkv_append = qkv_append;
}

static int64_t cpu_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * ZT_S + t.tv_nsec;
}

static double look(void)
{
    int64_t best = INT64_MAX;
    for (int i = 0; i < 1000; i++) {
        const int64_t before = ticks();
        best = ZT_MIN(best, ticks() - before);
    }
    return (double)best;
}

void zt_parts_start(void)
{
    if (!watch.own)
        return;
    if (!watch.passes)
        watch.clock = look();
    for (int i = 0; i < THREADS_MAX; i++)
        watch.spent[i] = (struct spent){ 0 };
    watch.on = true;
    watch.started_cpu = cpu_now();
    watch.started_ns = zt_now();
    watch.started = ticks();
}

// Takes what a thread has spent out of the rest. A part is one look too long for each time that it was timed, what it is
// within two.
static void divide(const struct spent *s, double spent[ZT_PARTS_OF_STEP])
{
    for (int p = ZT_PART_ATTENTION; p < ZT_PART_REST; p++) {
        spent[p] += (double)s->part[p] - watch.clock * (double)s->looks[p];
        spent[ZT_PART_REST] -= (double)s->part[p] + watch.clock * (double)s->looks[p];
    }
    for (int w = 0; w < 2; w++) {
        spent[ZT_PART_PRODUCTS] += (double)s->products[w] - watch.clock * (double)s->tiles[w];
        spent[w ? ZT_PART_MOE : ZT_PART_LINEAR] -= (double)s->products[w] + watch.clock * (double)s->tiles[w];
    }
}

void zt_parts_stop(void)
{
    const int64_t all = ticks() - watch.started, ns = zt_now() - watch.started_ns;
    const bool shared = watch.threads == 1 && cpu_now() - watch.started_cpu < ns * 9 / 10;    // for others ran meanwhile
    const bool skip = shared || watch.passes == PASSES_MAX;
    double spent[ZT_PARTS_OF_STEP] = { [ZT_PART_REST] = (double)all * watch.threads };
    if (!watch.on)
        return;
    watch.on = false;
    for (int i = 0; i < THREADS_MAX; i++)
        divide(&watch.spent[i], spent);
    for (int p = 0; p < ZT_PARTS_OF_STEP && !skip; p++)
        watch.pass[p][watch.passes] = spent[p] * (double)ns / (double)all / 1e6 / watch.threads;
    watch.passes += !skip;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

bool zt_parts_get(double ms[ZT_PARTS_OF_STEP])
{
    for (int p = 0; p < ZT_PARTS_OF_STEP && watch.passes; p++) {
        qsort(watch.pass[p], (size_t)watch.passes, sizeof(double), compare);
        ms[p] = watch.pass[p][watch.passes / 2];
    }
    return watch.passes;
}
