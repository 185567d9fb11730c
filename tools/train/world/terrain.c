// SPDX-License-Identifier: Apache-2.0
//
// The shapes and the colours of the eight places.
#include "internal.h"

#include <math.h>

#define TURN (6.2831853f / MAP_N)

static float ridge(float n)
{
    return 1.0f - sqrtf(n * n + 0.004f);
}

// Distance on the repeating map.
static float distance(const spot *s, int x, int z)
{
    float dx = fabsf((float)x - s->x), dz = fabsf((float)z - s->z);
    dx = dx > MAP_N / 2 ? MAP_N - dx : dx;
    dz = dz > MAP_N / 2 ? MAP_N - dz : dz;
    return sqrtf(dx * dx + dz * dz);
}

void world_spots(int place, uint64_t seed, spot s[SPOTS])
{
    const float lane = MAP_N / 3.0f;
    for (int i = 0; i < SPOTS; i++) {
        const uint32_t k = (uint32_t)i * 4;
        s[i].x = ((float)(i % 3) + 0.2f + 0.6f * world_unit(seed, k)) * lane;
        s[i].z = ((float)(i / 3) + 0.2f + 0.6f * world_unit(seed, k + 1)) * lane;
        s[i].r = 0.6f + 0.4f * world_unit(seed, k + 2);
        s[i].h = 0.6f + 0.4f * world_unit(seed, k + 3);
        s[i].r *= place == WORLD_MARS ? 27.0f : 80.0f;
        s[i].h *= place == WORLD_MARS ? 7.5f : 66.0f;
    }
}

static float mountains(const float n[])
{
    const float r = ridge(0.75f * n[1] + 0.25f * n[2]);
    const float crest = r > 0 ? r * r : 0;
    const float mass = smooth(-0.9f, 1.1f, n[0]);
    return -4.0f + (15.0f + 36.0f * mass) * crest + 11.0f * mass +
           4.5f * (0.3f + crest) * ridge(n[3]) + 2.0f * n[2] + 0.7f * n[4] * crest;
}

static float dune(const float n[], int x, int z)
{
    const float a = TURN * 0.5f * (float)(11 * x + 3 * z) + 1.3f * n[0] + 0.9f * n[5];
    const float b = TURN * 0.5f * (float)(7 * x - 13 * z) + 1.5f * n[5] + 0.5f * n[2];
    const float big = 1.0f - sqrtf(sinf(a) * sinf(a) + 0.008f);
    const float small = 1.0f - sqrtf(sinf(b) * sinf(b) + 0.02f);
    return 3.0f + 5.0f * n[0] + (13.0f + 5.0f * n[1]) * big + 3.0f * small + 0.4f * n[3];
}

static float islands(const float n[])
{
    const float h = 0.55f * n[1] + 0.35f * n[0] + 0.30f * n[2] - 0.28f;
    const float peak = h > 0 ? h : 0;
    return 13.0f * h + 30.0f * peak * (0.6f + 0.6f * ridge(n[3])) + 0.6f * n[3];
}

static float volcano(const float n[], const spot *s, int x, int z)
{
    float h = 2.0f + 3.5f * n[1] + 5.0f * ridge(n[2]) + 1.2f * n[3];
    for (int i = 0; i < SPOTS; i += 2) {
        const float d = distance(&s[i], x, z) * (1.0f + 0.05f * n[3]);
        const float k = 1.0f - d / s[i].r;
        if (k <= 0.0f)
            continue;
        const float rim = 0.16f, gully = 0.10f * k * (1.0f - k) * ridge(n[3]);
        const float top = k > 1.0f - rim ? 1.0f - rim : k;
        h += s[i].h * (top * sqrtf(top) * top + gully);
        h -= s[i].h * 0.9f * (k > 1.0f - rim ? k - 1.0f + rim : 0.0f);
    }
    return h;
}

static float meadow(const float n[])
{
    return 6.0f + 7.0f * n[1] + 5.5f * n[2] + 5.0f * n[0] + 0.9f * n[3];
}

static float terrace(float h, float step)
{
    const float k = floorf(h / step), f = h / step - k;
    return (k + smooth(0.45f, 0.95f, f)) * step;
}

static float canyon(const float n[])
{
    const float river = fabsf(0.65f * n[1] + 0.55f * n[0] + 0.10f * n[2]);
    const float wall = smooth(0.06f, 0.62f, river + 0.05f * n[3]);
    const float h = -2.5f + 38.0f * wall + 4.0f * n[2] * wall;
    return lerpf(h, terrace(h, 7.5f), 0.85f * wall) + 0.7f * n[3] * wall;
}

static float ice(const float n[])
{
    const float crack = fabsf(n[2] + 0.35f * n[3]), lead = fabsf(n[1] - 0.4f * n[2]);
    const float floe = smooth(0.06f, 0.16f, crack) * smooth(0.10f, 0.24f, lead);
    const float berg = smooth(0.45f, 1.15f, n[5] + 0.25f * n[2]);
    const float solid = maxf(floe, smooth(0.0f, 0.3f, berg));
    return -1.5f + 2.4f * solid + 0.3f * n[3] * solid +
           berg * (9.0f + 13.0f * ridge(n[2]) + 3.0f * ridge(n[3]));
}

