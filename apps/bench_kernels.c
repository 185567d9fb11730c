// SPDX-License-Identifier: Apache-2.0
// zoetrope-bench kernels: each operation that matters, at shapes from the shipped model's to Wan's, against the
// machine's limit and other libraries.
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "apps/bench.h"
#include "apps/exits.h"
#include "apps/peers.h"
#include "base/arena.h"
#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "kernels/device.h"
#include "kernels/gemm.h"

#define BYTES  (512u << 20)

// A frame of the shipped model's is 16 x 9 tokens.
enum { M = 144, HEADS = 4, WINDOW = 8, EXPERTS_MAX = 128, PEERS_MAX = 2 };

typedef struct kernels {
    zt_bench  *b;
    zt_device *d, *one;         // one: with one thread, when what all threads gain is asked for
    zt_arena   arena;
    char      *far;             // a GPU's memory of the arena's size: cases are made in the arena, then sent
    uint32_t   random;
    double     peak[ZT_PEAKS];
    int        lines;           // printed
} kernels;

// One case: what is called, and what it computes.
typedef struct work {
    zt_device   *d;
    zt_tensor    out, x, a, hidden;
    zt_matrix    w, w2;
    zt_moe       moe;
    zt_conv      conv;
    zt_kv        kv;
    zt_span      span;
    zt_rows      rows;
    bool         met[EXPERTS_MAX];      // experts that any row goes to
    const zt_gemm *gemm;
    uint8_t     *plane[3];
    ptrdiff_t    pitch[3];
} work;

static const char *const type_name[] = { [ZT_F32] = "f32", [ZT_BF16] = "bf16", [ZT_I8] = "w8a8", [ZT_I4] = "w4a8" };

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
    const size_t bytes = zt_matrix_bytes(type, N, K), factors = zt_factor_bytes(N, K);
    void *const data = take(k, bytes);
    const bool integer = type == ZT_I8 || type == ZT_I4;
    float *const scale = integer ? take(k, (size_t)zt_round_up(N, 16) * sizeof(float)) : NULL;
    uint8_t *const factor = type == ZT_I4 ? take(k, factors) : NULL;
    w.data = data, w.scale = scale, w.factor = factor;
    for (size_t i = 0; data && i < (integer ? bytes : bytes / zt_type_bytes(type)); i++) {
        const float v = random_float(k) / sqrtf((float)K);
        if (type == ZT_F32)
            ((float *)data)[i] = v;
        else if (type == ZT_BF16)
            ((uint16_t *)data)[i] = zt_f32_to_bf16(v);
        else
            ((uint8_t *)data)[i] = (uint8_t)(128 + (int)(v * 2000));
    }
    for (int i = 0; scale && i < zt_round_up(N, 16); i++)
        scale[i] = 0.01f;
    for (size_t i = 0; factor && i < factors; i++)
        factor[i] = (uint8_t)(1 + i % 15);
    return w;
}

typedef struct line {
    const char *op, *dtype, *shape, *unit;
    double      value, of_limit;        // 0: there is none
    const char *bound;                  // what limits it: "peak" or "memory"
    const char *peer;                   // or NULL
    double      of_peer;
} line;

static const char *quoted(char room[48], const char *text)
{
    snprintf(room, 48, text ? "\"%s\"" : "null", text);
    return room;
}

static void print_line(kernels *k, const line *l)
{
    char limit[32] = "null", ratio[32] = "null", peer[48], bound[48];
    if (l->of_limit > 0)
        snprintf(limit, sizeof(limit), "%.3f", l->of_limit);
    if (l->peer)
        snprintf(ratio, sizeof(ratio), "%.3f", l->of_peer);
    if (k->b->json)
        printf("{\"op\": \"%s\", \"dtype\": \"%s\", \"level\": \"%s\", \"threads\": %d, \"shape\": \"%s\", "
               "\"value\": %.2f, \"unit\": \"%s\", \"of_limit\": %s, \"bound\": %s, \"peer\": %s, \"of_peer\": %s}\n",
               l->op, l->dtype, k->d->level, k->d->threads, l->shape, l->value, l->unit, limit, quoted(bound, l->bound),
               quoted(peer, l->peer), ratio);
    else
        printf("%-12s %-5s %-28s %9.*f %-6s %-6s %-7s %s %s\n", l->op, l->dtype, l->shape, l->value < 10 ? 2 : 1, l->value, l->unit,
               limit, l->bound && *l->bound == 'm' ? l->bound : "", l->peer ? ratio : "", l->peer ? l->peer : "");
    fflush(stdout);
    k->lines++;
}

