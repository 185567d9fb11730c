// SPDX-License-Identifier: Apache-2.0
//
// A world's life: creation, steps, the morph between scenes, and whole clips.
#include "internal.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "diffusion/ground.h"

#define PREROLL 10      // frames for which control[0] was held before a clip

static int scene_ok(world_scene s)
{
    return s.place >= 0 && s.place < WORLD_PLACES && s.time >= 0 && s.time < WORLD_TIMES &&
           s.weather >= 0 && s.weather < WORLD_WEATHERS;
}

static void make_clouds(float *cloud, uint64_t seed, float *tmp)
{
    static const int lattice[4] = {8, 16, 32, 64};
    static const float amp[4] = {0.42f, 0.26f, 0.12f, 0.05f};
    for (int i = 0; i < CLOUD_N * CLOUD_N; i++)
        cloud[i] = 0.5f;
    for (int i = 0; i < 4; i++)
        world_noise_add(cloud, CLOUD_N, world_hash(seed + 77u + (uint64_t)i), lattice[i], amp[i],
                        tmp);
}

world *world_create(uint64_t seed, world_scene scene)
{
    assert(scene_ok(scene));
    world *w = calloc(1, sizeof *w);
    float *tmp = malloc(sizeof(float) * CLOUD_N * 64);
    if (!w || !tmp)
        goto fail;
    w->seed = seed;
    w->scene = scene;
    w->azimuth = 6.2831853f * world_unit(seed, 1);
    w->morph = WORLD_MORPH_FRAMES;
    w->look = w->to_look = world_look(scene);
    w->to = malloc(sizeof *w->to);
    w->cloud = malloc(sizeof(float) * CLOUD_N * CLOUD_N);
    if (!w->to || !w->cloud)
        goto fail;
    if (world_map_build(w->to, seed, scene.place, &w->look, w->azimuth) < 0)
        goto fail;
    make_clouds(w->cloud, seed, tmp);
    free(tmp);
    w->now = w->to;
    world_camera_start(&w->cam, w);
    world_things_start(w);
    return w;
fail:
    free(tmp);
    world_destroy(&w);
    return NULL;
}

void world_destroy(world **w)
{
    if (!*w)
        return;
    free((*w)->from);
    free((*w)->to);
    free((*w)->mix);
    free((*w)->cloud);
    free(*w);
    *w = NULL;
}

int world_set_scene(world *w, world_scene scene)
{
    assert(scene_ok(scene));
    if (scene.place == w->scene.place && scene.time == w->scene.time &&
        scene.weather == w->scene.weather)
        return 0;
    if (!w->from)
        w->from = malloc(sizeof *w->from);
    if (!w->mix)
        w->mix = malloc(sizeof *w->mix);
    if (!w->from || !w->mix)
        return -ENOMEM;

    const look l = world_look(scene);
    map *shown = w->now == w->mix ? w->mix : w->to;
    map *spare = w->from;
    const int err = world_map_build(spare, w->seed, scene.place, &l, w->azimuth);
    if (err < 0)
        return err;
    map *third = shown == w->mix ? w->to : w->mix;
    w->from = shown;
    w->to = spare;
    w->mix = third;
    w->now = w->from;
    w->from_look = w->look;
    w->to_look = l;
    w->scene = scene;
    w->morph = 0;
    return 0;
}

void world_step(world *w, const float control[WORLD_CONTROLS])
{
    if (w->morph < WORLD_MORPH_FRAMES) {
        w->morph++;
        const float t = (float)w->morph / WORLD_MORPH_FRAMES;
        w->look = world_look_mix(&w->from_look, &w->to_look, t);
        if (w->morph < WORLD_MORPH_FRAMES)
            world_map_mix(w->mix, w->from, w->to, t);
        w->now = w->morph < WORLD_MORPH_FRAMES ? w->mix : w->to;
    }
    world_camera_step(&w->cam, w->now, control);
    w->age++;
}

// One control over a clip: holds a value for a while, then moves to the next, at times at once
// as a key does.
static void wander(uint64_t seed, int frames, float *control)
{
    float value = 0.0f, target = 0.0f, rate = 1.0f;
    int left = 0;
    uint32_t i = 0;
    for (int k = 0; k < frames; k++) {
        if (left-- <= 0) {
            const float kind = world_unit(seed, i++), u = world_unit(seed, i++) * 2.0f - 1.0f;
            target = kind < 0.35f ? 0.0f : kind < 0.60f ? (u < 0.0f ? -1.0f : 1.0f) : u;
            rate = world_unit(seed, i++) < 0.4f ? 2.0f : 0.06f + 0.2f * world_unit(seed, i++);
            left = 6 + (int)(34.0f * world_unit(seed, i++));
            value = k ? value : target;
        }
        value += clampf(target - value, -rate, rate);
        control[k * WORLD_CONTROLS] = value;
    }
}

static world_scene random_scene(uint64_t seed)
{
    static const float until[WORLD_WEATHERS] = {0.34f, 0.48f, 0.61f, 0.74f, 0.87f, 1.0f};
    const float u = world_unit(seed, 2);
    int weather = WORLD_CLEAR;
    while (u >= until[weather])
        weather++;
    return (world_scene){(int)(world_unit(seed, 0) * WORLD_PLACES),
                         (int)(world_unit(seed, 1) * WORLD_TIMES), weather};
}

