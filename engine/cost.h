// SPDX-License-Identifier: Apache-2.0
// What a piece of work costs: its mean, how far it strays, and what 99 of 100 stay below.
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ZT_COST_SAMPLES 200     // of these the third longest is the 99 % quantile

// Zeroed is empty and valid. Pure: no clock, no memory of its own.
typedef struct zt_cost {
    int64_t  mean, deviation;   // ns; of the last 32 samples or so
    int64_t  least;             // ns; of all samples
    int64_t  p99;               // ns; mean + 3 * deviation until ZT_COST_SAMPLES are known, then the quantile
    uint64_t n;                 // samples ever added; 0: nothing is known and the rest is 0
    int64_t  sample[ZT_COST_SAMPLES];
} zt_cost;

void zt_cost_add(zt_cost *c, int64_t ns);

#ifdef __cplusplus
}
#endif
