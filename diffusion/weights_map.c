// SPDX-License-Identifier: Apache-2.0
// Mapped files and the handler of SIGBUS.
#include "diffusion/weights_map.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/base.h"

enum { MAPS = 1024 };

struct zt_weights_map {
    _Atomic uintptr_t from;     // 0: free
    size_t            n;
    atomic_bool       broken;
};

// A signal handler is the process's, so is what it looks at.
static struct {
    pthread_mutex_t  lock;
    zt_weights_map   map[MAPS];
    struct sigaction before;
    uintptr_t        page;
} all = { .lock = PTHREAD_MUTEX_INITIALIZER };

// Only calls that a handler may make: mmap() is a bare system call.
static void on_bus(int signal, siginfo_t *info, void *context)
{
    const uintptr_t at = (uintptr_t)info->si_addr;
    for (int i = 0; i < MAPS; i++) {
        zt_weights_map *const m = &all.map[i];
        const uintptr_t from = atomic_load(&m->from);
        if (!from || at < from || at - from >= m->n)
            continue;
        const uintptr_t page = at & ~(all.page - 1);
        atomic_store(&m->broken, true);
        if (mmap((void *)page, from + m->n - page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED)
            return;
    }
    if (all.before.sa_flags & SA_SIGINFO)
        all.before.sa_sigaction(signal, info, context);
    else if (all.before.sa_handler != SIG_DFL && all.before.sa_handler != SIG_IGN)
        all.before.sa_handler(signal);
    else
        sigaction(signal, &all.before, NULL);   // the same fault again ends the process as it would have
}

// Again when somebody else's handler has come in between: it stands behind ours then.
static void install(void)
{
    struct sigaction a = { .sa_sigaction = on_bus, .sa_flags = SA_SIGINFO | SA_NODEFER }, now;
    all.page = (uintptr_t)sysconf(_SC_PAGESIZE);
    sigemptyset(&a.sa_mask);
    if (sigaction(SIGBUS, NULL, &now) < 0 || (now.sa_flags & SA_SIGINFO && now.sa_sigaction == on_bus))
        return;
    all.before = now;
    sigaction(SIGBUS, &a, NULL);
}

int zt_weights_map_open(zt_weights_map **out, int fd, size_t n)
{
    void *const p = mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return -errno;
    pthread_mutex_lock(&all.lock);
    install();
    int i = 0;
    while (i < MAPS && atomic_load(&all.map[i].from))
        i++;
    if (i < MAPS) {
        all.map[i].n = n;
        atomic_store(&all.map[i].broken, false);
        atomic_store(&all.map[i].from, (uintptr_t)p);
        *out = &all.map[i];
    }
    pthread_mutex_unlock(&all.lock);
    if (i == MAPS)
        munmap(p, n);
    return i < MAPS ? 0 : -EMFILE;
}

void zt_weights_map_close(zt_weights_map **m)
{
    if (!*m)
        return;
    void *const p = (void *)atomic_load(&(*m)->from);
    munmap(p, (*m)->n);
    atomic_store(&(*m)->from, 0);
    *m = NULL;
}

const void *zt_weights_map_bytes(const zt_weights_map *m)
{
    return (const void *)atomic_load(&m->from);
}

bool zt_weights_map_broken(const zt_weights_map *m)
{
    return atomic_load(&m->broken);
}

void zt_weights_map_drop(const void *from, size_t n)
{
    const uintptr_t page = all.page, first = ((uintptr_t)from + page - 1) & ~(page - 1);
    const uintptr_t end = ((uintptr_t)from + n) & ~(page - 1);
    if (end > first)
        madvise((void *)first, end - first, MADV_DONTNEED);
}
