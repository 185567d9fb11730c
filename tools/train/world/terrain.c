// SPDX-License-Identifier: Apache-2.0
//
// The shapes of the places: heights in cells.
#include "internal.h"

#include <math.h>

#define TURN (6.2831853f / MAP_N)

static float ridge(float n)
{
    return 1.0f - sqrtf(n * n + 0.004f);
}

float world_spot_distance(const spot *s, int x, int z)
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

static float alps(const float n[])
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
        const float d = world_spot_distance(&s[i], x, z) * (1.0f + 0.05f * n[3]);
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
        const float d = world_spot_distance(&s[i], x, z) / s[i].r;
        if (d > 1.8f)
            continue;
        const float bowl = d < 1.0f ? d * d - 1.0f : 0.0f;
        const float rim = d - 1.0f;
        h += s[i].h * (bowl + 0.55f / (1.0f + 14.0f * rim * rim) * smooth(1.8f, 1.0f, d));
    }
    return h + butte + 1.5f * (butte > 1.0f) * n[3] * 0.4f;
}

// Drifts as round as pillows, and firs that stand in loose groups.
static float snow(const float n[])
{
    const float drift = 7.0f + 6.5f * n[1] + 5.0f * n[0] + 3.2f * n[2] + 0.8f * ridge(n[5] + 0.5f * n[2]);
    return drift + world_firs(n) * (0.8f + 4.6f * world_tips(n));
}

// Hills under a canopy of domes, cut by a river and clearings.
static float forest(const float n[])
{
    const float river = fabsf(0.62f * n[0] + 0.50f * n[1]);
    const float hills = 9.0f + 5.5f * n[1] + 4.5f * n[5] + 1.0f * n[2];
    const float land = lerpf(-2.2f, maxf(hills, 2.5f), smooth(0.03f, 0.34f, river));
    return land + world_canopy(n, land) * (1.6f + 5.6f * world_tips(n));
}

// Banks that hardly rise above the water, and round clumps of trees on them.
static float swamp(const float n[])
{
    const float bank = 0.46f * n[2] + 0.36f * n[1] + 0.44f * n[3] + 0.02f;
    const float land = clampf(3.4f * bank, -1.8f, 1.5f);
    return land + world_clumps(n, land) * (4.5f + 4.5f * world_crown(n));
}

float world_height(int place, const float n[NOISES], const spot s[SPOTS], int x, int z)
{
    switch (place) {
    case WORLD_ALPS: return alps(n);
    case WORLD_DESERT: return dune(n, x, z);
    case WORLD_ISLANDS: return islands(n);
    case WORLD_VOLCANO: return volcano(n, s, x, z);
    case WORLD_MEADOW: return meadow(n);
    case WORLD_CANYON: return canyon(n);
    case WORLD_ICE: return ice(n);
    case WORLD_MARS: return mars(n, s, x, z);
    case WORLD_SNOW: return snow(n);
    case WORLD_FOREST: return forest(n);
    case WORLD_CITY: return world_city_height(n, s, x, z);
    default: return swamp(n);
    }
}