// The same work on one thread is how many times as slow?
static void report_scaling(kernels *k, const char *op, const char *dtype, const char *shape, const zt_side *side)
{
    char name[96];
    work alone = *(const work *)side->cookie;
    alone.d = k->one;
    zt_side both[] = { { .call = side->call, .cookie = side->cookie }, { .call = side->call, .cookie = &alone } };
    if (zt_sides_measure(both, 2, false) < 0)
        return;
    snprintf(name, sizeof(name), "%s %s", op, shape);
    const double times = both[1].ns / both[0].ns;
    print_line(k, &(line){ "scaling", dtype, name, "x", times, times / k->d->threads, NULL, NULL, 0 });
}

// Where a GPU finds what lies at p.
static void *moved(const kernels *k, const void *p)
{
    return p && k->far ? k->far + ((const char *)p - k->arena.base) : (void *)p;
}

static void move_matrix(const kernels *k, zt_matrix *w)
{
    w->data = moved(k, w->data);
    w->scale = moved(k, w->scale);
    w->bias = moved(k, w->bias);
    w->factor = moved(k, w->factor);
}

// The case, made, to where it is computed. experts: how many of up and down there are.
static void send(kernels *k, work *w, zt_matrix *up, zt_matrix *down, int experts)
{
    zt_tensor *const tensors[] = { &w->out, &w->x, &w->a, &w->hidden };
    zt_matrix *const matrices[] = { &w->w, &w->w2, &w->conv.w };
    if (!k->far)
        return;
    zt_device_copy(k->d, k->far, k->arena.base, k->arena.used);
    for (size_t i = 0; i < ZT_LEN(tensors); i++)
        tensors[i]->data = moved(k, tensors[i]->data);
    for (size_t i = 0; i < ZT_LEN(matrices); i++)
        move_matrix(k, matrices[i]);
    for (int i = 0; i < experts; i++) {
        move_matrix(k, &up[i]);
        move_matrix(k, &down[i]);
    }
    w->kv.k = moved(k, w->kv.k), w->kv.v = moved(k, w->kv.v), w->kv.scale = moved(k, w->kv.scale);
    w->moe.gate_w = moved(k, w->moe.gate_w);
    for (int i = 0; i < 3; i++)
        w->plane[i] = moved(k, w->plane[i]);
}

// Times the work and its peers; prints a line for each peer, or one without. One call is so many operations, or bytes;
// peak 0: no limit. A side that is a limit, too, may come last.
static void report(kernels *k, const char *op, const char *dtype, const char *shape, double operations, const char *unit,
                   double peak, zt_side *side, int n)
{
    if (k->one) {
        report_scaling(k, op, dtype, shape, side);
        return;
    }
    for (int i = 0; i < n && k->far; i++)
        side[i].queue = k->d;
    if (zt_sides_measure(side, n, k->d->threads == 1 && !k->far) < 0)
        return;
    const double at_peak = peak > 0 ? operations / peak * 1e9 : 0, of_memory = side[n - 1].limit ? side[--n].ns : 0;
    line l = { op, dtype, shape, unit, operations / side[0].ns, ZT_MAX(at_peak, of_memory) / side[0].ns,
               of_memory > at_peak ? "memory" : peak > 0 ? "peak" : NULL, NULL, 0 };
    for (int i = 1; i < ZT_MAX(n, 2); i++) {
        l.peer = i < n ? side[i].name : NULL;
        l.of_peer = i < n ? side[i].ns / side[0].ns : 0;
        print_line(k, &l);
    }
}

// The limit that goes with a weight type.
static double limit(const kernels *k, enum zt_type type)
{
    return k->peak[type == ZT_F32 ? ZT_PEAK_F32 : type == ZT_BF16 ? ZT_PEAK_BF16 : ZT_PEAK_I8];
}

static const char *unit(enum zt_type type)
{
    return type == ZT_I8 || type == ZT_I4 ? "GOP/s" : "GF/s";
}

static bool begin(kernels *k, work *w)
{
    k->arena.used = 0;
    *w = (work){ .d = k->d };
    return k->arena.base;
}

