// SPDX-License-Identifier: Apache-2.0
// Sees the ground through its noise: how high it is and what grows on it at every sample, then what every ray meets.
//
// What comes out of a ray is a mean over the samples of its column, weighted by how likely the ray ends there (volume
// rendering as in NeRF, Mildenhall et al. 2020, with opacities from the height above the ray); four rays make a token's
// vector. doc/formats.md has the formulas. Sizes: at most 64 x 64 tokens and widths of 1024, so 138 x 72 samples and
// 128 x 128 rays.
#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/base.h"
#include "diffusion/dit.h"
#include "diffusion/exact.h"
#include "kernels/device.h"

#define TALL       20.0f        // cells: unit of a height
#define FIELD      1.4f         // slopes from the left edge to the right one
#define LOG_MIDDLE 3.0f         // taken from the logarithm of a depth

enum { MORE = 7, MORE_OF_RAY = 7, READ = 256 };

static int columns(const zt_config *c)
{
    return 2 * c->rope_columns + 2 * ZT_GROUND_MARGIN;
}

static int reserve(zt_dit *t)
{
    const zt_ground_config *const g = &t->c->ground;
    zt_ground_reader *const r = &t->ground;
    const size_t samples = (size_t)columns(t->c) * (size_t)g->depths, rays = 4 * (size_t)t->c->rope_rows * (size_t)t->c->rope_columns;
    const size_t F = (size_t)g->features, code = (size_t)g->code, hidden = (size_t)g->hidden;
    const struct {
        void  *to;              // of some pointer's type
        size_t floats;
    } list[] = {
        { &r->sight.noise, samples * ZT_GROUND_NOISES }, { &r->sight.column, rays }, { &r->sight.ray, rays * 4 },
        { &r->prompt, code }, { &r->feeling, code }, { &r->near, samples * (ZT_GROUND_NOISES + code) },
        { &r->inner, ZT_MAX(samples, rays) * ZT_MAX(hidden, (size_t)g->shape) },
        { &r->deep_shape, samples * (size_t)g->shape },
        { &r->height, samples }, { &r->above, samples }, { &r->surface_in, samples * (ZT_GROUND_NOISES + code + MORE) },
        { &r->deep_surface, samples * hidden }, { &r->texture, samples * F },
        { &r->met, rays * (F + MORE_OF_RAY + code) }, { &r->deep, rays * hidden },
        { &r->four, rays * hidden }, { &r->normed, rays / 4 * (size_t)t->c->dim }, { &r->read_in, rays / 4 * READ },
        { &r->read_out, rays * (size_t)t->c->out_dim }, { &r->native, rays * (size_t)t->c->out_dim },
    };
    size_t all = 0;
    for (size_t i = 0; i < ZT_LEN(list); i++)
        all += (size_t)zt_round_up((int64_t)list[i].floats, 16);
    r->bytes = (int64_t)(all * sizeof(float));
    float *p = r->memory = zt_device_alloc(t->d, all * sizeof(float));
    if (!p)
        return -ENOMEM;
    for (size_t i = 0; i < ZT_LEN(list); i++) {
        memcpy(list[i].to, &p, sizeof(p));
        p += zt_round_up((int64_t)list[i].floats, 16);
    }
    r->sight.h = 2 * t->c->rope_rows;
    r->sight.w = 2 * t->c->rope_columns;
    r->sight.depths = g->depths;
    for (int k = 0; k < g->depths; k++) {
        r->depth[k] = zt_ground_depth(k, g->depths);
        r->log_depth[k] = (float)zt_exact_log((double)r->depth[k]) - LOG_MIDDLE;
    }
    return 0;
}

int zt_dit_ground_load(zt_dit *t, zt_loader *l)
{
    const zt_ground_config *const g = &t->c->ground;
    zt_ground_reader *const r = &t->ground;
    const int near = ZT_GROUND_NOISES + g->code, met = g->features + MORE_OF_RAY + g->code, d = t->c->dim;
    // heights stay F32: a ray that just meets a ridge, or just does not, must do so at every precision
    const enum zt_type high = ZT_F32, other = l->other;
    const struct {
        zt_matrix   *to;
        enum zt_type type;
        const char  *name;
        int          N, K;
    } list[] = {
        { &r->code, high, "ground.code", g->code, d },
        { &r->shape[0], high, "ground.shape.0", g->shape, near },
        { &r->shape[1], high, "ground.shape.2", g->shape, g->shape },
        { &r->shape[2], high, "ground.shape.4", 1, g->shape },
        { &r->mood, other, "ground.mood", g->code, d },
        { &r->surface[0], other, "ground.surface.0", g->hidden, near + MORE },
        { &r->surface[1], other, "ground.surface.2", g->hidden, g->hidden },
        { &r->surface[2], other, "ground.surface.4", g->features, g->hidden },
        { &r->look[0], other, "ground.look.0", g->hidden, met },
        { &r->look[1], other, "ground.look.2", g->hidden, g->hidden },
        { &r->token, other, "ground.token", d, 4 * g->hidden },
        { &r->read[0], other, "ground.read.1", READ, d },
        { &r->read[1], other, "ground.read.3", 4 * t->c->out_dim, READ },
    };
    for (size_t i = 0; i < ZT_LEN(list); i++) {
        const int err = zt_load_linear(l, list[i].to, list[i].type, list[i].N, list[i].K, list[i].name);
        if (err)
            return err;
    }
    int err = zt_load_vector(l, &r->sharp, "ground.sharp", 1);
    if (!err)
        err = zt_load_vector(l, &r->norm_scale, "ground.read.0.weight", t->c->dim);
    if (!err)
        err = zt_load_vector(l, &r->norm_shift, "ground.read.0.bias", t->c->dim);
    return err ? err : reserve(t);
}

