// SPDX-License-Identifier: Apache-2.0
// Guarded memory, reproducible inputs and comparisons for checkkernel.
#include "tests/checkkernel.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/clock.h"

static void out_of_memory(void)
{
    fputs("checkkernel: no memory\n", stderr);
    exit(2);
}

bool ck_start(ck *c, const char *op, bool differs, const char *fmt, ...)
{
    if (!differs || (c->only && strcmp(c->only, op)))
        return false;
    va_list args;
    va_start(args, fmt);
    vsnprintf(c->name, sizeof(c->name), fmt, args);
    va_end(args);
    snprintf(c->op, sizeof(c->op), "%s", op);

    c->random = c->seed ^ 0xcbf29ce484222325;           // FNV-1a of operation and name
    for (int i = 0; i < 2; i++) {
        for (const char *s = i ? c->name : c->op; *s; s++)
            c->random = (c->random ^ (uint8_t)*s) * 0x100000001b3;
    }
    c->ok = true;
    c->ready = false;
    c->blocks = 0;
    c->run = NULL;
    return true;
}

bool ck_skips(const ck *c, double operations)
{
    return c->most > 0 && operations > c->most;
}

void ck_fail(ck *c, const char *fmt, ...)
{
    c->ok = false;
    if (c->quiet)
        return;
    char text[200];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    printf("FAIL %s %s %s: %s\n", c->level, c->op, c->name, text);
}

// Calls fn for every row of t.
static void each_row(zt_tensor t, void (*fn)(void *cookie, int64_t at), void *cookie)
{
    for (int i = 0; i < t.n[0]; i++) {
        for (int j = 0; j < t.n[1]; j++) {
            for (int k = 0; k < t.n[2]; k++)
                fn(cookie, i * t.step[0] + j * t.step[1] + k * t.step[2]);
        }
    }
}

static void restore_row(void *cookie, int64_t at)
{
    const struct ck_block *b = cookie;
    const size_t bytes = zt_type_bytes(b->written.type);
    char *row = (char *)b->written.data + at * (int64_t)bytes;
    memcpy(row, b->before + (row - b->base), (size_t)b->written.n[3] * bytes);
}

static void verify(ck *c, int i)
{
    struct ck_block *b = &c->block[i];
    const size_t whole = b->bytes + 2 * CK_GUARD;
    if (b->written.data)
        each_row(b->written, restore_row, b);
    for (size_t at = 0; at < whole; at++) {
        if (b->base[at] != b->before[at]) {
            ck_fail(c, "byte %td of %s block %d (%zu bytes) was written", (ptrdiff_t)at - CK_GUARD,
                    b->written.data ? "output" : "input", i, b->bytes);
            return;
        }
    }
}

void ck_end(ck *c)
{
    if (!c->ready)
        ck_fail(c, "the case forgot ck_ready()");
    ck_wait(c);
    for (int i = 0; i < c->blocks; i++) {
        if (c->ready)
            verify(c, i);
        zt_device_free_host(c->dev, c->block[i].base);
        free(c->block[i].before);
    }
    c->blocks = 0;
    c->passed += c->ok;
    c->failed += !c->ok;
}

void *ck_take(ck *c, size_t bytes)
{
    const size_t whole = bytes + 2 * CK_GUARD;
    char *base = zt_device_alloc_host(c->dev, whole);
    if (!base || c->blocks == CK_BLOCKS)
        out_of_memory();
    memset(base, 0xff, whole);
    c->block[c->blocks++] = (struct ck_block){ .base = base, .bytes = bytes };
    return base + CK_GUARD;
}

void ck_writes(ck *c, zt_tensor t)
{
    for (int i = 0; i < c->blocks; i++) {
        if ((char *)t.data == c->block[i].base + CK_GUARD)
            c->block[i].written = t;
    }
}

void ck_ready(ck *c)
{
    for (int i = 0; i < c->blocks; i++) {
        struct ck_block *b = &c->block[i];
        b->before = malloc(b->bytes + 2 * CK_GUARD);
        if (!b->before)
            out_of_memory();
        memcpy(b->before, b->base, b->bytes + 2 * CK_GUARD);
    }
    c->ready = true;
}

