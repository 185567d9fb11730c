// SPDX-License-Identifier: Apache-2.0
//
// The city: avenues along the crests of two swells, four lots between them, towers around even spots, a river.
#include "internal.h"

#include <math.h>

#define AVENUE_A (MAP_N / 11.401754f)   // cells between two avenues: the swells' lengths
#define AVENUE_B (MAP_N / 14.764823f)
#define KERB     2.0f                   // height of the streets
#define QUAY     0.12f                  // |course| of the river's banks

// What a cell's lot is like.
typedef struct lot {
    float kerb;         // cells from the nearest street's edge; < 0 on a street
    float avenue;       // 1 in the middle of an avenue .. 0 at its edge
    float rank;         // about [-1.5, 1.5], nearly the same all over a lot: how tall it is built
    float core;         // 0 outskirts .. 1 downtown
    float park;         // 0..1
    float course;       // of the river; water below QUAY
} lot;

static float to_edge(float turns, float span, float *avenue)
{
    const float wide = minf(turns, 1.0f - turns) * span, narrow = fabsf(turns - 0.5f) * span;
    *avenue = maxf(*avenue, 1.0f - wide / 4.0f);
    return minf(wide - 3.6f, narrow - 1.6f);
}

static lot find_lot(const float n[], const spot s[SPOTS], int x, int z)
{
    const float a = (float)((11 * x + 3 * z) & (MAP_N - 1)) / MAP_N;
    const float b = (float)((7 * x - 13 * z) & (MAP_N - 1)) / MAP_N;
    const float i = a < 0.5f ? 1.0f : -1.0f, j = b < 0.5f ? 1.0f : -1.0f;
    float near = 0.0f;
    for (int k = 0; k < SPOTS; k += 2)
        near = maxf(near, 1.0f - world_spot_distance(&s[k], x, z) / s[k].r);
    lot l = {.avenue = 0.0f};
    l.kerb = to_edge(a, AVENUE_A, &l.avenue);
    l.kerb = minf(l.kerb, to_edge(b, AVENUE_B, &l.avenue));
    l.rank = 0.8f * n[1] * i + 0.8f * n[5] * j + 0.6f * n[0] * i * j + 0.3f * n[2];
    l.core = smooth(0.00f, 0.50f, near);
    l.park = smooth(0.62f, 0.78f, 0.8f * n[5] - 0.3f * i * n[1] + 0.2f * n[2]) * (1.0f - l.core);
    l.course = fabsf(n[0] + 0.30f * n[1] + 0.06f * n[2]);
    return l;
}

// Straight, so that walls keep their edges between the cells.
static float ramp(float lo, float hi, float v)
{
    return clampf((v - lo) / (hi - lo), 0.0f, 1.0f);
}

static float storeys(float h, float step)
{
    const float k = floorf(h / step);
    return (k + smooth(0.86f, 1.0f, h / step - k)) * step;
}

float world_city_height(const float n[NOISES], const spot s[SPOTS], int x, int z)
{
    const lot l = find_lot(n, s, x, z);
    const float house = 5.0f + 3.5f * smooth(-1.0f, 1.0f, l.rank) + 3.5f * l.core;
    const float tower = l.core * storeys(18.0f * smooth(-0.4f, 0.6f, l.rank), 8.5f);
    const float built = ramp(-0.2f, 1.9f, l.kerb) * house + ramp(1.5f, 3.9f, l.kerb) * tower;
    const float wood = smooth(0.0f, 3.0f, l.kerb) * (1.3f + 1.5f * n[3]);
    const float land = KERB + lerpf(built, maxf(wood, 0.0f), l.park);
    const float water = smooth(QUAY + 0.03f, QUAY - 0.01f, l.course);
    const float bridge = smooth(0.05f, 0.30f, l.avenue);
    const float dry = smooth(QUAY + 0.05f, QUAY + 0.12f, l.course);        // no houses at the quay
    return lerpf(lerpf(KERB, land, dry), -2.0f, water * (1.0f - bridge));
}

static rgb roof_color(const float n[], const lot *l)
{
    const rgb tile = {0.40f, 0.17f, 0.095f}, slate = {0.17f, 0.19f, 0.23f}, stone = {0.44f, 0.41f, 0.37f};
    const rgb low = mix3(tile, stone, smooth(0.1f, 0.6f, l->rank + 0.2f * n[3]));
    return mix3(low, mix3(slate, stone, smooth(-0.2f, 0.9f, l->rank)), l->core);
}

ground world_city_ground(const site *at)
{
    const float *n = at->n, h = at->height;
    const rgb asphalt = {0.085f, 0.085f, 0.100f}, brick = {0.36f, 0.30f, 0.25f}, glass = {0.12f, 0.18f, 0.26f};
    const rgb lawn = {0.13f, 0.27f, 0.06f}, wood = {0.04f, 0.12f, 0.035f};
    const rgb sodium = {1.50f, 0.56f, 0.11f}, warm = {1.60f, 0.85f, 0.28f}, cool = {1.05f, 1.00f, 0.90f};
    const lot l = find_lot(n, at->s, at->x, at->z);
    const float wall = smooth(0.7f, 1.6f, at->slope) * (1.0f - l.park);
    const float dry = smooth(QUAY + 0.05f, QUAY + 0.12f, l.course), street = smooth(0.8f, -0.6f, l.kerb) + (1.0f - dry);
    rgb c = mix3(roof_color(n, &l), mix3(brick, glass, l.core), wall);
    c = mix3(c, mix3(lawn, wood, smooth(-0.2f, 0.5f, n[3])), l.park);
    ground g = {.albedo = mix3(c, asphalt, minf(street, 1.0f))};

    const float lit = smooth(0.10f, 0.45f, n[4] + 0.45f * n[3]) * smooth(KERB + 1.0f, KERB + 3.0f, h);
    const float glow = minf(street, 1.0f) * (0.13f + 0.55f * l.avenue * l.avenue) * (0.85f + 0.25f * n[3]) * (1.0f - 0.5f * l.park);
    g.emit = scale3(mix3(warm, cool, 0.7f * l.core * smooth(0.2f, 0.8f, n[2])), wall * lit * (0.34f + 0.14f * l.core));
    g.emit = scale3(add3(g.emit, sodium, glow), at->lamps);
    world_water(&g, h, 0.6f, n, (rgb){0.05f, 0.14f, 0.17f}, (rgb){0.02f, 0.075f, 0.11f});
    if (g.gloss > 0.3f)
        g.emit = scale3(sodium, 0.30f * at->lamps * smooth(QUAY - 0.08f, QUAY, l.course));
    return g;
}
