// SPDX-License-Identifier: Apache-2.0
// Logarithm, exponential, sine and cosine by argument reduction and Taylor polynomials.
//
// Only +, -, *, / and integer conversions of IEEE doubles are used, and the build forbids contraction, so every
// compiler and machine gives the same bits.
#include "diffusion/exact.h"

#include <stdbool.h>
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

// n at a time, each as if alone: their chains of operations overlap.
static inline __attribute__((always_inline)) void logs(double *x, const int n)
{
    double z[ZT_EXACT_LANES], z2[ZT_EXACT_LANES], sum[ZT_EXACT_LANES] = { 0 };
    int e[ZT_EXACT_LANES];
    for (int j = 0; j < n; j++) {
        uint64_t u;
        memcpy(&u, &x[j], sizeof(u));
        const double m = from_bits((u & 0xfffffffffffff) | 0x3ff0000000000000);     // [1, 2)
        const bool upper = m > 1.4142135623730951;
        const double h = upper ? m * 0.5 : m;
        e[j] = (int)(u >> 52) - 1023 + upper;
        // log h = 2 atanh z, |z| < 0.1716: terms up to z^23 leave 1e-19
        z[j] = (h - 1) / (h + 1);
        z2[j] = z[j] * z[j];
    }
    for (int i = 23; i >= 1; i -= 2) {
        for (int j = 0; j < n; j++)
            sum[j] = sum[j] * z2[j] + 1.0 / i;
    }
    for (int j = 0; j < n; j++)
        x[j] = e[j] * ln2_high + (2 * z[j] * sum[j] + e[j] * ln2_low);
}

double zt_exact_log(double x)
{
    logs(&x, 1);
    return x;
}

void zt_exact_logs(double x[ZT_EXACT_LANES])
{
    logs(x, ZT_EXACT_LANES);
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

static inline __attribute__((always_inline)) void sincos_of(const double *x, double *sin, double *cos, const int n)
{
    // pi / 2 in three parts, the first two of 33 bits: products with 20 bits of k at a time are exact
    static const double p1 = 1.57079632673412561417e+00, p2 = 6.07710050630396597660e-11,
                        p3 = 2.02226624879595063154e-21;
    double r[ZT_EXACT_LANES], r2[ZT_EXACT_LANES], s[ZT_EXACT_LANES], c[ZT_EXACT_LANES];
    int64_t k[ZT_EXACT_LANES];
    for (int j = 0; j < n; j++) {
        k[j] = (int64_t)(x[j] * 6.36619772367581382433e-01 + (x[j] < 0 ? -0.5 : 0.5));
        const double low = (double)(k[j] % (1 << 20)), high = (double)k[j] - low;
        r[j] = ((x[j] - high * p1 - low * p1) - (double)k[j] * p2) - (double)k[j] * p3;
        r2[j] = r[j] * r[j];
        s[j] = c[j] = 1;
    }
    for (int i = 16; i >= 2; i -= 2) {          // |r| <= pi / 4: terms beyond r^17 are below 1e-17
        for (int j = 0; j < n; j++)
            s[j] = 1 - r2[j] * s[j] / (i * (i + 1));
    }
    for (int i = 17; i >= 1; i -= 2) {
        for (int j = 0; j < n; j++)
            c[j] = 1 - r2[j] * c[j] / (i * (i + 1));
    }
    for (int j = 0; j < n; j++) {               // a quarter turn makes c of s, -s of c
        const double a = k[j] & 1 ? c[j] : s[j] * r[j], b = k[j] & 1 ? s[j] * r[j] : c[j];
        sin[j] = k[j] & 2 ? -a : a;
        cos[j] = (k[j] + 1) & 2 ? -b : b;
    }
}

void zt_exact_sincos(double x, double *sin, double *cos)
{
    sincos_of(&x, sin, cos, 1);
}

void zt_exact_sincoses(const double x[ZT_EXACT_LANES], double sin[ZT_EXACT_LANES], double cos[ZT_EXACT_LANES])
{
    sincos_of(x, sin, cos, ZT_EXACT_LANES);
}
