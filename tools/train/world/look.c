// SPDX-License-Identifier: Apache-2.0
//
// Palettes: sky, light and air of a place at a time of day in a weather.
#include "internal.h"

static const look times[WORLD_TIMES] = {
    [WORLD_DAWN] = {
        .zenith = {0.17f, 0.27f, 0.58f}, .horizon = {0.88f, 0.58f, 0.62f},
        .glow = {1.00f, 0.62f, 0.36f}, .sun = {1.75f, 1.10f, 0.86f},
        .ambient = {0.34f, 0.33f, 0.50f}, .disc = {5.0f, 3.9f, 2.9f},
        .cloud_lit = {1.15f, 0.72f, 0.70f}, .cloud_dark = {0.42f, 0.36f, 0.56f},
        .lamps = 0.35f, .disc_show = 1.0f, .elevation = 0.15f, .disc_radius = 0.036f, .halo = 0.55f, .cover = 0.40f,
        .haze = 0.0026f, .mist = 0.0030f, .glitter = 0.9f},
    [WORLD_DAY] = {
        .zenith = {0.07f, 0.26f, 0.82f}, .horizon = {0.55f, 0.78f, 1.05f},
        .glow = {0.30f, 0.26f, 0.18f}, .sun = {2.30f, 2.12f, 1.78f},
        .ambient = {0.34f, 0.44f, 0.62f}, .disc = {9.0f, 8.5f, 7.0f},
        .cloud_lit = {1.60f, 1.60f, 1.58f}, .cloud_dark = {0.62f, 0.74f, 0.95f},
        .disc_show = 1.0f, .elevation = 0.29f, .disc_radius = 0.034f, .halo = 0.45f, .cover = 0.42f,
        .haze = 0.0022f, .mist = 0.0008f, .glitter = 0.8f},
    [WORLD_SUNSET] = {
        .zenith = {0.15f, 0.13f, 0.42f}, .horizon = {0.95f, 0.36f, 0.22f},
        .glow = {1.55f, 0.62f, 0.10f}, .sun = {2.05f, 0.92f, 0.40f},
        .ambient = {0.34f, 0.25f, 0.40f}, .disc = {7.0f, 3.6f, 1.1f},
        .cloud_lit = {1.50f, 0.52f, 0.26f}, .cloud_dark = {0.32f, 0.20f, 0.36f},
        .lamps = 0.30f, .disc_show = 1.0f, .elevation = 0.095f, .disc_radius = 0.042f, .halo = 0.80f, .cover = 0.45f,
        .haze = 0.0026f, .mist = 0.0015f, .glitter = 1.2f},
    [WORLD_DUSK] = {                // the blue hour: the sun is gone, its glow is not
        .zenith = {0.022f, 0.050f, 0.225f}, .horizon = {0.125f, 0.185f, 0.43f},
        .glow = {0.46f, 0.165f, 0.065f}, .sun = {0.40f, 0.32f, 0.50f},
        .ambient = {0.150f, 0.175f, 0.380f}, .disc = {1.3f, 0.50f, 0.22f},
        .cloud_lit = {0.46f, 0.23f, 0.36f}, .cloud_dark = {0.095f, 0.095f, 0.225f},
        .lamps = 0.8f, .disc_show = 0.0f, .elevation = 0.02f, .disc_radius = 0.040f, .halo = 0.20f, .stars = 0.45f,
        .cover = 0.35f, .haze = 0.0026f, .mist = 0.0022f, .glitter = 0.5f},
    [WORLD_NIGHT] = {
        .zenith = {0.014f, 0.034f, 0.140f}, .horizon = {0.090f, 0.175f, 0.400f},
        .glow = {0.070f, 0.105f, 0.190f}, .sun = {0.62f, 0.80f, 1.25f},
        .ambient = {0.130f, 0.190f, 0.380f}, .disc = {3.0f, 3.1f, 2.9f},
        .cloud_lit = {0.24f, 0.30f, 0.50f}, .cloud_dark = {0.050f, 0.075f, 0.17f},
        .lamps = 1.0f, .disc_show = 1.0f, .elevation = 0.25f, .disc_radius = 0.045f, .halo = 0.14f, .stars = 1.3f, .cover = 0.25f,
        .haze = 0.0026f, .mist = 0.0015f, .glitter = 0.6f},
};

