// SPDX-License-Identifier: Apache-2.0
//
// Draws a world: columns of terrain marched front to back into a level picture of twice the
// resolution, then one pass over the pixels that turns it by pitch and roll and adds the sky.
#include "render.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void display_strip(strip *s, int n)
{
    display(s->r, n);
    display(s->g, n);
    display(s->b, n);
}

static void set_step(frame *f, int k, float z)
{
    f->z[k] = z;
    f->inv[k] = 1.0f / z;
    f->fade[k] = 1.0f - smooth(220.0f, 330.0f, z);
}

static void setup(frame *f, const world *w)
{
    const camera *c = &w->cam;
    memset(f, 0, sizeof *f);
    f->w = w;
    f->sin_yaw = sinf(c->yaw);
    f->cos_yaw = cosf(c->yaw);
    f->sin_pitch = sinf(c->pitch);
    f->cos_pitch = cosf(c->pitch);
    f->sin_roll = sinf(c->roll);
    f->cos_roll = cosf(c->roll);
    f->sun_u = sinf(w->azimuth);
    f->sun_v = cosf(w->azimuth);
    f->sun[0] = cosf(w->look.elevation) * f->sun_u;
    f->sun[1] = sinf(w->look.elevation);
    f->sun[2] = cosf(w->look.elevation) * f->sun_v;
    f->disc_cos = 0.5f * w->look.disc_radius * w->look.disc_radius;
    float z = 3.0f;
    while (z < 5000.0f && f->steps < STEPS_MAX) {
        set_step(f, f->steps++, z);
        z += z < 260.0f ? maxf(0.5f, 0.018f * z) : 0.07f * z;
    }
    for (int k = 0; k < CHUNK; k++)
        set_step(f, f->steps + k, z);
    world_things_place(f);
    f->peak = w->now->peak > w->look.far_level ? w->now->peak : w->look.far_level;
}

// Steps nearer than `first` lie under the picture: no ground within them reaches its lowest row.
static void skip_near(frame *f, float v0)
{
    const float *h = f->w->now->height;
    const int reach = 32, x0 = (int)f->w->cam.x, z0 = (int)f->w->cam.z;
    float top = 0.0f;
    for (int z = z0 - reach; z <= z0 + reach; z++)
        for (int x = x0 - reach; x <= x0 + reach; x++)
            top = maxf(top, h[(z & (MAP_N - 1)) * MAP_N + (x & (MAP_N - 1))]);
    // Half the reach: the picture's edge columns are longer than their depth.
    while (f->first + 1 < f->steps && f->z[f->first + 1] < 0.5f * (float)reach &&
           (top - f->w->cam.y) * f->inv[f->first + 1] < v0)
        f->first++;
}

// --- terrain ---

typedef struct column {
    float dx, dz;           // world direction, 1 forward
    float stretch;          // true length of a unit of depth
    float face;
    rgb air;                // what the terrain fades into
} column;

static column make_column(const frame *f, float u)
{
    column c = {.dx = f->sin_yaw + u * f->cos_yaw, .dz = f->cos_yaw - u * f->sin_yaw};
    c.stretch = sqrtf(1.0f + u * u);
    c.face = (c.dx * f->sun_u + c.dz * f->sun_v) / c.stretch;
    c.air = sky_gradient(&f->w->look, 0.0f, c.face);
    if (f->w->look.veil > 0.0f)
        c.air = mix3(c.air, f->w->look.veil_color,
                     veil_at(&f->w->look, c.face, (c.dx * f->sun_v - c.dz * f->sun_u) / c.stretch, 0.0f));
    return c;
}

typedef struct cell {
    int i00, i10, i01, i11;
    float a, b;
} cell;

