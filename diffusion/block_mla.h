// SPDX-License-Identifier: Apache-2.0
// Multi-head latent attention (DeepSeek-V2, -V3): keys and values are made from a narrow latent, and only that is kept.
//
//   q = Wq_b rms(Wq_a x), or Wq x: per head `nope` numbers, then `rope` that are rotated
//   [c, r] = Wkv_a x; kept are c / rms(c) * gain (`latent` numbers) and r rotated (`rope`, shared by the heads)
//   per head [k, v] = Wkv_b c;  logit = (q_nope . k + q_rope . r) / sqrt(nope + rope);  y = Wo (softmax v of all heads)
//
// With many queries per pass the expanded form is the cheap one: what is kept becomes keys and values of plain attention,
// once per pass; heads are padded to D, a multiple of 16.
#pragma once

#include "diffusion/load.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_mla_shape {
    int   dim, heads, q_latent, latent, nope, rope, value;      // q_latent 0: direct queries
    float eps;
} zt_mla_shape;

typedef struct zt_mla {
    zt_mla_shape s;
    int          D;                     // of the kernels' heads
    zt_matrix    q_a, q, kv_a, kv, o;   // kv: rows for all heads' keys, each padded to D, then for their values
    const float *q_norm, *kv_norm;
} zt_mla;

// Bytes of what is kept of a token: floats, rotated and normalised.
static inline int zt_mla_kept(const zt_mla *m)
{
    return m->s.latent + m->s.rope;
}

// PREFIXwq.weight or PREFIX{wq_a,q_norm,wq_b}.weight, PREFIX{wkv_a,kv_norm,wkv_b,wo}.weight. 0, -EINVAL (logged), -ENOMEM.
int zt_mla_load(zt_loader *l, zt_mla *m, const zt_mla_shape *s, const char *prefix);

// Floats that the calls below take as `work`, for M tokens.
size_t zt_mla_work(const zt_mla *m, int M);

// Queries of M tokens, q [M][heads D], and what is kept of them, kept [M][latent + rope].
//   angle f32 [M][rope / 2][2]
void zt_mla_project(const zt_mla *m, zt_device *d, zt_tensor x, const float *angle, float *q, float *kept, float *work);
// Keys and values of one slot's tokens.
void zt_mla_expand(const zt_mla *m, zt_device *d, const float *kept, const zt_kv *kv, int slot, float *work);
// out (+)= Wo of attention's result y [M][heads D], by the epilogue.
void zt_mla_output(const zt_mla *m, zt_device *d, zt_tensor out, const float *y, const zt_epilogue *e, float *work);

#ifdef __cplusplus
}
#endif
