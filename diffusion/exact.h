// SPDX-License-Identifier: Apache-2.0
// Functions of the real line with the same bits on every machine: plain double arithmetic, no libm.
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

// Errors are below 1e-14 relative (log, exp) or absolute (sin, cos): far below what a float can show.
double zt_exact_log(double x);                              // x > 0, finite, not subnormal
double zt_exact_exp(double x);                              // 0 below -700, clamped at 700
void   zt_exact_sincos(double x, double *sin, double *cos); // |x| < 2^31

#ifdef __cplusplus
}
#endif