// A new scene: all three parts, or one or two of them, as a person changes a prompt.
static world_scene next_scene(uint64_t seed, world_scene s)
{
    const world_scene r = random_scene(seed);
    const float u = world_unit(seed, 3);
    s.place = u < 0.75f ? r.place : s.place;
    s.time = u < 0.45f || u > 0.70f ? r.time : s.time;
    s.weather = u < 0.35f || u > 0.85f ? r.weather : s.weather;
    return s;
}

void world_script(uint64_t seed, int frames, float *controls, int32_t *scene)
{
    world_scene s = random_scene(world_hash(seed ^ 0x5ceeu));
    const uint64_t u = world_hash(seed ^ 0xc11bu);
    const int change = world_unit(u, 0) < 0.30f ? 1 + (int)(world_unit(u, 1) * (float)(frames - 1))
                                                : frames;
    for (uint32_t i = 0; i < WORLD_CONTROLS; i++)
        wander(world_hash(u + 10 + i), frames, controls + i);
    for (int k = 0; k < frames; k++) {
        if (k == change)
            s = next_scene(world_hash(u + 99), s);
        scene[3 * k] = s.place;
        scene[3 * k + 1] = s.time;
        scene[3 * k + 2] = s.weather;
    }
}

// Called with every frame of a clip; a negative result ends it.
typedef int visit(const world *w, int frame, void *user);

static int fly(uint64_t seed, int frames, const float *controls, const int32_t *scene, visit *f,
               void *user)
{
    for (int k = 0; k < frames; k++)
        if (!scene_ok((world_scene){scene[3 * k], scene[3 * k + 1], scene[3 * k + 2]}))
            return -EINVAL;
    world *w = world_create(seed, (world_scene){scene[0], scene[1], scene[2]});
    int err = w ? 0 : -ENOMEM;
    for (int k = 0; k < PREROLL && !err; k++)
        world_step(w, controls);
    for (int k = 0; k < frames && !err; k++) {
        if (k > 0) {
            err = world_set_scene(
                w, (world_scene){scene[3 * k], scene[3 * k + 1], scene[3 * k + 2]});
            world_step(w, controls + k * WORLD_CONTROLS);
        }
        if (!err)
            err = f(w, k, user);
    }
    world_destroy(&w);
    return err;
}

typedef struct pictures {
    int width, height;
    uint8_t *rgb;
} pictures;

static int draw(const world *w, int frame, void *user)
{
    const pictures *p = user;
    return world_render(w, p->width, p->height,
                        p->rgb + (int64_t)frame * p->width * p->height * 3);
}

int world_replay(uint64_t seed, int width, int height, int frames, const float *controls,
                 const int32_t *scene, uint8_t *rgb)
{
    return fly(seed, frames, controls, scene, draw, &(pictures){width, height, rgb});
}

typedef struct noted {
    int w, h, depths;
    world_sight *s;
} noted;

static int note(const world *w, int frame, void *user)
{
    const noted *n = user;
    const int columns = n->w + 2 * ZT_GROUND_MARGIN;
    const int64_t samples = (int64_t)columns * n->depths, rays = (int64_t)n->w * n->h;
    const zt_ground g = {w->seed, ZT_GROUND_TILE};
    const camera *c = &w->cam;
    const zt_ground_camera at = {.x = (double)c->x, .z = (double)c->z, .yaw = (double)c->yaw,
                                 .sun = (double)w->azimuth, .pitch = c->pitch, .roll = c->roll};
    zt_ground_sight to = {.h = n->h, .w = n->w,
                          .noise = n->s->noise + frame * samples * ZT_GROUND_NOISES,
                          .column = n->s->column + frame * rays, .ray = n->s->ray + frame * rays * 4, .depths = n->depths};
    zt_ground_look(&g, &at, &to);
    for (int i = 0; i < columns; i++) {
        const float u = WORLD_TAN_HALF_FOV * (float)(2 * (i - ZT_GROUND_MARGIN) + 1 - n->w) / (float)n->w;
        const float dx = sinf(c->yaw) + u * cosf(c->yaw), dz = cosf(c->yaw) - u * sinf(c->yaw);
        for (int k = 0; k < n->depths; k++) {
            const float d = zt_ground_depth(k, n->depths);
            n->s->height[frame * samples + i * n->depths + k] =
                world_map_height(w->now, c->x + dx * d, c->z + dz * d);
        }
    }
    const float camera[8] = {c->x, c->z, c->yaw, w->azimuth, c->pitch, c->roll, c->y, c->rise};
    memcpy(n->s->camera + frame * 12, camera, sizeof camera);
    memcpy(n->s->camera + frame * 12 + 8, c->control, sizeof c->control);
    return 0;
}

int world_see(uint64_t seed, int w, int h, int depths, int frames, const float *controls, const int32_t *scene,
              world_sight *s)
{
    return fly(seed, frames, controls, scene, note, &(noted){w, h, depths, s});
}

int world_clip(uint64_t seed, int width, int height, int frames, uint8_t *rgb, float *controls,
               int32_t *scene)
{
    world_script(seed, frames, controls, scene);
    return world_replay(seed, width, height, frames, controls, scene, rgb);
}
