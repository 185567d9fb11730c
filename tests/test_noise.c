// SPDX-License-Identifier: Apache-2.0
// Noise and its arithmetic: published and pinned values, moments.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "diffusion/exact.h"
#include "diffusion/noise.h"

// Known answers of the Random123 distribution (philox4x32, 10 rounds).
static void philox_gives_the_published_values(void **state)
{
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } known[] = {
        { { 0 }, { 0 }, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
        { { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff }, { 0xffffffff, 0xffffffff },
          { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
        { { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 }, { 0xa4093822, 0x299f31d0 },
          { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
    };
    for (size_t i = 0; i < ZT_LEN(known); i++) {
        uint32_t out[4];
        zt_philox(known[i].counter, known[i].key, out);
        assert_memory_equal(out, known[i].out, sizeof(out));
    }
}

// Bits, so that a machine or compiler that differs is found out. Computed once with this code; moments and libm are
// checked below.
static void noise_has_the_pinned_bits(void **state)
{
    static const uint32_t pinned[2][6] = {
        { 0x3f7dbb33, 0xbf6cb6b0, 0xbf1e1b9f, 0xbef6d1b2, 0xbe1d5357, 0x3e392a6d },
        { 0x3f4506e7, 0x3fd65612, 0x3e1c1a4f, 0xbe408273, 0x3f9a1d77, 0xbf4c5d71 },
    };
    for (int i = 0; i < 2; i++) {
        float x[6];
        uint32_t bits[6];
        zt_noise_fill(x, 6, i ? 0xfedcba9876543210u : 0, i ? 0x123456789abu : 0, i ? 3 : 0);
        memcpy(bits, x, sizeof(bits));
        assert_memory_equal(bits, pinned[i], sizeof(bits));
    }
}

static void noise_is_addressed_by_seed_frame_step_and_index(void **state)
{
    float x[40], y[40];
    zt_noise_fill(x, 40, 1, 2, 3);
    zt_noise_fill(y, 37, 1, 2, 3);                      // a length that is no multiple of four
    assert_memory_equal(x, y, 37 * sizeof(float));
    const uint64_t other[3][3] = { { 2, 2, 3 }, { 1, 3, 3 }, { 1, 2, 4 } };
    for (int i = 0; i < 3; i++) {
        zt_noise_fill(y, 40, other[i][0], other[i][1], (uint32_t)other[i][2]);
        for (int j = 0; j < 40; j++)
            assert_true(x[j] != y[j]);
    }
}

// Of n normal deviates mean and variance are off by 1/sqrt(n) and sqrt(2/n), the fourth moment by sqrt(96/n); five of
// each.
static void noise_is_normal(void **state)
{
    enum { N = 1 << 20 };
    static float x[N];
    double sum = 0, square = 0, fourth = 0, pair = 0;
    zt_noise_fill(x, N, 42, 7, 0);
    for (int i = 0; i < N; i++) {
        sum += x[i];
        square += (double)x[i] * x[i];
        fourth += pow(x[i], 4);
        pair += (double)x[i] * x[(i + 1) % N];
    }
    assert_true(fabs(sum / N) < 5 / sqrt(N));
    assert_true(fabs(square / N - 1) < 5 * sqrt(2.0 / N));
    assert_true(fabs(fourth / N - 3) < 5 * sqrt(96.0 / N));
    assert_true(fabs(pair / N) < 5 / sqrt(N));
}

// libm is good to an ulp or so; the polynomials claim 1e-14.
static void exact_functions_agree_with_libm(void **state)
{
    for (int i = -100000; i <= 100000; i++) {
        const double x = i * 0.00731, wide = i * 811.7;
        double s, c;
        zt_exact_sincos(x, &s, &c);
        assert_true(fabs(s - sin(x)) < 1e-14 && fabs(c - cos(x)) < 1e-14);
        zt_exact_sincos(wide, &s, &c);                  // up to 8e7: more than 20 bits of turns
        assert_true(fabs(s - sin(wide)) < 1e-14 && fabs(c - cos(wide)) < 1e-14);
        assert_true(fabs(zt_exact_exp(x / 2) / exp(x / 2) - 1) < 1e-14);
        const double u = exp(x / 4);
        assert_true(fabs(zt_exact_log(u) - log(u)) <= 1e-14 * fmax(1, fabs(log(u))));
    }
    assert_true(zt_exact_exp(-1000) == 0 && isfinite(zt_exact_exp(1000)));
}

static void many_at_once_have_the_bits_of_one(void **state)
{
    for (int i = 0; i < 20000; i++) {
        double x[ZT_EXACT_LANES], u[ZT_EXACT_LANES], s[ZT_EXACT_LANES], c[ZT_EXACT_LANES];
        for (int j = 0; j < ZT_EXACT_LANES; j++) {
            x[j] = (i - 10000) * 3.1 + j * 0.77;
            u[j] = exp((i - 10000) * 0.003 + j);
        }
        zt_exact_sincoses(x, s, c);
        double l[ZT_EXACT_LANES];
        memcpy(l, u, sizeof(l));
        zt_exact_logs(l);
        for (int j = 0; j < ZT_EXACT_LANES; j++) {
            double s1, c1;
            const double l1 = zt_exact_log(u[j]);
            zt_exact_sincos(x[j], &s1, &c1);
            assert_true(!memcmp(&s1, &s[j], 8) && !memcmp(&c1, &c[j], 8) && !memcmp(&l1, &l[j], 8));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_published_values),
        cmocka_unit_test(noise_has_the_pinned_bits),
        cmocka_unit_test(noise_is_addressed_by_seed_frame_step_and_index),
        cmocka_unit_test(noise_is_normal),
        cmocka_unit_test(exact_functions_agree_with_libm),
        cmocka_unit_test(many_at_once_have_the_bits_of_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
