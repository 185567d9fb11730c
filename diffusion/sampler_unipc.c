// SPDX-License-Identifier: Apache-2.0
// A step of UniPC: correct x with what the network says of it, then predict the next one.
#include "diffusion/sampler_unipc.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "diffusion/sampler.h"

void zt_unipc_init(zt_unipc *u, int n, double shift, size_t floats, float *const buffer[3])
{
    assert(n >= 1 && n <= ZT_UNIPC_STEPS);
    *u = (zt_unipc){ .n = n, .floats = floats, .x0 = { buffer[0], buffer[1] }, .from = buffer[2] };
    for (int i = 0; i < n; i++) {
        u->sigma[i] = zt_sampler_shift(0.999 * (1 - (double)i / n), shift);
        u->t[i] = (float)floor(1000 * u->sigma[i]);
    }
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

// Weights of (m1 - m0) / r and m - m0 where the prediction for level i is corrected; its order was that prediction's.
static void correction(const zt_unipc *u, int i, const way *w, double *old, double *now)
{
    *old = 0;
    *now = 0.5;
    if (i < 2)
        return;
    const double hh = -w->h, r = (lambda(u->sigma[i - 2]) - lambda(u->sigma[i - 1])) / w->h;
    const double first = w->phi / hh - 1, b1 = first / w->phi, b2 = 2 * (first / hh - 0.5) / w->phi;
    const double rho = (b1 - b2) / (1 - r);
    *old = rho / r;
    *now = b1 - rho;
}

// x is corrected with its own estimate m = x - sigma v, which takes its place among the estimates.
static void correct(zt_unipc *u, float *x, const float *v, int i)
{
    double old, now;
    const way w = way_between(u->sigma[i - 1], u->sigma[i]);
    correction(u, i, &w, &old, &now);
    for (size_t j = 0; j < u->floats; j++) {
        const double m0 = u->x0[0][j], m1 = u->x0[1][j], m = x[j] - u->sigma[i] * v[j];
        x[j] = (float)(w.keep * u->from[j] - w.move * (m0 + old * (m1 - m0) + now * (m - m0)));
        u->x0[1][j] = u->x0[0][j];
        u->x0[0][j] = (float)m;
    }
}

// On to level i + 1, in first order at both ends.
static void predict(const zt_unipc *u, float *x, int i)
{
    const way w = way_between(u->sigma[i], u->sigma[i + 1]);
    const bool second = i > 0 && i < u->n - 1;
    const double old = second ? 0.5 * w.h / (lambda(u->sigma[i - 1]) - lambda(u->sigma[i])) : 0;
    for (size_t j = 0; j < u->floats; j++) {
        const double m0 = u->x0[0][j], m1 = u->x0[1][j];
        x[j] = (float)(w.keep * x[j] - w.move * (m0 + old * (m1 - m0)));
    }
}

void zt_unipc_step(zt_unipc *u, float *x, const float *v)
{
    const int i = u->step++;
    assert(i < u->n);
    if (i > 0) {
        correct(u, x, v, i);
    } else {
        for (size_t j = 0; j < u->floats; j++)
            u->x0[0][j] = u->x0[1][j] = (float)(x[j] - u->sigma[0] * v[j]);
    }
    memcpy(u->from, x, u->floats * sizeof(*x));
    predict(u, x, i);
}
