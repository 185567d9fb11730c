// SPDX-License-Identifier: Apache-2.0
// Threads that take the items of one loop at a time from one atomic counter.
//
// A region's number and how many of its items nobody has taken live in one 64-bit word, so taking an
// item proves that its region is the current one: a worker that wakes late finds nothing, and the caller
// waits only for items that were taken. Waiting is a short spin, then a futex.
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "kernels/parallel.h"

#define SPIN_NS (30 * ZT_US)

struct worker {
    struct zt_pool *pool;
    int             thread;
    pthread_t       id;
};

struct zt_pool {
    // Written by the owner between regions; read by whoever took an item.
    zt_parallel_fn *fn;
    void           *cookie;
    int             n;

    _Alignas(64) _Atomic uint64_t work;     // region << 32 | items not taken
    _Alignas(64) _Atomic uint32_t done;     // items finished in this region
    _Atomic uint32_t waiting;               // the owner sleeps on `done`
    _Alignas(64) _Atomic uint32_t bell;     // changes when there is work; workers sleep on it
    _Atomic uint32_t sleepers;
    atomic_bool quit;

    int           workers;                  // fixed while they run
    struct worker worker[];
};

static void futex_wait(_Atomic uint32_t *word, uint32_t seen)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int n)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

static void rest(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

// Runs items until none is left to take.
static void run_items(struct zt_pool *p, int thread)
{
    uint64_t work = atomic_load_explicit(&p->work, memory_order_acquire);
    while ((uint32_t)work > 0) {
        if (!atomic_compare_exchange_weak(&p->work, &work, work - 1))
            continue;
        const uint32_t n = (uint32_t)p->n;      // ours until the item is counted as done
        p->fn(p->cookie, (int)(n - (uint32_t)work), thread);
        if (atomic_fetch_add(&p->done, 1) + 1 == n && atomic_load(&p->waiting))
            futex_wake(&p->done, 1);
        work = atomic_load_explicit(&p->work, memory_order_acquire);
    }
}

// Spins, not for long, while *word == value (or != value); false when that still holds.
static bool spin_while(_Atomic uint32_t *word, uint32_t value, bool equal)
{
    const int64_t until = zt_now() + SPIN_NS;
    do {
        for (int i = 0; i < 16; i++) {
            if ((atomic_load_explicit(word, memory_order_acquire) == value) != equal)
                return true;
            rest();
        }
    } while (zt_now() < until);
    return false;
}

static void *run_worker(void *cookie)
{
    const struct worker *w = cookie;
    struct zt_pool *p = w->pool;
    pthread_setname_np(pthread_self(), "zt-pool");
    for (;;) {
        const uint32_t seen = atomic_load(&p->bell);
        run_items(p, w->thread);
        if (atomic_load(&p->quit))
            return NULL;
        if (spin_while(&p->bell, seen, true))
            continue;
        // The owner rings, then looks for sleepers; we count ourselves, then the kernel looks at the bell.
        atomic_fetch_add(&p->sleepers, 1);
        futex_wait(&p->bell, seen);
        atomic_fetch_sub(&p->sleepers, 1);
    }
}

static void ring(struct zt_pool *p)
{
    atomic_fetch_add(&p->bell, 1);
    if (atomic_load(&p->sleepers))
        futex_wake(&p->bell, p->workers);
}

void zt_parallel_for(zt_device *d, int n, zt_parallel_fn *fn, void *cookie)
{
    struct zt_pool *p = d->pool;
    if (!p || n < 2) {
        for (int i = 0; i < n; i++)
            fn(cookie, i, 0);
        return;
    }
    p->fn = fn;
    p->cookie = cookie;
    p->n = n;
    atomic_store(&p->done, 0);
    atomic_store(&p->waiting, 0);
    const uint64_t region = (atomic_load(&p->work) >> 32) + 1;
    atomic_store(&p->work, region << 32 | (uint32_t)n);
    ring(p);
    run_items(p, 0);

    if (spin_while(&p->done, (uint32_t)n, false))
        return;
    atomic_store(&p->waiting, 1);
    for (uint32_t seen; (seen = atomic_load(&p->done)) != (uint32_t)n;)
        futex_wait(&p->done, seen);
}

// The CPUs of the process, not of the thread that asks.
static int cpu_mask(cpu_set_t *mask)
{
    if (sched_getaffinity(getpid(), sizeof(*mask), mask) == 0 && CPU_COUNT(mask) > 0)
        return CPU_COUNT(mask);
    CPU_ZERO(mask);
    return 0;           // more than CPU_SETSIZE CPUs, or a sandbox
}

int zt_cpu_count(void)
{
    cpu_set_t mask;
    return ZT_MAX(1, cpu_mask(&mask));
}

// Worker `thread` runs on the CPU of that rank when each thread can have one, anywhere in the mask otherwise.
static void place(pthread_attr_t *attr, int thread, int threads)
{
    cpu_set_t mask, one;
    const int cpus = cpu_mask(&mask);
    CPU_ZERO(&one);
    for (int cpu = 0, rank = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &mask) && rank++ == thread)
            CPU_SET(cpu, &one);
    }
    if (cpus > 0)
        pthread_attr_setaffinity_np(attr, sizeof(mask), cpus >= threads ? &one : &mask);
}

static int start(struct worker *w, int threads)
{
    pthread_attr_t attr;
    if (pthread_attr_init(&attr))
        return -ENOMEM;
    place(&attr, w->thread, threads);

    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);    // signals are the program's business
    int err = pthread_create(&w->id, &attr, run_worker, w);
    if (err == EPERM)                               // a sandbox that has no place for anyone
        err = pthread_create(&w->id, NULL, run_worker, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return -err;
}

int zt_pool_create(struct zt_pool **out, int threads)
{
    struct zt_pool *p = zt_alloc(sizeof(*p) + (size_t)(threads - 1) * sizeof(p->worker[0]));
    if (!p)
        return -ENOMEM;
    for (int i = 1; i < threads; i++) {
        struct worker *w = &p->worker[i - 1];
        *w = (struct worker){ .pool = p, .thread = i };
        const int err = start(w, threads);
        if (err < 0) {
            zt_error("thread %d of %d: %s", i, threads, strerror(-err));
            zt_pool_destroy(&p);
            return err;
        }
        p->workers = i;
    }
    *out = p;
    return 0;
}

void zt_pool_destroy(struct zt_pool **pp)
{
    struct zt_pool *p = *pp;
    *pp = NULL;
    if (!p)
        return;
    atomic_store(&p->quit, true);
    ring(p);
    for (int i = 0; i < p->workers; i++)
        pthread_join(p->worker[i].id, NULL);
    zt_free(p);
}
