// SPDX-License-Identifier: Apache-2.0
// UniPC of order 2 (Zhao et al., 2023) as Wan uses it: variant bh2, predicting x0, lower order at both ends.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// Level i of n: evenly from 0.999 to 0, shifted; level n is 0.
double zt_unipc_sigma(int i, int n, double shift);
// t[0..n-1]: 1000 times levels 0..n-1. The network is told them rounded down, so they round down as the exact ones do.
void zt_unipc_times(int n, double shift, float *t);
// The same of the n steps that lead from t_now to 0, evenly before the shift; t[0] = t_now.
void zt_unipc_times_from(double t_now, int n, double shift, float *t);

// One latent on its way.
typedef struct zt_unipc {
    int    step;                        // done
    bool   second;                      // order of the latest prediction
    double sigma[2];                    // levels of the latest step and of the one before
    size_t floats;                      // of a latent
    float *x0[2], *from;                // estimates of these steps; where the latest prediction began
} zt_unipc;

// Buffers are the caller's, `floats` each, and stay until the last step.
void zt_unipc_init(zt_unipc *u, size_t floats, float *const buffer[3]);

// v is the network's velocity at x, level sigma in (0, 1): x moves to `next` in [0, sigma). With 0, the last step, it
// becomes x0. Steps need not be planned before.
void zt_unipc_step(zt_unipc *u, float *x, const float *v, double sigma, double next);

#ifdef __cplusplus
}
#endif
