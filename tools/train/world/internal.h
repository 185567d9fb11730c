// SPDX-License-Identifier: Apache-2.0
//
// What the files of the world generator share: the map, the look and the camera.
#ifndef ZT_TOOLS_TRAIN_WORLD_INTERNAL_H
#define ZT_TOOLS_TRAIN_WORLD_INTERNAL_H

#include "world.h"

#include <math.h>

#define MAP_N 512                   // cells on a side; the map repeats
#define MAP_CELLS (MAP_N * MAP_N)
#define NOISES 6                    // octaves of 85, 43, 21, 11, 5 cells, and a second of 43
#define WORLD_LATTICE_MAX 128

typedef struct rgb {
    float r, g, b;
} rgb;

// A cell as the ray sees it: lit colour (linear light) and how much it mirrors the sky.
typedef struct texel {
    float r, g, b, gloss;
} texel;

// Height in cells (sea level is 0) and colour. Plain floats, so that maps blend linearly.
typedef struct map {
    float height[MAP_CELLS];        // [z][x]
    float peak;                     // no cell is higher
    texel color[MAP_CELLS];         // [z][x]
} map;

// Sky, light and air. Floats only: two looks blend by blending every float.
typedef struct look {
    rgb zenith, horizon, glow;      // glow: added near the horizon on the sun's side
    rgb sun, ambient;               // light on the terrain
    rgb disc;                       // sun or moon
    rgb cloud_lit, cloud_dark;
    float elevation;                // of the sun, radians
    float disc_radius;              // radians
    float disc_show;                // 0 behind a storm
    float halo;                     // strength of the light around the disc
    float stars;                    // 0..1
    float cover;                    // clouds, 0..1
    float haze;                     // extinction per cell
    float mist;                     // more of it at sea level
    float glitter;                  // the sun's path on water
    float far_level;                // height of the plain beyond the map's view
    float lamps;                    // how much people light, 0..1
    float wet, white;               // ground under rain and under fresh snow, 0..1
    rgb veil_color;                 // rain or snow that falls far away
    float veil, slant;              // how much of it, and how the wind bends it
    float birds;                    // 1 where birds fly
} look;

typedef struct camera {
    float x, y, z;                  // cells; y is up; x, z in [0, MAP_N)
    float yaw, pitch, roll;         // radians; yaw 0 looks along +z, + turns to +x
    float rise;                     // cells per frame
    float control[WORLD_CONTROLS];  // after the lag
} camera;

// Birds that fly in a wedge and a boat under sail: x, z at age 0, cells per frame.
typedef struct flock {
    int n;                          // 0: none
    float x, y, z, vx, vz;
} flock;

typedef struct boat {
    int there;
    float x, z, vx, vz;
} boat;

struct world {
    uint64_t seed;
    float azimuth;                  // of the sun, the same in every scene of a world
    world_scene scene;              // target
    int morph;                      // frames of the morph done; WORLD_MORPH_FRAMES: none runs
    look from_look, to_look, look;
    map *from, *to, *mix;           // from and mix are allocated by the first morph
    const map *now;                 // to or mix
    camera cam;
    int age;                        // frames since creation
    flock flock;
    boat boat;
    float *cloud;                   // [CLOUD_N][CLOUD_N], 0..1, repeats
};

#define CLOUD_N 256
#define WORLD_TAN_HALF_FOV 0.70f

static inline float clampf(float v, float lo, float hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}

static inline float maxf(float a, float b)
{
    return a > b ? a : b;
}

static inline float minf(float a, float b)
{
    return a < b ? a : b;
}

static inline float smooth(float lo, float hi, float v)
{
    const float t = clampf((v - lo) / (hi - lo), 0.0f, 1.0f);
    return t * t * (3.0f - 2.0f * t);
}

static inline float lerpf(float a, float b, float t)
{
    return a + (b - a) * t;
}

static inline rgb mix3(rgb a, rgb b, float t)
{
    return (rgb){lerpf(a.r, b.r, t), lerpf(a.g, b.g, t), lerpf(a.b, b.b, t)};
}

static inline rgb mul3(rgb a, rgb b)
{
    return (rgb){a.r * b.r, a.g * b.g, a.b * b.b};
}

