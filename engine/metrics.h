// SPDX-License-Identifier: Apache-2.0
// Counters and histograms: every slot has one outcome, every stage a distribution.
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

// What became of a slot: in time with all steps, in time with fewer, too late, the last picture again, none.
enum zt_outcome { ZT_ON_TIME, ZT_DEGRADED, ZT_LATE, ZT_REPEATED, ZT_DROPPED, ZT_OUTCOMES };
// Rungs of the quality ladder.
enum zt_change  { ZT_CHANGE_STEPS, ZT_CHANGE_WINDOW, ZT_CHANGE_TOP_K, ZT_CHANGE_RATE, ZT_CHANGES };
// Why a session is not taken: the machine is full, its budget is too short, memory, too many sessions.
enum zt_refusal { ZT_ADMITTED, ZT_REFUSED_LOAD, ZT_REFUSED_BUDGET, ZT_REFUSED_MEMORY, ZT_REFUSED_SESSIONS, ZT_REFUSALS };
// What the engine's thread does.
enum zt_busy    { ZT_BUSY_LIVE, ZT_BUSY_OFFLINE, ZT_BUSY_IDLE, ZT_BUSY };
// Of a picture, in their order.
enum zt_stage   { ZT_TEXT, ZT_DENOISE_STAGE, ZT_DECODE, ZT_CONVERT, ZT_ENCODE, ZT_STAGES };

extern const char *const zt_outcome_name[ZT_OUTCOMES];      // "on_time", …
extern const char *const zt_change_name[ZT_CHANGES];        // "steps", "window", "top_k", "rate"
extern const char *const zt_refusal_name[ZT_REFUSALS];      // "admitted", "load", "budget", "memory", "sessions"
extern const char *const zt_busy_name[ZT_BUSY];             // "live", "offline", "idle"
extern const char *const zt_stage_name[ZT_STAGES];          // "text", "denoise", "decode", "convert", "encode"

// Upper bounds in ns of the histograms' buckets, the last is infinite.
#define ZT_BUCKETS 17
extern const int64_t zt_bucket_bound[ZT_BUCKETS];           // 1 2 4 6 8 12 16 20 25 33 42 50 66 100 200 500 ms, inf

// How a duration is distributed. Zeroed is empty and valid.
typedef struct zt_histogram {
    uint64_t bucket[ZT_BUCKETS];        // counts, not cumulative
    uint64_t count;                     // of all buckets
    int64_t  sum;                       // ns
} zt_histogram;

// Of a session, or of all. Zeroed is empty and valid.
typedef struct zt_metrics {
    uint64_t     outcome[ZT_OUTCOMES];  // slots
    zt_histogram stage[ZT_STAGES];      // "encode" is measured by the stream and added by the program
    zt_histogram latency;               // sampled -> packet handed over
    zt_histogram prompt_to_frame;       // prompt given -> packet of the first frame that used it
    zt_histogram first_frame;           // session created -> packet of its first picture
    zt_histogram slice_wait;            // live work ready while an offline slice ran, until that ended
    uint64_t     changes[ZT_CHANGES];   // rungs of the quality ladder given up or taken back
    uint64_t     refused[ZT_REFUSALS];  // sessions
    uint64_t     cost_passes, cost_over;    // passes whose cost was predicted, and those longer than 99 of 100 should be
    int64_t      cost_predicted, cost_error;    // ns predicted, and ns that was off
    int64_t      busy[ZT_BUSY];         // ns of the engine's thread
    int          sessions;              // at present
} zt_metrics;

// h becomes what both have counted.
void    zt_histogram_merge(zt_histogram *h, const zt_histogram *more);
// m becomes what both have counted.
void    zt_metrics_merge(zt_metrics *m, const zt_metrics *more);
void    zt_histogram_add(zt_histogram *h, int64_t ns);              // owner's thread
int64_t zt_histogram_quantile(const zt_histogram *h, double q);     // ns, interpolated within the bucket; 0 when empty

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
