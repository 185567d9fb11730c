// SPDX-License-Identifier: Apache-2.0
#include "diffusion/ground.h"

#include <math.h>
#include <stdbool.h>

#include "diffusion/exact.h"

#define TAN_HALF   0.7          // of the field of view
#define NEAR       4.0
#define RATIO      1.125        // of two depths
#define RATIO_FINE 1.0606601717798212   // its root
#define TURN       6.283185307179586
#define YAW_STEP   (40.0 / 24.0 * TURN / 360)
#define LAG        0.6f
#define PITCH_MAX  (12.0f * 0.01745329f)
#define ROLL_MAX   (20.0f * 0.01745329f)
#define CLEAR      10.0f        // cells above the ground where the lower spring begins
#define CEILING    52.0f        // and the upper one
#define SPOT_SPAN  3            // spots along a tile's side
#define SPOT_REACH 80.0         // cells, of the largest spot
#define CLOUD_TILE 256          // the clouds' own cells

static uint64_t hash(uint64_t v)
{
    v += 0x9e3779b97f4a7c15u;
    v = (v ^ (v >> 30)) * 0xbf58476d1ce4e5b9u;
    v = (v ^ (v >> 27)) * 0x94d049bb133111ebu;
    return v ^ (v >> 31);
}

// [0, 1)
static float unit(uint64_t seed, uint64_t i)
{
    return (float)(hash(seed + i * 0xd1342543de82ef95u) >> 40) * 0x1p-24f;
}

static double wrapped(double v, double side)
{
    v -= side * floor(v / side);
    return v < side ? v : 0;
}

// Weights of the cubic B-spline at t in [0, 1) between the second and third of four knots.
static void spline(float t, float w[4])
{
    const float s = 1 - t;
    w[0] = s * s * s / 6;
    w[1] = (4 - 6 * t * t + 3 * t * t * t) / 6;
    w[2] = (4 - 6 * s * s + 3 * s * s * s) / 6;
    w[3] = t * t * t / 6;
}

// One noise: what it follows from, and the knots of the cell asked for last, for the next point is near.
typedef struct field {
    uint64_t seed;
    double   side;
    int      lattice;           // knots along a side
    int      ix, iz;
    float    knot[4][4];
} field;

static field field_of(uint64_t seed, double side, int lattice)
{
    return (field){ .seed = hash(seed), .side = side, .lattice = lattice, .ix = -1 };
}

static void fetch(field *f, int ix, int iz)
{
    f->ix = ix;
    f->iz = iz;
    for (int b = 0; b < 4; b++) {
        const uint64_t row = (uint64_t)((iz + b) % f->lattice) * (uint64_t)f->lattice;
        for (int a = 0; a < 4; a++)
            f->knot[b][a] = unit(f->seed, row + (uint64_t)((ix + a) % f->lattice)) - 0.5f;
    }
}

// Smooth, about [-1, 1].
static float value(field *f, double x, double z)
{
    const double px = wrapped(x, f->side) * f->lattice / f->side, pz = wrapped(z, f->side) * f->lattice / f->side;
    const int ix = (int)px, iz = (int)pz;
    float wx[4], wz[4], sum = 0;
    if (ix != f->ix || iz != f->iz)
        fetch(f, ix, iz);
    spline((float)(px - ix), wx);
    spline((float)(pz - iz), wz);
    for (int b = 0; b < 4; b++)
        sum += wz[b] * (wx[0] * f->knot[b][0] + wx[1] * f->knot[b][1] + wx[2] * f->knot[b][2] + wx[3] * f->knot[b][3]);
    return 4.8f * sum;
}

// The shorter way on the torus.
static double apart(double a, double b, double side)
{
    const double d = fabs(a - b);
    return d > side / 2 ? side - d : d;
}

typedef struct spot {
    double x, z, reach;
    float  weight;
    bool   odd;
} spot;

// One spot in every lane of the ground; those around the lane asked for last.
typedef struct spots {
    uint64_t seed;
    double   side;
    int      lanes, cx, cz;     // along a side
    spot     near[9];
} spots;

static void find_spots(spots *s, int cx, int cz)
{
    const double lane = s->side / s->lanes;
    s->cx = cx;
    s->cz = cz;
    for (int i = 0; i < 9; i++) {
        const int x = (cx + i % 3 - 1 + s->lanes) % s->lanes, z = (cz + i / 3 - 1 + s->lanes) % s->lanes;
        const uint64_t k = ((uint64_t)z * (uint64_t)s->lanes + (uint64_t)x) * 4;
        s->near[i] = (spot){ .x = (x + 0.2 + 0.6 * (double)unit(s->seed, k)) * lane,
                             .z = (z + 0.2 + 0.6 * (double)unit(s->seed, k + 1)) * lane,
                             .reach = SPOT_REACH * (0.6 + 0.4 * (double)unit(s->seed, k + 2)),
                             .weight = 0.6f + 0.4f * unit(s->seed, k + 3), .odd = (x + z) % 2 };
    }
}

