// SPDX-License-Identifier: Apache-2.0
// Costs are learnt from what was measured, never configured.
#include "engine/cost.h"

#include "base/base.h"

// The third longest of all samples: 198 of 200 are not longer.
static int64_t third_longest(const int64_t *x)
{
    int64_t a = 0, b = 0, c = 0;    // a >= b >= c
    for (int i = 0; i < ZT_COST_SAMPLES; i++) {
        if (x[i] > a)
            c = b, b = a, a = x[i];
        else if (x[i] > b)
            c = b, b = x[i];
        else if (x[i] > c)
            c = x[i];
    }
    return c;
}

void zt_cost_add(zt_cost *c, int64_t ns)
{
    ns = ZT_MAX(ns, 0);
    c->least = c->n ? ZT_MIN(c->least, ns) : ns;
    c->sample[c->n % ZT_COST_SAMPLES] = ns;
    c->n++;

    const int64_t weight = (int64_t)ZT_MIN(c->n, 32);
    c->mean += (ns - c->mean) / weight;
    const int64_t off = ns > c->mean ? ns - c->mean : c->mean - ns;
    c->deviation += (off - c->deviation) / weight;
    c->p99 = c->n < ZT_COST_SAMPLES ? c->mean + 3 * c->deviation : third_longest(c->sample);
}
