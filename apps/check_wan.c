// SPDX-License-Identifier: Apache-2.0
// Parity of the transformer: single passes, passes with a cache, the few-step loop.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/check.h"
#include "base/base.h"
#include "base/log.h"
#include "diffusion/sampler.h"

enum { FRAMES_MAX = 64 };

// One stream of a case.
struct stream {
    zt_check *c;
    zt_model *m;
    zt_cache  cache, text;
    int       h, w, sink, window, total;
    float    *x, *v;                    // [FRAMES_MAX][C][h][w]
    int      *slot;
};

static zt_kv kv_shape(const struct stream *s, enum zt_type type, int valid)
{
    return (
        zt_kv){ .type = type, .H = s->m->c.heads, .D = s->m->c.dim / s->m->c.heads, .valid = valid };
}

// The context, padded with zero rows to text_len, becomes keys and values.
static bool set_text(struct stream *s, const cJSON *pass)
{
    const zt_weight *w;
    const int width = s->m->dit.text_dim;
    const int rows =
        (int)zt_check_number(cJSON_GetObjectItemCaseSensitive(s->c->json, "params"), "text_len", s->m->c.text_len);
    float *const in = zt_check_in(s->c, pass, "context", &w);
    if (!in)
        return false;
    if (w->rank != 2 || w->shape[1] != width || w->shape[0] > rows || rows > 4096) {
        zt_error("%s: the context does not fit the model", s->c->dir);
        s->c->broken = true;
        free(in);
        return false;
    }
    float *const padded = zt_check_must(zt_device_alloc_host(s->m->d, (size_t)rows * (size_t)width * sizeof(float)));
    memcpy(padded, in, (size_t)w->elements * sizeof(float));
    if (!s->text.kv) {
        const zt_kv like = kv_shape(s, s->m->dit.text_type, rows);
        if (zt_cache_init(&s->text, s->m->d, s->m->c.layers, &like, 0, 1, 0) < 0)
            zt_check_must(NULL);
    }
    if (zt_dit_text(&s->m->dit, s->text.kv, padded, rows, NULL) < 0)
        zt_check_must(NULL);
    zt_device_wait(s->m->d);
    zt_device_free_host(s->m->d, padded);
    free(in);
    return true;
}

static bool set_shape(struct stream *s, const zt_weight *x)
{
    if (x->rank != 4 || x->shape[0] != s->m->c.out_dim || x->shape[1] < 1 || x->shape[2] % 2 || x->shape[3] % 2 ||
        x->shape[2] < 2 || x->shape[3] < 2 || x->elements > 1 << 26 ||
        (s->h && (x->shape[2] != s->h || x->shape[3] != s->w))) {
        zt_error("%s: latents do not fit the model", s->c->dir);
        s->c->broken = true;
        return false;
    }
    if (s->h)
        return true;
    s->h = (int)x->shape[2];
    s->w = (int)x->shape[3];
    const size_t floats = FRAMES_MAX * (size_t)s->m->c.out_dim * (size_t)(s->h * s->w);
    s->x = zt_check_must(zt_device_alloc_host(s->m->d, floats * sizeof(float)));
    s->v = zt_check_must(zt_device_alloc_host(s->m->d, floats * sizeof(float)));
    s->slot = zt_check_must(calloc((size_t)s->window, sizeof(int)));
    const zt_kv like = kv_shape(s, s->m->dit.cache_type, s->h / 2 * (s->w / 2));
    if (zt_cache_init(&s->cache, s->m->d, s->m->c.layers, &like, s->sink, s->window, 0) < 0)
        zt_check_must(NULL);
    return true;
}

static void open_stream(struct stream *s, zt_check *c)
{
    char path[4096];
    const cJSON *const params = cJSON_GetObjectItemCaseSensitive(c->json, "params");
    *s = (struct stream){ .c = c };
    snprintf(path, sizeof(path), "%s/%s", c->dir, zt_check_string(c->json, "model"));
    if (zt_model_open_kv(&s->m, c->d, path, c->precision, c->kv) < 0) {
        c->broken = true;
        return;
    }
    s->sink = (int)zt_check_number(params, "sink_frames", 0);
    s->window = (int)zt_check_number(params, "window_frames", -1);
    if (s->window < 1)
        s->window = 256;                // everything: more than any case has
    if (s->sink < 0 || s->sink >= s->window || s->window > 1024) {
        zt_error("%s: window and sink do not fit", c->dir);
        c->broken = true;
    }
}

