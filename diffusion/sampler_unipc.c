// SPDX-License-Identifier: Apache-2.0
// A step of UniPC: correct x with what the network says of it, then predict the next one.
#include "diffusion/sampler_unipc.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "diffusion/sampler.h"

double zt_unipc_sigma(int i, int n, double shift)
{
    return i < n ? zt_sampler_shift(0.999 * (1 - (double)i / n), shift) : 0;
}

// 1000 sigma as a float that rounds down to the same whole number.
static float time_of(double sigma)
{
    const float t = (float)(1000 * sigma);
    return floor((double)t) > floor(1000 * sigma) ? nextafterf(t, 0) : t;
}

void zt_unipc_times(int n, double shift, float *t)
{
    for (int i = 0; i < n; i++)
        t[i] = time_of(zt_unipc_sigma(i, n, shift));
}

void zt_unipc_times_from(double t_now, int n, double shift, float *t)
{
    const double u = zt_sampler_unshift(t_now / 1000, shift);
    t[0] = (float)t_now;
    for (int i = 1; i < n; i++)
        t[i] = time_of(zt_sampler_shift(u * (1 - (double)i / n), shift));
}

void zt_unipc_init(zt_unipc *u, size_t floats, float *const buffer[3])
{
    *u = (zt_unipc){ .floats = floats, .x0 = { buffer[0], buffer[1] }, .from = buffer[2] };
}

static double lambda(double sigma)
{
    return log(1 - sigma) - log(sigma);
}

// What a step from level s to level t has in common: x_t = keep x_s - move (x0 + ...).
typedef struct way {
    double keep, move, h, phi;          // move (1 - t), phi = exp(-h) - 1
} way;

static way way_between(double s, double t)
{
    const double h = t > 0 ? lambda(t) - lambda(s) : INFINITY, phi = expm1(-h);
    return (way){ .keep = t / s, .move = (1 - t) * phi, .h = h, .phi = phi };
}

// Weights of (m1 - m0) / r and m - m0 where the latest prediction, for level sigma, is corrected; its order is that
// prediction's.
static void correction(const zt_unipc *u, const way *w, double *old, double *now)
{
    *old = 0;
    *now = 0.5;
    if (!u->second)
        return;
    const double hh = -w->h, r = (lambda(u->sigma[1]) - lambda(u->sigma[0])) / w->h;
    const double first = w->phi / hh - 1, b1 = first / w->phi, b2 = 2 * (first / hh - 0.5) / w->phi;
    const double rho = (b1 - b2) / (1 - r);
    *old = rho / r;
    *now = b1 - rho;
}

// x is corrected with its own estimate m = x - sigma v, which takes its place among the estimates.
static void correct(zt_unipc *u, float *x, const float *v, double sigma)
{
    double old, now;
    const way w = way_between(u->sigma[0], sigma);
    correction(u, &w, &old, &now);
    for (size_t j = 0; j < u->floats; j++) {
        const double m0 = u->x0[0][j], m1 = u->x0[1][j], m = x[j] - sigma * v[j];
        x[j] = (float)(w.keep * u->from[j] - w.move * (m0 + old * (m1 - m0) + now * (m - m0)));
        u->x0[1][j] = u->x0[0][j];
        u->x0[0][j] = (float)m;
    }
}

// On to level `next`, in first order at both ends.
static void predict(zt_unipc *u, float *x, double sigma, double next)
{
    const way w = way_between(sigma, next);
    u->second = u->step > 0 && next > 0;
    const double old = u->second ? 0.5 * w.h / (lambda(u->sigma[0]) - lambda(sigma)) : 0;
    for (size_t j = 0; j < u->floats; j++) {
        const double m0 = u->x0[0][j], m1 = u->x0[1][j];
        x[j] = (float)(w.keep * x[j] - w.move * (m0 + old * (m1 - m0)));
    }
}

void zt_unipc_step(zt_unipc *u, float *x, const float *v, double sigma, double next)
{
    assert(sigma > 0 && sigma < 1 && next >= 0 && next < sigma);
    if (u->step > 0) {
        correct(u, x, v, sigma);
    } else {
        for (size_t j = 0; j < u->floats; j++)
            u->x0[0][j] = u->x0[1][j] = (float)(x[j] - sigma * v[j]);
    }
    memcpy(u->from, x, u->floats * sizeof(*x));
    predict(u, x, sigma, next);
    u->sigma[1] = u->sigma[0];
    u->sigma[0] = sigma;
    u->step++;
}
