// SPDX-License-Identifier: Apache-2.0
// A Mamba-2 block (Dao and Gu, 2024): the past is a state of fixed size. One group of B and C.
//
//   [z, xBC, dt] = W_in u;  xBC = SiLU(conv(xBC)), causal, per channel;  D_t = softplus(dt + dt_bias), A = -exp(A_log)
//   h_t = exp(D_t A) h_{t-1} + D_t x_t (x) B_t;  y_t = h_t C_t + D x_t;  out = W_out (rms(y SiLU(z)) gain)
#pragma once

#include "diffusion/load.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_mamba_shape {
    int   dim, inner, head, state, conv;        // head divides inner; conv taps
    float eps;
} zt_mamba_shape;

typedef struct zt_mamba {
    zt_mamba_shape s;
    int            heads, channels;             // of the convolution: inner + 2 state
    zt_matrix      in, out;
    const float   *conv_w, *conv_b;             // [channels][conv], [channels]
    const float   *dt_bias, *A_log, *D, *norm;
} zt_mamba;

// What a stream keeps of one block. `tail` holds the convolution's last inputs, oldest first.
typedef struct zt_mamba_state {
    float *h;                                   // [heads][head][state]
    float *tail;                                // [channels][conv - 1]
} zt_mamba_state;

// Floats of h and tail together; tail follows h.
size_t zt_mamba_state_floats(const zt_mamba *m);

// PREFIX{in_proj,out_proj,conv1d,norm}.weight, conv1d.bias, dt_bias, A_log, D. 0, -EINVAL (logged), -ENOMEM.
int zt_mamba_load(zt_loader *l, zt_mamba *m, const zt_mamba_shape *s, const char *prefix);

// Floats of `work` for M tokens.
size_t zt_mamba_work(const zt_mamba *m, int M);

// out (+)= block(x [M][dim]), by the epilogue, from state `s` on. `commit` leaves the state after the last token in s,
// otherwise s stays as it is. With out.data NULL only the state moves.
void zt_mamba_run(const zt_mamba *m, zt_device *d, zt_tensor out, zt_tensor x, zt_mamba_state *s, bool commit,
                  const zt_epilogue *e, float *work);

#ifdef __cplusplus
}
#endif