static inline cell find_cell(float x, float z)
{
    // 16384 keeps the sum positive: the march ends before.
    const float fx = x + 16384.0f, fz = z + 16384.0f;
    const int xi = (int)fx, zi = (int)fz;
    const int x0 = xi & (MAP_N - 1), x1 = (xi + 1) & (MAP_N - 1);
    const int z0 = (zi & (MAP_N - 1)) * MAP_N, z1 = ((zi + 1) & (MAP_N - 1)) * MAP_N;
    return (cell){z0 + x0, z0 + x1, z1 + x0, z1 + x1, fx - (float)xi, fz - (float)zi};
}

static inline float cell_height(const float *h, cell c)
{
    return lerpf(lerpf(h[c.i00], h[c.i10], c.a), lerpf(h[c.i01], h[c.i11], c.a), c.b);
}

static inline texel cell_color(const texel *t, cell c)
{
    const float w00 = (1.0f - c.a) * (1.0f - c.b), w10 = c.a * (1.0f - c.b);
    const float w01 = (1.0f - c.a) * c.b, w11 = c.a * c.b;
    const texel p = t[c.i00], q = t[c.i10], r = t[c.i01], s = t[c.i11];
    return (texel){p.r * w00 + q.r * w10 + r.r * w01 + s.r * w11,
                   p.g * w00 + q.g * w10 + r.g * w01 + s.g * w11,
                   p.b * w00 + q.b * w10 + r.b * w01 + s.b * w11,
                   p.gloss * w00 + q.gloss * w10 + r.gloss * w01 + s.gloss * w11};
}

// The points of a column that bound what is seen, front to back.
typedef struct marks {
    int n;
    int k[STRIP_MAX], end[STRIP_MAX];       // step; the row below which this point hides all
    float z[STRIP_MAX], row[STRIP_MAX], height[STRIP_MAX];
    strip color;
} marks;

static void add_mark(marks *m, int k, float z, float row, float height, int end)
{
    m->k[m->n] = k;
    m->z[m->n] = z;
    m->row[m->n] = row;
    m->height[m->n] = height;
    m->end[m->n++] = end;
}

// Heights and rows of n depths. One loop without branches: it vectorises.
static inline void measure(const frame *f, const level *lv, const column *c, const float *z,
                           const float *inv, const float *fade, int n, float *height, float *row)
{
    const float *h = f->w->now->height;
    const float x0 = f->w->cam.x, y0 = f->w->cam.y, z0 = f->w->cam.z;
    const float far_level = f->w->look.far_level, v0 = lv->v0, scale = lv->scale;
    const float dx = c->dx, dz = c->dz;
    for (int k = 0; k < n; k++) {
        const cell at = find_cell(x0 + dx * z[k], z0 + dz * z[k]);
        height[k] = lerpf(far_level, cell_height(h, at), fade[k]);
        row[k] = ((height[k] - y0) * inv[k] - v0) * scale;
    }
}

// The last mark is a crest against what lies behind it: finds its top between the steps, which
// would else cut it into scallops. Returns the new end.
static int refine_crest(const frame *f, const level *lv, const column *c, marks *m)
{
    const int i = m->n - 1, k = m->k[i];
    const float z0 = f->z[k > f->first ? k - 1 : k], dz = f->z[k + 1] - z0;
    float z[FINE], inv[FINE], fade[FINE], height[FINE], row[FINE];
    for (int j = 0; j < FINE; j++) {
        z[j] = z0 + dz * ((float)j + 0.5f) * (1.0f / FINE);
        inv[j] = 1.0f / z[j];
        fade[j] = f->fade[k];
    }
    measure(f, lv, c, z, inv, fade, FINE, height, row);
    for (int j = 0; j < FINE; j++) {
        if (row[j] > m->row[i]) {
            m->z[i] = z[j];
            m->row[i] = row[j];
            m->height[i] = height[j];
        }
    }
    const int end = (int)(m->row[i] + 0.5f);
    m->end[i] = end < lv->h ? end : lv->h;
    return m->end[i];
}