static bool wanted(const kernels *k, const char *op, enum zt_type type)
{
    return (!k->b->op || !strcmp(k->b->op, k->one ? "scaling" : op)) && (!k->b->dtype || !strcmp(k->b->dtype, type_name[type]));
}

static void call_linear(void *cookie)
{
    const work *w = cookie;
    w->d->k.linear(w->d, w->out, w->x, &w->w, &(zt_epilogue){ 0 });
}

static void finish(zt_side *side, int n)
{
    for (int i = 1; i < n; i++) {
        if (side[i].finish)
            side[i].finish(&side[i].cookie);
    }
}

// The product by every library that can.
static int find_peers(const kernels *k, zt_side *side, enum zt_type type, int m, int N, int K)
{
    int n = 0;
    for (int i = 0; zt_peers[i] && n < PEERS_MAX; i++) {
        void *const p = zt_peers[i]->create(type, m, N, K, k->d->threads);
        if (p)
            side[n++] = (zt_side){ .name = zt_peers[i]->name(), .call = zt_peers[i]->run, .cookie = p,
                                   .finish = zt_peers[i]->destroy };
    }
    return n;
}

static void bench_linear(kernels *k, enum zt_type type, int m, int N, int K)
{
    work w, w8;
    char shape[64];
    zt_side side[1 + PEERS_MAX] = { { .call = call_linear, .cookie = &w },
                                    { .name = "own w8a8", .call = call_linear, .cookie = &w8 } };
    if (!wanted(k, "linear", type) || !begin(k, &w))
        return;
    w.x = rows(k, ZT_F32, 1, 1, m, K), w.out = rows(k, ZT_F32, 1, 1, m, N), w.w = matrix(k, type, N, K);
    w8 = w;
    if (type == ZT_I4)
        w8.w = matrix(k, ZT_I8, N, K);
    send(k, &w, NULL, NULL, 0);
    send(k, &w8, NULL, NULL, 0);
    snprintf(shape, sizeof(shape), "M%d N%d K%d", m, N, K);
    const int n = type == ZT_I4 ? 2 : 1 + (k->far ? 0 : find_peers(k, side + 1, type, m, N, K));
    report(k, "linear", type_name[type], shape, 2.0 * m * N * K, unit(type), limit(k, type), side, n);
    finish(side, n);
}

static void call_product(void *cookie)
{
    const work *w = cookie;
    zt_linear_packed(w->d, w->out, &w->rows, &w->w, &(zt_epilogue){ 0 }, w->gemm, NULL);
}

// Of rows that are packed already: what libraries time.
static void bench_product(kernels *k, enum zt_type type, int m, int N, int K)
{
    work w;
    char shape[64];
    zt_side side[1 + PEERS_MAX] = { { .call = call_product, .cookie = &w } };
    if (!wanted(k, "product", type) || !begin(k, &w) || !(w.gemm = zt_gemm_find(k->d->level)))
        return;
    w.x = rows(k, ZT_F32, 1, 1, m, K), w.out = rows(k, ZT_F32, 1, 1, m, N), w.w = matrix(k, type, N, K);
    w.rows = zt_rows_at(w.gemm, take(k, zt_rows_bytes(w.gemm, type, K, m)), type, K, m);
    zt_linear_pack(k->d, &w.rows, w.x, w.gemm);
    snprintf(shape, sizeof(shape), "M%d N%d K%d", m, N, K);
    const int n = 1 + find_peers(k, side + 1, type, m, N, K);
    report(k, "product", type_name[type], shape, 2.0 * m * N * K, unit(type), limit(k, type), side, n);
    finish(side, n);
}

static void call_attention(void *cookie)
{
    const work *w = cookie;
    w->d->k.attention(w->d, w->out, w->x, &w->span, 1);
}

static int find_attention_peers(const kernels *k, zt_side *side, enum zt_type type, const zt_attention_shape *s)
{
    int n = 0;
    for (int i = 0; zt_attention_peers[i] && n < PEERS_MAX && !k->far; i++) {
        void *const p = zt_attention_peers[i]->create(type, s, k->d->threads);
        if (p)
            side[n++] = (zt_side){ .name = zt_attention_peers[i]->name(), .call = zt_attention_peers[i]->run, .cookie = p,
                                   .finish = zt_attention_peers[i]->destroy };
    }
    return n;
}