static void close_stream(struct stream *s)
{
    if (s->m) {
        zt_cache_finish(&s->cache, s->m->d);
        zt_cache_finish(&s->text, s->m->d);
        zt_device_free_host(s->m->d, s->x);
        zt_device_free_host(s->m->d, s->v);
    }
    zt_model_close(&s->m);
    free(s->slot);
}

// v of frames [start, start + n) that lie in s->x, at t[n].
static void pass_at(struct stream *s, int64_t start, int n, const double *t)
{
    zt_frame_in in[FRAMES_MAX] = { 0 };
    const size_t plane = (size_t)s->m->c.out_dim * (size_t)(s->h * s->w);
    for (int i = 0; i < n; i++)
        in[i] = (zt_frame_in){ .latent = { s->x + (size_t)i * plane }, .t = (float)t[i], .v = s->v + (size_t)i * plane,
                               .slot = zt_cache_slot(&s->cache, start + i) };
    const int slots = zt_cache_window(&s->cache, start + n - 1, s->window, s->slot);
    const zt_segment segment = { .frame = in, .frames = n, .h = s->h, .w = s->w, .first = start, .kv = s->cache.kv,
                                 .text = s->text.kv, .slot = s->slot, .slots = slots };
    if (zt_dit_begin(&s->m->dit, &segment, 1) < 0)
        zt_check_must(NULL);
    zt_dit_blocks(&s->m->dit, 0, s->m->c.layers);
    zt_dit_end(&s->m->dit);
    zt_device_wait(s->m->d);
}

static bool read_times(zt_check *c, const cJSON *pass, int n, double *t)
{
    const cJSON *const given = cJSON_GetObjectItemCaseSensitive(pass, "t");
    for (int i = 0; i < n; i++) {
        const cJSON *const one = cJSON_IsArray(given) ? cJSON_GetArrayItem(given, i) : given;
        if (!cJSON_IsNumber(one)) {
            zt_error("%s: a pass has no t", c->dir);
            c->broken = true;
            return false;
        }
        t[i] = one->valuedouble;
    }
    return true;
}

static void run_pass(struct stream *s, const cJSON *pass)
{
    const zt_weight *w;
    double t[FRAMES_MAX];
    float *const in = zt_check_in(s->c, pass, "x", &w);
    if (in && set_shape(s, w) && set_text(s, pass)) {
        const int C = (int)w->shape[0], n = (int)w->shape[1];
        const int64_t start = (int64_t)zt_check_number(pass, "start_frame", 0);
        if (n > ZT_MIN(FRAMES_MAX, s->window) || start < 0 || start + n > 1000000) {
            zt_error("%s: frames %lld..%lld do not fit", s->c->dir, (long long)start, (long long)start + n - 1);
            s->c->broken = true;
        } else if (read_times(s->c, pass, n, t)) {
            zt_check_exchange(s->x, in, C, n, (size_t)(s->h * s->w));
            pass_at(s, start, n, t);
            zt_check_exchange(s->x, s->v, n, C, (size_t)(s->h * s->w));
            zt_check_out(s->c, pass, "v", s->x, w->elements);
        }
    }
    free(in);
}

void zt_check_wan(zt_check *c)
{
    struct stream s;
    const bool causal = strcmp(zt_check_string(c->json, "kind"), "wan-causal") == 0;
    open_stream(&s, c);
    const cJSON *pass;
    cJSON_ArrayForEach(pass, zt_check_passes(c)) {
        if (c->broken)
            break;
        run_pass(&s, pass);
        if (!causal) {                  // shapes differ from pass to pass, and nothing is kept
            close_stream(&s);
            open_stream(&s, c);
        }
    }
    close_stream(&s);
}

// x0 = x - sigma v, x = (1 - next) x0 + next eps
static void step(const struct stream *s, size_t n, double sigma, double next, const float *eps, float *x0)
{
    for (size_t i = 0; i < n; i++) {
        const double clean = s->x[i] - sigma * s->v[i];
        x0[i] = (float)clean;
        s->x[i] = (float)(eps ? (1 - next) * clean + next * eps[i] : clean);
    }
}

