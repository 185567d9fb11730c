// SPDX-License-Identifier: Apache-2.0
// Opens a place to compute: picks its kernels, starts its threads, hands out its memory.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/live.h"
#include "base/log.h"
#include "kernels/backend.h"
#include "kernels/parallel.h"

enum { THREADS_MAX = 256, KEPT = 64 << 10 };        // KEPT: bytes, smaller pieces are not locked

// What was asked for, else the environment, else `otherwise`.
static const char *choose(const char *asked, const char *variable, const char *otherwise)
{
    if (asked && *asked)
        return asked;
    const char *set = getenv(variable);
    return set && *set ? set : otherwise;
}

// What auto has found, and what it does about it.
static void explain_auto(void)
{
    char why[256];
    const zt_backend *const b = zt_backend_find(why, sizeof(why));
    if (b && b->count(why, sizeof(why)) > 0)
        zt_info("device auto: the CPU; there is a GPU, but these CUDA kernels have not been run on one: --device cuda tries it");
    else
        zt_info("device auto: the CPU; no GPU: %s", why);
}

static int open_gpu(zt_device *d, uint32_t *have)
{
    char why[256];
    const zt_backend *const b = zt_backend_find(why, sizeof(why));
    const int err = b ? b->open(&d->queue, 0, have, why, sizeof(why)) : -ENODEV;
    if (err < 0) {
        zt_error("device cuda: %s", why);
        return err;
    }
    d->space = ZT_CUDA;
    d->backend = b;
    return 0;
}

// Fills d->space, and the device's features.
static int find_space(zt_device *d, const char *name, uint32_t *have)
{
    *have = zt_cpu_features();
    d->space = ZT_HOST;
    if (!strcmp(name, "cuda"))
        return open_gpu(d, have);
    if (!strcmp(name, "auto")) {
        explain_auto();
        return 0;
    }
    if (!strcmp(name, "cpu"))
        return 0;
    zt_error("device '%s' is unknown: cpu, cuda or auto", name);
    return -EINVAL;
}

// Fills d->k and d->level when `last` is the highest level allowed.
static int find_level(zt_device *d, uint32_t have, const char *last)
{
    const struct zt_kernel_level *const levels = d->backend ? d->backend->levels : zt_levels;
    // Beyond the plain level of a GPU only what is asked for: it has not been run on one.
    const char *const asked = last;
    if (d->backend && !last)
        last = levels[0].name;
    bool known = !asked;
    for (const struct zt_kernel_level *l = levels; l->name; l++) {
        if (l->space != d->space)
            continue;
        if (!(l->need & ~have))
            d->level = l->name;
        known |= asked && !strcmp(l->name, asked);
        if (zt_level_is_last(l, last))
            break;
    }
    if (!known) {
        zt_error("kernel level '%s' is unknown in this build", asked);
        return -EINVAL;
    }
    zt_kernels_select(&d->k, levels, d->space, have, last);
    return 0;
}

// The level asked for. What the environment says of a GPU's levels is nothing to the CPU beside it.
static const char *choose_level(const zt_device *d, const char *asked)
{
    const char *const last = choose(asked, "ZOETROPE_KERNELS", NULL);
    const bool of_gpu = last && (!strcmp(last, "cuda") || !strcmp(last, "sm90"));
    return of_gpu && !d->backend && last != asked ? NULL : last;
}

// Like the device, but for its threads and its scratch.
static int make_alone(zt_device *d)
{
    zt_device *const alone = zt_alloc((size_t)d->threads * sizeof(*alone));
    if (!alone)
        return -ENOMEM;
    for (int i = 0; i < d->threads; i++) {
        alone[i] = *d;
        alone[i].threads = 1;
    }
    d->alone = alone;
    return 0;
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

    uint32_t have = 0;
    int err = find_space(d, choose(p->device, "ZOETROPE_DEVICE", "auto"), &have);
    if (err < 0)
        goto out;
    d->features = have;
    err = find_level(d, have, choose_level(d, p->level));
    if (err < 0)
        goto out;

    d->threads = p->threads ? p->threads : ZT_MIN(zt_cpu_count(), THREADS_MAX);
    d->keeping = p->keep;
    d->realtime = p->realtime && zt_thread_may_be_first();
    if (p->realtime && !d->realtime)
        zt_warn("threads may not run before others here: that takes CAP_SYS_NICE, or a limit of real-time priorities of 2");
    if (d->threads > 1 && !d->backend)
        err = make_alone(d);
    if (!err && d->threads > 1)
        err = zt_pool_create(&d->pool, d->threads, d->realtime);
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
    if (d->backend) {
        d->backend->free(d->queue, d->scratch);
        d->backend->close(d->queue);
        d->scratch = NULL;
    }
    for (int i = 0; i < d->threads && d->alone; i++) {
        zt_free(d->alone[i].scratch);
        zt_free(d->alone[i].each);
    }
    zt_free(d->alone);
    zt_free(d->scratch);
    zt_free(d->each);
    zt_free(d);
}

