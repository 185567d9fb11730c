// SPDX-License-Identifier: Apache-2.0
// Checks every variant of every kernel against its reference, level by level; --bench times them too.
#include "tests/checkkernel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

static void (*const checks[])(ck *c) = {
    check_linear, check_moe, check_norm, check_attention, check_conv, check_history, check_pixel, check_sample,
};

static const char usage[] =
    "usage: checkkernel [--bench] [--op NAME] [--level NAME] [--seed N]\n";

static bool parse(ck *c, const char **level, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--bench"))
            c->bench = true;
        else if (!strcmp(argv[i], "--op") && i + 1 < argc)
            c->only = argv[++i];
        else if (!strcmp(argv[i], "--level") && i + 1 < argc)
            *level = argv[++i];
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
static bool check_level(ck *c, const struct zt_kernel_level *l, const char *only)
{
    const uint32_t have = zt_cpu_features();
    if (l->need & ~have) {
        printf("%s: skipped, not on this CPU\n", l->name);
        return false;
    }
    c->level = l->name;
    c->before = c->now;
    zt_kernels_select(&c->now, zt_levels, l->space, have, l->name);
    if (only && strcmp(only, l->name))
        return true;
    c->dev->k = c->one->k = c->now;
    for (size_t i = 0; i < ZT_LEN(checks); i++)
        checks[i](c);
    return true;
}

static bool known_level(const char *name)
{
    for (const struct zt_kernel_level *l = zt_levels; l->name; l++) {
        if (!strcmp(l->name, name))
            return true;
    }
    return false;
}

int main(int argc, char **argv)
{
    static ck c = { .seed = 1 };
    const char *level = NULL;
    if (!parse(&c, &level, argc, argv) || (c.only && !known_op(c.only)) || (level && !known_level(level))) {
        fputs(usage, stderr);
        return 2;
    }
    if (zt_device_open(&c.dev, &(zt_device_params){ .device = "cpu", .threads = 2 }) < 0
        || zt_device_open(&c.one, &(zt_device_params){ .device = "cpu", .threads = 1 }) < 0)
        return 2;

    zt_kernels_select(&c.ref, zt_levels, ZT_HOST, 0, "c");
    c.now = c.ref;
    for (const struct zt_kernel_level *l = zt_levels; l->name; l++) {
        if (l->space == ZT_HOST && l->need && !check_level(&c, l, level))
            break;
    }
    zt_device_close(&c.one);
    zt_device_close(&c.dev);
    printf("%d passed, %d failed (seed %llu)\n", c.passed, c.failed, (unsigned long long)c.seed);
    return c.failed > 0;
}