// splitmix64
uint64_t ck_random(ck *c)
{
    uint64_t z = c->random += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

int ck_part(ck *c, int left)
{
    const uint64_t r = ck_random(c);
    return ZT_MIN(left, 1 + (int)((r >> 8) % (r & 1 ? 4 : 37)));
}

// Sum of four uniforms: near normal, mean 0, sd 1, |x| < 3.5.
static float normal(ck *c)
{
    const uint64_t r = ck_random(c);
    double sum = 0;
    for (int i = 0; i < 4; i++)
        sum += (double)(r >> 16 * i & 0xffff) / 65536 - 0.5;
    return (float)(sum * 1.7320508);
}

static void store(zt_tensor t, int64_t at, float v)
{
    if (t.type == ZT_F32)
        ((float *)t.data)[at] = v;
    else if (t.type == ZT_BF16)
        ((uint16_t *)t.data)[at] = zt_f32_to_bf16(v);
    else
        ((uint8_t *)t.data)[at] = (uint8_t)(128 + 30 * v);
}

struct fill {
    ck       *c;
    zt_tensor t;
};

static void fill_row(void *cookie, int64_t at)
{
    const struct fill *f = cookie;
    for (int i = 0; i < f->t.n[3]; i++)
        store(f->t, at + i, normal(f->c));
}

// The block ends with the last element: nothing pads the last row.
static zt_tensor take_tensor(ck *c, enum zt_type type, const int n[4], int pad)
{
    zt_tensor t = { NULL, type, { n[0], n[1], n[2], n[3] }, { 0, 0, n[3] + pad, 1 } };
    t.step[1] = t.step[2] * n[2];
    t.step[0] = t.step[1] * n[1];
    t.data = ck_take(c, (size_t)(t.step[0] * n[0] - pad) * zt_type_bytes(type));
    return t;
}

zt_tensor ck_input(ck *c, enum zt_type type, int n0, int n1, int n2, int n3, int pad)
{
    struct fill f = { c, take_tensor(c, type, (int[]){ n0, n1, n2, n3 }, pad) };
    each_row(f.t, fill_row, &f);
    return f.t;
}

ck_buf ck_output(ck *c, enum zt_type type, int n0, int n1, int n2, int n3, int pad)
{
    zt_tensor t[3];
    for (int i = 0; i < 3; i++) {
        t[i] = take_tensor(c, type, (int[]){ n0, n1, n2, n3 }, pad);
        ck_writes(c, t[i]);
    }
    return (ck_buf){ t[0], t[1], t[2] };
}

ck_buf ck_inout(ck *c, enum zt_type type, int n0, int n1, int n2, int n3, int pad)
{
    const ck_buf b = ck_output(c, type, n0, n1, n2, n3, pad);
    const zt_tensor t[3] = { b.ref, b.now, b.again };
    const uint64_t random = c->random;
    for (int i = 0; i < 3; i++) {
        struct fill f = { c, t[i] };
        c->random = random;             // the same in each
        each_row(t[i], fill_row, &f);
    }
    return b;
}

float *ck_floats(ck *c, int n, float mean, float sd)
{
    float *v = ck_take(c, (size_t)n * sizeof(*v));
    for (int i = 0; i < n; i++)
        v[i] = mean + sd * normal(c);
    return v;
}

int32_t *ck_ints(ck *c, int n, int below)
{
    int32_t *v = ck_take(c, (size_t)n * sizeof(*v));
    for (int i = 0; i < n; i++)
        v[i] = (int32_t)(ck_random(c) % (uint64_t)below);
    return v;
}

zt_tensor ck_input_i8(ck *c, int M, int K, int pad)
{
    const zt_tensor t = take_tensor(c, ZT_F32, (int[]){ 1, 1, M, K }, pad);
    for (int m = 0; m < M; m++) {
        float *row = zt_f32(t) + m * t.step[2];
        const float s = 0.01f + 0.001f * (float)(ck_random(c) % 100);
        for (int k = 0; k < K; k++) {
            const int q = (int)(ck_random(c) % 253) - 126;
            const float off = (float)(ck_random(c) % 800) / 1000 - 0.4f;    // ties are at 0.5
            row[k] = m == 1 && M >= 3 ? 0 : s * ((float)q + off);
        }
        if (m != 1 || M < 3)
            row[ck_random(c) % (uint64_t)K] = ck_random(c) & 1 ? 127 * s : -127 * s;
    }
    return t;
}

// Factors of I4: those of rows beyond N are zero.
static const uint8_t *factors(ck *c, int N, int K)
{
    const size_t G = ((size_t)K + ZT_GROUP - 1) / ZT_GROUP;
    uint8_t *factor = ck_take(c, zt_factor_bytes(N, K)), *src = malloc((size_t)N * G);
    if (!src)
        out_of_memory();
    for (size_t i = 0; i < (size_t)N * G; i++)
        src[i] = (uint8_t)(ck_random(c) % 16);
    memset(factor, 0, zt_factor_bytes(N, K));
    zt_factor_pack(factor, N, K, src, N, 0, 1);
    free(src);
    return factor;
}

void ck_weights(ck *c, enum zt_type type, void *src, size_t n, float sd)
{
    for (size_t i = 0; i < n; i++) {
        if (type == ZT_I8 || type == ZT_I4)
            ((int8_t *)src)[i] = (int8_t)(type == ZT_I8 ? (int)(ck_random(c) % 255) - 127 : (int)(ck_random(c) % 16) - 8);
        else
            ((float *)src)[i] = sd * normal(c);
    }
}

zt_matrix ck_matrix(ck *c, enum zt_type type, int N, int K, bool bias)
{
    const int N16 = (int)zt_round_up(N, 16);
    const bool integer = type == ZT_I8 || type == ZT_I4;
    void *data = ck_take(c, zt_matrix_bytes(type, N, K));
    float *scale = integer ? ck_floats(c, N16, 0.01f, 0.002f) : NULL;
    float *b = bias ? ck_floats(c, N16, 0, 1) : NULL;
    for (int n = N; n < N16; n++) {
        if (scale)
            scale[n] = 0;
        if (b)
            b[n] = 0;
    }

    const size_t count = (size_t)N * (size_t)K;
    float *src = malloc(count * sizeof(*src));
    if (!src)
        out_of_memory();
    ck_weights(c, type, src, count, 1 / sqrtf((float)K));
    zt_matrix_clear(data, type, N, K);
    zt_matrix_pack(data, type, N, K, src, integer ? ZT_I8 : ZT_F32, N, 0, 1);
    free(src);
    return (zt_matrix){ type, N, K, data, scale, b, type == ZT_I4 ? factors(c, N, K) : NULL };
}

const char *ck_type(enum zt_type type)
{
    return type == ZT_F32 ? "f32" : type == ZT_BF16 ? "bf16" : type == ZT_I8 ? "i8" : "i4";
}

static double value(zt_tensor t, int64_t at)
{
    switch (t.type) {
    case ZT_F32:  return ((const float *)t.data)[at];
    case ZT_BF16: return zt_bf16_to_f32(((const uint16_t *)t.data)[at]);
    case ZT_I32:  return ((const int32_t *)t.data)[at];
    default:      return ((const uint8_t *)t.data)[at];
    }
}

struct comparison {
    zt_tensor a, b;             // of one shape
    double    error, energy, worst;
    int64_t   at;               // of the worst; -1: none
    int64_t   different;
};

static bool same_bits(zt_tensor a, zt_tensor b, int64_t at)
{
    const size_t bytes = zt_type_bytes(a.type);
    return !memcmp((char *)a.data + at * (int64_t)bytes, (char *)b.data + at * (int64_t)bytes, bytes);
}

static void compare_row(void *cookie, int64_t at)
{
    struct comparison *p = cookie;
    for (int64_t i = at; i < at + p->a.n[3]; i++) {
        if (same_bits(p->a, p->b, i)) {             // also what neither has written
            const double v = value(p->a, i);
            p->energy += isnan(v) ? 0 : v * v;
            continue;
        }
        const double a = value(p->a, i), b = value(p->b, i);
        const double e = isfinite(a) && isfinite(b) ? (b - a) * (b - a) : INFINITY;
        p->different++;
        p->error += e;
        p->energy += isfinite(a) ? a * a : 0;
        if (e > p->worst || p->at < 0) {
            p->worst = e;
            p->at = i;
        }
    }
}

static struct comparison compare(zt_tensor a, zt_tensor b)
{
    struct comparison p = { .a = a, .b = b, .at = -1 };
    each_row(a, compare_row, &p);
    return p;
}

void ck_wait(ck *c)
{
    if (zt_device_sync(c->dev) < 0 || zt_device_sync(c->one) < 0)
        ck_fail(c, "the device failed");
}

void ck_compare(ck *c, const ck_buf *b, double limit)
{
    ck_wait(c);
    const struct comparison p = compare(b->ref, b->now);
    if (p.error > limit * p.energy)
        ck_fail(c, "error %.2e, limit %.2e; worst at %lld: %.9g, not %.9g",
                p.error / p.energy, limit, (long long)p.at, value(p.b, p.at), value(p.a, p.at));
}

static void expect_bits(ck *c, zt_tensor a, zt_tensor b, const char *what)
{
    ck_wait(c);
    const struct comparison p = compare(a, b);
    if (p.different)
        ck_fail(c, "%s: %lld elements differ; worst at %lld: %.9g, not %.9g", what,
                (long long)p.different, (long long)p.at, value(b, p.at), value(a, p.at));
}

void ck_exact(ck *c, const ck_buf *b)
{
    expect_bits(c, b->ref, b->now, "not the reference's bits");
}

void ck_same(ck *c, const ck_buf *b)
{
    expect_bits(c, b->now, b->again, "not batch-invariant");
}

static int by_time(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

bool ck_bench(ck *c, double operations, double bytes)
{
    if (!c->bench || !c->ok || c->dev->backend)        // a GPU reaches this memory over the bus
        return false;
    const int64_t now = zt_now();
    if (!c->run) {
        c->run = c->one;
        c->samples = -2;                // two calls to warm up
        c->started = zt_now();
        return true;
    }
    if (c->samples >= 0)
        c->sample[c->samples] = now - c->started;
    c->samples++;
    int64_t total = 0;
    for (int i = 0; i < c->samples; i++)
        total += c->sample[i];
    if (c->samples < CK_SAMPLES && (c->samples < 9 || total < 40 * ZT_MS)) {
        c->started = zt_now();
        return true;
    }

    qsort(c->sample, (size_t)c->samples, sizeof(c->sample[0]), by_time);
    const double ns = (double)c->sample[c->samples / 2];
    printf("%-6s %-11s %-36s %d thread%s %9.1f us %8.1f GOP/s %7.1f GB/s\n", c->level, c->op, c->name,
           c->run->threads, c->run->threads > 1 ? "s" : " ", ns / 1e3, operations / ns, bytes / ns);
    if (c->run == c->dev)
        return false;
    c->run = c->dev;
    c->samples = -2;
    c->started = zt_now();
    return true;
}
