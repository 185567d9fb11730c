// SPDX-License-Identifier: Apache-2.0
// Histograms with fixed bounds, and the names that the outside sees.
#include "engine/metrics.h"

#include "base/base.h"

#define MS INT64_C(1000000)

const char *const zt_outcome_name[ZT_OUTCOMES] = { "on_time", "degraded", "late", "repeated", "dropped" };
const char *const zt_change_name[ZT_CHANGES] = { "steps", "window", "top_k", "rate" };
const char *const zt_refusal_name[ZT_REFUSALS] = { "admitted", "load", "budget", "memory", "sessions" };
const char *const zt_busy_name[ZT_BUSY] = { "live", "offline", "idle" };
const char *const zt_stage_name[ZT_STAGES] = { "text", "denoise", "decode", "convert", "encode" };

const int64_t zt_bucket_bound[ZT_BUCKETS] = {
    1 * MS, 2 * MS, 4 * MS, 6 * MS, 8 * MS, 12 * MS, 16 * MS, 20 * MS, 25 * MS, 33 * MS, 42 * MS, 50 * MS, 66 * MS,
    100 * MS, 200 * MS, 500 * MS, INT64_MAX,
};

void zt_histogram_add(zt_histogram *h, int64_t ns)
{
    int i = 0;
    while (ns > zt_bucket_bound[i])
        i++;
    h->bucket[i]++;
    h->count++;
    h->sum += ns;
}

void zt_histogram_merge(zt_histogram *h, const zt_histogram *more)
{
    for (int i = 0; i < ZT_BUCKETS; i++)
        h->bucket[i] += more->bucket[i];
    h->count += more->count;
    h->sum += more->sum;
}

void zt_metrics_merge(zt_metrics *m, const zt_metrics *more)
{
    for (int i = 0; i < ZT_OUTCOMES; i++)
        m->outcome[i] += more->outcome[i];
    for (int i = 0; i < ZT_STAGES; i++)
        zt_histogram_merge(&m->stage[i], &more->stage[i]);
    zt_histogram_merge(&m->latency, &more->latency);
    zt_histogram_merge(&m->prompt_to_frame, &more->prompt_to_frame);
    zt_histogram_merge(&m->first_frame, &more->first_frame);
    for (int i = 0; i < ZT_CHANGES; i++)
        m->changes[i] += more->changes[i];
    m->sessions += more->sessions;
}

int64_t zt_histogram_quantile(const zt_histogram *h, double q)
{
    const double rank = q * (double)h->count;
    double below = 0;
    for (int i = 0; i < ZT_BUCKETS; i++) {
        if (!h->bucket[i] || below + (double)h->bucket[i] < rank) {
            below += (double)h->bucket[i];
            continue;
        }
        const int64_t from = i ? zt_bucket_bound[i - 1] : 0;
        const int64_t to = i == ZT_BUCKETS - 1 ? 2 * from : zt_bucket_bound[i];
        return from + (int64_t)((double)(to - from) * (rank - below) / (double)h->bucket[i]);
    }
    return 0;
}
