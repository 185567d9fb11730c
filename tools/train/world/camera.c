// SPDX-License-Identifier: Apache-2.0
//
// The camera: controls become motion, and the ground stays below.
#include "internal.h"

#include <math.h>

#define YAW_RATE (40.0f / 24.0f * 0.01745329f)     // radians per frame at full control
#define ROLL_MAX (20.0f * 0.01745329f)
#define PITCH_MAX (12.0f * 0.01745329f)
#define CLEAR 10.0f                                 // the spring begins this far above the ground
#define CEILING 52.0f                               // and this far

// Highest ground under the camera and a little ahead.
static float ground_ahead(const map *m, const camera *c)
{
    const float dx = sinf(c->yaw), dz = cosf(c->yaw);
    float top = 0.0f;
    for (int i = 0; i < 6; i++) {
        const float d = (float)i * 6.0f;
        const float h = world_map_height(m, c->x + dx * d, c->z + dz * d) - 0.12f * d;
        top = h > top ? h : top;
    }
    return top;
}

// How good the view from here is: relief in sight, nothing close in front of the lens.
static float view_score(const map *m, const camera *c)
{
    float lo = 9.0f, hi = -9.0f, near_wall = 0.0f;
    for (int i = -2; i <= 2; i++) {
        const float a = c->yaw + (float)i * 0.25f;
        float top = -9.0f;
        for (float d = 10.0f; d < 230.0f; d *= 1.25f) {
            const float x = c->x + sinf(a) * d, z = c->z + cosf(a) * d;
            const float v = (world_map_height(m, x, z) - c->y) / d;
            top = v > top ? v : top;
            if (d < 70.0f && v > -0.08f)
                near_wall += v + 0.08f;
        }
        lo = top < lo ? top : lo;
        hi = top > hi ? top : hi;
    }
    // Some sky must show: a wall above a third of the picture's half height counts against.
    return (hi - lo) + 0.5f * hi - 2.0f * near_wall - 3.0f * maxf(hi - 0.22f, 0.0f);
}

void world_camera_start(camera *c, const world *w)
{
    const uint64_t seed = world_hash(w->seed ^ 0xca3eu);
    float best = -1e9f;
    for (uint32_t i = 0; i < 10; i++) {
        camera t = {.x = MAP_N * world_unit(seed, 4 * i), .z = MAP_N * world_unit(seed, 4 * i + 1)};
        const float r = world_unit(seed, 4 * i + 2) * 2.0f - 1.0f;
        t.yaw = w->azimuth + (i % 3 ? 0.75f : 3.1416f) * r;
        t.y = ground_ahead(w->now, &t) + CLEAR + 3.0f + 16.0f * world_unit(seed, 4 * i + 3);
        const float score = view_score(w->now, &t) + 0.15f * world_unit(seed, 900 + i);
        if (score > best) {
            best = score;
            *c = t;
        }
    }
}

static float wrap(float v)
{
    return v - MAP_N * floorf(v * (1.0f / MAP_N));
}

void world_camera_step(camera *c, const map *m, const float control[WORLD_CONTROLS])
{
    for (int i = 0; i < WORLD_CONTROLS; i++)
        c->control[i] += (clampf(control[i], -1.0f, 1.0f) - c->control[i]) * 0.6f;
    c->yaw += YAW_RATE * c->control[0];
    c->roll += (ROLL_MAX * c->control[0] - c->roll) * 0.4f;
    c->pitch = PITCH_MAX * c->control[1];

    const float v = 1.05f + 0.75f * c->control[2];
    c->x = wrap(c->x + sinf(c->yaw) * v);
    c->z = wrap(c->z + cosf(c->yaw) * v);

    const float above = c->y - ground_ahead(m, c);
    float want = 0.75f * c->control[3];
    if (above < CLEAR)
        want = maxf(want, 0.0f) + (CLEAR - above) * 0.10f * (0.5f + v);
    else if (above > CEILING)
        want = minf(want, 0.0f) - (above - CEILING) * 0.04f;
    else if (want < 0.0f)
        want *= smooth(CLEAR, CLEAR + 5.0f, above);
    c->rise += (want - c->rise) * 0.5f;
    c->y += c->rise;
    const float floor_y = maxf(world_map_height(m, c->x, c->z), 0.0f) + 3.0f;
    c->y = c->y < floor_y ? floor_y : c->y;
}
