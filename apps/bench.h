// SPDX-License-Identifier: Apache-2.0
// What the benchmarks share.
#pragma once

#include <stdint.h>

#include "apps/options.h"
#include "apps/setup.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_bench {
    zt_common   common;
    zt_setup    setup;
    bool        json;
    int64_t     seconds, sessions, steps, fps, bitrate;
    int64_t     clips, steps_min, budget_ms, prompts;
    bool        admission, keep_rate, probe;
    const char *clip_path, *log, *truth;
    uint64_t    seed;
    zt_range    size;
    const char *prompt, *op, *dtype;
    int64_t     started;        // ns, zt_now() at exec
} zt_bench;

// Each returns an exit code.
int zt_bench_kernels(zt_bench *b);
int zt_bench_step(zt_bench *b);
int zt_bench_stream(zt_bench *b);
int zt_bench_sched(zt_bench *b);
int zt_bench_ladder(zt_bench *b);

// ---- samples

typedef struct zt_samples {
    int64_t *ns;
    int      n, room;           // full: further ones are not kept
} zt_samples;

int     zt_samples_create(zt_samples *s, int room);     // 0 or -ENOMEM
void    zt_samples_finish(zt_samples *s);
void    zt_samples_add(zt_samples *s, int64_t ns);      // allocates nothing
int64_t zt_samples_quantile(zt_samples *s, double q);   // sorts; 0 when empty

// ---- several ways to do the same

typedef struct zt_side {
    const char *name;           // of a peer; borrowed
    bool        limit;          // no peer: what it takes at least, beside its operations
    void      (*call)(void *cookie);
    void       *cookie;
    void      (*finish)(void **cookie);     // or NULL
    struct zt_device *queue;    // what it calls is queued there: a batch ends when that is done; or NULL
    double      ns;             // of one call: the median
    int         calls;          // of a batch
    zt_samples  samples;
} zt_side;

// Calls each side in batches, in turn, and fills in ns; one_thread: all of them work on the caller's thread only. 0 or
// -ENOMEM.
int zt_sides_measure(zt_side *side, int n, bool one_thread);

// ---- limits of this machine

enum zt_peak { ZT_PEAK_F32, ZT_PEAK_BF16, ZT_PEAK_I8, ZT_PEAKS };
// Operations per second of all the device's threads together (a multiply-add is two), by a loop of nothing but the
// instruction that the level's kernels use; 0: that level has none.
double zt_bench_peak(zt_device *d, enum zt_peak p);
// Nanoseconds that one denoising pass of one frame takes at these, matrices and attention each at its own; 0: unknown.
double zt_bench_pass_limit(zt_device *d, const zt_model_info *info);
// Reads memory as fast as it comes, on the caller's thread.
void zt_bench_read(const void *p, size_t bytes);

#ifdef __cplusplus
}
#endif
