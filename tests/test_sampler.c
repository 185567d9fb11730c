// SPDX-License-Identifier: Apache-2.0
// Time lists.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "diffusion/model.h"
#include "diffusion/sampler.h"

static void steps_follow_the_shifted_schedule(void **state)
{
    float t[ZT_MAX_STEPS];
    zt_sampler_steps(1000, 3, 1, t);
    assert_true(t[0] == 1000);
    zt_sampler_steps(1000, 3, 2, t);                    // u = 1, 1/2: sigma = 1, 1.5 / 2
    assert_true(t[0] == 1000 && t[1] == 750);
    zt_sampler_steps(1000, 3, 4, t);                    // u = 3/4, 1/4: 2.25 / 2.5, 0.75 / 1.5
    assert_true(t[1] == 900 && t[2] == 750 && t[3] == 500);
    for (int n = 1; n <= ZT_MAX_STEPS; n++) {
        zt_sampler_steps(1000, 5, n, t);
        for (int i = 1; i < n; i++)
            assert_true(t[i] < t[i - 1] && t[i] > 0);
    }
}

// Planning again from where one is changes nothing when nothing has changed.
static void steps_from_the_present_time_continue_the_list(void **state)
{
    float whole[ZT_MAX_STEPS], rest[ZT_MAX_STEPS];
    for (int n = 2; n <= 16; n++) {
        zt_sampler_steps(1000, 3, n, whole);
        for (int i = 1; i < n; i++) {
            zt_sampler_steps(whole[i], 3, n - i, rest);
            assert_true(rest[0] == whole[i]);
            for (int j = 0; j < n - i; j++)             // two roundings to float of numbers up to 1000
                assert_true(fabsf(rest[j] - whole[i + j]) < 2e-4f);
        }
    }
}

static void shift_and_unshift_are_inverse(void **state)
{
    for (int i = 0; i <= 1000; i++) {
        const double u = i / 1000.0;
        assert_true(fabs(zt_sampler_unshift(zt_sampler_shift(u, 5), 5) - u) < 1e-14);
    }
}

// The published few-step list of the Self-Forcing family.
static void warped_steps_are_the_published_ones(void **state)
{
    assert_true(zt_sampler_warp(1000, 5) == 1000 && zt_sampler_warp(750, 5) == 937.5 && zt_sampler_warp(250, 5) == 625);
    assert_true(fabs(zt_sampler_warp(500, 5) - 833.33333) < 1e-4 && zt_sampler_warp(0, 5) == 0);
    assert_true(fabs(zt_sampler_nearest(937.5, 5) - 0.9375) < 1e-12);
    assert_true(fabs(zt_sampler_nearest(0, 5) - 0.00498008) < 1e-8);    // t = 0 is nearest to the last entry
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_follow_the_shifted_schedule),
        cmocka_unit_test(steps_from_the_present_time_continue_the_list),
        cmocka_unit_test(shift_and_unshift_are_inverse),
        cmocka_unit_test(warped_steps_are_the_published_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
