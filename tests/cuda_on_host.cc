// SPDX-License-Identifier: Apache-2.0
// Runs a grid of CUDA threads as fibers of one thread of the CPU: see cuda_on_host.h.
#include "tests/cuda_on_host.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "kernels/cuda.cuh"

enum { THREADS = 1024, STACK = 128 << 10, SHARED = 228 << 10, ZONE = 256, WARPS = THREADS / 32 };

// A place where `all` meet: as many generations as it has been passed.
struct meeting {
    int arrived, all;
    unsigned generation;
};

struct fiber : zt_host_thread {
    jmp_buf    at;
    ucontext_t start;
    bool       begun, done;
    int        warp;
};

static struct {
    fiber          fibers[THREADS];
    int            order[THREADS], place[THREADS];  // fiber of a place; place of a fiber
    int            n, left;
    char          *stacks;
    jmp_buf        end;
    ucontext_t     out;
    zt_host_body  *body;
    const void    *closure;
    const char    *name;
    meeting        all, warps[WARPS];
    long           idle;                            // switches since anything moved
    void          *brought[WARPS][32];
    size_t         shared;
    zt_host_order  how;
    uint32_t       random;
} host;

alignas(1024) static unsigned char shared_memory[SHARED + ZONE];

zt_host_thread *zt_host_now;
void (*zt_host_keep)(const zt_host_work *w);

void zt_host_set_order(zt_host_order order)
{
    host.how = order;
    host.random = 1;
}

static void give_up(const char *what)
{
    fprintf(stderr, "cuda on host: %s: %s\n", host.name, what);
    abort();
}

static fiber *current()
{
    return (fiber *)zt_host_now;
}

static void enter(fiber *f);

// Who waits there waits for the others only.
static void leave(meeting *m)
{
    if (--m->all > 0 && m->arrived == m->all) {
        m->arrived = 0;
        m->generation++;
    }
}

static void run_fiber()
{
    host.body(host.closure);
    fiber *const f = current();
    f->done = true;
    host.left--;
    host.idle = 0;
    leave(&host.all);
    leave(&host.warps[f->warp]);
    if (host.left == 0)
        _longjmp(host.end, 1);
    int p = host.place[f - host.fibers];
    do
        p = (p + 1) % host.n;
    while (host.fibers[host.order[p]].done);
    enter(&host.fibers[host.order[p]]);
}

static void enter(fiber *f)
{
    zt_host_now = f;
    if (f->begun)
        _longjmp(f->at, 1);
    f->begun = true;
    setcontext(&f->start);
}

// To the next fiber that is not done.
static void yield()
{
    fiber *const f = current();
    int p = host.place[f - host.fibers];
    do
        p = (p + 1) % host.n;
    while (host.fibers[host.order[p]].done);
    fiber *const next = &host.fibers[host.order[p]];
    if (++host.idle > 4L * host.n)
        give_up("threads wait for one another: a barrier that not all reach");
    if (next == f || _setjmp(f->at))
        return;
    enter(next);
}

static void meet(meeting *m)
{
    if (++m->arrived == m->all) {
        m->arrived = 0;
        m->generation++;
        host.idle = 0;
        return;
    }
    for (const unsigned mine = m->generation; mine == m->generation;)
        yield();
    host.idle = 0;
}

void __syncthreads()
{
    meet(&host.all);
}

void __syncwarp(unsigned mask)
{
    if (mask != 0xffffffffu || host.warps[current()->warp].all != 32)
        give_up("a warp that is not whole");
    meet(&host.warps[current()->warp]);
}

void zt_host_together(zt_host_together_fn *fn, void *mine)
{
    fiber *const f = current();
    meeting *const m = &host.warps[f->warp];
    void **const lanes = host.brought[f->warp];
    if (m->all != 32)
        give_up("a warp that is not whole");
    lanes[(f - host.fibers) % 32] = mine;
    if (m->arrived == 31)
        fn(lanes);
    meet(m);
}

void *zt_host_shared()
{
    return shared_memory;
}

static void make_order(int *order, int n)
{
    for (int i = 0; i < n; i++)
        order[i] = host.how == ZT_BACKWARD ? n - 1 - i : i;
    for (int i = n - 1; i > 0 && host.how == ZT_SHUFFLED; i--) {
        host.random = host.random * 1664525u + 1013904223u;
        const int j = (int)((host.random >> 8) % (unsigned)(i + 1)), o = order[i];
        order[i] = order[j];
        order[j] = o;
    }
}

static void run_block(dim3 grid, dim3 block, uint3 at)
{
    const int n = (int)(block.x * block.y * block.z);
    host.n = host.left = n;
    host.all = { 0, n, 0 };
    host.idle = 0;
    for (int w = 0; w < (n + 31) / 32; w++)
        host.warps[w] = { 0, n - w * 32 < 32 ? n - w * 32 : 32, 0 };
    make_order(host.order, n);
    memset(shared_memory, 0xff, host.shared + ZONE);
    for (int i = 0; i < n; i++) {
        fiber *const f = &host.fibers[i];
        host.place[host.order[i]] = i;
        f->thread = { (unsigned)i % block.x, (unsigned)i / block.x % block.y, (unsigned)i / block.x / block.y };
        f->block = at;
        f->block_dim = block;
        f->grid_dim = grid;
        f->warp = i / 32;
        f->begun = f->done = false;
        getcontext(&f->start);
        f->start.uc_stack.ss_sp = host.stacks + (size_t)i * STACK;
        f->start.uc_stack.ss_size = STACK;
        f->start.uc_link = NULL;
        makecontext(&f->start, run_fiber, 0);
    }
    if (!_setjmp(host.end))
        enter(&host.fibers[host.order[0]]);
    for (size_t i = host.shared; i < host.shared + ZONE; i++) {
        if (shared_memory[i] != 0xff)
            give_up("writes beyond its shared memory");
    }
}

void zt_host_work_run(const zt_host_work *w)
{
    const dim3 grid = w->grid, block = w->block;
    host.body = w->body;
    host.closure = w->closure;
    host.name = w->name;
    host.shared = w->shared;
    if (block.x * block.y * block.z > THREADS || w->shared > SHARED - ZONE || grid.x * grid.y * grid.z == 0 || grid.y > 65535 || grid.z > 65535)
        give_up("a launch that no GPU accepts");
    if (!host.stacks) {
        void *const p = mmap(NULL, (size_t)THREADS * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED)
            give_up("no memory");
        host.stacks = (char *)p;
    }
    const unsigned blocks = grid.x * grid.y * grid.z;
    for (unsigned i = 0; i < blocks; i++) {
        const unsigned b = host.how == ZT_BACKWARD ? blocks - 1 - i : i;
        run_block(grid, block, { b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y });
    }
    w->finish(w->closure);
}
