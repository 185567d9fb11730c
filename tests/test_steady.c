// SPDX-License-Identifier: Apache-2.0
// The steady state allocates nothing: between frames 100 and 1000 no engine or pool thread calls malloc.
//   test_steady MODEL
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "kernels/device.h"

// glibc's own; ours stand in front of them for the whole program.
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t n, size_t bytes);
void *__libc_realloc(void *p, size_t bytes);
void *__libc_memalign(size_t unit, size_t bytes);
void *malloc(size_t bytes);
void *calloc(size_t n, size_t bytes);
void *realloc(void *p, size_t bytes);
void *aligned_alloc(size_t unit, size_t bytes);
void *memalign(size_t unit, size_t bytes);
int   posix_memalign(void **out, size_t unit, size_t bytes);

static atomic_int counting, engine_calls, pool_calls, other_calls;

static void count(void)
{
    char name[16] = "";
    if (!atomic_load(&counting))
        return;
    pthread_getname_np(pthread_self(), name, sizeof(name));
    atomic_int *calls = !strcmp(name, "zt-engine") ? &engine_calls
                        : !strcmp(name, "zt-pool") ? &pool_calls
                                                   : &other_calls;
    atomic_fetch_add(calls, 1);
}

void *malloc(size_t bytes)
{
    count();
    return __libc_malloc(bytes);
}

void *calloc(size_t n, size_t bytes)
{
    count();
    return __libc_calloc(n, bytes);
}

void *realloc(void *p, size_t bytes)
{
    count();
    return __libc_realloc(p, bytes);
}

void *memalign(size_t unit, size_t bytes)
{
    count();
    return __libc_memalign(unit, bytes);
}

void *aligned_alloc(size_t unit, size_t bytes)
{
    return memalign(unit, bytes);
}

int posix_memalign(void **out, size_t unit, size_t bytes)
{
    *out = memalign(unit, bytes);
    return *out ? 0 : 12;
}

static atomic_int pool_seen;

static void name_seen(void *cookie, int i, int thread)
{
    char name[16] = "";
    pthread_getname_np(pthread_self(), name, sizeof(name));
    if (!strcmp(name, "zt-pool"))
        atomic_fetch_add(&pool_seen, 1);
    struct timespec t = { 0, 2000000 };
    nanosleep(&t, NULL);
}

static void on_frame(void *cookie, zt_frame *f)
{
    zt_session **s = cookie;
    if (f->model_frame == 100)
        atomic_store(&counting, 1);
    if (f->model_frame == 1000)
        atomic_store(&counting, 0);
    if (f->model_frame && f->model_frame % 50 == 0) {     // prompts and controls come while it runs
        zt_session_prompt(*s, f->model_frame % 100 ? "volcano at night" : "desert at dawn");
        zt_session_control(*s, 0, 0.5f);
    }
}

int main(int argc, char **argv)
{
    zt_device *d = NULL;
    zt_model *m = NULL;
    zt_engine *e = NULL;
    zt_session *s = NULL;
    int err = argc == 2 ? zt_device_open(&d, &(zt_device_params){ .device = "cpu", .threads = 2 }) : -1;
    if (err < 0)
        return 2;
    zt_parallel_for(d, 64, name_seen, NULL);        // that the count can see the pool at all
    err = zt_model_open(&m, d, argv[1], ZT_PRECISION_DEFAULT);
    if (err < 0)
        goto out;
    err = zt_engine_create(&e, d, m);
    if (err < 0)
        goto out;
    err = zt_session_create(
        &s, e, &(zt_session_params){ .frames = 1001, .unpaced = true, .on_frame = on_frame, .cookie = &s });
    if (err < 0)
        goto out;
    err = zt_session_wait(s);
    printf("calls between frames 100 and 1000: engine %d, pool %d (others %d)\n", engine_calls, pool_calls,
           other_calls);
    if (engine_calls || pool_calls || !pool_seen || atomic_load(&counting))
        err = -1;
out:
    zt_session_destroy(&s);
    zt_engine_destroy(&e);
    zt_model_close(&m);
    zt_device_close(&d);
    return err < 0;
}
