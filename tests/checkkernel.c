// SPDX-License-Identifier: Apache-2.0
// Checks every variant of every kernel against its reference, level by level; --bench times them too.
#include "tests/checkkernel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "kernels/backend.h"

static void (*const checks[])(ck *c) = {
    check_linear, check_moe, check_norm, check_attention, check_conv, check_history, check_pixel, check_sample,
};

static const char usage[] =
    "usage: checkkernel [--device cpu|cuda] [--bench] [--op NAME] [--level NAME] [--most OPERATIONS] [--seed N]\n";

static bool parse(ck *c, const char **level, const char **device, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--bench"))
            c->bench = true;
        else if (!strcmp(argv[i], "--op") && i + 1 < argc)
            c->only = argv[++i];
        else if (!strcmp(argv[i], "--level") && i + 1 < argc)
            *level = argv[++i];
        else if (!strcmp(argv[i], "--device") && i + 1 < argc)
            *device = argv[++i];
        else if (!strcmp(argv[i], "--most") && i + 1 < argc)
            c->most = strtod(argv[++i], NULL);
        else if (!strcmp(argv[i], "--seed") && i + 1 < argc)
            c->seed = strtoull(argv[++i], NULL, 0);
        else
            return false;
    }
    return true;
}

static bool known_op(const char *name)
{
#define X(op) if (!strcmp(name, #op)) return true;
    ZT_OPS(X)
#undef X
    return false;
}

// Checks what level l does otherwise than the levels below it, unless only another level is asked for.
// False when it cannot run here.
static bool check_level(ck *c, const struct zt_kernel_level *levels, const struct zt_kernel_level *l, uint32_t have, const char *only)
{
    if (l->need & ~have) {
        printf("%s: skipped, not on this %s\n", l->name, l->space == ZT_HOST ? "CPU" : "GPU");
        return false;
    }
    c->level = l->name;
    c->before = c->now;
    zt_kernels_select(&c->now, levels, l->space, have, l->name);
    if (only && strcmp(only, l->name))
        return true;
    c->dev->k = c->one->k = c->now;
    for (size_t i = 0; i < ZT_LEN(checks); i++)
        checks[i](c);
    return true;
}

static const struct zt_kernel_level *levels_of(const zt_device *d)
{
    return d->backend ? d->backend->levels : zt_levels;
}

static bool known_level(const struct zt_kernel_level *l, const char *level)
{
    for (; l->name; l++) {
        if (!level || !strcmp(l->name, level))
            return true;
    }
    return false;
}

static int open_devices(ck *c, const char *device)
{
    if (zt_device_open(&c->dev, &(zt_device_params){ .device = device, .threads = 2 }) < 0
        || zt_device_open(&c->one, &(zt_device_params){ .device = device, .threads = 1 }) < 0)
        return 2;
    c->host = c->one;
    if (!c->dev->backend)
        return 0;
    printf("%s\n", c->dev->backend->name(c->dev->queue));
    return zt_device_open(&c->host, &(zt_device_params){ .device = "cpu", .level = "c", .threads = 1 }) < 0 ? 2 : 0;
}

static void close_devices(ck *c)
{
    if (c->host != c->one)
        zt_device_close(&c->host);
    zt_device_close(&c->one);
    zt_device_close(&c->dev);
}

int main(int argc, char **argv)
{
    static ck c = { .seed = 1 };
    const char *level = NULL, *device = "cpu";
    if (!parse(&c, &level, &device, argc, argv) || (c.only && !known_op(c.only))) {
        fputs(usage, stderr);
        return 2;
    }
    if (open_devices(&c, device) || !known_level(levels_of(c.dev), level)) {
        fputs(usage, stderr);
        return 2;
    }
    zt_kernels_select(&c.ref, zt_levels, ZT_HOST, 0, "c");
    const struct zt_kernel_level *const levels = levels_of(c.dev);
    const uint32_t have = c.dev->backend ? c.dev->features : zt_cpu_features();
    if (c.dev->space == ZT_HOST)
        c.now = c.ref;
    for (const struct zt_kernel_level *l = levels; l->name; l++) {
        const bool reference = l->space == ZT_HOST && !l->need;
        if (!reference && !check_level(&c, levels, l, have, level))
            break;
    }
    close_devices(&c);
    printf("%d passed, %d failed (seed %llu)\n", c.passed, c.failed, (unsigned long long)c.seed);
    return c.failed > 0 || !c.passed;
}
