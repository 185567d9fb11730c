// SPDX-License-Identifier: Apache-2.0
// What reports say of the way to a viewer, by arithmetic.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "stream/path.h"

#define MS 1000     // us

static zt_path path;
static int64_t now;

// Reports that come every two seconds.
static void report(int n, int loss, int trip)
{
    while (n-- > 0)
        zt_path_report(&path, loss, trip, now += 2 * ZT_S);
}

static int begin(void **state)
{
    (void)state;
    path = (zt_path){ 0 };
    now = 1000 * ZT_S;
    return 0;
}

static void a_long_way_is_no_queue(void **state)
{
    (void)state;
    report(20, 0, 300 * MS);
    assert_int_equal(zt_path_queue(&path), 0);
    assert_int_equal(zt_path_room(&path), 1);
}

static void what_comes_on_top_of_the_least_is_one(void **state)
{
    (void)state;
    report(3, 0, 40 * MS);
    report(1, 0, 80 * MS);
    assert_int_equal(zt_path_room(&path), 1);
    report(1, 0, 120 * MS);
    assert_int_equal(zt_path_queue(&path), 80 * MS);
    assert_int_equal(zt_path_room(&path), 0);
    report(1, 0, 200 * MS);
    assert_int_equal(zt_path_room(&path), -1);
    report(1, 0, 45 * MS);
    assert_int_equal(zt_path_room(&path), 1);
}

// A way that has become longer is believed after a minute at most, not at once.
static void the_least_is_of_the_last_minute(void **state)
{
    (void)state;
    report(5, 0, 40 * MS);
    report(15, 0, 200 * MS);
    assert_int_equal(zt_path_room(&path), -1);
    report(17, 0, 200 * MS);
    assert_int_equal(zt_path_room(&path), 1);
}

static void silence_forgets_it(void **state)
{
    (void)state;
    report(5, 0, 40 * MS);
    now += 100 * ZT_S;
    report(1, 0, 200 * MS);
    assert_int_equal(zt_path_queue(&path), 0);
}

static void losses_count_without_a_round_trip(void **state)
{
    (void)state;
    report(20, 60, 0);
    assert_int_equal(zt_path_queue(&path), 0);
    assert_int_equal(zt_path_room(&path), -1);
    report(8, 0, 0);
    assert_int_equal(zt_path_room(&path), 0);
    report(20, 0, 0);
    assert_int_equal(zt_path_room(&path), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_long_way_is_no_queue, begin),
        cmocka_unit_test_setup(what_comes_on_top_of_the_least_is_one, begin),
        cmocka_unit_test_setup(the_least_is_of_the_last_minute, begin),
        cmocka_unit_test_setup(silence_forgets_it, begin),
        cmocka_unit_test_setup(losses_count_without_a_round_trip, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