// Marches a column. A point that comes out of hiding brings the hidden one before it along, so
// that the colour has two ends to run between.
static void find_marks(const frame *f, const level *lv, const column *c, marks *m)
{
    const float y0 = f->w->cam.y, level_row = -lv->v0 * lv->scale;
    float height[CHUNK], row[CHUNK], last_row = -1.0f, last_height = 0.0f;
    int top = 0, last_seen = 0;

    m->n = 0;
    for (int k = f->first; k < f->steps && top < lv->h; k++) {
        const int n = (k - f->first) % CHUNK;
        if (n == 0) {
            // Above the eye's level, rows only fall with distance: nothing higher can follow.
            if ((float)top > level_row &&
                y0 + ((float)top - level_row) / lv->scale * f->z[k] > f->peak)
                break;
            measure(f, lv, c, f->z + k, f->inv + k, f->fade + k, CHUNK, height, row);
        }
        int end = (int)(row[n] + 0.5f);
        const int seen = row[n] >= 0.0f && end > top;
        if (last_seen && !seen)
            top = refine_crest(f, lv, c, m);
        if (seen) {
            if (!last_seen && k > f->first)
                add_mark(m, k - 1, f->z[k - 1], last_row, last_height, top);
            end = end > lv->h ? lv->h : end;
            add_mark(m, k, f->z[k], row[n], height[n], end);
            top = end;
        }
        last_seen = seen;
        last_row = row[n];
        last_height = height[n];
    }
}

// The mirrored sky and the sun's path, over the colours of all marks: no branches, it vectorises.
static void reflect(const frame *f, const column *c, const marks *m, const float *gloss, strip *out)
{
    const look l = f->w->look;
    const float y0 = f->w->cam.y, across = 1.0f + 90.0f * (1.0f - c->face), low = 0.6f * f->sun[1], face = c->face;
    for (int i = 0; i < m->n; i++) {
        const float slope = (m->height[i] - y0) / m->z[i];
        const float up = -slope / sqrtf(1.0f + slope * slope), ripple = (gloss[i] - 0.72f) * 1.2f;
        const rgb sky = sky_gradient(&l, up * 0.9f + 0.10f + 0.25f * ripple, face);
        const float g = 1.0f - up, fresnel = 0.06f + 0.80f * g * g * g * g;
        const float along = up - low, path = l.glitter / (across * (1.0f + 7.0f * along * along));
        const float share = clampf(fresnel * gloss[i] * 1.2f, 0.0f, 1.0f);
        const float sun = path * gloss[i] * clampf(0.35f + 1.6f * ripple, 0.05f, 1.0f);
        out->r[i] += (sky.r - out->r[i]) * share + l.sun.r * sun;
        out->g[i] += (sky.g - out->g[i]) * share + l.sun.g * sun;
        out->b[i] += (sky.b - out->b[i]) * share + l.sun.b * sun;
    }
}

static void add_wake(const world *w, const column *c, const marks *m, const float *gloss, strip *out)
{
    const rgb white = add3(scale3(w->look.ambient, 0.9f), w->look.sun, 0.3f);
    for (int i = 0; i < m->n; i++) {
        if (gloss[i] < 0.3f)
            continue;
        const float foam = 0.6f * world_wake(w, w->cam.x + c->dx * m->z[i], w->cam.z + c->dz * m->z[i]);
        out->r[i] = lerpf(out->r[i], white.r, foam);
        out->g[i] = lerpf(out->g[i], white.g, foam);
        out->b[i] = lerpf(out->b[i], white.b, foam);
    }
}