// out: nearness and weighted nearness of even spots, nearness of odd ones.
static void nearness(spots *s, double x, double z, float out[3])
{
    x = wrapped(x, s->side);
    z = wrapped(z, s->side);
    const int cx = (int)(x * s->lanes / s->side), cz = (int)(z * s->lanes / s->side);
    if (cx != s->cx || cz != s->cz)
        find_spots(s, cx, cz);
    out[0] = out[1] = out[2] = 0;
    for (int i = 0; i < 9; i++) {
        const spot *const p = &s->near[i];
        const double dx = apart(x, p->x, s->side), dz = apart(z, p->z, s->side);
        if (dx > p->reach || dz > p->reach)
            continue;
        const float near = (float)(1 - sqrt(dx * dx + dz * dz) / p->reach);
        if (near > out[p->odd ? 2 : 0]) {
            out[p->odd ? 2 : 0] = near;
            out[1] = p->odd ? out[1] : near * p->weight;
        }
    }
}

static void wave(double turns, float out[2])
{
    double s, c;
    zt_exact_sincos(turns * TURN, &s, &c);
    out[0] = (float)s;
    out[1] = (float)c;
}

enum { VALUES = 6, LAYERS = 4 };

// All that a look needs.
typedef struct noises {
    field  value[VALUES], cloud[LAYERS];
    spots  spots;
    double cloud_rate;          // clouds' cells per cell of the ground
} noises;

static noises noises_of(const zt_ground *g)
{
    static const int lattice[VALUES] = { 6, 12, 24, 48, 96, 12 }, layer[LAYERS] = { 8, 16, 32, 64 };
    const int tiles = g->side / ZT_GROUND_TILE;
    noises n = { .spots = { .seed = hash(g->seed ^ 0x5b07u), .side = g->side, .lanes = SPOT_SPAN * tiles, .cx = -1 } };
    // 0.06 on one tile, as the renderer has it; on larger grounds about that, so that the clouds fit in whole
    n.cloud_rate = tiles == 1 ? 0.06 : floor(0.06 * g->side / CLOUD_TILE + 0.5) * CLOUD_TILE / g->side;
    for (int i = 0; i < VALUES; i++)
        n.value[i] = field_of(g->seed + (uint64_t)i, g->side, lattice[i] * tiles);
    for (int i = 0; i < LAYERS; i++)
        n.cloud[i] = field_of(g->seed + 77u + (uint64_t)i, CLOUD_TILE, layer[i]);
    return n;
}

static void noises_at(noises *n, double x, double z, float out[ZT_GROUND_NOISES])
{
    for (int i = 0; i < VALUES; i++)
        out[i] = value(&n->value[i], x, z);
    nearness(&n->spots, x, z, out + VALUES);
    wave((11 * x + 3 * z) / ZT_GROUND_TILE, out + VALUES + 3);
    wave((7 * x - 13 * z) / ZT_GROUND_TILE, out + VALUES + 5);
}

// Clouds where a ray along (dx, slope, dz) meets them.
static float clouds_at(noises *n, const zt_ground_camera *c, double dx, double dz, double slope)
{
    static const float amount[LAYERS] = { 0.42f, 0.26f, 0.12f, 0.05f };
    const double length = sqrt(dx * dx + dz * dz + slope * slope), way = 10 / (slope / length + 0.06) / length;
    const double x = c->x * n->cloud_rate + dx * way, z = c->z * n->cloud_rate + dz * way;
    float sum = 0.5f;
    for (int i = 0; i < LAYERS; i++)
        sum += amount[i] * value(&n->cloud[i], x, z);
    return sum;
}

static double ratio_of(int depths)
{
    return depths == ZT_GROUND_FINE ? RATIO_FINE : RATIO;
}

float zt_ground_depth(int k, int depths)
{
    double depth = NEAR;
    while (k-- > 0)
        depth *= ratio_of(depths);
    return (float)depth;
}

zt_ground zt_ground_of(uint64_t seed)
{
    return (zt_ground){ .seed = hash(seed ^ 0x6702du), .side = ZT_GROUND_SIDE };
}

zt_ground_camera zt_ground_start(const zt_ground *g)
{
    const uint64_t seed = hash(g->seed ^ 0xca3eu);
    zt_ground_camera c = { .x = (double)unit(seed, 0) * g->side, .z = (double)unit(seed, 1) * g->side, .y = -1 };
    c.sun = TURN * (double)unit(seed, 2);
    c.yaw = c.sun + 0.75 * (2 * (double)unit(seed, 3) - 1);
    return c;
}