// m queries meet `slots` slots of `keys` keys.
static void bench_attention_of(kernels *k, enum zt_type type, int m, int keys, int slots, int H, int D)
{
    work w;
    char shape[64];
    int slot[64];
    zt_side side[1 + PEERS_MAX] = { { .call = call_attention, .cookie = &w } };
    if (!wanted(k, "attention", type) || !begin(k, &w))
        return;
    w.kv = (zt_kv){ .type = type, .H = H, .D = D, .keys = (int)zt_round_up(keys, 16), .valid = keys };
    const size_t bytes = zt_kv_slot_bytes(&w.kv);
    w.kv.k = take(k, bytes * (size_t)slots), w.kv.v = take(k, bytes * (size_t)slots);
    w.kv.scale = take(k, zt_kv_scales(&w.kv) * (size_t)(slots * H) * sizeof(float));
    w.a = rows(k, ZT_F32, 1, 1, keys, H * D);
    w.x = rows(k, ZT_F32, 1, 1, m, H * D), w.out = rows(k, ZT_F32, 1, 1, m, H * D);
    send(k, &w, NULL, NULL, 0);
    for (int i = 0; i < slots; i++) {
        slot[i] = i;
        k->d->k.kv_append(k->d, &w.kv, i, w.a, w.a);
    }
    w.span = (zt_span){ .rows = m, .kv = &w.kv, .slot = slot, .n = slots };
    snprintf(shape, sizeof(shape), "q%d kv%d H%d D%d", m, keys * slots, H, D);
    const int n = 1 + find_attention_peers(k, side + 1, type, &(zt_attention_shape){ m, keys * slots, H, D });
    report(k, "attention", type == ZT_I8 ? "int8" : type_name[type], shape, 4.0 * m * keys * slots * H * D,
           type == ZT_I8 ? "GOP/s" : "GF/s", limit(k, type), side, n);
    finish(side, n);
}

static void bench_attention(kernels *k, enum zt_type type, int m, int slots, int H, int D)
{
    bench_attention_of(k, type, m, m, slots, H, D);
}

static void call_moe(void *cookie)
{
    const work *w = cookie;
    w->d->k.moe(w->d, w->out, w->x, &w->moe, &(zt_epilogue){ 0 });
}

// As many multiplications in two matrices that every row goes through.
static void call_dense(void *cookie)
{
    const work *w = cookie;
    w->d->k.linear(w->d, w->hidden, w->x, &w->w, &(zt_epilogue){ 0 });
    w->d->k.linear(w->d, w->out, zt_tensor_columns(w->hidden, 0, w->w2.K), &w->w2, &(zt_epilogue){ 0 });
}

static void read_expert(void *cookie, int i, int thread)
{
    const work *w = cookie;
    const zt_matrix *const all[] = { &w->moe.up[i], &w->moe.down[i] };
    (void)thread;
    for (size_t j = 0; j < ZT_LEN(all) && w->met[i]; j++)
        zt_bench_read(all[j]->data, zt_matrix_bytes(all[j]->type, all[j]->N, all[j]->K));
}

// The weights that it cannot do without, and nothing else.
static void call_read(void *cookie)
{
    work *w = cookie;
    zt_parallel_for(w->d, w->moe.E, read_expert, w);
}

// Calls it once to see which experts are met.
static void find_met(kernels *k, work *w, int tokens)
{
    const int n = tokens * w->moe.k;
    w->moe.topk = take(k, (size_t)n * sizeof(*w->moe.topk));
    if (!w->moe.topk)
        return;
    call_moe(w);
    for (int i = 0; i < n; i++)
        w->met[w->moe.topk[i]] = true;
    w->moe.topk = NULL;
}

struct moe_shape {
    int M, C, I, E, k, shared;      // shared: its hidden width in I
};

