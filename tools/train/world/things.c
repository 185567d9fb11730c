// SPDX-License-Identifier: Apache-2.0
//
// Small things that move: birds in a wedge, and a boat under sail with its wake. In a share of the worlds.
#include "render.h"

#include <math.h>
#include <stddef.h>

#define FLOCKS    0.16f         // of the worlds
#define BOATS     0.50f         // of those with enough water ahead
#define HALF_SPAN 2.0f          // cells, of a bird's wings
#define HULL      3.0f          // cells, half a boat's length
#define MAST      5.5f
#define VOYAGE    260           // frames for which a boat's way is looked at

// The shorter way on the repeating map.
static float apart(float d)
{
    return d - MAP_N * floorf(d * (1.0f / MAP_N) + 0.5f);
}

static int afloat(const map *m, float x, float z)
{
    const int i = ((int)floorf(z) & (MAP_N - 1)) * MAP_N + ((int)floorf(x) & (MAP_N - 1));
    return m->height[i] <= 0.0f && m->color[i].gloss > 0.3f;
}

// Open water all along a way, and on both sides of it.
static int clear_way(const map *m, const boat *b)
{
    for (int age = -40; age <= VOYAGE; age += 20)
        for (int side = -1; side <= 1; side++) {
            const float x = b->x + b->vx * (float)age + 40.0f * b->vz * (float)side;
            const float z = b->z + b->vz * (float)age - 40.0f * b->vx * (float)side;
            if (!afloat(m, x, z))
                return 0;
        }
    return 1;
}

void world_things_start(world *w)
{
    const uint64_t seed = world_hash(w->seed ^ 0xb17du);
    const camera *c = &w->cam;
    const float dx = sinf(c->yaw), dz = cosf(c->yaw);
    if (world_unit(seed, 0) < FLOCKS) {
        const float side = 50.0f * (world_unit(seed, 1) - 0.5f), ahead = 52.0f + 25.0f * world_unit(seed, 2);
        const float drift = 0.30f * (world_unit(seed, 3) - 0.5f), v = 0.85f + 0.3f * world_unit(seed, 4);
        w->flock = (flock){.n = 3 + (int)(4.0f * world_unit(seed, 5)), .y = c->y + 2.0f + 9.0f * world_unit(seed, 6),
                           .x = c->x + dx * ahead + dz * side, .z = c->z + dz * ahead - dx * side,
                           .vx = dx * v + dz * drift, .vz = dz * v - dx * drift};
    }
    for (uint32_t i = 0; i < 24 && !w->boat.there && world_unit(seed, 7) < BOATS; i++) {
        const float ahead = 35.0f + 65.0f * world_unit(seed, 10 + 3 * i);
        const float side = (world_unit(seed, 11 + 3 * i) - 0.5f) * ahead;
        const float way = 6.2831853f * world_unit(seed, 12 + 3 * i);
        boat b = {.there = 1, .x = c->x + dx * ahead + dz * side, .z = c->z + dz * ahead - dx * side,
                  .vx = 0.12f * sinf(way), .vz = 0.12f * cosf(way)};
        if (clear_way(w->now, &b))
            w->boat = b;
    }
}

// Where it is from the camera: right, up, forward.
static void seen_from(const frame *f, float x, float y, float z, float q[3])
{
    const camera *c = &f->w->cam;
    const float dx = apart(x - c->x), dz = apart(z - c->z);
    q[0] = dx * f->cos_yaw - dz * f->sin_yaw;
    q[1] = y - c->y;
    q[2] = dx * f->sin_yaw + dz * f->cos_yaw;
}

// Colour as the air leaves it, for the eye.
static rgb through_air(const frame *f, rgb c, float d, float face)
{
    const look *l = &f->w->look;
    const rgb air = sky_gradient(l, 0.0f, face);
    rgb out = mix3(air, c, decay(d * l->haze));
    display(&out.r, 3);
    return out;
}

static thing *add_thing(frame *f, const float q[3], float shown)
{
    if (shown < 0.01f || q[2] < 12.0f || q[2] > 200.0f)
        return NULL;
    thing *t = &f->things[f->n_things++];
    *t = (thing){.u = q[0] / q[2], .v = q[1] / q[2], .z = q[2],
                 .shown = shown * smooth(12.0f, 20.0f, q[2]) * smooth(200.0f, 150.0f, q[2])};
    return t;
}

static void place_flock(frame *f, const flock *b)
{
    const float age = (float)f->w->age, v = sqrtf(b->vx * b->vx + b->vz * b->vz);
    for (int i = 0; i < b->n; i++) {
        const float rank = (float)((i + 1) / 2), own = 1.7f * (float)i;
        const float side = rank * (i % 2 ? 5.2f : -4.8f) + 0.5f * sinf(0.043f * age + own);
        const float back = rank * 4.0f + 0.6f * sinf(0.031f * age + 2.0f * own);
        float q[3];
        seen_from(f, b->x + b->vx * (age - back / v) + b->vz / v * side, b->y + 0.9f * sinf(0.05f * age + own),
                  b->z + b->vz * (age - back / v) - b->vx / v * side, q);
        thing *t = add_thing(f, q, 0.85f * f->w->look.birds);
        if (!t)
            continue;
        t->lift = 0.35f + 0.85f * sinf(0.36f * age + own);
        t->color = through_air(f, scale3(f->w->look.ambient, 0.10f), q[2], 0.0f);
    }
}