void zt_ground_step(const zt_ground *g, zt_ground_camera *c, const float control[ZT_GROUND_CONTROLS])
{
    for (int i = 0; i < ZT_GROUND_CONTROLS; i++) {
        const float want = control[i] < -1 ? -1 : control[i] > 1 ? 1 : control[i];
        c->control[i] += (want - c->control[i]) * LAG;
    }
    double s, k;
    c->yaw = wrapped(c->yaw + YAW_STEP * (double)c->control[0], TURN);
    c->roll += (ROLL_MAX * c->control[0] - c->roll) * 0.4f;
    c->pitch = PITCH_MAX * c->control[1];
    zt_exact_sincos(c->yaw, &s, &k);
    const double way = 1.05 + 0.75 * (double)c->control[2];
    c->x = wrapped(c->x + s * way, g->side);
    c->z = wrapped(c->z + k * way, g->side);
}

// 3 t^2 - 2 t^3 of how far v lies between lo and hi.
static float smooth(float lo, float hi, float v)
{
    const float t = v < lo ? 0 : v > hi ? 1 : (v - lo) / (hi - lo);
    return t * t * (3 - 2 * t);
}

void zt_ground_climb(zt_ground_camera *c, float ahead)
{
    ahead = ahead > 0 ? ahead < 1000 ? ahead : 1000 : 0;        // 0 for what is no number
    if (!(c->y >= 0)) {
        c->y = ahead + 21;
        c->rise = 0;
        return;
    }
    const float above = c->y - ahead, way = 1.05f + 0.75f * c->control[2];
    float want = 0.75f * c->control[3];
    if (above < CLEAR)
        want = (want > 0 ? want : 0) + (CLEAR - above) * 0.10f * (0.5f + way);
    else if (above > CEILING)
        want = (want < 0 ? want : 0) - (above - CEILING) * 0.04f;
    else if (want < 0)
        want *= smooth(CLEAR, CLEAR + 5, above);
    c->rise += (want - c->rise) * 0.5f;
    c->y += c->rise;
    c->y = c->y < 3 ? 3 : c->y;
}

// Turned by roll and pitch: nearest column, slope, light and clouds.
void zt_ground_rays(const zt_ground *g, const zt_ground_camera *c, const zt_ground_sight *s, int from, int to)
{
    noises n = noises_of(g);
    double sin_yaw, cos_yaw, sp, cp, sr, cr, ss, cs;
    zt_exact_sincos(c->yaw, &sin_yaw, &cos_yaw);
    zt_exact_sincos((double)c->pitch, &sp, &cp);
    zt_exact_sincos((double)c->roll, &sr, &cr);
    zt_exact_sincos(c->sun, &ss, &cs);
    for (int i = from * s->w; i < to * s->w; i++) {
        const double px = TAN_HALF * (2 * (i % s->w) + 1 - s->w) / s->w;
        const double py = TAN_HALF * (s->h - 2 * (i / s->w) - 1) / s->w;
        const double y = py * cr - px * sr, deep = cp - y * sp, inv = 1 / (deep > 0.05 ? deep : 0.05);
        const double u = (px * cr + py * sr) * inv, slope = (y * cp + sp) * inv;
        const double dx = sin_yaw + u * cos_yaw, dz = cos_yaw - u * sin_yaw;
        const double column = floor((u / TAN_HALF + 1) * s->w / 2 + ZT_GROUND_MARGIN);
        const int last = s->w + 2 * ZT_GROUND_MARGIN - 1;
        s->column[i] = column < 0 ? 0 : column > last ? last : (int)column;
        s->ray[4 * i] = (float)slope;
        s->ray[4 * i + 1] = (float)((dx * ss + dz * cs) / sqrt(1 + u * u));
        s->ray[4 * i + 2] = (float)((dx * cs - dz * ss) / sqrt(1 + u * u));
        s->ray[4 * i + 3] = slope > 0.03 ? clouds_at(&n, c, dx, dz, slope) : 0;
    }
}

void zt_ground_columns(const zt_ground *g, const zt_ground_camera *c, const zt_ground_sight *s, int from, int to)
{
    noises n = noises_of(g);
    double sin_yaw, cos_yaw;
    zt_exact_sincos(c->yaw, &sin_yaw, &cos_yaw);
    const int depths = s->depths ? s->depths : ZT_GROUND_DEPTHS;
    const double ratio = ratio_of(depths);
    float *at = s->noise + from * depths * ZT_GROUND_NOISES;
    for (int i = from - ZT_GROUND_MARGIN; i < to - ZT_GROUND_MARGIN; i++) {
        const double u = TAN_HALF * (2 * i + 1 - s->w) / s->w, dx = sin_yaw + u * cos_yaw, dz = cos_yaw - u * sin_yaw;
        double depth = NEAR;
        for (int j = 0; j < depths; j++, depth *= ratio, at += ZT_GROUND_NOISES)
            noises_at(&n, c->x + dx * depth, c->z + dz * depth, at);
    }
}

void zt_ground_look(const zt_ground *g, const zt_ground_camera *c, const zt_ground_sight *s)
{
    zt_ground_columns(g, c, s, 0, s->w + 2 * ZT_GROUND_MARGIN);
    zt_ground_rays(g, c, s, 0, s->h);
}
