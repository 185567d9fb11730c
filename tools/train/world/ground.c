// SPDX-License-Identifier: Apache-2.0
//
// The colours of the places: what reflects, glows and mirrors.
#include "internal.h"

#include <math.h>

void world_water(ground *g, float height, float shore, const float n[NOISES], rgb shallow, rgb deep)
{
    const float wet = smooth(shore, -0.15f, height);
    const rgb tint = mix3(shallow, deep, smooth(-0.3f, -6.0f, height));
    g->albedo = mix3(g->albedo, tint, wet);
    g->gloss = wet * clampf(0.72f + 0.16f * n[4], 0.4f, 1.0f);
}

static ground alps_ground(const float n[], float h, float slope)
{
    const rgb snow = {0.82f, 0.88f, 0.97f}, rock = {0.17f, 0.165f, 0.19f};
    const rgb wood = {0.045f, 0.095f, 0.06f}, grass = {0.13f, 0.20f, 0.07f};
    const float line = h + 3.0f * n[2] + 2.0f * n[3];
    rgb low = mix3(grass, wood, smooth(-0.4f, 0.5f, n[3] + n[5]));
    low = mix3(low, rock, smooth(0.65f, 1.2f, slope));
    const float white = smooth(9.0f, 19.0f, line) * smooth(1.75f, 0.95f, slope - line * 0.006f);
    low = mix3(low, rock, smooth(8.0f, 16.0f, line));
    ground g = {.albedo = mix3(low, snow, white)};
    world_water(&g, h, 0.4f, n, (rgb){0.06f, 0.30f, 0.34f}, (rgb){0.02f, 0.12f, 0.20f});
    return g;
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
    world_water(&g, h, 0.35f, n, (rgb){0.10f, 0.55f, 0.50f}, (rgb){0.010f, 0.10f, 0.24f});
    return g;
}

