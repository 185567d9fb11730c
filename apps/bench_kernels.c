// SPDX-License-Identifier: Apache-2.0
// zoetrope-bench kernels: each operation that matters at the shipped model's shapes, against the machine's limit.
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "apps/bench.h"
#include "apps/exits.h"
#include "base/arena.h"
#include "base/base.h"
#include "base/clock.h"

#define BYTES  (256u << 20)
#define BATCH  (4 * ZT_MS)      // a measurement runs about so long
#define TIMES  15

// The shapes of the shipped model's family (models/default): one frame is 16 x 9 tokens.
enum { M = 144, DIM = 256, HEADS = 4, WINDOW = 8, EXPERTS = 8, TOP_K = 2, INTER = 224 };

typedef struct kernels {
    zt_bench  *b;
    zt_device *d;
    zt_arena   arena;
    uint32_t   random;
    double     peak[ZT_PEAKS];
} kernels;

// One case: what is called, and what it computes.
typedef struct work {
    zt_device   *d;
    zt_tensor    out, x, a;
    zt_matrix    w;
    zt_moe       moe;
    zt_conv      conv;
    zt_kv        kv;
    zt_span      span;
    uint8_t     *plane[3];
    ptrdiff_t    pitch[3];
} work;

static const char *const type_name[] = { [ZT_F32] = "f32", [ZT_BF16] = "bf16", [ZT_I8] = "w8a8" };

static float random_float(kernels *k)
{
    k->random = k->random * 1664525u + 1013904223u;
    return (float)(int32_t)k->random * (1.0f / 2147483648.0f);
}

static void *take(kernels *k, size_t bytes)
{
    return zt_arena_take(&k->arena, bytes);
}

static zt_tensor rows(kernels *k, enum zt_type type, int n0, int n1, int n2, int n3)
{
    const int64_t n = (int64_t)n0 * n1 * n2 * n3;
    const zt_tensor t = zt_tensor_4d(take(k, (size_t)n * zt_type_bytes(type)), type, n0, n1, n2, n3);
    for (int64_t i = 0; t.data && i < n; i++) {
        const float v = random_float(k);
        if (type == ZT_F32)
            ((float *)t.data)[i] = v;
        else
            ((uint16_t *)t.data)[i] = zt_f32_to_bf16(v);
    }
    return t;
}

// Random values in the packed layout: every level reads the same one, so the padding is all that must be right, and
// these shapes have none.
static zt_matrix matrix(kernels *k, enum zt_type type, int N, int K)
{
    zt_matrix w = { .type = type, .N = N, .K = K };
    const size_t bytes = zt_matrix_bytes(type, N, K);
    void *data = take(k, bytes);
    float *scale = take(k, (size_t)zt_round_up(N, 16) * sizeof(float));
    w.data = data, w.scale = scale;
    for (size_t i = 0; data && i < bytes / zt_type_bytes(type); i++) {
        const float v = random_float(k) / sqrtf((float)K);
        if (type == ZT_F32)
            ((float *)data)[i] = v;
        else if (type == ZT_BF16)
            ((uint16_t *)data)[i] = zt_f32_to_bf16(v);
        else
            ((uint8_t *)data)[i] = (uint8_t)(128 + (int)(v * 100));
    }
    for (int i = 0; scale && i < zt_round_up(N, 16); i++)
        scale[i] = 0.01f;
    return w;
}

// ns of one call: the median of several batches.
static double measure(void (*call)(const work *w), const work *w)
{
    zt_samples s;
    if (zt_samples_create(&s, TIMES))
        return 0;
    call(w);
    int64_t before = zt_now();
    call(w);
    const int n = (int)ZT_MAX(1, BATCH / ZT_MAX(zt_now() - before, 1));
    for (int i = 0; i < TIMES; i++) {
        before = zt_now();
        for (int j = 0; j < n; j++)
            call(w);
        zt_samples_add(&s, (zt_now() - before) / n);
    }
    const double ns = (double)zt_samples_quantile(&s, 0.5);
    zt_samples_finish(&s);
    return ns;
}