// What the air of a place does to the colours of an hour on Earth.
static const struct air {
    rgb zenith, horizon, light;
    float haze, cover, far_level, mist, birds;
} airs[WORLD_PLACES] = {
    [WORLD_ALPS] = {{0.85f, 1.0f, 1.1f}, {0.95f, 1.0f, 1.05f}, {1, 1, 1}, 0.9f, 0.9f, 4, 0, 1},
    [WORLD_DESERT] = {{1.0f, 1.05f, 1.0f}, {1.20f, 1.03f, 0.84f}, {1.1f, 1, 0.88f}, 1.0f, 0.3f, 4, 0, 1},
    [WORLD_ISLANDS] = {{0.8f, 1.15f, 1.05f}, {0.9f, 1.05f, 1.0f}, {1.05f, 1, 0.95f}, 0.75f, 1.2f, 0, 0, 1},
    [WORLD_VOLCANO] = {{1.5f, 0.70f, 0.55f}, {1.10f, 0.66f, 0.55f}, {1, 0.85f, 0.8f}, 1.2f, 1.3f, 3, 0, 0},
    [WORLD_MEADOW] = {{0.95f, 1.05f, 1.0f}, {1.0f, 1.03f, 0.95f}, {1.05f, 1.02f, 0.9f}, 0.9f, 1.2f, 5, 0, 1},
    [WORLD_CANYON] = {{0.9f, 0.95f, 1.0f}, {1.2f, 0.95f, 0.80f}, {1.1f, 0.97f, 0.85f}, 0.9f, 0.7f, 24, 0, 1},
    [WORLD_ICE] = {{1.2f, 1.35f, 1.05f}, {0.95f, 1.08f, 1.08f}, {0.92f, 1, 1.08f}, 1.1f, 0.7f, 0, 0, 1},
    [WORLD_MARS] = {{1.0f, 1.0f, 1.0f}, {1.60f, 0.78f, 0.42f}, {1.15f, 0.85f, 0.68f}, 1.1f, 0.0f, 4, 0, 0},
    [WORLD_SNOW] = {{0.95f, 1.05f, 1.08f}, {1.02f, 1.0f, 1.06f}, {1, 1, 1.04f}, 0.8f, 0.7f, 7, 0, 1},
    [WORLD_FOREST] = {{0.9f, 1.02f, 0.98f}, {0.97f, 1.02f, 0.98f}, {1.02f, 1, 0.92f}, 0.9f, 1.0f, 10, 0.0008f, 1},
    [WORLD_CITY] = {{0.95f, 0.97f, 1.0f}, {1.05f, 0.98f, 0.94f}, {1, 0.98f, 0.96f}, 0.95f, 0.8f, 5, 0, 1},
    [WORLD_SWAMP] = {{0.88f, 1.04f, 0.85f}, {1.0f, 1.03f, 0.80f}, {1, 1, 0.86f}, 0.75f, 0.9f, 0, 0.0008f, 1},
};

static float luma(rgb c)
{
    return 0.30f * c.r + 0.59f * c.g + 0.11f * c.b;
}

static rgb grey(rgb c, float keep, rgb tint)
{
    return mix3(scale3(tint, luma(c)), c, keep);
}

static void make_fog(look *l)
{
    const rgb pale = mix3(scale3((rgb){0.95f, 1.0f, 1.06f}, luma(l->horizon)), l->horizon, 0.55f);
    l->zenith = mix3(l->zenith, pale, 0.72f);
    l->horizon = pale;
    l->glow = scale3(l->glow, 0.45f);
    l->sun = scale3(l->sun, 0.50f);
    l->ambient = scale3(l->ambient, 1.15f);
    l->disc = mix3(pale, l->disc, 0.35f);
    l->halo *= 0.8f;
    l->stars *= 0.15f;
    l->cover = 0.0f;
    l->haze = l->haze * 1.5f + 0.0030f;
    l->mist += 0.009f;
    l->glitter *= 0.35f;
    l->birds *= 0.5f;
}

// A high bright deck without sun: soft light, hardly a shadow.
static void make_cloudy(look *l)
{
    const rgb pale = grey(l->horizon, 0.50f, (rgb){0.97f, 1.0f, 1.05f});
    l->zenith = mix3(l->zenith, scale3(pale, 0.60f), 0.75f);
    l->horizon = scale3(pale, 0.92f);
    l->glow = scale3(l->glow, 0.35f);
    l->sun = scale3(grey(l->sun, 0.6f, (rgb){1, 1, 1}), 0.40f);
    l->ambient = scale3(grey(l->ambient, 0.75f, (rgb){1, 1, 1}), 1.20f);
    l->disc_show = 0.0f;
    l->halo *= 0.10f;
    l->stars = 0.0f;
    l->cover = 0.82f;
    l->cloud_lit = scale3(pale, 1.30f);
    l->cloud_dark = scale3(mix3(pale, l->cloud_dark, 0.3f), 0.42f);
    l->haze = l->haze * 1.1f + 0.0003f;
    l->glitter *= 0.25f;
    l->lamps = maxf(l->lamps, 0.2f);
}

// Slate clouds, dark shafts of rain far away, and a wet ground.
static void make_rain(look *l)
{
    const rgb slate = {0.92f, 1.0f, 1.08f};
    l->zenith = scale3(grey(l->horizon, 0.30f, slate), 0.36f);
    l->horizon = scale3(grey(l->horizon, 0.40f, slate), 0.68f);
    l->glow = scale3(grey(l->glow, 0.6f, slate), 0.25f);
    l->sun = scale3(grey(l->sun, 0.5f, slate), 0.26f);
    l->ambient = scale3(grey(l->ambient, 0.6f, slate), 0.95f);
    l->disc_show = 0.0f;
    l->halo *= 0.03f;
    l->stars = 0.0f;
    l->cover = 0.70f;
    l->cloud_lit = scale3(l->horizon, 0.80f);
    l->cloud_dark = scale3(l->horizon, 0.42f);
    l->haze = l->haze * 1.5f + 0.0020f;
    l->mist += 0.003f;
    l->glitter *= 0.1f;
    l->wet = 1.0f;
    l->veil = 0.60f;
    l->slant = 0.55f;
    l->veil_color = scale3(l->horizon, 0.50f);
    l->lamps = maxf(l->lamps, 0.35f);
    l->birds = 0.0f;
}