static void linear(const zt_dit *t, float *y, const float *x, int rows, const zt_matrix *w, enum zt_act act)
{
    t->d->k.linear(t->d, zt_tensor_2d(y, ZT_F32, rows, w->N), zt_tensor_2d((float *)x, ZT_F32, rows, w->K), w,
                   &(zt_epilogue){ .act = act });
}

// Heights in units of TALL.
static void heights(const zt_dit *t)
{
    const zt_ground_reader *const r = &t->ground;
    const int n = columns(t->c) * t->c->ground.depths, code = t->c->ground.code, width = ZT_GROUND_NOISES + code;
    for (int i = 0; i < n; i++) {
        memcpy(r->near + i * width, r->sight.noise + i * ZT_GROUND_NOISES, sizeof(float) * ZT_GROUND_NOISES);
        memcpy(r->near + i * width + ZT_GROUND_NOISES, r->prompt, sizeof(float) * (size_t)code);
    }
    linear(t, r->inner, r->near, n, &r->shape[0], ZT_ACT_SILU);
    linear(t, r->deep_shape, r->inner, n, &r->shape[1], ZT_ACT_SILU);
    linear(t, r->height, r->deep_shape, n, &r->shape[2], ZT_ACT_NONE);
}

static float height(const zt_dit *t, int column, int k)
{
    return TALL * t->ground.height[column * t->c->ground.depths + k];
}

// The highest ground within 30 cells straight ahead, less the farther it is.
static float ahead(const zt_dit *t)
{
    const int middle = columns(t->c) / 2;
    float top = 0;
    for (int column = middle - 1; column <= middle; column++)
        for (int k = 0; k < t->c->ground.depths && t->ground.depth[k] <= 30; k++)
            top = ZT_MAX(top, height(t, column, k) - 0.12f * t->ground.depth[k]);
    return top;
}

// What grows on every sample, knowing how the ground slopes and where the camera and the light are.
static void textures(const zt_dit *t, const zt_ground_camera *c, float cosine, float sine)
{
    const zt_ground_config *const g = &t->c->ground;
    const zt_ground_reader *const r = &t->ground;
    const int W = columns(t->c), D = g->depths;
    const float step = FIELD / (float)r->sight.w;
    float *to = r->surface_in;
    for (int i = 0; i < W; i++) {
        for (int k = 0; k < D; k++) {
            const float h = height(t, i, k), over = h - c->y;
            r->above[i * D + k] = over / r->depth[k];
            memcpy(to, r->sight.noise + (i * D + k) * ZT_GROUND_NOISES, sizeof(float) * ZT_GROUND_NOISES);
            to += ZT_GROUND_NOISES;
            memcpy(to, r->feeling, sizeof(float) * (size_t)g->code);
            to += g->code;
            const float across = i + 1 < W ? (height(t, i + 1, k) - h) / (step * r->depth[k]) : 0;
            const float along = k + 1 < D ? (height(t, i, k + 1) - h) / (r->depth[k + 1] - r->depth[k]) : 0;
            const float forward = along - ((float)(i - W / 2) + 0.5f) * step * across;
            const float lit = forward * cosine - across * sine;
            const float more[MORE] = { over / TALL, forward, across, lit, r->log_depth[k], cosine, sine };
            memcpy(to, more, sizeof(more));
            to += MORE;
        }
    }
    linear(t, r->inner, r->surface_in, W * D, &r->surface[0], ZT_ACT_SILU);
    linear(t, r->deep_surface, r->inner, W * D, &r->surface[1], ZT_ACT_SILU);
    linear(t, r->texture, r->deep_surface, W * D, &r->surface[2], ZT_ACT_NONE);
}

// What a ray of that slope meets in its column: mean texture, mean log depth, share that meets nothing.
static void march(const zt_dit *t, int column, float slope, float *mean, float *far, float *left)
{
    const zt_ground_reader *const r = &t->ground;
    const int F = t->c->ground.features, D = t->c->ground.depths;
    const double steep = zt_exact_exp((double)r->sharp[0]) * (double)r->sight.w / (double)FIELD;
    double open = 1;
    memset(mean, 0, sizeof(float) * (size_t)F);
    *far = 0;
    for (int k = 0; k < D; k++) {
        const double x = steep * (double)(r->above[column * D + k] - slope);
        if (x < -20)
            continue;
        const double hit = 1 / (1 + zt_exact_exp(-x));
        const float weight = (float)(hit * open);
        open *= 1 - hit;
        *far += weight * r->log_depth[k];
        const float *const texture = r->texture + (column * D + k) * F;
        for (int i = 0; i < F; i++)
            mean[i] += weight * texture[i];
        if (open < 1e-6)
            break;
    }
    *left = (float)open;
}

