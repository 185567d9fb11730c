// SPDX-License-Identifier: Apache-2.0
// Parity of a model directory with the latents and pictures that its trainer stored beside the weights.
//
// NAME-reference.safetensors holds, for seeds S = 0, 1, ...: S.noise [frames, C, h, w], S.controls [frames, n],
// S.tokens, and per frame F what came out: S.latents.F [steps, C, h, w] after each step, S.rgb.F [3, 8h, 8w]. The first
// frame takes first_frame_steps.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/check.h"
#include "apps/exits.h"
#include "base/base.h"
#include "base/log.h"

// One seed's stream.
struct run {
    zt_check *c;
    zt_model *m;
    zt_state *s;
    int       seed;
    size_t    plane;                    // floats of a latent
    float    *rgb;
};

static const zt_weight *find(const struct run *r, const char *role, int frame)
{
    char name[64];
    if (frame < 0)
        snprintf(name, sizeof(name), "%d.%s", r->seed, role);
    else
        snprintf(name, sizeof(name), "%d.%s.%d", r->seed, role, frame);
    return zt_weights_find(r->c->io, name);
}

static void compare(const struct run *r, const zt_weight *w, int64_t from, int64_t n, const float *y, const char *what,
                    double limit)
{
    double error = 0, norm = 0;
    for (int64_t i = 0; i < n; i++) {
        float e;
        zt_weight_read(w, from + i, 1, &e);
        error += ((double)y[i] - e) * ((double)y[i] - e);
        norm += (double)e * e;
    }
    const double rel = sqrt(error / fmax(norm, 1e-30));
    const bool ok = rel <= limit;
    printf("%s%s %.3g %.3g %s\n", w->name, what, rel, limit, ok ? "ok" : "FAIL");
    r->c->failed += !ok;
}

// The passes of one frame from the given noise.
static bool run_frame(struct run *r, int frame, const zt_weight *noise, const zt_weight *controls)
{
    float t[ZT_MAX_STEPS + 1] = { 0 }, value;
    const zt_weight *const latents = find(r, "latents", frame), *const rgb = find(r, "rgb", frame);
    const int steps = frame ? r->m->c.steps : r->m->c.first_frame_steps;
    const int64_t pixels = 64 * 3 * (int64_t)(r->s->lh * r->s->lw);
    if (!latents || latents->elements != steps * (int64_t)r->plane || !rgb || rgb->elements != pixels)
        return false;
    for (int i = 0; i < r->m->c.n_controls; i++) {
        zt_weight_read(controls, (int64_t)frame * r->m->c.n_controls + i, 1, &value);
        zt_state_control(r->s, i, value);
    }
    zt_state_begin(r->s);
    zt_weight_read(noise, (int64_t)frame * (int64_t)r->plane, (int64_t)r->plane, r->s->x);
    zt_model_steps(r->m, steps, t);
    for (int i = 0; i < steps; i++) {
        char what[32];
        const zt_job job = { r->s, i == 0 && frame ? ZT_COMMIT_DENOISE : ZT_DENOISE, t[i],
                             i + 1 < steps ? t[i + 1] : 0 };
        if (zt_model_pass(r->m, &job, 1, 0, r->m->c.layers) < 0)
            return false;
        zt_device_wait(r->m->d);
        snprintf(what, sizeof(what), ".%d", i);
        if (i == 0 || i == steps - 1)
            compare(r, latents, i * (int64_t)r->plane, (int64_t)r->plane, r->s->x, what, r->c->limit);
    }
    zt_state_decode(r->s, zt_tensor_4d(r->rgb, ZT_F32, 1, 3, 8 * r->s->lh, 8 * r->s->lw));
    zt_device_wait(r->m->d);
    // the file holds halves, not clamped
    for (int64_t i = 0; i < pixels; i++) {
        zt_weight_read(rgb, i, 1, &value);
        if (fabsf(value) > 1 && fabsf(r->rgb[i]) == 1)
            r->rgb[i] = value;
    }
    compare(r, rgb, 0, pixels, r->rgb, "", fmax(r->c->limit, 1e-3)); // a half has 11 bits: up to 2^-12 of each value
    return true;
}

static bool run_seed(struct run *r)
{
    const zt_weight *const noise = find(r, "noise", -1), *const controls = find(r, "controls", -1);
    const zt_weight *const tokens = find(r, "tokens", -1);
    const int64_t frames = noise->rank == 4 ? noise->shape[0] : 0;
    if (zt_state_create(&r->s, r->m, 0, 0, (uint64_t)r->seed) < 0)
        return false;
    r->plane = (size_t)r->m->c.out_dim * (size_t)(r->s->lh * r->s->lw);
    if (noise->elements != frames * (int64_t)r->plane || !controls ||
        controls->elements != frames * r->m->c.n_controls || !tokens || tokens->elements < 1 ||
        tokens->elements > r->m->c.text.max_tokens)
        return false;
    r->s->n_prompt = (int)tokens->elements;
    for (int i = 0; i < r->s->n_prompt; i++) {
        float id;
        zt_weight_read(tokens, i, 1, &id);
        if (id < 0 || id >= r->m->c.text.tokens)
            return false;
        r->s->prompt[i] = (int)id;
    }
    for (int f = 0; f < frames; f++) {
        if (!run_frame(r, f, noise, controls))
            return false;
    }
    return true;
}

void zt_check_stream(zt_check *c)
{
    struct run r = { .c = c };
    if (zt_model_open_kv(&r.m, c->d, c->dir, c->precision, c->kv) < 0) {
        c->broken = true;
        return;
    }
    r.rgb = zt_device_alloc_host(c->d, ((size_t)(3 * r.m->c.w * r.m->c.h) + 1) * sizeof(*r.rgb));
    c->broken = !r.rgb || !r.m->c.w;
    for (; !c->broken && find(&r, "noise", -1); r.seed++) {
        if (!run_seed(&r)) {
            zt_error("%s: the reference of seed %d does not fit the model", c->dir, r.seed);
            c->broken = true;
        }
        zt_state_destroy(&r.s);
    }
    if (!c->broken && r.seed == 0) {
        zt_error("%s: the reference holds no stream", c->dir);
        c->broken = true;
    }
    zt_device_free_host(c->d, r.rgb);
    zt_model_close(&r.m);
}