// White all over: pale drapes hang from a sky as bright as the ground.
static void make_snowfall(look *l)
{
    const rgb pale = grey(l->horizon, 0.35f, (rgb){0.98f, 1.0f, 1.07f});
    l->zenith = mix3(l->zenith, scale3(pale, 0.62f), 0.85f);
    l->horizon = scale3(pale, 0.80f);
    l->glow = scale3(l->glow, 0.20f);
    l->sun = scale3(grey(l->sun, 0.5f, (rgb){1, 1, 1}), 0.32f);
    l->ambient = scale3(grey(l->ambient, 0.6f, (rgb){1, 1, 1}), 1.30f);
    l->disc_show = 0.0f;
    l->halo *= 0.06f;
    l->stars = 0.0f;
    l->cover = 0.0f;
    l->haze = l->haze * 1.5f + 0.0035f;
    l->mist += 0.002f;
    l->glitter *= 0.1f;
    l->white = 0.92f;
    l->veil = 0.50f;
    l->slant = -0.30f;
    l->veil_color = scale3(pale, 1.20f);
    l->lamps = maxf(l->lamps, 0.3f);
    l->birds = 0.0f;
}

static void make_storm(look *l)
{
    const rgb slate = {0.86f, 1.0f, 1.14f};
    l->zenith = scale3(grey(l->horizon, 0.25f, slate), 0.16f);
    l->horizon = scale3(grey(l->horizon, 0.45f, slate), 0.50f);
    l->glow = scale3(grey(l->glow, 0.7f, slate), 0.30f);
    l->sun = scale3(grey(l->sun, 0.5f, slate), 0.22f);
    l->ambient = scale3(grey(l->ambient, 0.6f, slate), 0.85f);
    l->disc_show = 0.0f;
    l->halo *= 0.03f;
    l->stars = 0.0f;
    l->cover = 1.0f;
    l->cloud_lit = scale3(l->horizon, 0.75f);
    l->cloud_dark = scale3(l->zenith, 0.85f);
    l->haze = l->haze * 1.3f + 0.0012f;
    l->mist += 0.002f;
    l->glitter *= 0.1f;
    l->wet = 0.4f;
    l->lamps = maxf(l->lamps, 0.45f);
    l->birds = 0.0f;
}

// Towns light the air above them; against their lamps all else is dark.
static void add_skyglow(look *l)
{
    l->sun = scale3(l->sun, 1.0f - 0.65f * l->lamps);
    l->ambient = scale3(l->ambient, 1.0f - 0.55f * l->lamps);
    l->horizon = add3(scale3(l->horizon, 1.0f - 0.45f * l->lamps), (rgb){0.060f, 0.024f, 0.0f}, l->lamps);
    l->zenith = scale3(l->zenith, 1.0f - 0.35f * l->lamps);
}

look world_look(world_scene scene)
{
    const struct air *a = &airs[scene.place];
    look l = times[scene.time];
    l.zenith = mul3(l.zenith, a->zenith);
    l.horizon = mul3(l.horizon, a->horizon);
    l.sun = mul3(l.sun, a->light);
    l.ambient = mul3(l.ambient, a->light);
    l.cloud_lit = mul3(l.cloud_lit, a->light);
    l.cloud_dark = mul3(l.cloud_dark, a->horizon);
    l.haze *= a->haze;
    l.mist += a->mist;
    l.cover *= a->cover;
    l.far_level = a->far_level;
    l.birds = scene.time == WORLD_NIGHT ? 0.0f : a->birds;
    if (scene.place == WORLD_MARS) {
        l.zenith = grey(l.zenith, 0.15f, (rgb){1.75f, 0.98f, 0.58f});
        l.disc_radius *= 0.75f;
    }
    if (scene.place == WORLD_CITY)
        add_skyglow(&l);
    static void (*const make[WORLD_WEATHERS])(look *) = {
        [WORLD_CLOUDY] = make_cloudy, [WORLD_FOG] = make_fog, [WORLD_RAIN] = make_rain,
        [WORLD_SNOWFALL] = make_snowfall, [WORLD_STORM] = make_storm,
    };
    if (make[scene.weather])
        make[scene.weather](&l);
    return l;
}

look world_look_mix(const look *a, const look *b, float t)
{
    look out;
    const float *p = (const float *)a, *q = (const float *)b;
    float *o = (float *)&out;
    for (unsigned i = 0; i < sizeof(look) / sizeof(float); i++)
        o[i] = lerpf(p[i], q[i], t);
    return out;
}