static void bench_moe(kernels *k, enum zt_type type, struct moe_shape s)
{
    work w;
    char shape[64];
    zt_matrix up[EXPERTS_MAX + 1], down[EXPERTS_MAX + 1];
    zt_side side[] = { { .call = call_moe, .cookie = &w }, { .name = "own dense", .call = call_dense, .cookie = &w },
                       { .limit = true, .call = call_read, .cookie = &w } };
    if (!wanted(k, "moe", type) || !begin(k, &w))
        return;
    const int active = (s.k + s.shared) * s.I;
    w.x = rows(k, ZT_F32, 1, 1, s.M, s.C), w.out = rows(k, ZT_F32, 1, 1, s.M, s.C);
    w.hidden = rows(k, ZT_F32, 1, 1, s.M, 2 * active);
    w.w = matrix(k, type, 2 * active, s.C), w.w2 = matrix(k, type, s.C, active);
    for (int i = 0; i < s.E + s.shared; i++) {
        up[i] = matrix(k, type, 2 * s.I, s.C), down[i] = matrix(k, type, s.C, s.I);
        if (!down[i].data)
            return;
    }
    const zt_tensor gate = rows(k, ZT_F32, 1, 1, s.E, s.C);
    w.moe = (zt_moe){ .E = s.E, .k = s.k, .score = ZT_SIGMOID, .route_scale = 1, .gate_w = gate.data, .up = up,
                      .down = down, .shared_up = s.shared ? &up[s.E] : NULL,
                      .shared_down = s.shared ? &down[s.E] : NULL };
    send(k, &w, up, down, s.E + s.shared);
    snprintf(shape, sizeof(shape), "M%d C%d E%d k%d+%d I%d", s.M, s.C, s.E, s.k, s.shared, s.I);
    if (!k->far)
        find_met(k, &w, s.M);
    report(k, "moe", type_name[type], shape, 6.0 * s.M * s.C * active, unit(type), limit(k, type), side, k->far ? 2 : 3);
}

static void call_conv(void *cookie)
{
    const work *w = cookie;
    w->d->k.conv(w->d, w->out, w->x, w->a, (zt_tensor){ 0 }, &w->conv);
}

static void bench_conv(kernels *k, enum zt_type type, int h, int width, int C, int N)
{
    work w;
    char shape[64];
    if (!wanted(k, "conv", type) || !begin(k, &w))
        return;
    const enum zt_type io = type == ZT_F32 ? ZT_F32 : ZT_BF16;
    w.x = rows(k, io, 1, h, width, C), w.out = rows(k, io, 1, h, width, N);
    w.conv = (zt_conv){ .w = matrix(k, type, N, 9 * C), .act = ZT_ACT_RELU };
    send(k, &w, NULL, NULL, 0);
    snprintf(shape, sizeof(shape), "%dx%d C%d N%d", width, h, C, N);
    report(k, "conv", type_name[type], shape, 18.0 * h * width * C * N, unit(type), limit(k, type),
           &(zt_side){ .call = call_conv, .cookie = &w }, 1);
}

static void call_i420(void *cookie)
{
    const work *w = cookie;
    w->d->k.rgb_to_i420(w->d, w->plane, w->pitch, w->x);
}

static void bench_i420(kernels *k, int width, int h)
{
    work w;
    char shape[64];
    if (!wanted(k, "rgb_to_i420", ZT_F32) || !begin(k, &w))
        return;
    w.x = rows(k, ZT_F32, 1, 3, h, width);
    for (int i = 0; i < 3; i++) {
        w.pitch[i] = i ? width / 2 : width;
        w.plane[i] = take(k, (size_t)(w.pitch[i] * h));
    }
    send(k, &w, NULL, NULL, 0);
    snprintf(shape, sizeof(shape), "%dx%d", width, h);
    report(k, "rgb_to_i420", "f32", shape, (12.0 + 1.5) * width * h, "GB/s", 0,
           &(zt_side){ .call = call_i420, .cookie = &w }, 1);
}

static void no_item(void *cookie, int i, int thread)
{
    (void)cookie, (void)i, (void)thread;
}

static void call_region(void *cookie)
{
    const work *w = cookie;
    zt_parallel_for(w->d, 4 * w->d->threads, no_item, NULL);
}

// What it costs to have the threads do nothing.
static void bench_region(kernels *k)
{
    work w = { .d = k->d };
    char shape[64];
    zt_side side = { .call = call_region, .cookie = &w };
    if (k->b->dtype || (k->b->op && strcmp(k->b->op, "region")) || zt_sides_measure(&side, 1, k->d->threads == 1) < 0)
        return;
    snprintf(shape, sizeof(shape), "%d items", 4 * k->d->threads);
    print_line(k, &(line){ "region", "-", shape, "us", side.ns / 1000, 0, NULL, NULL, 0 });
}

static void bench_scaling(kernels *k, enum zt_type type)
{
    bench_product(k, type, M, 1024, 256);
    bench_linear(k, type, M, 768, 256);
    bench_linear(k, type, M, 1536, 1536);
    bench_moe(k, type, (struct moe_shape){ M, 256, 224, 8, 2, 1 });
    bench_attention(k, type, M, WINDOW, HEADS, 64);
}

