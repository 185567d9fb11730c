// SPDX-License-Identifier: Apache-2.0
// One place to compute: its memory, its threads, its table of kernels.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"
#include "kernels/public.h"

#ifdef __cplusplus
extern "C" {
#endif

enum zt_space { ZT_HOST, ZT_CUDA };

struct zt_pool;
struct zt_backend;

struct zt_device {
    enum zt_space   space;
    zt_kernels      k;              // complete; filled once by zt_device_open()
    const char     *level;          // "c", "avx2", "vnni", "avx512"; "cuda", "sm90"
    int             threads;        // that run a region, the caller included
    struct zt_pool *pool;
    void           *scratch;        // zt_scratch()
    size_t          scratch_bytes;
    void           *each;           // zt_scratch_each()
    size_t          each_bytes;
    bool            realtime;       // its threads, and its owner's, should go before others
    int             keeping;        // atomic: memory is locked
    int             error;          // first failure since the last zt_device_sync()
    const struct zt_backend *backend;   // of a GPU, or NULL
    void           *queue;          // its own
    struct zt_device *alone;        // [threads]: what zt_parallel_alone() gives them; NULL with one thread
    uint32_t        features;       // of levels that it meets
};

// 256-byte aligned, zeroed, of the device: the host reaches it by zt_device_copy() alone unless d->space is ZT_HOST.
// NULL when there is no memory.
void *zt_device_alloc(zt_device *d, size_t bytes);
// The same with any content (both from any thread): its pages come when they are first written, on whatever thread does it.
void *zt_device_alloc_raw(zt_device *d, size_t bytes);
void  zt_device_free(zt_device *d, void *p);
// The same that both reach, pinned where that matters. Freed with its own call.
void *zt_device_alloc_host(zt_device *d, size_t bytes);
void  zt_device_free_host(zt_device *d, void *p);
// Between memory of the device and of the host, or within either, after the work that is queued; `from` may be changed
// when it returns, a `to` of the host can be read then. A failure is the device's (zt_device_sync()).
void  zt_device_copy(zt_device *d, void *to, const void *from, size_t bytes);
// Rows within the device's memory that lie apart, steps in bytes; queued.
void  zt_device_copy_rows(zt_device *d, void *to, size_t to_step, const void *from, size_t from_step, size_t bytes, size_t rows);
// Zeroes memory of the device, after the work that is queued.
void  zt_device_clear(zt_device *d, void *p, size_t bytes);
// Waits for queued work, so that the host may read or write what it uses. A failure stays for zt_device_sync().
void  zt_device_wait(zt_device *d);
// Waits for queued work; 0, or the first failure since the last call.
int   zt_device_sync(zt_device *d);

// Kernels' own memory, 64-byte aligned: valid until the next call, grows and is never given back before the
// device closes, so a steady state allocates nothing. Owner's thread only. NULL (and d->error set) when
// there is no memory: the kernel returns without writing.
void *zt_scratch(zt_device *d, size_t bytes);
// The same for every thread, whose `bytes` begin at thread * *step. A thread has the same memory in all kernels, so it
// stays in its core's cache.
char *zt_scratch_each(zt_device *d, size_t bytes, size_t *step);

// Calls fn(cookie, i, thread) for every i in [0, n), each once, on d->threads threads, the caller among
// them; thread is in [0, d->threads). Returns when all are done. A thread takes the same part of [0, n) in every
// region first, then what others have left of theirs, so results must not depend on who runs what. Owner's thread
// only; fn must not call it again.
typedef void zt_parallel_fn(void *cookie, int i, int thread);
void zt_parallel_for(zt_device *d, int n, zt_parallel_fn *fn, void *cookie);

// Calls fn(cookie, i, alone) for every i in [0, n), likewise: `alone` has the kernels of d and runs them on that one thread,
// so that a chain of operations on few rows keeps them in its core's cache. On the host only.
typedef void zt_alone_fn(void *cookie, int i, zt_device *alone);
void zt_parallel_alone(zt_device *d, int n, zt_alone_fn *fn, void *cookie);

// CPU features as bits, found by CPUID and XGETBV, never by vendor.
// AVX2+FMA+F16C; AVX512 F BW DQ VL VNNI BF16; AVX-VNNI; AVX512 VL VNNI
enum { ZT_NEED_AVX2 = 1, ZT_NEED_AVX512 = 2, ZT_NEED_AVXVNNI = 4, ZT_NEED_AVX512VL = 8 };
// GPU features: compute capability 9.0
enum { ZT_NEED_SM90 = 1 };
uint32_t zt_cpu_features(void);

// The levels, from plain to best; .name NULL ends the list.
struct zt_kernel_level {
    const char       *name;
    enum zt_space     space;
    uint32_t          need;
    const zt_kernels *k;        // NULL entries: not provided at this level
};
extern const struct zt_kernel_level zt_levels[];
// Does l end level `last`? A level may have several entries in a row; NULL: there is no last one.
bool zt_level_is_last(const struct zt_kernel_level *l, const char *last);

// Fills `out` from the levels whose needs are in `have`, later ones over earlier ones, up to `last` (NULL: all).
void zt_kernels_select(zt_kernels *out, const struct zt_kernel_level *levels, enum zt_space space, uint32_t have,
                       const char *last);

#ifdef __cplusplus
}
#endif