static float mars(const float n[], const spot *s, int x, int z)
{
    const float b = n[5] + 0.35f * n[2] + 0.12f * n[3];
    const float butte = 20.0f * smooth(0.52f, 0.78f, b) + 11.0f * smooth(0.90f, 1.05f, b);
    float h = 3.0f + 3.0f * n[0] + 2.2f * n[1] + 1.2f * n[2] + 0.4f * n[3];
    for (int i = 0; i < SPOTS; i++) {
        const float d = distance(&s[i], x, z) / s[i].r;
        if (d > 1.8f)
            continue;
        const float bowl = d < 1.0f ? d * d - 1.0f : 0.0f;
        const float rim = d - 1.0f;
        h += s[i].h * (bowl + 0.55f / (1.0f + 14.0f * rim * rim) * smooth(1.8f, 1.0f, d));
    }
    return h + butte + 1.5f * (butte > 1.0f) * n[3] * 0.4f;
}

float world_height(int place, const float n[NOISES], const spot s[SPOTS], int x, int z)
{
    switch (place) {
    case WORLD_MOUNTAINS: return mountains(n);
    case WORLD_DESERT: return dune(n, x, z);
    case WORLD_ISLANDS: return islands(n);
    case WORLD_VOLCANO: return volcano(n, s, x, z);
    case WORLD_MEADOW: return meadow(n);
    case WORLD_CANYON: return canyon(n);
    case WORLD_ICE: return ice(n);
    default: return mars(n, s, x, z);
    }
}

static void water(ground *g, float height, float shore, const float n[], rgb shallow, rgb deep)
{
    const float wet = smooth(shore, -0.15f, height);
    const rgb tint = mix3(shallow, deep, smooth(-0.3f, -6.0f, height));
    g->albedo = mix3(g->albedo, tint, wet);
    g->gloss = wet * clampf(0.72f + 0.16f * n[4], 0.4f, 1.0f);
}

static ground mountain_ground(const float n[], float h, float slope)
{
    const rgb snow = {0.82f, 0.88f, 0.97f}, rock = {0.17f, 0.165f, 0.19f};
    const rgb wood = {0.045f, 0.095f, 0.06f}, grass = {0.13f, 0.20f, 0.07f};
    const float line = h + 3.0f * n[2] + 2.0f * n[3];
    rgb low = mix3(grass, wood, smooth(-0.4f, 0.5f, n[3] + n[5]));
    low = mix3(low, rock, smooth(0.65f, 1.2f, slope));
    const float white = smooth(9.0f, 19.0f, line) * smooth(1.75f, 0.95f, slope - line * 0.006f);
    low = mix3(low, rock, smooth(8.0f, 16.0f, line));
    return (ground){.albedo = mix3(low, snow, white)};
}

static ground desert_ground(const float n[], float h, float slope)
{
    const rgb gold = {0.80f, 0.47f, 0.19f}, rust = {0.62f, 0.27f, 0.10f};
    const float t = smooth(0.0f, 26.0f, h + 3.0f * n[2]);
    rgb c = mix3(rust, gold, t);
    return (ground){.albedo = mix3(c, scale3(rust, 0.9f), 0.35f * smooth(0.5f, 1.1f, slope))};
}

static ground island_ground(const float n[], float h, float slope)
{
    const rgb sand = {0.86f, 0.72f, 0.46f}, palm = {0.08f, 0.24f, 0.05f};
    const rgb wood = {0.04f, 0.14f, 0.06f}, rock = {0.22f, 0.19f, 0.15f};
    rgb c = mix3(palm, wood, smooth(-0.5f, 0.6f, n[3] + 0.5f * n[2]));
    c = mix3(c, rock, smooth(1.0f, 1.6f, slope));
    ground g = {.albedo = mix3(sand, c, smooth(0.9f, 2.4f, h + 0.3f * n[3]))};
    water(&g, h, 0.35f, n, (rgb){0.10f, 0.55f, 0.50f}, (rgb){0.010f, 0.10f, 0.24f});
    return g;
}

static ground volcano_ground(const float n[], const spot *s, int x, int z, float h, float slope)
{
    const rgb ash = {0.10f, 0.085f, 0.085f}, basalt = {0.045f, 0.040f, 0.048f};
    const rgb hot = {3.6f, 0.78f, 0.08f};
    ground g = {.albedo = mix3(ash, basalt, smooth(-0.5f, 0.6f, n[2] + 0.4f * n[3]))};
    float heat = smooth(0.17f, 0.02f, fabsf(n[1] + 0.30f * n[2])) * smooth(11.0f, 6.0f, h);
    for (int i = 0; i < SPOTS; i += 2) {
        const float d = distance(&s[i], x, z), k = 1.0f - d / s[i].r;
        if (k <= 0.0f)
            continue;
        const float vein = smooth(0.20f, 0.03f, fabsf(n[2] + 0.3f * n[1]));
        heat = maxf(heat, vein * smooth(0.10f, 0.45f, k));
        heat = maxf(heat, smooth(0.86f, 0.93f, k));
    }
    g.albedo = mix3(g.albedo, (rgb){0.16f, 0.15f, 0.15f}, 0.5f * smooth(20.0f, 50.0f, h));
    g.emit = scale3(hot, heat * clampf(0.8f + 0.2f * n[3] - 0.1f * slope, 0.3f, 1.2f));
    return g;
}