struct rollout {
    int     chunk, steps;
    double  t[64], context_t, shift;
    const float *eps;                   // [chunks][steps - 1][C][chunk][h][w]
};

static void run_chunk(struct stream *s, const struct rollout *r, int index, float *x0)
{
    const int C = s->m->c.out_dim;
    const size_t plane = (size_t)(s->h * s->w), n = (size_t)C * (size_t)r->chunk * plane;
    float *const eps = zt_check_must(malloc(n * sizeof(float)));
    double t[FRAMES_MAX];
    for (int j = 0; j < r->steps; j++) {
        const bool last = j == r->steps - 1;
        for (int i = 0; i < r->chunk; i++)
            t[i] = r->t[j];
        pass_at(s, (int64_t)index * r->chunk, r->chunk, t);
        if (!last)
            zt_check_exchange(eps, r->eps + (size_t)(index * (r->steps - 1) + j) * n, C, r->chunk, plane);
        step(s, n, zt_sampler_nearest(r->t[j], r->shift), last ? 0 : zt_sampler_nearest(r->t[j + 1], r->shift),
             last ? NULL : eps, x0);
    }
    for (int i = 0; i < r->chunk; i++)
        t[i] = r->context_t;
    pass_at(s, (int64_t)index * r->chunk, r->chunk, t);         // clean keys and values
    free(eps);
}

static bool read_rollout(zt_check *c, struct rollout *r)
{
    const cJSON *const params = cJSON_GetObjectItemCaseSensitive(c->json, "params"), *step_of;
    *r = (struct rollout){ .chunk = (int)zt_check_number(params, "chunk_frames", 0),
                           .shift = zt_check_number(params, "shift", 5),
                           .context_t = zt_check_number(params, "context_t", 0) };
    const bool warp = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(params, "warp"));
    cJSON_ArrayForEach(step_of, cJSON_GetObjectItemCaseSensitive(params, "steps")) {
        if (r->steps < 64 && cJSON_IsNumber(step_of))
            r->t[r->steps++] = warp ? zt_sampler_warp((int)step_of->valuedouble, r->shift) : step_of->valuedouble;
    }
    c->broken |= r->steps < 1 || r->chunk < 1 || r->chunk > FRAMES_MAX;
    return !c->broken;
}

static void run_rollout(struct stream *s, struct rollout *r, const cJSON *pass)
{
    const zt_weight *w, *we;
    float *const noise = zt_check_in(s->c, pass, "noise", &w), *const eps = zt_check_in(s->c, pass, "eps", &we);
    if (noise && eps && set_shape(s, w) && set_text(s, pass)) {
        const int C = (int)w->shape[0], n = (int)w->shape[1];
        const size_t plane = (size_t)(s->h * s->w), frame = (size_t)C * plane;
        if (n % r->chunk || r->chunk > s->window || we->elements != w->elements * (r->steps - 1)) {
            zt_error("%s: noise and eps do not fit", s->c->dir);
            s->c->broken = true;
        } else {
            float *const all = zt_check_must(malloc((size_t)w->elements * sizeof(float)));
            float *const x0 = zt_check_must(malloc((size_t)w->elements * sizeof(float)));
            r->eps = eps;
            zt_check_exchange(all, noise, C, n, plane);
            for (int i = 0; i < n / r->chunk; i++) {
                memcpy(s->x, all + (size_t)(i * r->chunk) * frame, (size_t)r->chunk * frame * sizeof(float));
                run_chunk(s, r, i, x0 + (size_t)(i * r->chunk) * frame);
            }
            zt_check_exchange(all, x0, n, C, plane);
            zt_check_out(s->c, pass, "x0", all, w->elements);
            free(all);
            free(x0);
        }
    }
    free(noise);
    free(eps);
}

void zt_check_rollout(zt_check *c)
{
    struct stream s;
    struct rollout r;
    open_stream(&s, c);
    const cJSON *pass;
    cJSON_ArrayForEach(pass, zt_check_passes(c)) {
        if (!c->broken && read_rollout(c, &r))
            run_rollout(&s, &r, pass);
    }
    close_stream(&s);
}
