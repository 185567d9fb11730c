// SPDX-License-Identifier: Apache-2.0
//
// The sky: gradient, disc, clouds, stars, and what falls from it far away.
#include "render.h"

#include <math.h>

#define STARS 90

static float cloud_at(const float *cloud, float x, float z)
{
    const float fx = x + 65536.0f, fz = z + 65536.0f;
    const int xi = (int)fx, zi = (int)fz, m = CLOUD_N - 1;
    const float a = fx - (float)xi, b = fz - (float)zi;
    const float *p = cloud + (zi & m) * CLOUD_N, *q = cloud + ((zi + 1) & m) * CLOUD_N;
    return lerpf(lerpf(p[xi & m], p[(xi + 1) & m], a), lerpf(q[xi & m], q[(xi + 1) & m], a), b);
}

rgb world_sky(const frame *f, const float d[3], float star)
{
    const look *l = &f->w->look;
    const float flat = sqrtf(d[0] * d[0] + d[2] * d[2]) + 1e-6f;
    const float face = (d[0] * f->sun_u + d[2] * f->sun_v) / flat;
    const float off = 1.0f - (d[0] * f->sun[0] + d[1] * f->sun[1] + d[2] * f->sun[2]);
    rgb c = sky_gradient(l, d[1], face);

    c = add3(c, (rgb){0.9f, 0.95f, 1.0f}, star * l->stars * smooth(0.02f, 0.2f, d[1]));
    c = add3(c, l->disc, l->halo * (0.10f / (1.0f + 40.0f * off) + 0.22f / (1.0f + 500.0f * off)));
    c = mix3(c, l->disc, l->disc_show * smooth(f->disc_cos * 1.35f, f->disc_cos * 0.8f, off));
    if (l->cover > 0.0f && d[1] > 0.03f) {
        const float k = 10.0f / (d[1] + 0.06f);
        const float v = cloud_at(f->w->cloud, f->w->cam.x * 0.06f + d[0] * k,
                                 f->w->cam.z * 0.06f + d[2] * k);
        const float edge = 1.10f - 1.05f * l->cover;
        const float body = smooth(edge, edge + 0.45f, v);
        const float amount = body * smooth(0.03f, 0.20f, d[1]) * clampf(l->cover * 2.2f, 0.0f, 0.92f);
        const float lit = clampf(0.5f / (1.0f + 3.0f * off) + 0.75f - 0.75f * body, 0.0f, 1.0f);
        c = mix3(c, mix3(l->cloud_dark, l->cloud_lit, lit), amount);
    }
    if (l->veil > 0.0f)
        c = mix3(c, l->veil_color, veil_at(l, face, (d[0] * f->sun_v - d[2] * f->sun_u) / flat, d[1]));
    return c;
}

int world_project(const frame *f, const float q[3], float *sx, float *sy)
{
    const float y = q[1] * f->cos_pitch - q[2] * f->sin_pitch;
    const float z = q[2] * f->cos_pitch + q[1] * f->sin_pitch;
    if (z < 0.05f)
        return 0;
    *sx = (q[0] * f->cos_roll - y * f->sin_roll) / z;
    *sy = (q[0] * f->sin_roll + y * f->cos_roll) / z;
    return 1;
}

// Large soft dots, one splat each.
void world_stars(const frame *f, int w, int h, float *out)
{
    const float half = 0.5f * (float)w / WORLD_TAN_HALF_FOV;
    const float sigma = 0.5f + 0.0016f * (float)w, k = 0.5f / (sigma * sigma);
    for (uint32_t i = 0; i < STARS; i++) {
        const float y = 0.04f + 0.80f * world_unit(f->w->seed, 7000 + 3 * i);
        const float a = 6.2831853f * world_unit(f->w->seed, 7001 + 3 * i);
        const float m = world_unit(f->w->seed, 7002 + 3 * i), r = sqrtf(1.0f - y * y);
        const float x = r * sinf(a), z = r * cosf(a);
        const float q[3] = {x * f->cos_yaw - z * f->sin_yaw, y, x * f->sin_yaw + z * f->cos_yaw};
        float sx, sy;
        if (!world_project(f, q, &sx, &sy))
            continue;
        const float px = sx * half + 0.5f * (float)w - 0.5f, py = 0.5f * (float)h - 0.5f - sy * half;
        if (px < -4.0f || py < -4.0f || px > (float)w + 4.0f || py > (float)h + 4.0f)
            continue;
        const int x0 = (int)floorf(px) - 2, y0 = (int)floorf(py) - 2;
        for (int v = y0 < 0 ? 0 : y0; v < y0 + 6 && v < h; v++)
            for (int u = x0 < 0 ? 0 : x0; u < x0 + 6 && u < w; u++) {
                const float dx = (float)u - px, dy = (float)v - py;
                out[v * w + u] += (0.15f + 0.75f * m * m) * decay((dx * dx + dy * dy) * k);
            }
    }
}
