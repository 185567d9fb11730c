// SPDX-License-Identifier: Apache-2.0
//
// Builds the height map of a scene and lights it: sun, soft shadows, ambient occlusion.
#include "internal.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HALF (MAP_N / 2)

typedef struct builder {
    float noise[NOISES][MAP_CELLS];
    float coarse[HALF * HALF];      // heights at half size
    float shade[HALF * HALF];       // 0 in shadow .. 1
    float blur[HALF * HALF];        // smoothed heights, for the occlusion
    float tmp[HALF * MAP_N];
    uint8_t water[MAP_CELLS];       // 1 where the height is the sea's
} builder;

static int at(int x, int z)
{
    return (z & (MAP_N - 1)) * MAP_N + (x & (MAP_N - 1));
}

static int at_half(int x, int z)
{
    return (z & (HALF - 1)) * HALF + (x & (HALF - 1));
}

static float sample_half(const float *f, float x, float z)
{
    const int xi = (int)floorf(x), zi = (int)floorf(z);
    const float a = x - (float)xi, b = z - (float)zi;
    return lerpf(lerpf(f[at_half(xi, zi)], f[at_half(xi + 1, zi)], a),
                 lerpf(f[at_half(xi, zi + 1)], f[at_half(xi + 1, zi + 1)], a), b);
}

static void make_heights(builder *b, map *m, uint64_t seed, int place, const spot *s)
{
    static const int lattice[NOISES] = {6, 12, 24, 48, 96, 12};
    for (int i = 0; i < NOISES; i++)
        world_noise_add(b->noise[i], MAP_N, world_hash(seed + (uint64_t)i), lattice[i], 1.0f,
                        b->tmp);
    for (int z = 0; z < MAP_N; z++) {
        for (int x = 0; x < MAP_N; x++) {
            float n[NOISES];
            for (int i = 0; i < NOISES; i++)
                n[i] = b->noise[i][at(x, z)];
            m->height[at(x, z)] = world_height(place, n, s, x, z);
        }
    }
}

static void box_rows(const float *in, float *out, int dx, int dz)
{
    for (int z = 0; z < HALF; z++)
        for (int x = 0; x < HALF; x++) {
            float sum = 0.0f;
            for (int i = -3; i <= 3; i++)
                sum += in[at_half(x + i * dx, z + i * dz)];
            out[at_half(x, z)] = sum * (1.0f / 7.0f);
        }
}

// Half-size heights (water is flat), their blur, and the shadow: how far any height towards the
// sun stands above the ray, softer with distance.
static void make_shade(builder *b, const map *m, float elevation, float azimuth)
{
    const float dx = sinf(azimuth), dz = cosf(azimuth);
    const float climb = 2.0f * sinf(elevation) / cosf(elevation);

    for (int z = 0; z < HALF; z++)
        for (int x = 0; x < HALF; x++)
            b->coarse[at_half(x, z)] = maxf(m->height[at(2 * x, 2 * z)], 0.0f);
    box_rows(b->coarse, b->tmp, 1, 0);
    box_rows(b->tmp, b->blur, 0, 1);
    for (int z = 0; z < HALF; z++) {
        for (int x = 0; x < HALF; x++) {
            const float h = b->coarse[at_half(x, z)] + 0.4f;
            float block = 0.0f, d = 1.5f;
            for (int i = 0; i < 16; i++, d *= 1.28f) {
                const int j = at_half(x + (int)(dx * d + 512.5f), z + (int)(dz * d + 512.5f));
                const float over = (b->coarse[j] - h - climb * d) / (1.0f + 0.18f * d);
                block = over > block ? over : block;
            }
            b->shade[at_half(x, z)] = 1.0f - smooth(0.0f, 1.6f, block);
        }
    }
    box_rows(b->shade, b->tmp, 1, 0);
    memcpy(b->shade, b->tmp, sizeof b->shade);
}

static texel light(const ground *g, const look *l, float lambert, float shade, float open)
{
    const rgb sun = scale3(l->sun, lambert * shade);
    const rgb c = mul3(g->albedo, add3(sun, l->ambient, open));
    return (texel){c.r + g->emit.r, c.g + g->emit.g, c.b + g->emit.b, g->gloss};
}