static inline rgb add3(rgb a, rgb b, float k)
{
    return (rgb){a.r + b.r * k, a.g + b.g * k, a.b + b.b * k};
}

static inline rgb scale3(rgb a, float k)
{
    return (rgb){a.r * k, a.g * k, a.b * k};
}

// About exp(-x) for x >= 0 in plain arithmetic.
static inline float decay(float x)
{
    return 1.0f / (1.0f + x * (1.0f + x * (0.5f + x * (0.1667f + x * 0.0417f))));
}

// Hashes and noise (noise.c).
uint64_t world_hash(uint64_t v);
float world_unit(uint64_t seed, uint32_t i);    // [0, 1)
// out [n][n] += amp * smooth noise of about [-1, 1] with `lattice` knots on a side (at most
// WORLD_LATTICE_MAX). tmp holds
// lattice * n floats.
void world_noise_add(float *out, int n, uint64_t seed, int lattice, float amp, float *tmp);

// The look of a scene (look.c). Blends look at t in 0..1.
look world_look(world_scene scene);
look world_look_mix(const look *a, const look *b, float t);

// Height (terrain.c) and colour (ground.c) of a place. They follow from what diffusion/ground.h
// tells the model of a cell and from nothing else: the noises n, how near spots are, and the
// phases of two swells.
typedef struct spot {
    float x, z, r, h;               // centre, radius, height: volcanoes, craters, towns
} spot;

#define SPOTS 9

// One cell and all that it follows from. lamps: of the look.
typedef struct site {
    const float *n;                 // [NOISES]
    const spot *s;                  // [SPOTS]
    int x, z;
    float height, slope, lamps;
} site;

typedef struct ground {
    rgb albedo, emit;
    float gloss;
} ground;

void world_spots(int place, uint64_t seed, spot s[SPOTS]);
float world_spot_distance(const spot *s, int x, int z);     // on the repeating map
float world_height(int place, const float n[NOISES], const spot s[SPOTS], int x, int z);
ground world_ground(int place, const site *at);

// Where trees stand, 0..1. land: height of the ground below them.
static inline float world_firs(const float n[NOISES])
{
    return smooth(0.30f, 1.00f, 0.7f * n[3] + 0.7f * n[5] + 0.5f * n[4] - 0.2f * n[1]);
}

// Pointed tops with dark gaps between them, about 0..1.5.
static inline float world_tips(const float n[NOISES])
{
    const float t = clampf(0.42f + 0.46f * n[4] + 0.20f * n[3], 0.0f, 1.3f);
    return t * t;
}

// Domes with creases between them, about 0..1.
static inline float world_crown(const float n[NOISES])
{
    const float a = n[3] + 0.25f * n[4], b = n[4] + 0.3f * n[2];
    return 0.75f * sqrtf(a * a + 0.003f) + 0.45f * sqrtf(b * b + 0.003f);
}

static inline float world_canopy(const float n[NOISES], float land)
{
    return smooth(-0.75f, -0.35f, n[2] + 0.5f * n[5] + 0.2f * n[3]) * smooth(0.8f, 2.4f, land);
}

static inline float world_clumps(const float n[NOISES], float land)
{
    return smooth(0.30f, 0.70f, 0.5f * n[5] + 0.5f * n[2] + 0.5f * n[3]) * smooth(0.1f, 0.7f, land);
}

// The city's (city.c).
float world_city_height(const float n[NOISES], const spot s[SPOTS], int x, int z);
ground world_city_ground(const site *at);

// Water where the height is below `shore`: mixes the tint in and sets the gloss.
void world_water(ground *g, float height, float shore, const float n[NOISES], rgb shallow, rgb deep);

// Builds and lights the map of a scene (map.c). 0 or -ENOMEM.
int world_map_build(map *m, uint64_t seed, int place, const look *l, float azimuth);
void world_map_mix(map *out, const map *a, const map *b, float t);
float world_map_height(const map *m, float x, float z);

// Birds and boats (things.c): whether a world has them, and where.
void world_things_start(world *w);

// The camera (camera.c).
void world_camera_start(camera *c, const world *w);
void world_camera_step(camera *c, const map *m, const float control[WORLD_CONTROLS]);

#endif