static ground volcano_ground(const float n[], const spot *s, int x, int z, float h, float slope)
{
    const rgb ash = {0.10f, 0.085f, 0.085f}, basalt = {0.045f, 0.040f, 0.048f};
    const rgb hot = {3.6f, 0.78f, 0.08f};
    ground g = {.albedo = mix3(ash, basalt, smooth(-0.5f, 0.6f, n[2] + 0.4f * n[3]))};
    float heat = smooth(0.17f, 0.02f, fabsf(n[1] + 0.30f * n[2])) * smooth(11.0f, 6.0f, h);
    for (int i = 0; i < SPOTS; i += 2) {
        const float d = world_spot_distance(&s[i], x, z), k = 1.0f - d / s[i].r;
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
    world_water(&g, h, 0.5f, n, (rgb){0.05f, 0.24f, 0.22f}, (rgb){0.015f, 0.09f, 0.16f});
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
    world_water(&g, h, 0.4f, n, (rgb){0.10f, 0.34f, 0.30f}, (rgb){0.03f, 0.17f, 0.20f});
    return g;
}

static ground ice_ground(const float n[], float h, float slope)
{
    const rgb snow = {0.80f, 0.90f, 0.97f}, blue = {0.34f, 0.66f, 0.84f};
    rgb c = mix3(snow, blue, clampf(0.75f * smooth(0.35f, 1.5f, slope), 0.0f, 1.0f));
    c = mix3(c, blue, 0.25f * smooth(0.0f, 0.8f, n[3]));
    ground g = {.albedo = c};
    world_water(&g, h, 0.6f, n, (rgb){0.10f, 0.42f, 0.50f}, (rgb){0.015f, 0.10f, 0.19f});
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

static ground snow_ground(const float n[], float h, float slope)
{
    const rgb fresh = {0.86f, 0.90f, 0.97f}, hollow = {0.62f, 0.74f, 0.93f};
    const rgb fir = {0.016f, 0.066f, 0.034f}, frost = {0.22f, 0.34f, 0.30f}, lake = {0.38f, 0.60f, 0.76f};
    const float trees = world_firs(n);
    rgb c = mix3(fresh, hollow, 0.8f * smooth(0.15f, 0.9f, slope + 0.35f - 0.4f * n[2]));
    c = mix3(c, mix3(fir, frost, 0.4f * smooth(0.4f, 1.3f, world_tips(n))), smooth(0.06f, 0.30f, trees));
    ground g = {.albedo = c};
    const float frozen = smooth(0.6f, -0.2f, h);
    g.albedo = mix3(g.albedo, lake, 0.8f * frozen);
    g.gloss = 0.40f * frozen;
    return g;
}

static ground forest_ground(const float n[], float h, float slope)
{
    const rgb fir = {0.013f, 0.062f, 0.040f}, leaf = {0.055f, 0.125f, 0.026f};
    const rgb larch = {0.36f, 0.20f, 0.035f}, grass = {0.20f, 0.32f, 0.07f}, gravel = {0.34f, 0.31f, 0.26f};
    const float trees = world_canopy(n, h);
    const float tip = world_tips(n);
    rgb c = mix3(fir, leaf, smooth(-0.6f, 1.0f, n[5] + 0.5f * n[2]));
    c = mix3(c, larch, 0.60f * smooth(0.80f, 1.15f, n[2] + 0.5f * n[3] + 0.2f * n[0]));
    c = scale3(c, 0.35f + 0.85f * smooth(0.0f, 0.9f, tip));
    c = mix3(c, scale3(fir, 0.5f), 0.4f * smooth(1.0f, 2.2f, slope));
    c = mix3(grass, c, smooth(0.1f, 0.6f, trees));
    ground g = {.albedo = mix3(gravel, c, smooth(0.5f, 1.4f, h))};
    world_water(&g, h, 0.5f, n, (rgb){0.07f, 0.20f, 0.17f}, (rgb){0.015f, 0.07f, 0.085f});
    return g;
}

static ground swamp_ground(const float n[], float h, float slope)
{
    const rgb reed = {0.25f, 0.21f, 0.065f}, moss = {0.085f, 0.125f, 0.035f};
    const rgb tree = {0.045f, 0.085f, 0.035f}, beard = {0.16f, 0.18f, 0.10f};
    rgb c = mix3(reed, moss, smooth(-0.5f, 0.5f, n[3] + 0.6f * n[5]));
    rgb crown = mix3(tree, beard, 0.7f * smooth(0.0f, 1.0f, n[4] + 0.4f * n[3]));
    crown = mix3(scale3(tree, 0.5f), crown, smooth(0.10f, 0.55f, world_crown(n) - 0.08f * slope));
    ground g = {.albedo = mix3(c, crown, smooth(1.8f, 3.6f, h))};
    world_water(&g, h, 0.25f, n, (rgb){0.050f, 0.062f, 0.030f}, (rgb){0.014f, 0.024f, 0.016f});
    const float weed = smooth(0.10f, 0.45f, n[5] + 0.6f * n[3] - 0.3f * n[1]) * smooth(0.05f, -0.25f, h);
    g.albedo = mix3(g.albedo, (rgb){0.15f, 0.20f, 0.045f}, 0.85f * weed);
    g.gloss *= 0.56f - 0.40f * weed;
    return g;
}

ground world_ground(int place, const site *at)
{
    const float *n = at->n, h = at->height, slope = at->slope;
    switch (place) {
    case WORLD_ALPS: return alps_ground(n, h, slope);
    case WORLD_DESERT: return desert_ground(n, h, slope);
    case WORLD_ISLANDS: return island_ground(n, h, slope);
    case WORLD_VOLCANO: return volcano_ground(n, at->s, at->x, at->z, h, slope);
    case WORLD_MEADOW: return meadow_ground(n, h, slope);
    case WORLD_CANYON: return canyon_ground(n, h, slope);
    case WORLD_ICE: return ice_ground(n, h, slope);
    case WORLD_MARS: return mars_ground(n, h, slope);
    case WORLD_SNOW: return snow_ground(n, h, slope);
    case WORLD_FOREST: return forest_ground(n, h, slope);
    case WORLD_CITY: return world_city_ground(at);
    default: return swamp_ground(n, h, slope);
    }
}