static ground meadow_ground(const float n[], float h, float slope)
{
    const rgb grass = {0.20f, 0.40f, 0.06f}, lush = {0.09f, 0.27f, 0.05f};
    const rgb wood = {0.035f, 0.13f, 0.04f}, bloom = {0.72f, 0.52f, 0.10f};
    const rgb lilac = {0.46f, 0.26f, 0.56f};
    rgb c = mix3(lush, grass, smooth(-0.6f, 0.7f, n[2] + 0.04f * h));
    c = mix3(c, bloom, 0.75f * smooth(0.45f, 0.8f, n[5] + 0.3f * n[3]));
    c = mix3(c, lilac, 0.70f * smooth(0.50f, 0.85f, -n[5] + 0.4f * n[2]));
    c = mix3(c, wood, 0.9f * smooth(0.35f, 0.6f, n[3] + 0.5f * n[1] - 0.2f * slope));
    ground g = {.albedo = c};
    water(&g, h, 0.5f, n, (rgb){0.05f, 0.24f, 0.22f}, (rgb){0.015f, 0.09f, 0.16f});
    return g;
}

static ground canyon_ground(const float n[], float h, float slope)
{
    const rgb red = {0.55f, 0.17f, 0.075f}, cream = {0.80f, 0.50f, 0.28f};
    const rgb plum = {0.34f, 0.11f, 0.085f}, scrub = {0.27f, 0.24f, 0.09f};
    const float band = 0.5f + 0.5f * sinf(h * 0.85f + 0.5f * n[1]);
    const float wide = 0.5f + 0.5f * sinf(h * 0.31f + 1.0f);
    rgb c = mix3(mix3(plum, red, wide), cream, 0.55f * band * band);
    const rgb top = mix3(red, scrub, 0.6f * smooth(-0.2f, 0.7f, n[3] + n[5]));
    ground g = {.albedo = mix3(top, c, smooth(0.25f, 0.9f, slope))};
    g.albedo = mix3(scrub, g.albedo, smooth(0.5f, 3.0f, h));
    water(&g, h, 0.4f, n, (rgb){0.10f, 0.34f, 0.30f}, (rgb){0.03f, 0.17f, 0.20f});
    return g;
}

static ground ice_ground(const float n[], float h, float slope)
{
    const rgb snow = {0.80f, 0.90f, 0.97f}, blue = {0.34f, 0.66f, 0.84f};
    rgb c = mix3(snow, blue, clampf(0.75f * smooth(0.35f, 1.5f, slope), 0.0f, 1.0f));
    c = mix3(c, blue, 0.25f * smooth(0.0f, 0.8f, n[3]));
    ground g = {.albedo = c};
    water(&g, h, 0.6f, n, (rgb){0.10f, 0.42f, 0.50f}, (rgb){0.015f, 0.10f, 0.19f});
    return g;
}

static ground mars_ground(const float n[], float h, float slope)
{
    const rgb dust = {0.66f, 0.28f, 0.12f}, iron = {0.36f, 0.12f, 0.065f};
    const rgb pale = {0.78f, 0.46f, 0.26f};
    rgb c = mix3(dust, iron, smooth(-0.3f, 0.9f, n[1] + 0.5f * n[2]));
    c = mix3(c, pale, 0.5f * smooth(0.2f, 0.9f, n[5] - 0.4f * n[1]));
    const float band = 0.5f + 0.5f * sinf(h * 0.6f);
    return (ground){.albedo = mix3(c, mix3(iron, dust, 0.6f * band), smooth(0.6f, 1.3f, slope))};
}

ground world_ground(int place, const float n[NOISES], const spot s[SPOTS], int x, int z,
                    float height, float slope)
{
    switch (place) {
    case WORLD_MOUNTAINS: {
        ground g = mountain_ground(n, height, slope);
        water(&g, height, 0.4f, n, (rgb){0.06f, 0.30f, 0.34f}, (rgb){0.02f, 0.12f, 0.20f});
        return g;
    }
    case WORLD_DESERT: return desert_ground(n, height, slope);
    case WORLD_ISLANDS: return island_ground(n, height, slope);
    case WORLD_VOLCANO: return volcano_ground(n, s, x, z, height, slope);
    case WORLD_MEADOW: return meadow_ground(n, height, slope);
    case WORLD_CANYON: return canyon_ground(n, height, slope);
    case WORLD_ICE: return ice_ground(n, height, slope);
    default: return mars_ground(n, height, slope);
    }
}
