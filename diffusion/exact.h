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
// The same of many, the same bits sooner; x of logs in place.
enum { ZT_EXACT_LANES = 8 };
void   zt_exact_logs(double x[ZT_EXACT_LANES]);
void   zt_exact_sincoses(const double x[ZT_EXACT_LANES], double sin[ZT_EXACT_LANES], double cos[ZT_EXACT_LANES]);

#ifdef __cplusplus
}
#endif