static void bench_matrices(kernels *k, enum zt_type type)
{
    static const int rows_of[] = { 64, 144, 256, 576 };
    static const int shapes[][2] = { { 256, 256 }, { 768, 256 }, { 1024, 256 }, { 1536, 1536 }, { 6144, 1536 }, { 1536, 6144 } };    // N, K
    static const struct moe_shape moe[] = {
        { 144, 256, 224, 8, 2, 1 }, { 576, 256, 224, 8, 2, 1 }, { 4680, 256, 224, 8, 2, 1 },
        { 144, 1536, 512, 64, 8, 0 }, { 576, 1536, 512, 64, 8, 0 }, { 4680, 1536, 512, 64, 8, 0 },
        { 144, 1536, 512, 128, 4, 0 }, { 576, 1536, 512, 128, 4, 0 }, { 4680, 1536, 512, 128, 4, 0 },
    };
    for (size_t i = 0; i < ZT_LEN(shapes); i++) {
        const bool slow = type == ZT_F32 && shapes[i][0] * shapes[i][1] > 4 << 20;
        for (size_t j = 0; j < ZT_LEN(rows_of) && !slow; j++) {
            if (type == ZT_I8 || type == ZT_BF16)
                bench_product(k, type, rows_of[j], shapes[i][0], shapes[i][1]);
            bench_linear(k, type, rows_of[j], shapes[i][0], shapes[i][1]);
        }
    }
    for (size_t i = 0; i < ZT_LEN(moe); i++) {
        if (type == ZT_I8 || type == ZT_I4 || moe[i].E == 8)
            bench_moe(k, type, moe[i]);
    }
}

// The 1.3B at 832x480, three latents: what a GPU is for.
static void bench_wan(kernels *k)
{
    static const int shapes[][2] = { { 4608, 1536 }, { 1536, 1536 }, { 8960, 1536 }, { 1536, 8960 } };     // N, K
    const enum zt_type types[] = { ZT_BF16, ZT_I8 };
    for (size_t t = 0; t < ZT_LEN(types); t++) {
        for (size_t i = 0; i < ZT_LEN(shapes); i++)
            bench_linear(k, types[t], 4680, shapes[i][0], shapes[i][1]);
        for (int slots = 3; slots <= 21; slots += slots == 3 ? 3 : slots == 6 ? 6 : 9)     // of 1560 keys: 4680 to 32760
            bench_attention_of(k, types[t], 4680, 1560, slots, 12, 128);
    }
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
    if (k.d->backend && !(k.far = zt_device_alloc(k.d, BYTES)))
        return ZT_EXIT_UNAVAILABLE;
    for (int i = 0; i < ZT_PEAKS; i++)
        k.peak[i] = zt_bench_peak(k.d, (enum zt_peak)i);

    const enum zt_type types[] = { ZT_I8, ZT_I4, ZT_BF16, ZT_F32 };
    for (size_t i = 0; i < ZT_LEN(types); i++)
        bench_matrices(&k, types[i]);
    for (size_t i = 0; i < ZT_LEN(types); i++) {
        if (types[i] == ZT_I4)
            continue;
        bench_attention(&k, types[i], M, WINDOW, HEADS, 64);
        bench_attention(&k, types[i], M, WINDOW, 2 * HEADS, 32);
        bench_attention(&k, types[i], 512, 8, 12, 128);
    }
    for (size_t i = 0; i < ZT_LEN(types); i++) {
        if (types[i] == ZT_I4)
            continue;
        bench_conv(&k, types[i], 18, 32, 64, 64);
        bench_conv(&k, types[i], 72, 128, 32, 32);
    }
    bench_i420(&k, 256, 144);
    if (!k.far)
        bench_region(&k);
    if (!k.far && k.d->threads > 1 && zt_device_open(&k.one, &(zt_device_params){ .device = p.device, .threads = 1 }) == 0) {
        bench_scaling(&k, ZT_I8);
        bench_scaling(&k, ZT_BF16);
        zt_device_close(&k.one);
    }
    if (k.far) {
        bench_wan(&k);
        zt_device_free(k.d, k.far);
    }
    zt_arena_finish(&k.arena);
    if (!k.lines)
        zt_error("--op, --dtype: there is no such measurement");
    return k.lines ? ZT_EXIT_OK : ZT_EXIT_USAGE;
}