static void shade(const frame *f, const column *c, marks *m)
{
    const world *w = f->w;
    const look *l = &w->look;
    const float haze = l->haze, mist = l->mist, stretch = c->stretch;
    float gloss[STRIP_MAX], most = 0.0f;
    strip *s = &m->color;

    for (int i = 0; i < m->n; i++) {
        const texel t = cell_color(w->now->color, find_cell(w->cam.x + c->dx * m->z[i], w->cam.z + c->dz * m->z[i]));
        s->r[i] = t.r;
        s->g[i] = t.g;
        s->b[i] = t.b;
        gloss[i] = t.gloss;
        most = maxf(most, t.gloss);
    }
    if (most > 0.02f)
        reflect(f, c, m, gloss, s);
    if (w->boat.there && most > 0.3f)
        add_wake(w, c, m, gloss, s);
    for (int i = 0; i < m->n; i++) {
        const float h = m->height[i] > 0.0f ? m->height[i] : 0.0f, d = m->z[i] * stretch;
        const float close = d < 50.0f ? d * 0.02f : 1.0f;
        const float fade = f->fade[m->k[i]];
        const float keep = decay(d * (haze + mist * decay(h * 0.12f)) * close) * fade;
        s->r[i] = c->air.r + (s->r[i] - c->air.r) * keep;
        s->g[i] = c->air.g + (s->g[i] - c->air.g) * keep;
        s->b[i] = c->air.b + (s->b[i] - c->air.b) * keep;
    }
    display_strip(s, m->n);
}

// Rows [top, end) between the marks i - 1 and i.
static void fill(texel4 *t, const marks *m, int i, int top, int end)
{
    const int j = i ? i - 1 : 0;
    const strip *s = &m->color;
    const rgb a = {s->r[j], s->g[j], s->b[j]};
    const rgb d = {s->r[i] - a.r, s->g[i] - a.g, s->b[i] - a.b};
    const float from = i ? m->row[j] : -1.0f, step = 1.0f / (m->row[i] - from);
    float w = ((float)top + 0.5f - from) * step;
    for (int y = top; y < end; y++, w += step)
        t[y] = (texel4){a.r + d.r * w, a.g + d.g * w, a.b + d.b * w, 1.0f};
}

static void draw_column(const frame *f, const level *lv, int i, marks *m)
{
    const column c = make_column(f, lv->u0 + (float)i / lv->scale);
    texel4 *t = lv->t + (int64_t)i * lv->h;
    int top = 0;

    find_marks(f, lv, &c, m);
    shade(f, &c, m);
    for (int k = 0; k < m->n; k++) {
        if (m->end[k] > top)
            fill(t, m, k, top, m->end[k]);
        top = m->end[k];
    }
    memset(t + top, 0, sizeof(texel4) * (size_t)(lv->h - top));
    if (f->n_things)
        world_things_draw(f, lv, i, m->z, m->end, m->n, t);
}

// --- picture ---

// A pixel's ray in level axes.
static void ray(const frame *f, float sx, float sy, float q[3])
{
    const float y = sy * f->cos_roll - sx * f->sin_roll;
    q[0] = sx * f->cos_roll + sy * f->sin_roll;
    q[1] = y * f->cos_pitch + f->sin_pitch;
    q[2] = f->cos_pitch - y * f->sin_pitch;
}

static int make_level(const frame *f, int w, int h, level *lv)
{
    const float tx = WORLD_TAN_HALF_FOV, ty = tx * (float)h / (float)w;
    float u0 = 9, u1 = -9, v0 = 9, v1 = -9;
    for (int i = 0; i < 4; i++) {
        float q[3];
        ray(f, i & 1 ? tx : -tx, i & 2 ? ty : -ty, q);
        const float u = q[0] / q[2], v = q[1] / q[2];
        u0 = u < u0 ? u : u0;
        u1 = u > u1 ? u : u1;
        v0 = v < v0 ? v : v0;
        v1 = v > v1 ? v : v1;
    }
    lv->scale = SS * 0.5f * (float)w / tx;
    lv->u0 = u0 - 2.5f / lv->scale;
    lv->v0 = v0 - 2.5f / lv->scale;
    lv->w = (int)((u1 - u0) * lv->scale) + 7;
    lv->h = (int)((v1 - v0) * lv->scale) + 7;
    lv->t = malloc(sizeof(texel4) * (size_t)lv->w * (size_t)lv->h);
    return lv->t ? 0 : -ENOMEM;
}

