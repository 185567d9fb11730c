// SPDX-License-Identifier: Apache-2.0
// Time lists of the flow-matching samplers.
#include "diffusion/sampler.h"

#include <math.h>

double zt_sampler_shift(double u, double shift)
{
    return shift * u / (1 + (shift - 1) * u);
}

double zt_sampler_unshift(double sigma, double shift)
{
    return sigma / (shift - (shift - 1) * sigma);
}

void zt_sampler_steps(double t_now, double shift, int n, float *t)
{
    const double u = zt_sampler_unshift(t_now / 1000, shift);
    for (int i = 0; i < n; i++)
        t[i] = (float)(1000 * zt_sampler_shift(u * (1 - (double)i / n), shift));
    t[0] = (float)t_now;
}

double zt_sampler_warp(int k, double shift)
{
    return k > 0 ? 1000 * zt_sampler_shift(k / 1000.0, shift) : 0;
}

double zt_sampler_nearest(double t, double shift)
{
    double best = 0, distance = INFINITY;
    for (int i = 0; i < 1000; i++) {
        const double sigma = zt_sampler_shift(1 - i / 1000.0, shift);
        if (fabs(1000 * sigma - t) < distance) {
            distance = fabs(1000 * sigma - t);
            best = sigma;
        }
    }
    return best;
}