static void print(kernels *k, const char *op, const char *dtype, const char *shape, double value, const char *unit,
                  double peak)
{
    char of_limit[32] = "null";
    if (peak > 0)
        snprintf(of_limit, sizeof(of_limit), "%.3f", value * 1e9 / peak);
    if (k->b->json)
        printf("{\"op\": \"%s\", \"dtype\": \"%s\", \"level\": \"%s\", \"threads\": %d, \"shape\": \"%s\", "
               "\"value\": %.2f, \"unit\": \"%s\", \"of_limit\": %s, \"peer\": null, \"of_peer\": null}\n",
               op, dtype, k->d->level, k->d->threads, shape, value, unit, of_limit);
    else
        printf("%-12s %-5s %-28s %9.1f %-6s %s\n", op, dtype, shape, value, unit, of_limit);
    fflush(stdout);
}

// The limit that goes with a weight type.
static double limit(const kernels *k, enum zt_type type)
{
    return k->peak[type == ZT_F32 ? ZT_PEAK_F32 : type == ZT_BF16 ? ZT_PEAK_BF16 : ZT_PEAK_I8];
}

static const char *unit(enum zt_type type)
{
    return type == ZT_I8 ? "GOP/s" : "GF/s";
}

static bool begin(kernels *k, work *w)
{
    k->arena.used = 0;
    *w = (work){ .d = k->d };
    return k->arena.base;
}

static void call_linear(const work *w)
{
    w->d->k.linear(w->d, w->out, w->x, &w->w, &(zt_epilogue){ 0 });
}

static void bench_linear(kernels *k, enum zt_type type, int m, int N, int K)
{
    work w;
    char shape[64];
    if (!begin(k, &w))
        return;
    w.x = rows(k, ZT_F32, 1, 1, m, K), w.out = rows(k, ZT_F32, 1, 1, m, N), w.w = matrix(k, type, N, K);
    snprintf(shape, sizeof(shape), "M%d N%d K%d", m, N, K);
    print(k, "linear", type_name[type], shape, 2.0 * m * N * K / measure(call_linear, &w), unit(type), limit(k, type));
}

static void call_attention(const work *w)
{
    w->d->k.attention(w->d, w->out, w->x, &w->span, 1);
}

static void bench_attention(kernels *k, enum zt_type type, int m, int slots, int H)
{
    work w;
    char shape[64];
    int slot[64];
    if (!begin(k, &w))
        return;
    w.kv = (zt_kv){ .type = type, .H = H, .D = 64, .keys = (int)zt_round_up(m, 16), .valid = m };
    const size_t bytes = zt_kv_slot_bytes(&w.kv);
    w.kv.k = take(k, bytes * (size_t)slots), w.kv.v = take(k, bytes * (size_t)slots);
    const zt_tensor kv = rows(k, ZT_F32, 1, 1, m, H * 64);
    w.x = rows(k, ZT_F32, 1, 1, m, H * 64), w.out = rows(k, ZT_F32, 1, 1, m, H * 64);
    for (int i = 0; i < slots; i++) {
        slot[i] = i;
        k->d->k.kv_append(k->d, &w.kv, i, kv, kv);
    }
    w.span = (zt_span){ .rows = m, .kv = &w.kv, .slot = slot, .n = slots };
    snprintf(shape, sizeof(shape), "q%d kv%d H%d D64", m, m * slots, H);
    print(k, "attention", type_name[type], shape, 4.0 * m * m * slots * H * 64 / measure(call_attention, &w), "GF/s",
          limit(k, type));
}

static void call_moe(const work *w)
{
    w->d->k.moe(w->d, w->out, w->x, &w->moe, &(zt_epilogue){ 0 });
}