// Quadratic B-spline over 3 x 3 texels: a pixel and a half wide, the same at every phase.
static texel4 gather(const level *lv, float i, float j)
{
    const int ic = (int)(i + 0.5f), jc = (int)(j + 0.5f);
    const float a = i - (float)ic, b = j - (float)jc;
    const float wi[3] = {0.5f * (0.5f - a) * (0.5f - a), 0.75f - a * a,
                         0.5f * (0.5f + a) * (0.5f + a)};
    const float wj[3] = {0.5f * (0.5f - b) * (0.5f - b), 0.75f - b * b,
                         0.5f * (0.5f + b) * (0.5f + b)};
    texel4 s = {0};
    for (int x = 0; x < 3; x++) {
        const texel4 *t = lv->t + (int64_t)(ic + x - 1) * lv->h + jc - 1;
        for (int y = 0; y < 3; y++) {
            const float w = wi[x] * wj[y];
            s = (texel4){s.r + w * t[y].r, s.g + w * t[y].g, s.b + w * t[y].b, s.a + w * t[y].a};
        }
    }
    return s;
}

static uint8_t byte(float v)
{
    return (uint8_t)(clampf(v, 0.0f, 1.0f) * 255.0f + 0.5f);
}

// Pixels x0 .. x0 + n - 1 of a row: the terrain as gathered, then what sky shows behind it.
static void draw_pixels(const frame *f, const level *lv, float sx, float sy, float dx, int n,
                        const float *star, uint8_t *out)
{
    strip s;
    texel4 t[STRIP_MAX];
    for (int i = 0; i < n; i++) {
        float q[3];
        rgb c = {0};
        ray(f, sx + dx * (float)i, sy, q);
        const float inv = 1.0f / q[2];
        t[i] = gather(lv, (q[0] * inv - lv->u0) * lv->scale,
                      (q[1] * inv - lv->v0) * lv->scale - 0.5f);
        if (t[i].a < 0.999f) {
            const float k = 1.0f / sqrtf(q[0] * q[0] + q[1] * q[1] + q[2] * q[2]);
            const float d[3] = {(q[0] * f->cos_yaw + q[2] * f->sin_yaw) * k, q[1] * k,
                                (q[2] * f->cos_yaw - q[0] * f->sin_yaw) * k};
            c = world_sky(f, d, star[i]);
        }
        s.r[i] = c.r;
        s.g[i] = c.g;
        s.b[i] = c.b;
    }
    display_strip(&s, n);
    for (int i = 0; i < n; i++) {
        const float k = 1.0f - t[i].a;
        out[3 * i] = byte(t[i].r + s.r[i] * k);
        out[3 * i + 1] = byte(t[i].g + s.g[i] * k);
        out[3 * i + 2] = byte(t[i].b + s.b[i] * k);
    }
}

int world_render(const world *w, int width, int height, uint8_t *rgb)
{
    frame f;
    level lv;
    setup(&f, w);
    float *star = calloc((size_t)width * (size_t)height, sizeof *star);
    if (!star || make_level(&f, width, height, &lv) < 0) {
        free(star);
        return -ENOMEM;
    }
    if (w->look.stars > 0.005f)
        world_stars(&f, width, height, star);
    skip_near(&f, lv.v0);
    marks m;
    for (int i = 0; i < lv.w; i++)
        draw_column(&f, &lv, i, &m);
    const float k = 2.0f * WORLD_TAN_HALF_FOV / (float)width;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x += STRIP_MAX)
            draw_pixels(&f, &lv, ((float)x + 0.5f - 0.5f * (float)width) * k,
                        (0.5f * (float)height - 0.5f - (float)y) * k, k,
                        width - x < STRIP_MAX ? width - x : STRIP_MAX, star + y * width + x,
                        rgb + (y * width + x) * 3);
    free(lv.t);
    free(star);
    return 0;
}
