// SPDX-License-Identifier: Apache-2.0
// UniPC of order 2 (Zhao et al., 2023) as Wan uses it: variant bh2, predicting x0, lower order at both ends.
#pragma once

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { ZT_UNIPC_STEPS = 128 };

typedef struct zt_unipc {
    int    n, step;                     // steps in all, done
    double sigma[ZT_UNIPC_STEPS + 1];   // the last is 0
    float  t[ZT_UNIPC_STEPS];           // what the network is told: whole numbers
    size_t floats;                      // of a latent
    float *x0[2], *from;                // estimates of this step and the one before; where the last prediction began
} zt_unipc;

// n in 1..ZT_UNIPC_STEPS: levels evenly from 0.999 to 0 (left out), shifted; t is 1000 sigma rounded down. Buffers are the
// caller's, `floats` each, and stay until the last step.
void zt_unipc_init(zt_unipc *u, int n, double shift, size_t floats, float *const buffer[3]);

// v is the network's velocity at x and t[step]: x moves to the next level. After the last step x is x0.
void zt_unipc_step(zt_unipc *u, float *x, const float *v);

#ifdef __cplusplus
}
#endif
