// SPDX-License-Identifier: Apache-2.0
// A GPU that is none, for tests: kernels/cuda.cu's functions over the kernels that run on the CPU. Work waits until somebody
// waits for it, and memory of the device can be touched by kernels and copies alone, so that a host that forgets to wait
// reads the past, and one that forgets to copy dies.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <vector>

#include "kernels/backend_cuda.h"
#include "tests/cuda_on_host.h"
#include "kernels/cuda.cuh"

void (*zt_cuda_log)(enum zt_level level, const char *fmt, ...);

namespace {

const size_t room = (size_t)16 << 30, page = 4096;

struct work {
    zt_host_work run;
    void        *to, *bytes;        // or what is to be put there
    size_t       n;
};

struct {
    char             *base;
    size_t            used;
    int               open;         // depth
    std::vector<work> queue;
} gpu;

void allow(bool yes)
{
    gpu.open += yes ? 1 : -1;
    if (gpu.used && gpu.open == (yes ? 1 : 0))
        mprotect(gpu.base, gpu.used, yes ? PROT_READ | PROT_WRITE : PROT_NONE);
}

void run_all()
{
    std::vector<work> now;
    now.swap(gpu.queue);
    allow(true);
    for (work &w : now) {
        if (w.to)
            memcpy(w.to, w.bytes, w.n);
        else
            zt_host_work_run(&w.run);
        free(w.bytes);
    }
    allow(false);
}

void keep(const zt_host_work *w)
{
    gpu.queue.push_back({ *w, NULL, NULL, 0 });
}

}   // namespace

int zt_cuda_count(char *, size_t)
{
    return 1;
}

int zt_cuda_open(void **queue, int, uint32_t *have, char *why, size_t size)
{
    if (!gpu.base) {
        void *const p = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED) {
            snprintf(why, size, "no memory");
            return -ENOMEM;
        }
        gpu.base = (char *)p;
    }
    zt_host_keep = keep;
    *have = 0;
    *queue = &gpu;
    return 0;
}

void zt_cuda_close(void *)
{
    run_all();
}

// Never given back: a test does not run for long.
void *zt_cuda_alloc(void *, size_t bytes)
{
    bytes = (bytes + page - 1) / page * page + page;        // and one page that nobody may touch
    if (bytes > room - gpu.used)
        return NULL;
    char *const p = gpu.base + gpu.used;
    gpu.used += bytes;
    return p;
}

void zt_cuda_free(void *, void *)
{
    run_all();
}

void *zt_cuda_alloc_host(void *, size_t bytes)
{
    return calloc(1, bytes + 256);
}

void zt_cuda_free_host(void *, void *p)
{
    run_all();
    free(p);
}

int zt_cuda_copy(void *, void *to, const void *from, size_t bytes)
{
    run_all();
    allow(true);
    memmove(to, from, bytes);
    allow(false);
    return 0;
}

int zt_cuda_copy_rows(void *, void *to, size_t to_step, const void *from, size_t from_step, size_t bytes, size_t rows)
{
    run_all();
    allow(true);
    for (size_t i = 0; i < rows; i++)
        memmove((char *)to + i * to_step, (const char *)from + i * from_step, bytes);
    allow(false);
    return 0;
}

void *zt_cuda_stream_of(void *)
{
    return NULL;
}

int zt_cuda_clear(void *, void *p, size_t bytes)
{
    run_all();
    allow(true);
    memset(p, 0, bytes);
    allow(false);
    return 0;
}

int zt_cuda_sync(void *)
{
    run_all();
    return 0;
}

void zt_cuda_memory(void *, size_t *left, size_t *all)
{
    *all = room;
    *left = room - gpu.used;
}

const char *zt_cuda_name(void *)
{
    return "no GPU: kernels as fibers";
}

extern "C" void *zt_cuda_scratch(struct zt_device *d, size_t bytes)
{
    if (bytes > d->scratch_bytes) {
        d->scratch = zt_cuda_alloc(d->queue, bytes);
        d->scratch_bytes = d->scratch ? bytes : 0;
    }
    return d->scratch;
}

extern "C" void zt_cuda_put(struct zt_device *, void *to, const void *from, size_t bytes)
{
    void *const copy = malloc(bytes);
    memcpy(copy, from, bytes);
    gpu.queue.push_back({ {}, to, copy, bytes });
}

extern "C" void zt_cuda_refuse(struct zt_device *d, const char *what)
{
    zt_cuda_log(ZT_LOG_ERROR, "cuda: not at this level: %s", what);
    d->error = d->error ? d->error : -ENOTSUP;
}