// What threads share in a look.
struct glance {
    const zt_dit           *t;
    const zt_ground        *ground;
    const zt_ground_camera *camera;
};

enum { BAND = 6 };              // columns, or rows of rays, of a job

static int bands(int n)
{
    return (n + BAND - 1) / BAND;
}

static void look(void *cookie, int i, int thread)
{
    const struct glance *const l = cookie;
    const zt_ground_sight *const s = &l->t->ground.sight;
    const int W = columns(l->t->c), first = bands(W), j = (i - first) * BAND;
    if (i < first)
        zt_ground_columns(l->ground, l->camera, s, i * BAND, ZT_MIN((i + 1) * BAND, W));
    else
        zt_ground_rays(l->ground, l->camera, s, j, ZT_MIN(j + BAND, s->h));
}

static void meet(void *cookie, int row, int thread)
{
    const struct glance *const l = cookie;
    const zt_dit *const t = l->t;
    const zt_ground_reader *const r = &t->ground;
    const int F = t->c->ground.features, code = t->c->ground.code, w = r->sight.w;
    for (int i = row * w; i < (row + 1) * w; i++) {
        const float *const ray = r->sight.ray + 4 * i;
        float *const mean = r->met + i * (F + MORE_OF_RAY + code), *const more = mean + F;
        march(t, r->sight.column[i], ray[0], mean, &more[0], &more[1]);
        memcpy(more + 2, ray, 4 * sizeof(float));
        more[6] = sqrtf(ZT_MAX(ray[0], 0));
        memcpy(more + MORE_OF_RAY, r->feeling, sizeof(float) * (size_t)code);
    }
}

// A first idea of the picture: latents [C][h][w] of the tokens' vectors, the nearest of the native ones.
static void first_idea(const zt_dit *t, const zt_dit_look *l)
{
    const zt_ground_reader *const r = &t->ground;
    const int d = t->c->dim, C = t->c->out_dim, H = r->sight.h, W = r->sight.w, T = H * W / 4, h = l->h, w = l->w;
    const zt_tensor tokens = zt_tensor_2d(l->tokens, ZT_F32, T, d), normed = zt_tensor_2d(r->normed, ZT_F32, T, d);
    t->d->k.layer_norm(t->d, normed, tokens, r->norm_scale, r->norm_shift, d, NULL, 1e-5f);
    linear(t, r->read_in, r->normed, T, &r->read[0], ZT_ACT_SILU);
    linear(t, r->read_out, r->read_in, T, &r->read[1], ZT_ACT_NONE);
    t->d->k.unpatchify(t->d, zt_tensor_4d(r->native, ZT_F32, 1, C, H, W), zt_tensor_2d(r->read_out, ZT_F32, T, 4 * C));
    for (int i = 0; i < C * h * w; i++)
        l->latents[i] = r->native[(i / (h * w) * H + i / w % h * H / h) * W + i % w * W / w];
}

void zt_dit_ground(zt_dit *t, zt_ground_camera *camera, const zt_dit_look *l)
{
    const zt_ground_reader *const r = &t->ground;
    const int hidden = t->c->ground.hidden, C = t->c->rope_columns, rays = r->sight.h * r->sight.w;
    struct glance g = { t, l->ground, camera };
    double sine, cosine;
    zt_parallel_for(t->d, bands(columns(t->c)) + bands(r->sight.h), look, &g);
    zt_exact_sincos(camera->yaw - camera->sun, &sine, &cosine);
    linear(t, r->prompt, l->prompt, 1, &r->code, ZT_ACT_NONE);
    linear(t, r->feeling, l->prompt, 1, &r->mood, ZT_ACT_NONE);
    heights(t);
    if (l->climb)
        zt_ground_climb(camera, ahead(t));
    textures(t, camera, (float)cosine, (float)sine);
    zt_parallel_for(t->d, r->sight.h, meet, &g);
    linear(t, r->inner, r->met, rays, &r->look[0], ZT_ACT_SILU);
    linear(t, r->deep, r->inner, rays, &r->look[1], ZT_ACT_SILU);
    for (int i = 0; i < rays; i++) {
        const int y = i / (2 * C), x = i % (2 * C);
        float *const to = r->four + ((y / 2 * C + x / 2) * 4 + y % 2 * 2 + x % 2) * hidden;
        memcpy(to, r->deep + i * hidden, sizeof(float) * (size_t)hidden);
    }
    linear(t, l->tokens, r->four, rays / 4, &r->token, ZT_ACT_NONE);
    first_idea(t, l);
}
