// SPDX-License-Identifier: Apache-2.0
// Passes of many states on several threads: who takes what, and that nobody sees it in the bits.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"
#include "diffusion/internal.h"
#include "tests/small_model.h"

enum { STATES = 6, THREADS = 3, FRAMES = 4 };

static char *folder;

// Sizes differ in pairs, so that three shares may be even.
static void open_all(zt_device **d, zt_model **m, zt_state *s[STATES], int threads)
{
    static const int w[STATES] = { 96, 96, 48, 64, 64, 48 };
    assert_int_equal(zt_device_open(d, &(zt_device_params){ .device = "cpu", .threads = threads }), 0);
    assert_int_equal(zt_model_open(m, *d, folder, ZT_PRECISION_DEFAULT), 0);
    for (int i = 0; i < STATES; i++) {
        assert_int_equal(zt_state_create(&s[i], *m, w[i], 64, (uint64_t)i), 0);
        zt_state_prompt(s[i], i % 2 ? "snow at night" : "desert", NULL, 0);
    }
}

static void close_all(zt_device **d, zt_model **m, zt_state *s[STATES])
{
    for (int i = 0; i < STATES; i++)
        zt_state_destroy(&s[i]);
    assert_int_equal(zt_device_sync(*d), 0);
    zt_model_close(m);
    zt_device_close(d);
}

// The first pass of frame k of all, in two pieces; returns how many parts it ran in.
static int pass(zt_model *m, zt_state *const s[], int n, int k)
{
    zt_job job[STATES];
    for (int i = 0; i < n; i++) {
        if (k == 2)
            zt_state_prompt(s[i], "fog over islands", NULL, 0);
        zt_state_begin(s[i]);
        job[i] = (zt_job){ s[i], k ? ZT_COMMIT_DENOISE : ZT_DENOISE, 1000, 0 };
    }
    assert_int_equal(zt_model_pass(m, job, n, 0, 1), 0);
    assert_int_equal(zt_model_pass(m, job, n, 1, m->c.layers), 0);
    return m->parts;
}

static void shared_passes_give_the_same_bits(void **state)
{
    zt_device *d[2];
    zt_model *m[2];
    zt_state *alone[STATES], *packed[STATES];
    (void)state;
    open_all(&d[0], &m[0], alone, 1);
    open_all(&d[1], &m[1], packed, THREADS);
    for (int k = 0; k < FRAMES; k++) {
        for (int i = 0; i < STATES; i++)
            assert_int_equal(pass(m[0], &alone[i], 1, k), 1);
        assert_int_equal(pass(m[1], packed, STATES, k), THREADS);
        for (int i = 0; i < STATES; i++)
            assert_memory_equal(zt_state_x0(alone[i]).data, zt_state_x0(packed[i]).data,
                                zt_state_floats(alone[i]) * sizeof(float));
    }
    close_all(&d[0], &m[0], alone);
    close_all(&d[1], &m[1], packed);
}

static void uneven_passes_are_not_shared(void **state)
{
    zt_device *d;
    zt_model *m;
    zt_state *s[STATES];
    (void)state;
    open_all(&d, &m, s, THREADS);
    const zt_job two = { s[0], ZT_COMMIT_DENOISE, 1000, 0 }, one = { s[0], ZT_DENOISE, 1000, 0 },
                 few = { s[2], ZT_COMMIT_DENOISE, 1000, 0 };
    const struct {
        int    n, parts;
        zt_job job[7];
    } list[] = {
        { 2, 1, { one, one } },                             // fewer than threads
        { 3, 3, { one, one, one } },
        { 3, 1, { two, one, one } },
        { 4, 1, { one, one, one, one } },
        { 4, 3, { one, two, one, two } },
        { 5, 3, { one, few, two, few, few } },              // 96 x 64 has twice the tokens of 48 x 64
        { 7, 3, { two, one, one, one, few, one, few } },
    };
    for (size_t i = 0; i < ZT_LEN(list); i++)
        assert_int_equal(zt_shares_divide(m, list[i].job, list[i].n), list[i].parts);
    int load[THREADS] = { 0 };                              // of the last
    for (int i = 0; i < 7; i++)
        load[m->part_of[i]] += i ? 1 : 2;
    for (int i = 0; i < THREADS; i++)
        assert_in_range(load[i], 2, 3);
    close_all(&d, &m, s);
}

int main(int argc, char **argv)
{
    folder = small_model(argc > 1 ? argv[1] : "make_model", "--quant int8 --ground 1");
    const struct CMUnitTest tests[] = { cmocka_unit_test(shared_passes_give_the_same_bits),
                                        cmocka_unit_test(uneven_passes_are_not_shared) };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    small_model_remove(folder);
    return failed;
}
