// SPDX-License-Identifier: Apache-2.0
// Ground noise: a place is the same when the camera comes back, seams do not show, and the bits are those of every machine.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "diffusion/ground.h"

enum { ROWS = 18, COLUMNS = 32, SAMPLES = (COLUMNS + 2 * ZT_GROUND_MARGIN) * ZT_GROUND_DEPTHS };

typedef struct look {
    float   noise[SAMPLES * ZT_GROUND_NOISES];
    int32_t column[ROWS * COLUMNS];
    float   ray[ROWS * COLUMNS * 4];
} look;

static void see(const zt_ground *g, const zt_ground_camera *c, look *l)
{
    zt_ground_look(g, c, &(zt_ground_sight){ .h = ROWS, .w = COLUMNS, .noise = l->noise, .column = l->column,
                                             .ray = l->ray });
}

static double apart(const look *a, const look *b)
{
    double most = 0;
    for (size_t i = 0; i < ZT_LEN(a->noise); i++)
        most = fmax(most, fabs((double)a->noise[i] - (double)b->noise[i]));
    return most;
}

static uint64_t fnv(uint64_t hash, const void *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ ((const uint8_t *)data)[i]) * 0x100000001b3u;
    return hash;
}

// A turn at full control takes 216 frames of 40/24 degrees.
static void a_place_is_the_same_when_the_camera_comes_back(void **state)
{
    static look before, away, after;
    const zt_ground g = { .seed = 4, .side = ZT_GROUND_SIDE };
    zt_ground_camera c = zt_ground_start(&g);
    const float turn[ZT_GROUND_CONTROLS] = { 1, 0, 0, 0 };
    for (int i = 0; i < 60; i++)
        zt_ground_step(&g, &c, turn);
    see(&g, &c, &before);
    for (int i = 0; i < 108; i++)
        zt_ground_step(&g, &c, turn);
    see(&g, &c, &away);
    for (int i = 0; i < 108; i++)
        zt_ground_step(&g, &c, turn);
    see(&g, &c, &after);
    assert_true(apart(&before, &away) > 0.5);
    // sums of 216 steps of a cell in double, at 2^19: some 1e-8 cells; noise changes by less than 1 a cell
    assert_true(apart(&before, &after) < 1e-4);
    assert_memory_equal(before.column, after.column, sizeof(before.column));
}

static void the_ground_has_no_seam(void **state)
{
    static look here, there;
    const zt_ground g = zt_ground_of(9);
    for (int i = 0; i < 2; i++) {
        const double step = 1e-3, edge = i ? 0 : g.side - step / 2;
        zt_ground_camera a = { .x = edge, .z = edge, .yaw = 0.7, .y = -1 }, b = a;
        b.x = i ? step : step / 2;
        b.z = b.x;
        see(&g, &a, &here);
        see(&g, &b, &there);
        assert_true(apart(&here, &there) < 0.01);       // the finest noise has slopes of some 2 / 5.3 a cell
        for (int j = 0; j < ROWS * COLUMNS; j++)
            assert_true(fabs((double)here.ray[4 * j + 3] - (double)there.ray[4 * j + 3]) < 0.01);
    }
}

static void fine_depths_lie_between_the_others(void **state)
{
    static look coarse;
    static float noise[2 * SAMPLES * ZT_GROUND_NOISES];
    const zt_ground g = zt_ground_of(7);
    const zt_ground_camera c = { .x = 1000, .z = 2000, .yaw = 2 };
    see(&g, &c, &coarse);
    zt_ground_columns(&g, &c, &(zt_ground_sight){ .h = ROWS, .w = COLUMNS, .noise = noise, .depths = ZT_GROUND_FINE }, 0,
                      COLUMNS + 2 * ZT_GROUND_MARGIN);
    for (int i = 0; i < SAMPLES; i++)
        for (int j = 0; j < ZT_GROUND_NOISES; j++)      // depths are products of 72 roundings
            assert_true(fabs((double)noise[2 * i * ZT_GROUND_NOISES + j] -
                             (double)coarse.noise[i * ZT_GROUND_NOISES + j]) < 1e-6);
    for (int k = 0; k < ZT_GROUND_DEPTHS; k++)
        assert_true(fabs((double)zt_ground_depth(2 * k, ZT_GROUND_FINE) / (double)zt_ground_depth(k, ZT_GROUND_DEPTHS) - 1) < 1e-6);
}

