// SPDX-License-Identifier: Apache-2.0
// Opens a place to compute: picks its kernels, starts its threads, hands out its memory.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "kernels/parallel.h"

enum { THREADS_MAX = 256 };

// What was asked for, else the environment, else `otherwise`.
static const char *choose(const char *asked, const char *variable, const char *otherwise)
{
    if (asked && *asked)
        return asked;
    const char *set = getenv(variable);
    return set && *set ? set : otherwise;
}

static int find_space(const char *name, enum zt_space *space)
{
    if (!strcmp(name, "cpu") || !strcmp(name, "auto")) {
        *space = ZT_HOST;
        return 0;
    }
    if (!strcmp(name, "cuda")) {
        zt_error("device cuda: no CUDA backend in this build");
        return -ENODEV;
    }
    zt_error("device '%s' is unknown: cpu, cuda or auto", name);
    return -EINVAL;
}

// The name of the last level in use when `last` is the highest allowed.
static int find_level(enum zt_space space, uint32_t have, const char *last, const char **name)
{
    bool known = !last;
    for (const struct zt_kernel_level *l = zt_levels; l->name; l++) {
        if (l->space != space)
            continue;
        if (!(l->need & ~have))
            *name = l->name;
        known |= last && !strcmp(l->name, last);
        if (zt_level_is_last(l, last))
            break;
    }
    if (known)
        return 0;
    zt_error("kernel level '%s' is unknown in this build", last);
    return -EINVAL;
}

int zt_device_open(zt_device **out, const zt_device_params *p)
{
    const zt_device_params zero = { 0 };
    if (!p)
        p = &zero;
    if (p->threads < 0 || p->threads > THREADS_MAX) {
        zt_error("%d threads: 1 to %d", p->threads, THREADS_MAX);
        return -EINVAL;
    }
    zt_device *d = zt_alloc(sizeof(*d));
    if (!d)
        return -ENOMEM;

    const uint32_t have = zt_cpu_features();
    const char *last = choose(p->level, "ZOETROPE_KERNELS", NULL);
    int err = find_space(choose(p->device, "ZOETROPE_DEVICE", "auto"), &d->space);
    if (err < 0)
        goto out;
    err = find_level(d->space, have, last, &d->level);
    if (err < 0)
        goto out;
    zt_kernels_select(&d->k, zt_levels, d->space, have, last);

    d->threads = p->threads ? p->threads : ZT_MIN(zt_cpu_count(), THREADS_MAX);
    if (d->threads > 1)
        err = zt_pool_create(&d->pool, d->threads);
out:
    if (err < 0)
        zt_device_close(&d);
    else
        *out = d;
    return err;
}

void zt_device_close(zt_device **dp)
{
    zt_device *d = *dp;
    *dp = NULL;
    if (!d)
        return;
    zt_pool_destroy(&d->pool);
    zt_free(d->scratch);
    zt_free(d);
}

void *zt_device_alloc_raw(zt_device *d, size_t bytes)
{
    (void)d;
    return zt_alloc_raw(bytes);
}

void *zt_device_alloc(zt_device *d, size_t bytes)
{
    (void)d;
    return zt_alloc(bytes);
}

void zt_device_free(zt_device *d, void *p)
{
    (void)d;
    zt_free(p);
}

int zt_device_sync(zt_device *d)
{
    const int err = d->error;
    d->error = 0;
    return err;
}

void *zt_scratch(zt_device *d, size_t bytes)
{
    if (bytes <= d->scratch_bytes)
        return d->scratch;
    zt_free(d->scratch);
    d->scratch = zt_alloc(bytes);
    d->scratch_bytes = d->scratch ? bytes : 0;
    if (!d->scratch) {
        zt_error("kernels: no memory for %zu bytes", bytes);
        d->error = d->error ? d->error : -ENOMEM;
    }
    return d->scratch;
}
