// SPDX-License-Identifier: Apache-2.0
// What a piece of work costs: its mean, how far it strays, and what 99 of 100 stay below; by shape, learnt as it runs.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ZT_COST_SAMPLES 200     // of these the third longest is the 99 % quantile

// Zeroed is empty and valid. Pure: no clock, no memory of its own.
typedef struct zt_cost {
    int64_t  mean, deviation;   // ns; of the last 32 samples or so, an outlier among them cut short
    int64_t  least;             // ns; of all samples
    int64_t  p99;               // ns; mean + 3 * deviation until ZT_COST_SAMPLES are known, then the quantile
    uint64_t n;                 // samples ever added; 0: nothing is known and the rest is 0
    int64_t  sample[ZT_COST_SAMPLES];
} zt_cost;

void zt_cost_add(zt_cost *c, int64_t ns);

// ---- by shape

#define ZT_COST_SHAPES 96       // known at once: a new one takes the place of the one not used for longest

enum zt_effort { ZT_EFFORT_PASS, ZT_EFFORT_SHOW, ZT_EFFORT_ENCODE };

typedef struct zt_shape {
    enum zt_effort effort;
    int      model;             // 0..: as the owner numbers them
    int      top_k;             // experts per token when fewer than the model's own; else 0
    int64_t  tokens;            // packed; of the picture for the other efforts
    int64_t  pairs;             // the sum over tokens of the keys that each attends to
} zt_shape;

struct zt_known {
    zt_shape shape;             // the last one seen of its class
    int      tokens, keys;      // the class
    int64_t  used;              // when, in the owner's time; 0: free
    bool     old;               // measured by another run, and read then
    zt_cost  cost;
};

// Zeroed is empty and valid. Shapes are one class while tokens differ by less than an eighth of an octave and keys per
// token by less than half of one. What is not known is taken from its neighbours: between two, in a straight line;
// beyond, in proportion to the tokens. A class not seen for ten seconds no longer says more than its neighbours do: a
// bad moment could keep the work from being planned, and so from being measured, for good.
typedef struct zt_costs {
    struct zt_known known[ZT_COST_SHAPES];
    int64_t  now;               // the owner's time
    // Predictions of passes, judged when they end
    uint64_t passes, over;      // made; longer than predicted for 99 of 100
    int64_t  predicted, error;  // ns; sums of the mean predicted and of how far off it was
} zt_costs;

typedef struct zt_estimate {
    int64_t mean, p99, least;   // ns; 0: nothing like it is known
} zt_estimate;

zt_estimate zt_costs_of(const zt_costs *c, const zt_shape *s);
void        zt_costs_add(zt_costs *c, const zt_shape *s, int64_t ns);

// Was a pass of this model seen within the last minute? What was read from a file was not.
bool        zt_costs_fresh(const zt_costs *c, int model);

// Lines of text of one model's classes, and back: models are numbered by their opener, so `model` is not in them.
// Reading takes what it can of hostile input and returns how many classes it took, or -EINVAL: not such a file, or
// another key's.
void zt_costs_write(const zt_costs *c, int model, const char *key, FILE *f);
int  zt_costs_read(zt_costs *c, int model, const char *key, FILE *f);

#ifdef __cplusplus
}
#endif