static void place_boat(frame *f, const boat *b)
{
    const look *l = &f->w->look;
    const float x = b->x + b->vx * (float)f->w->age, z = b->z + b->vz * (float)f->w->age;
    const int i = ((int)floorf(z) & (MAP_N - 1)) * MAP_N + ((int)floorf(x) & (MAP_N - 1));
    float q[3];
    seen_from(f, x, 0.0f, z, q);
    thing *t = add_thing(f, q, smooth(0.2f, 0.4f, f->w->now->color[i].gloss) *
                                   smooth(0.8f, 0.1f, f->w->now->height[i]));
    if (!t)
        return;
    const float across = (b->vx * f->cos_yaw - b->vz * f->sin_yaw) / 0.12f;
    t->sail = 1;
    t->wide = across < 0.0f ? minf(across, -0.35f) : maxf(across, 0.35f);
    t->color = through_air(f, add3(scale3(l->ambient, 0.95f), l->sun, 0.45f), q[2], 0.0f);
    t->hull = through_air(f, mul3(add3(l->ambient, l->sun, 0.3f), (rgb){0.26f, 0.09f, 0.06f}), q[2], 0.0f);
}

void world_things_place(frame *f)
{
    if (f->w->flock.n)
        place_flock(f, &f->w->flock);
    if (f->w->boat.there)
        place_boat(f, &f->w->boat);
}

float world_wake(const world *w, float x, float z)
{
    const boat *b = &w->boat;
    const float dx = apart(x - b->x - b->vx * (float)w->age), dz = apart(z - b->z - b->vz * (float)w->age);
    const float sx = b->vx / 0.12f, sz = b->vz / 0.12f;
    const float back = -(dx * sx + dz * sz), side = fabsf(dx * sz - dz * sx);
    if (back < -HULL || back > 18.0f || side > 6.0f)
        return 0.0f;
    const float arm = fabsf(side - 0.8f - 0.14f * (back + HULL)), middle = side * 0.8f;
    const float foam = maxf(smooth(1.2f, 0.2f, arm), 0.7f * smooth(1.3f, 0.2f, middle) * smooth(0.0f, 3.0f, back));
    return foam * smooth(18.0f, 0.0f, back) * smooth(-HULL, -1.5f, back);
}

// How much of a point x cells to the right of and y above the middle a bird covers.
static float bird_at(const thing *b, float x, float y, float soft)
{
    const float t = fabsf(x) * (1.0f / HALF_SPAN);
    if (t > 1.1f)
        return 0.0f;
    const float wing = b->lift * (1.7f * t - 0.9f * t * t), thick = 0.42f - 0.30f * t;
    return smooth(thick + soft, thick - soft, fabsf(y - wing)) * smooth(1.05f, 0.9f, t);
}

// The same of a boat: its hull's share and its sails'.
static void boat_at(const thing *b, float x, float y, float soft, float *hull, float *sail)
{
    const float l = x / b->wide, height = (y - 1.1f) / (MAST - 1.1f);
    const float half = HULL * (0.72f + 0.28f * clampf(y, 0.0f, 1.0f));
    *hull = smooth(half + soft, half - soft, fabsf(l)) * smooth(1.0f + soft, 1.0f - soft, y) * smooth(-soft, soft, y + 0.3f);
    const float fore = 2.4f * (1.0f - height), aft = 1.9f * (1.0f - height);
    *sail = smooth(fore + soft, fore - soft, l) * smooth(-aft - soft, -aft + soft, l) * smooth(-0.05f, 0.05f, height) *
            smooth(1.0f, 0.9f, height);
}

static void cover(texel4 *t, rgb c, float a)
{
    *t = (texel4){lerpf(t->r, c.r, a), lerpf(t->g, c.g, a), lerpf(t->b, c.b, a), lerpf(t->a, 1.0f, a)};
}

void world_things_draw(const frame *f, const level *lv, int i, const float *z, const int *end, int n, texel4 *t)
{
    const float u = lv->u0 + (float)i / lv->scale;
    for (const thing *b = f->things; b < f->things + f->n_things; b++) {
        const float x = (u - b->u) * b->z, cell = b->z / lv->scale;
        if (fabsf(x) > HULL + 1.0f)
            continue;
        int from = (int)((b->v - 3.0f / b->z - lv->v0) * lv->scale), hidden = 0;
        int to = (int)((b->v + (MAST + 1.0f) / b->z - lv->v0) * lv->scale);
        for (int k = 0; k < n && z[k] < b->z - 2.0f; k++)
            hidden = end[k] > hidden ? end[k] : hidden;
        from = from < hidden ? hidden : from;
        to = to > lv->h ? lv->h : to;
        for (int j = from; j < to; j++) {
            const float y = (lv->v0 + ((float)j + 0.5f) / lv->scale - b->v) * b->z;
            if (b->sail) {
                float hull, sail;
                boat_at(b, x, y, 0.8f * cell, &hull, &sail);
                cover(&t[j], b->color, sail * b->shown);
                cover(&t[j], b->hull, hull * b->shown);
            } else {
                cover(&t[j], b->color, bird_at(b, x, y, 0.9f * cell) * b->shown);
            }
        }
    }
}