// Once it is not allowed, no more is asked for: what is locked stays so.
static void *keep(zt_device *d, void *p, size_t bytes)
{
    if (!p || bytes < KEPT || !__atomic_load_n(&d->keeping, __ATOMIC_RELAXED))
        return p;
    const int err = zt_memory_keep(p, bytes);
    if (err < 0 && __atomic_exchange_n(&d->keeping, 0, __ATOMIC_RELAXED))
        zt_info("not all memory is locked: %s (that takes CAP_IPC_LOCK, or a larger limit of locked memory)", strerror(-err));
    return p;
}

void *zt_device_alloc_raw(zt_device *d, size_t bytes)
{
    return d->backend ? d->backend->alloc(d->queue, bytes) : keep(d, zt_alloc_raw(bytes), bytes);
}

void *zt_device_alloc(zt_device *d, size_t bytes)
{
    return d->backend ? d->backend->alloc(d->queue, bytes) : keep(d, zt_alloc(bytes), bytes);
}

void zt_device_free(zt_device *d, void *p)
{
    if (d->backend)
        d->backend->free(d->queue, p);
    else
        zt_free(p);
}

void *zt_device_alloc_host(zt_device *d, size_t bytes)
{
    return d->backend ? d->backend->alloc_host(d->queue, bytes) : zt_alloc(bytes);
}

void zt_device_free_host(zt_device *d, void *p)
{
    if (d->backend)
        d->backend->free_host(d->queue, p);
    else
        zt_free(p);
}

void zt_device_copy(zt_device *d, void *to, const void *from, size_t bytes)
{
    if (!d->backend) {
        memmove(to, from, bytes);
        return;
    }
    const int err = d->backend->copy(d->queue, to, from, bytes);
    d->error = d->error ? d->error : err;
}

void zt_device_copy_rows(zt_device *d, void *to, size_t to_step, const void *from, size_t from_step, size_t bytes, size_t rows)
{
    if (d->backend) {
        const int err = d->backend->copy_rows(d->queue, to, to_step, from, from_step, bytes, rows);
        d->error = d->error ? d->error : err;
        return;
    }
    for (size_t i = 0; i < rows; i++)
        memcpy((char *)to + i * to_step, (const char *)from + i * from_step, bytes);
}

void zt_device_clear(zt_device *d, void *p, size_t bytes)
{
    if (!d->backend) {
        memset(p, 0, bytes);
        return;
    }
    const int err = d->backend->clear(d->queue, p, bytes);
    d->error = d->error ? d->error : err;
}

void zt_device_wait(zt_device *d)
{
    const int err = d->backend ? d->backend->sync(d->queue) : 0;
    d->error = d->error ? d->error : err;
}

int zt_device_sync(zt_device *d)
{
    const int late = d->backend ? d->backend->sync(d->queue) : 0;
    const int err = d->error ? d->error : late;
    d->error = 0;
    return err;
}

// At least `bytes` at *p, whose content is lost when it grows.
static void *grow(zt_device *d, void **p, size_t *have, size_t bytes)
{
    if (bytes <= *have)
        return *p;
    zt_device_free(d, *p);
    *p = zt_device_alloc(d, bytes);
    *have = *p ? bytes : 0;
    if (!*p) {
        zt_error("kernels: no memory for %zu bytes", bytes);
        d->error = d->error ? d->error : -ENOMEM;
    }
    return *p;
}

void *zt_scratch(zt_device *d, size_t bytes)
{
    return grow(d, &d->scratch, &d->scratch_bytes, bytes);
}

char *zt_scratch_each(zt_device *d, size_t bytes, size_t *step)
{
    *step = (ZT_MAX(bytes, d->each_bytes / (size_t)d->threads) + 63) / 64 * 64;
    return grow(d, &d->each, &d->each_bytes, *step * (size_t)d->threads);
}

struct alone {
    zt_device   *d;
    zt_alone_fn *fn;
    void        *cookie;
};

static void run_alone(void *cookie, int i, int thread)
{
    const struct alone *const a = cookie;
    a->fn(a->cookie, i, a->d->alone ? &a->d->alone[thread] : a->d);
}

void zt_parallel_alone(zt_device *d, int n, zt_alone_fn *fn, void *cookie)
{
    for (int i = 0; i < d->threads && d->alone; i++)
        d->alone[i].k = d->k;
    zt_parallel_for(d, n, run_alone, &(struct alone){ d, fn, cookie });
    for (int i = 0; i < d->threads && d->alone; i++) {
        d->error = d->error ? d->error : d->alone[i].error;
        d->alone[i].error = 0;
    }
}