static void bench_moe(kernels *k, enum zt_type type)
{
    work w;
    char shape[64];
    zt_matrix up[EXPERTS + 1], down[EXPERTS + 1];
    if (!begin(k, &w))
        return;
    w.x = rows(k, ZT_F32, 1, 1, M, DIM), w.out = rows(k, ZT_F32, 1, 1, M, DIM);
    for (int i = 0; i <= EXPERTS; i++)
        up[i] = matrix(k, type, 2 * INTER, DIM), down[i] = matrix(k, type, DIM, INTER);
    const zt_tensor gate = rows(k, ZT_F32, 1, 1, EXPERTS, DIM);
    w.moe = (zt_moe){ .E = EXPERTS, .k = TOP_K, .score = ZT_SIGMOID, .route_scale = 1, .gate_w = gate.data, .up = up,
                      .down = down, .shared_up = &up[EXPERTS], .shared_down = &down[EXPERTS] };
    snprintf(shape, sizeof(shape), "M%d C%d E%d k%d+1 I%d", M, DIM, EXPERTS, TOP_K, INTER);
    print(k, "moe", type_name[type], shape, 6.0 * M * DIM * INTER * (TOP_K + 1) / measure(call_moe, &w), unit(type),
          limit(k, type));
}

static void call_conv(const work *w)
{
    w->d->k.conv(w->d, w->out, w->x, w->a, (zt_tensor){ 0 }, &w->conv);
}

static void bench_conv(kernels *k, enum zt_type type, int h, int width, int C, int N)
{
    work w;
    char shape[64];
    if (!begin(k, &w))
        return;
    w.x = rows(k, type, 1, h, width, C), w.out = rows(k, type, 1, h, width, N);
    w.conv = (zt_conv){ .w = matrix(k, type, N, 9 * C), .act = ZT_ACT_RELU };
    snprintf(shape, sizeof(shape), "%dx%d C%d N%d", width, h, C, N);
    print(k, "conv", type_name[type], shape, 18.0 * h * width * C * N / measure(call_conv, &w), "GF/s", limit(k, type));
}

static void call_i420(const work *w)
{
    w->d->k.rgb_to_i420(w->d, w->plane, w->pitch, w->x);
}

static void bench_i420(kernels *k, int width, int h)
{
    work w;
    char shape[64];
    if (!begin(k, &w))
        return;
    w.x = rows(k, ZT_F32, 1, 3, h, width);
    for (int i = 0; i < 3; i++) {
        w.pitch[i] = i ? width / 2 : width;
        w.plane[i] = take(k, (size_t)(w.pitch[i] * h));
    }
    snprintf(shape, sizeof(shape), "%dx%d", width, h);
    print(k, "rgb_to_i420", "f32", shape, (12.0 + 1.5) * width * h / measure(call_i420, &w), "GB/s", 0);
}

int zt_bench_kernels(zt_bench *b)
{
    kernels k = { .b = b, .random = 1 };
    const zt_device_params p = { .device = b->setup.device_name ? zt_device_names[b->setup.device_name] : NULL,
                                 .threads = (int)b->setup.threads };
    const int err = zt_device_open(&b->setup.device, &p);
    if (err < 0)
        return err == -EINVAL ? ZT_EXIT_USAGE : ZT_EXIT_UNAVAILABLE;
    if (zt_arena_init(&k.arena, BYTES) < 0)
        return ZT_EXIT_UNAVAILABLE;
    k.d = b->setup.device;
    for (int i = 0; i < ZT_PEAKS; i++)
        k.peak[i] = zt_bench_peak(k.d, (enum zt_peak)i);

    const enum zt_type types[] = { ZT_F32, ZT_BF16, ZT_I8 };
    for (size_t i = 0; i < ZT_LEN(types); i++) {
        bench_linear(&k, types[i], M, 3 * DIM, DIM);
        bench_linear(&k, types[i], M, DIM, DIM);
        bench_linear(&k, types[i], 512, 1536, 1536);
        bench_moe(&k, types[i]);
    }
    for (int i = 0; i < 2; i++) {
        bench_attention(&k, types[i], M, WINDOW, HEADS);
        bench_attention(&k, types[i], 512, 4, 12);
        bench_conv(&k, types[i], 18, 32, 64, 64);
        bench_conv(&k, types[i], 72, 128, 32, 32);
    }
    bench_i420(&k, 256, 144);
    zt_arena_finish(&k.arena);
    return ZT_EXIT_OK;
}