// Rain darkens dry ground and makes it shine where it is level; fresh snow whitens it.
static void weather(ground *g, const look *l, const float n[NOISES], float slope, float dry)
{
    const rgb snow = {0.80f, 0.85f, 0.92f};
    const float wet = l->wet * dry, level = smooth(1.2f, 0.2f, slope);
    const float white = l->white * dry * smooth(1.9f, 0.7f, slope + 0.3f * n[3]);
    g->albedo = mix3(scale3(g->albedo, 1.0f - 0.30f * wet), snow, white);
    g->gloss = maxf(g->gloss, wet * (0.12f + 0.45f * level));
}

static void make_colors(builder *b, map *m, int place, const spot *s, const look *l,
                        float azimuth)
{
    // The light comes from higher than the disc: a sun on the horizon would leave flat land dark.
    const float e = l->elevation * 0.7f + 0.30f;
    const float sx = cosf(e) * sinf(azimuth), sy = sinf(e), sz = cosf(e) * cosf(azimuth);

    make_shade(b, m, e, azimuth);
    for (int z = 0; z < MAP_N; z++) {
        for (int x = 0; x < MAP_N; x++) {
            const float h = m->height[at(x, z)];
            float gx = (m->height[at(x + 1, z)] - m->height[at(x - 1, z)]) * 0.5f;
            float gz = (m->height[at(x, z + 1)] - m->height[at(x, z - 1)]) * 0.5f;
            float n[NOISES];
            for (int i = 0; i < NOISES; i++)
                n[i] = b->noise[i][at(x, z)];
            const float slope = sqrtf(gx * gx + gz * gz);
            ground g = world_ground(place, &(site){n, s, x, z, h, slope, l->lamps});
            const float dry = 1.0f - smooth(0.0f, 0.6f, g.gloss);
            const int sea = g.gloss > 0.0f && h < 0.0f;
            weather(&g, l, n, slope, dry);
            gx *= dry;
            gz *= dry;
            const float cosine = (sy - gx * sx - gz * sz) / sqrtf(1.0f + gx * gx + gz * gz);
            const float lambert = clampf((cosine + 0.12f) * (1.0f / 1.12f), 0.0f, 1.0f);
            const float hx = (float)x * 0.5f, hz = (float)z * 0.5f;
            const float dip = sample_half(b->blur, hx, hz) - maxf(h, 0.0f);
            const float open = clampf(1.0f - 0.07f * dip, 0.45f, 1.25f);
            m->color[at(x, z)] = light(&g, l, lambert, sample_half(b->shade, hx, hz), open);
            b->water[at(x, z)] = (uint8_t)sea;
        }
    }
    m->peak = 0.0f;
    for (int i = 0; i < MAP_CELLS; i++) {
        m->height[i] = b->water[i] ? 0.0f : m->height[i];
        m->peak = m->height[i] > m->peak ? m->height[i] : m->peak;
    }
}

int world_map_build(map *m, uint64_t seed, int place, const look *l, float azimuth)
{
    spot s[SPOTS];
    builder *b = calloc(1, sizeof *b);
    if (!b)
        return -ENOMEM;
    world_spots(place, world_hash(seed ^ 0x5b07u), s);
    make_heights(b, m, seed, place, s);
    make_colors(b, m, place, s, l, azimuth);
    free(b);
    return 0;
}

void world_map_mix(map *out, const map *a, const map *b, float t)
{
    const float *p = a->height, *q = b->height;
    out->peak = a->peak > b->peak ? a->peak : b->peak;
    for (int i = 0; i < MAP_CELLS; i++)
        out->height[i] = lerpf(p[i], q[i], t);
    for (int i = 0; i < MAP_CELLS; i++) {
        const texel u = a->color[i], v = b->color[i];
        out->color[i] = (texel){lerpf(u.r, v.r, t), lerpf(u.g, v.g, t), lerpf(u.b, v.b, t),
                                lerpf(u.gloss, v.gloss, t)};
    }
}

float world_map_height(const map *m, float x, float z)
{
    const int xi = (int)floorf(x), zi = (int)floorf(z);
    const float a = x - (float)xi, b = z - (float)zi;
    return lerpf(lerpf(m->height[at(xi, zi)], m->height[at(xi + 1, zi)], a),
                 lerpf(m->height[at(xi, zi + 1)], m->height[at(xi + 1, zi + 1)], a), b);
}
