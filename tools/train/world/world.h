// SPDX-License-Identifier: Apache-2.0
//
// World generator: a camera that flies over procedurally made landscapes, the training data of
// the model that ships.
//
// Build alone:
//   cc -O3 -ffp-contract=off -fno-math-errno -fno-trapping-math -march=x86-64-v3 -shared -fPIC -o libzt_world.so *.c -lm
//
// Everything follows from the seed. One thread per world; any number of worlds at once.
#ifndef ZT_TOOLS_TRAIN_WORLD_H
#define ZT_TOOLS_TRAIN_WORLD_H

#include <stdint.h>

#define WORLD_CONTROLS 4
#define WORLD_PLACES 12
#define WORLD_TIMES 5
#define WORLD_WEATHERS 6
#define WORLD_MORPH_FRAMES 24

enum world_place {
    WORLD_ALPS, WORLD_DESERT, WORLD_ISLANDS, WORLD_VOLCANO,
    WORLD_MEADOW, WORLD_CANYON, WORLD_ICE, WORLD_MARS,
    WORLD_SNOW, WORLD_FOREST, WORLD_CITY, WORLD_SWAMP,
};
enum world_time { WORLD_DAWN, WORLD_DAY, WORLD_SUNSET, WORLD_DUSK, WORLD_NIGHT };
enum world_weather {
    WORLD_CLEAR, WORLD_CLOUDY, WORLD_FOG, WORLD_RAIN, WORLD_SNOWFALL, WORLD_STORM,
};

// Ids of the enums above; out of range is a programmer error.
typedef struct world_scene {
    int place, time, weather;
} world_scene;

// One fly-over: terrain, camera and the present mixture of two scenes.
typedef struct world world;

// The caller owns the world; NULL when memory ran out. The camera starts at a good view, level.
world *world_create(uint64_t seed, world_scene scene);
void world_destroy(world **w);

// Starts the morph of WORLD_MORPH_FRAMES frames, at constant rate, from the present mixture. A
// scene that is already the target changes nothing. 0 or -ENOMEM (the world is unchanged).
int world_set_scene(world *w, world_scene scene);

// Advances one frame (1/24 s). control: yaw (+ right), pitch (+ up), speed (+ fast), climb (+ up),
// clamped to [-1, 1].
void world_step(world *w, const float control[WORLD_CONTROLS]);

// Draws the present state. rgb: [height][width][3], 8 bits, written whole. The horizontal field
// of view is 70 degrees at every size. 0 or -ENOMEM.
int world_render(const world *w, int width, int height, uint8_t *rgb);

// A training clip made from its seed alone: a random scene, controls that wander and hold; in
// 30 % of the clips the scene changes once. control[k] acts in the motion from frame k - 1 to
// frame k (control[0] has been held before the clip), scene[k] is what frame k moves towards.
// rgb: [frames][height][width][3]; controls: [frames][WORLD_CONTROLS]; scene: [frames][3].
// 0 or -ENOMEM.
int world_clip(uint64_t seed, int width, int height, int frames, uint8_t *rgb, float *controls,
               int32_t *scene);

// The script of world_clip(seed, ...) without the pictures.
void world_script(uint64_t seed, int frames, float *controls, int32_t *scene);

// The same with given controls and scenes; world_clip is world_script and world_replay. 0 or
// -ENOMEM; -EINVAL for a scene out of range.
int world_replay(uint64_t seed, int width, int height, int frames, const float *controls,
                 const int32_t *scene, uint8_t *rgb);

// What world_replay(seed, ...)'s cameras see of the ground's noise (diffusion/ground.h) through w x h rays, the true
// heights at the same samples (floats, [frames][w + 10][depths]), and the cameras [frames][12]: x, z, yaw, azimuth of the
// light, pitch, roll, y, rise, the four controls after the lag.
typedef struct world_sight {
    float *noise;       // [frames][w + 10][depths][13]
    int32_t *column;    // [frames][h][w]
    float *ray;         // [frames][h][w][4]
    float *height;
    float *camera;
} world_sight;

// 0, -ENOMEM or -EINVAL.
int world_see(uint64_t seed, int w, int h, int depths, int frames, const float *controls, const int32_t *scene,
              world_sight *s);

#endif
