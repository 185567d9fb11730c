// SPDX-License-Identifier: Apache-2.0
// Logarithm, exponential, sine and cosine by argument reduction and Taylor polynomials.
//
// Only +, -, *, / and integer conversions of IEEE doubles are used, and the build forbids contraction, so every
// compiler and machine gives the same bits.
#include "diffusion/exact.h"

#include <stdint.h>
#include <string.h>

static const double ln2_high = 6.93147180369123816490e-01;     // the first 33 bits of ln 2
static const double ln2_low = 1.90821492927058770002e-10;

static double from_bits(uint64_t u)
{
    double d;
    memcpy(&d, &u, sizeof(d));
    return d;
}

double zt_exact_log(double x)
{
    uint64_t u;
    memcpy(&u, &x, sizeof(u));
    int e = (int)(u >> 52) - 1023;
    double m = from_bits((u & 0xfffffffffffff) | 0x3ff0000000000000);   // [1, 2)
    if (m > 1.4142135623730951) {
        m *= 0.5;
        e++;
    }
    // log m = 2 atanh z, |z| < 0.1716: terms up to z^23 leave 1e-19
    const double z = (m - 1) / (m + 1), z2 = z * z;
    double sum = 0;
    for (int i = 23; i >= 1; i -= 2)
        sum = sum * z2 + 1.0 / i;
    return e * ln2_high + (2 * z * sum + e * ln2_low);
}

double zt_exact_exp(double x)
{
    if (x < -700)
        return 0;
    if (x > 700)
        x = 700;
    const int64_t k = (int64_t)(x * 1.44269504088896338700 + (x < 0 ? -0.5 : 0.5));
    const double r = (x - (double)k * ln2_high) - (double)k * ln2_low;  // |r| < 0.35
    double sum = 1;
    for (int i = 15; i >= 1; i--)
        sum = 1 + r * sum / i;
    return sum * from_bits((uint64_t)(k + 1023) << 52);
}

void zt_exact_sincos(double x, double *sin, double *cos)
{
    // pi / 2 in three parts, the first two of 33 bits: products with 20 bits of k at a time are exact
    static const double p1 = 1.57079632673412561417e+00, p2 = 6.07710050630396597660e-11,
                        p3 = 2.02226624879595063154e-21;
    const int64_t k = (int64_t)(x * 6.36619772367581382433e-01 + (x < 0 ? -0.5 : 0.5));
    const double low = (double)(k % (1 << 20)), high = (double)k - low;
    const double r = ((x - high * p1 - low * p1) - (double)k * p2) - (double)k * p3, r2 = r * r;

    double s = 1, c = 1;                        // |r| <= pi / 4: terms beyond r^17 are below 1e-17
    for (int i = 16; i >= 2; i -= 2)
        s = 1 - r2 * s / (i * (i + 1));
    for (int i = 17; i >= 1; i -= 2)
        c = 1 - r2 * c / (i * (i + 1));
    s *= r;
    switch (k & 3) {
    case 0: *sin = s, *cos = c; break;
    case 1: *sin = c, *cos = -s; break;
    case 2: *sin = -s, *cos = -c; break;
    default: *sin = -c, *cos = s; break;
    }
}
