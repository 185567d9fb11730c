// SPDX-License-Identifier: Apache-2.0
//
// What the files that draw share: the frame at hand, its level picture, and the air.
#ifndef ZT_TOOLS_TRAIN_WORLD_RENDER_H
#define ZT_TOOLS_TRAIN_WORLD_RENDER_H

#include "internal.h"

#include <math.h>

#define STEPS_MAX 288
#define STRIP_MAX (2 * STEPS_MAX)
#define CHUNK 16            // steps whose heights are fetched together
#define FINE 8              // samples between two steps at a crest
#define SS 2.0f             // texels of the level picture per pixel

typedef struct texel4 {
    float r, g, b, a;       // display values times coverage; a is 1 on terrain
} texel4;

// The level picture: column i is the vertical plane u = u0 + i / scale, row j the slope
// v = v0 + j / scale (u to the right, v up, at distance 1).
typedef struct level {
    texel4 *t;              // [w][h]
    int w, h;
    float u0, v0, scale;
} level;

// A bird or a boat in the picture.
typedef struct thing {
    float u, v, z;          // its middle as a level picture has it, its depth
    float shown;            // 0..1
    int sail;               // a boat
    float lift;             // of a bird's wings, cells
    float wide;             // of a boat, by the angle it is seen from; < 0: it heads to the left
    rgb color, hull;        // for the eye
} thing;

#define THINGS 8

typedef struct frame {
    const world *w;
    float sin_yaw, cos_yaw, sin_pitch, cos_pitch, sin_roll, cos_roll;
    float sun[3];           // direction to the disc
    float sun_u, sun_v;     // its azimuth's direction: x, z
    float disc_cos, disc_edge;
    int first, steps;
    float peak;             // no ground in sight is higher
    int n_things;
    thing things[THINGS];
    // The depths of the march, the same for every column; fade: 1 within the map's view, 0 where
    // the far plain has taken over.
    float z[STEPS_MAX + CHUNK], inv[STEPS_MAX + CHUNK], fade[STEPS_MAX + CHUNK];
} frame;

// Linear light to display values, in place: Reinhard with white at 4, then a square root for the
// eye and a gentle S for contrast.
static inline void display(float *v, int n)
{
    for (int i = 0; i < n; i++) {
        const float c = v[i] * (1.0f + v[i] * (1.0f / 16.0f)) / (0.75f + v[i]);
        const float s = sqrtf(c < 1.0f ? c : 1.0f);
        v[i] = s * (0.5f + s * (1.5f - s));
    }
}

// Rows of colours, one array a channel, so that the loops over them vectorise.
typedef struct strip {
    float r[STRIP_MAX], g[STRIP_MAX], b[STRIP_MAX];
} strip;

// Sky without clouds and disc. up: sine of the elevation; face: cosine of the angle to the sun
// measured along the horizon.
static inline rgb sky_gradient(const look *l, float up, float face)
{
    const float y = up > 0.0f ? up : 0.0f;
    const float t = y / (y + 0.22f) * 1.22f;
    const float side = 0.5f + 0.5f * face;
    const float low = decay(y * 5.5f);
    return add3(mix3(l->horizon, l->zenith, t), l->glow, low * (0.10f + 0.90f * side * side * side));
}

// What falls in the distance, 0..1: streaks that are tied to the light's azimuth. face, side: cosine and sine of the angle
// from it; up: sine of the elevation. Powers of the complex number make the harmonics.
static inline float veil_at(const look *l, float face, float side, float up)
{
    const float y = up > 0.0f ? up : 0.0f, bend = l->slant * y, k = 1.0f / sqrtf(1.0f + bend * bend);
    const float c = (face - side * bend) * k, s = (side + face * bend) * k;
    const float c2 = c * c - s * s, s2 = 2.0f * c * s, c4 = c2 * c2 - s2 * s2, s4 = 2.0f * c2 * s2;
    const float c8 = c4 * c4 - s4 * s4, s8 = 2.0f * c4 * s4;
    const float v = 0.62f * (s4 * c + c4 * s) + 0.45f * (c8 * c - s8 * s) + 0.38f * 2.0f * c8 * s8;
    return l->veil * smooth(-0.5f, 1.1f, v) * decay(y * 3.0f) * (0.55f + 0.45f * smooth(0.0f, 0.12f, y));
}

// The sky in direction d (unit); star: light of the stars there.
rgb world_sky(const frame *f, const float d[3], float star);

// Adds the stars' light to out [h][w].
void world_stars(const frame *f, int w, int h, float *out);

// A direction in level axes (right, up, forward) in the picture; 0 when behind.
int world_project(const frame *f, const float q[3], float *sx, float *sy);

// Lists birds and boat in f->things.
void world_things_place(frame *f);

// Draws them over column i of the level picture, t [h]. z, end: depths of the ground that hides, n of them, and
// the rows below which it does.
void world_things_draw(const frame *f, const level *lv, int i, const float *z, const int *end, int n, texel4 *t);

// Foam behind the boat, 0..1.
float world_wake(const world *w, float x, float z);

#endif
