// SPDX-License-Identifier: Apache-2.0
// What the scalar references share: activations, rounded rows, the product of a row with a matrix.
#pragma once

#include "kernels/device.h"

double zt_act_ref(enum zt_act act, double x);

// q[0..K) = x as a matrix of that type multiplies it (I8: integers). Returns the scale of q (1 but for I8).
float zt_row_ref(enum zt_type type, const float *x, int K, float *q);

// y[n] = (sum_k q[k] w[n][k]) * scale + bias, n in [0, N16). q and s are zt_row_ref()'s.
void zt_product_ref(const zt_matrix *w, const float *q, float s, double *y);

// out[0..N) by the epilogue of row m, without its activation.
void zt_epilogue_ref(const zt_epilogue *e, int m, const double *y, int N, float *out);
