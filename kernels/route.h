// SPDX-License-Identifier: Apache-2.0
// Which experts serve a row, in f32: what the fast levels of moe share.
#pragma once

#include <assert.h>
#include <math.h>
#include <stdbool.h>

#include "kernels/kernels.h"

enum { ZT_EXPERTS_MAX = 1024 };

// The index of the largest; the lowest of equals.
static inline int zt_route_best(const float *v, int n)
{
    int b = 0;
    for (int i = 1; i < n; i++)
        b = v[i] > v[b] ? i : b;
    return b;
}

// -infinity to the experts of all but the `limited` best groups. A group's score is the sum of its
// two best when there is a selection bias, its best when there is none.
static inline void zt_route_limit(const zt_moe *w, float *s)
{
    const int size = w->E / w->groups;
    float score[ZT_EXPERTS_MAX];
    bool keep[ZT_EXPERTS_MAX] = { false };
    for (int g = 0; g < w->groups; g++) {
        float *v = s + g * size, first = -INFINITY, second = -INFINITY;
        for (int i = 0; i < size; i++) {
            second = fmaxf(second, fminf(first, v[i]));
            first = fmaxf(first, v[i]);
        }
        score[g] = w->gate_b && size > 1 ? first + second : first;
    }
    for (int i = 0; i < w->limited; i++) {
        const int g = zt_route_best(score, w->groups);
        keep[g] = true;
        score[g] = -INFINITY;
    }
    for (int e = 0; e < w->E; e++)
        s[e] = keep[e / size] ? s[e] : -INFINITY;
}

// Gates from the selected scores, whose sum is `total`
static inline void zt_route_scale(const zt_moe *w, float *gate, float total)
{
    const float scale = w->score == ZT_SIGMOID ? w->route_scale / total : w->route_scale;
    for (int i = 0; i < w->k; i++)
        gate[i] *= scale;
}

// The k experts of a row with scores s[E], best first, and their gates.
static inline void zt_route_select(const zt_moe *w, const float *s, int32_t *expert, float *gate)
{
    assert(w->E <= ZT_EXPERTS_MAX);
    float biased[ZT_EXPERTS_MAX], total = 0;
    for (int e = 0; e < w->E; e++)
        biased[e] = w->gate_b ? s[e] + w->gate_b[e] : s[e];
    if (w->groups > 1)
        zt_route_limit(w, biased);

    for (int i = 0; i < w->k; i++) {
        expert[i] = zt_route_best(biased, w->E);
        biased[expert[i]] = -INFINITY;
        gate[i] = s[expert[i]];
        total += gate[i];
    }
    zt_route_scale(w, gate, total);
}
