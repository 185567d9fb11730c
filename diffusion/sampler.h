// SPDX-License-Identifier: Apache-2.0
// Noise levels. A level is sigma = t / 1000; u is the position on the schedule before the shift.
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

// sigma = shift * u / (1 + (shift - 1) * u), and back.
double zt_sampler_shift(double u, double shift);
double zt_sampler_unshift(double sigma, double shift);

// t[0..n-1] from t_now down, evenly spaced in u, 0 left out: the n steps that lead to 0.
void zt_sampler_steps(double t_now, double shift, int n, float *t);

// Wan's few-step family: table entry i of 1000 is zt_sampler_shift(1 - i / 1000); a listed step k means entry 1000 - k,
// 0 means t = 0; the level of a t is that of the nearest entry.
double zt_sampler_warp(int k, double shift);                // t
double zt_sampler_nearest(double t, double shift);          // sigma

#ifdef __cplusplus
}
#endif
