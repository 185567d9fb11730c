// SPDX-License-Identifier: Apache-2.0
// Threads that run the items of one loop: each its own share of them, in order, then what others have left.
//
// A thread's share is the same part of every loop, so that rows which one region leaves in a core's cache are met there
// by the next. A share lies in one 64-bit word: the region's number, the first and the end of the items that nobody has
// taken. Taking an item, from the front by the share's own thread and from the end by others, proves that its region is
// the current one: a worker that wakes late finds nothing, and the caller waits only for items that were taken. Waiting
// is a short spin, then a futex.
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
#include "base/live.h"
#include "base/log.h"
#include "kernels/parallel.h"

#define SPIN_NS (30 * ZT_US)

enum { TAKES_MAX = 0xffff };            // of a region

// A thread, and what is left of its share: region << 32 | first << 16 | end. The first is the caller's own.
struct worker {
    _Alignas(64) _Atomic uint64_t share;
    struct zt_pool *pool;
    int             thread;
    pthread_t       id;
};

struct zt_pool {
    // Written by the owner between regions; read by whoever took an item.
    _Alignas(64) zt_parallel_fn *fn;
    void           *cookie;
    int             n, grain, takes;        // items; of a take; takes
    uint32_t        region;
    _Atomic uint32_t bell;                  // changes when there is work; workers sleep on it

    _Alignas(64) _Atomic uint32_t done;     // takes finished in this region
    _Atomic uint32_t waiting;               // the owner sleeps on `done`
    _Alignas(64) _Atomic uint32_t sleepers;
    atomic_bool quit;

    int           threads, started;         // the caller among them
    int           home;                     // the CPU that is left to the caller; -1: any
    bool          realtime;
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

// A take of that share, or -1. Its region cannot end before it is counted as done.
static int take(_Atomic uint64_t *share, bool own)
{
    uint64_t left = atomic_load_explicit(share, memory_order_acquire);
    for (;;) {
        const uint32_t first = (uint32_t)left >> 16, end = (uint32_t)left & TAKES_MAX;
        if (first == end)
            return -1;
        if (atomic_compare_exchange_weak(share, &left, own ? left + (1 << 16) : left - 1))
            return (int)(own ? first : end - 1);
    }
}

// Takes from its own share, then from those after it; returns how many.
static uint32_t run_shares(struct zt_pool *p, int thread)
{
    uint32_t count = 0;
    for (int i = 0; i < p->threads; i++) {
        const int from = (thread + i) % p->threads;
        for (int at; (at = take(&p->worker[from].share, i == 0)) >= 0; count++) {
            const int end = ZT_MIN((at + 1) * p->grain, p->n);
            for (int j = at * p->grain; j < end; j++)
                p->fn(p->cookie, j, thread);
        }
    }
    return count;
}

// Runs items until none is left to take.
static void run_items(struct zt_pool *p, int thread)
{
    const uint32_t count = run_shares(p, thread);
    if (!count)
        return;
    const uint32_t all = (uint32_t)p->takes;        // before the region may end
    if (atomic_fetch_add(&p->done, count) + count == all && atomic_load(&p->waiting))
        futex_wake(&p->done, 1);
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
    if (p->realtime)
        zt_thread_first(0);
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
        futex_wake(&p->bell, p->threads - 1);
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

// The CPU of that rank, when each thread can have one; otherwise -1.
static int cpu_of(int thread, int threads)
{
    cpu_set_t mask;
    if (cpu_mask(&mask) < threads)
        return -1;
    for (int cpu = 0, rank = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &mask) && rank++ == thread)
            return cpu;
    }
    return -1;
}

// Worker `thread` runs on its CPU, or anywhere in the process's mask.
static void place(pthread_attr_t *attr, int thread, int threads)
{
    cpu_set_t mask;
    const int cpu = cpu_of(thread, threads);
    if (cpu >= 0) {
        CPU_ZERO(&mask);
        CPU_SET(cpu, &mask);
    }
    if (cpu >= 0 || cpu_mask(&mask) > 0)
        pthread_attr_setaffinity_np(attr, sizeof(mask), &mask);
}

// The caller does not share a worker's CPU: it is moved off, not bound, and the kernel may move it again. Where its own
// mask says otherwise it stays.
static void go_home(struct zt_pool *p)
{
    cpu_set_t own, home;
    if (p->home < 0 || sched_getcpu() == p->home)
        return;
    CPU_ZERO(&home);
    CPU_SET(p->home, &home);
    if (sched_getaffinity(0, sizeof(own), &own) || !CPU_ISSET(p->home, &own) ||
        sched_setaffinity(0, sizeof(home), &home) || sched_setaffinity(0, sizeof(own), &own))
        p->home = -1;
}

void zt_parallel_for(zt_device *d, int n, zt_parallel_fn *fn, void *cookie)
{
    struct zt_pool *p = d->pool;
    if (!p || n < 2) {
        for (int i = 0; i < n; i++)
            fn(cookie, i, 0);
        return;
    }
    go_home(p);
    p->fn = fn;
    p->cookie = cookie;
    p->n = n;
    p->grain = (n + TAKES_MAX - 1) / TAKES_MAX;
    p->takes = (n + p->grain - 1) / p->grain;
    p->region++;
    atomic_store(&p->done, 0);
    atomic_store(&p->waiting, 0);
    for (int i = 0; i < p->threads; i++) {
        const uint64_t first = (uint64_t)p->takes * (uint64_t)i / (uint64_t)p->threads;
        const uint64_t end = (uint64_t)p->takes * (uint64_t)(i + 1) / (uint64_t)p->threads;
        atomic_store(&p->worker[i].share, (uint64_t)p->region << 32 | first << 16 | end);
    }
    ring(p);
    run_items(p, 0);

    const uint32_t takes = (uint32_t)p->takes;
    if (spin_while(&p->done, takes, false))
        return;
    atomic_store(&p->waiting, 1);
    for (uint32_t seen; (seen = atomic_load(&p->done)) != takes;)
        futex_wait(&p->done, seen);
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

int zt_pool_create(struct zt_pool **out, int threads, bool realtime)
{
    struct zt_pool *p = zt_alloc(sizeof(*p) + (size_t)threads * sizeof(p->worker[0]));
    if (!p)
        return -ENOMEM;
    p->threads = threads;
    p->realtime = realtime;
    p->started = 1;
    p->home = cpu_of(0, threads);
    for (int i = 1; i < threads; i++) {
        struct worker *w = &p->worker[i];
        w->pool = p;
        w->thread = i;
        const int err = start(w, threads);
        if (err < 0) {
            zt_error("thread %d of %d: %s", i, threads, strerror(-err));
            zt_pool_destroy(&p);
            return err;
        }
        p->started = i + 1;
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
    for (int i = 1; i < p->started; i++)
        pthread_join(p->worker[i].id, NULL);
    zt_free(p);
}