static void seeds_make_different_grounds(void **state)
{
    static look one, two;
    const zt_ground_camera c = { .x = 100, .z = 200, .yaw = 1 };
    see(&(zt_ground){ 1, ZT_GROUND_SIDE }, &c, &one);
    see(&(zt_ground){ 2, ZT_GROUND_SIDE }, &c, &two);
    assert_true(apart(&one, &two) > 0.5);
}

static void bits_are_those_of_every_machine(void **state)
{
    static look l;
    const zt_ground g = zt_ground_of(12345);
    zt_ground_camera c = zt_ground_start(&g);
    uint64_t hash = 0xcbf29ce484222325u;
    for (int i = 0; i < 20; i++) {
        zt_ground_step(&g, &c, (const float[]){ 0.8f, -0.5f, 0.3f, 1 });
        zt_ground_climb(&c, (float)i);
        see(&g, &c, &l);
        hash = fnv(hash, l.noise, sizeof(l.noise));
        hash = fnv(hash, l.ray, sizeof(l.ray));
        hash = fnv(hash, &c.y, sizeof(c.y));
    }
    assert_int_equal(hash, 0xa5a6cd7a28e0acdd);
}

static void the_camera_keeps_above_the_ground(void **state)
{
    const zt_ground g = { .seed = 5, .side = ZT_GROUND_SIDE };
    zt_ground_camera c = zt_ground_start(&g);
    zt_ground_climb(&c, 12);
    assert_true(c.y == 33);
    const float dive[ZT_GROUND_CONTROLS] = { 0, 0, 1, -1 }, rise[ZT_GROUND_CONTROLS] = { 0, 0, 0, 1 };
    for (int i = 0; i < 400; i++) {
        zt_ground_step(&g, &c, dive);
        zt_ground_climb(&c, 12);
        assert_true(c.y > 12 + 5);
    }
    for (int i = 0; i < 400; i++) {
        zt_ground_step(&g, &c, rise);
        zt_ground_climb(&c, 12);
        assert_true(c.y < 12 + 52 + 20);
    }
    for (int i = 0; i < 200; i++) {     // a wall of 60 cells rises within 30 frames
        zt_ground_step(&g, &c, dive);
        zt_ground_climb(&c, 12 + 2 * (float)ZT_MIN(i, 30));
    }
    assert_true(c.y > 72 + 5);
    zt_ground_climb(&c, NAN);
    assert_true(c.y >= 3);
    c.y = NAN;
    zt_ground_climb(&c, 4);
    assert_true(c.y == 25);
}

// The look of a level camera: slopes fall from the top, the middle columns look ahead, the light is where it is.
static void rays_are_where_they_should_be(void **state)
{
    static look l;
    const zt_ground g = { .seed = 1, .side = ZT_GROUND_SIDE };
    see(&g, &(zt_ground_camera){ .yaw = 0.5, .sun = 0.5 }, &l);
    for (int i = 0; i < ROWS * COLUMNS; i++) {
        const double u = 0.7 * (2 * (i % COLUMNS) + 1 - COLUMNS) / COLUMNS;
        const double v = 0.7 * (ROWS - 2 * (i / COLUMNS) - 1) / COLUMNS;
        assert_int_equal(l.column[i], i % COLUMNS + ZT_GROUND_MARGIN);
        assert_true(fabs((double)l.ray[4 * i] - v) < 1e-6);
        assert_true(fabs((double)l.ray[4 * i + 1] - 1 / sqrt(1 + u * u)) < 1e-6);
        assert_true(fabs((double)l.ray[4 * i + 2] - u / sqrt(1 + u * u)) < 1e-6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_place_is_the_same_when_the_camera_comes_back),
        cmocka_unit_test(the_ground_has_no_seam),
        cmocka_unit_test(fine_depths_lie_between_the_others),
        cmocka_unit_test(seeds_make_different_grounds),
        cmocka_unit_test(bits_are_those_of_every_machine),
        cmocka_unit_test(the_camera_keeps_above_the_ground),
        cmocka_unit_test(rays_are_where_they_should_be),
    };
    return cmocka_run_group_tests_name("ground", tests, NULL, NULL);
}
