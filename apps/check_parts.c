// SPDX-License-Identifier: Apache-2.0
// Parity of the parts: experts, samplers, tables and token order.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/check.h"
#include "base/base.h"
#include "base/log.h"
#include "diffusion/sampler.h"
#include "diffusion/sampler_unipc.h"

enum { MANY = 1 << 24, MOST_STEPS = 128 };

static bool moe_config(zt_check *c, zt_config *out)
{
    cJSON *const json = zt_check_config(c);
    *out = (zt_config){
        .dim = (int)zt_check_number(json, "dim", 0),
        .inter = (int)zt_check_number(json, "moe_inter_dim", 0),
        .experts = (int)zt_check_number(json, "n_routed_experts", 0),
        .top_k = (int)zt_check_number(json, "n_activated_experts", 0),
        .shared_experts = (int)zt_check_number(json, "n_shared_experts", 0),
        .groups = (int)zt_check_number(json, "n_expert_groups", 1),
        .limited_groups = (int)zt_check_number(json, "n_limited_groups", 1),
        .softmax = strcmp(zt_check_string(json, "score_func"), "softmax") == 0,
        .route_scale = (float)zt_check_number(json, "route_scale", 1),
    };
    cJSON_Delete(json);
    const bool ok = out->dim > 0 && out->dim < 65536 && out->inter > 0 && out->inter < 65536 && out->experts > 0
                 && out->experts <= 1024 && out->top_k > 0 && out->top_k <= ZT_MIN(16, out->experts) && out->groups > 0
                 && out->experts % out->groups == 0 && out->limited_groups > 0;
    if (!ok)
        zt_check_refuse(c, "no usable configuration");
    return ok;
}

static void moe_pass(zt_check *c, zt_moe *m, const cJSON *pass, int d)
{
    const zt_weight *w;
    float *const x = zt_check_in(c, pass, "x", &w);
    if (x && (w->rank != 2 || w->shape[1] != d || w->elements > MANY)) {
        zt_check_refuse(c, "x does not fit the experts");
    } else if (x) {
        const int M = (int)w->shape[0];
        float *const y = zt_check_must(calloc((size_t)w->elements, sizeof(*y)));
        m->topk = zt_check_must(calloc((size_t)(M * m->k), sizeof(*m->topk)));
        m->gates = zt_check_must(calloc((size_t)(M * m->k), sizeof(*m->gates)));
        c->d->k.moe(c->d, zt_tensor_2d(y, ZT_F32, M, d), zt_tensor_2d(x, ZT_F32, M, d), m, &(zt_epilogue){ 0 });
        zt_check_out(c, pass, "y", y, w->elements);
        zt_check_ids(c, pass, "topk", m->topk, M * m->k);
        zt_check_out(c, pass, "gates", m->gates, M * m->k);
        free(y);
        free(m->topk);
        free(m->gates);
    }
    free(x);
}

void zt_check_moe(zt_check *c)
{
    char path[4096];
    zt_config config;
    zt_weights *w = NULL;
    zt_memory memory = { .d = c->d };
    zt_matrix *expert = NULL;
    zt_moe m;
    zt_loader l;
    if (!moe_config(c, &config))
        return;
    snprintf(path, sizeof(path), "%s/%s", c->dir, zt_check_string(c->json, "model"));
    if (zt_weights_open(&w, path) < 0) {
        c->broken = true;
        return;
    }
    zt_loader_init(&l, w, &memory);
    l.block = c->precision == ZT_PRECISION_F32 ? ZT_F32 : c->precision == ZT_PRECISION_BF16 ? ZT_BF16
        : c->precision == ZT_PRECISION_INT4 ? ZT_I4 : ZT_I8;
    c->broken |= zt_load_moe(&l, &m, &expert, &config, "") < 0;
    const cJSON *pass;
    cJSON_ArrayForEach(pass, zt_check_passes(c)) {
        if (!c->broken)
            moe_pass(c, &m, pass, config.dim);
    }
    zt_loader_finish(&l);
    zt_memory_finish(&memory);
    zt_weights_close(&w);
    free(expert);
}

static void op_warp(zt_check *c, const cJSON *pass, double shift)
{
    float t[64], sigma[64];
    int n = 0;
    const cJSON *k;
    cJSON_ArrayForEach(k, cJSON_GetObjectItemCaseSensitive(pass, "steps")) {
        if (n == 64)
            break;
        const double warped = zt_sampler_warp((int)k->valuedouble, shift);
        t[n] = (float)warped;
        sigma[n++] = (float)zt_sampler_nearest(warped, shift);
    }
    zt_check_out(c, pass, "t", t, n);
    zt_check_out(c, pass, "sigma", sigma, n);
}

static void op_table(zt_check *c, const cJSON *pass, double shift)
{
    const int n = (int)zt_check_number(pass, "n", 1000);
    if (n < 1 || n > MANY)
        return zt_check_refuse(c, "a table of that size is not reasonable");
    float *const sigma = zt_check_must(calloc((size_t)n, sizeof(*sigma)));
    for (int i = 0; i < n; i++)
        sigma[i] = (float)zt_sampler_shift(1 - (double)i / n, shift);
    zt_check_out(c, pass, "sigma", sigma, n);
    free(sigma);
}

// a x + b y of two inputs of one size, through the kernel.
static void op_combine(zt_check *c, const cJSON *pass, const char *const in[2], const char *out, double a, double b)
{
    const zt_weight *wx, *wy;
    float *const x = zt_check_in(c, pass, in[0], &wx), *const y = zt_check_in(c, pass, in[1], &wy);
    if (x && y && wx->elements == wy->elements && wx->elements <= MANY) {
        const zt_tensor tx = zt_tensor_2d(x, ZT_F32, 1, (int)wx->elements);
        const zt_tensor ty = zt_tensor_2d(y, ZT_F32, 1, (int)wy->elements);
        c->d->k.combine(c->d, tx, (float)a, tx, (float)b, ty);
        zt_check_out(c, pass, out, x, wx->elements);
    } else {
        zt_check_refuse(c, "two inputs differ in size");
    }
    free(x);
    free(y);
}

// The Euler schedule of diffusers: n points from 1 to the last entry of the shifted table, shifted once more, then 0.
static void euler_levels(double *sigma, int n, double shift)
{
    const double last = zt_sampler_shift(0.001, shift);
    for (int i = 0; i < n; i++)
        sigma[i] = zt_sampler_shift(n > 1 ? 1 + (last - 1) * i / (n - 1) : 1, shift);
    sigma[n] = 0;
}

static void op_euler(zt_check *c, const cJSON *pass, double shift)
{
    const int n = (int)zt_check_number(pass, "steps", 0);
    const double guidance = zt_check_number(pass, "guidance", 0);
    double sigma[129];
    float t[128], level[129];
    const zt_weight *wx, *wv, *wu = NULL;
    if (n < 1 || n > 128)
        return zt_check_refuse(c, "a schedule of that length is not reasonable");
    float *const x = zt_check_in(c, pass, "x", &wx);
    float *const v = zt_check_in(c, pass, guidance > 0 ? "v_cond" : "v", &wv);
    float *const u = guidance > 0 ? zt_check_in(c, pass, "v_uncond", &wu) : NULL;
    if (x && v && wv->elements == n * wx->elements && (!u || wu->elements == wv->elements)) {
        euler_levels(sigma, n, shift);
        for (int i = 0; i <= n; i++)
            level[i] = (float)sigma[i];
        for (int i = 0; i < n; i++)
            t[i] = (float)(1000 * sigma[i]);
        float *const xs = zt_check_must(calloc((size_t)wv->elements, sizeof(*xs)));
        for (int64_t i = 0; i < wv->elements; i++) {
            const int64_t k = i / wx->elements, at = i % wx->elements;
            const double velocity = u ? u[i] + guidance * ((double)v[i] - u[i]) : v[i];
            xs[i] = (float)((k ? xs[i - wx->elements] : x[at]) + (sigma[k + 1] - sigma[k]) * velocity);
        }
        zt_check_out(c, pass, "t", t, n);
        zt_check_out(c, pass, "sigma", level, n + 1);
        zt_check_out(c, pass, "xs", xs, wv->elements);
        free(xs);
    } else {
        zt_check_refuse(c, "inputs of the Euler pass do not fit");
    }
    free(x);
    free(v);
    free(u);
}

static void op_unipc(zt_check *c, const cJSON *pass, double shift)
{
    const int n = (int)zt_check_number(pass, "steps", 0);
    zt_unipc u;
    float sigma[MOST_STEPS + 1], t[MOST_STEPS];
    const zt_weight *wx, *wv;
    if (n < 1 || n > MOST_STEPS || zt_check_number(pass, "order", 2) != 2)
        return zt_check_refuse(c, "a schedule of that length or order is not supported");
    float *const x = zt_check_in(c, pass, "x", &wx), *const v = zt_check_in(c, pass, "v", &wv);
    if (x && v && wv->elements == n * wx->elements && wv->elements <= MANY) {
        const size_t floats = (size_t)wx->elements;
        float *const xs = zt_check_must(calloc((size_t)n + 3, floats * sizeof(*xs)));
        float *const spare = xs + (size_t)n * floats;
        zt_unipc_init(&u, floats, (float *const[]){ spare, spare + floats, spare + 2 * floats });
        for (int i = 0; i < n; i++) {
            zt_unipc_step(&u, x, v + (size_t)i * floats, zt_unipc_sigma(i, n, shift),
                          zt_unipc_sigma(i + 1, n, shift));
            memcpy(xs + (size_t)i * floats, x, floats * sizeof(*x));
        }
        for (int i = 0; i <= n; i++)
            sigma[i] = (float)zt_unipc_sigma(i, n, shift);
        zt_unipc_times(n, shift, t);
        for (int i = 0; i < n; i++)
            t[i] = floorf(t[i]);
        zt_check_out(c, pass, "t", t, n);
        zt_check_out(c, pass, "sigma", sigma, n + 1);
        zt_check_out(c, pass, "xs", xs, wv->elements);
        free(xs);
    } else {
        zt_check_refuse(c, "inputs of the UniPC pass do not fit");
    }
    free(x);
    free(v);
}

void zt_check_sampler(zt_check *c)
{
    const cJSON *pass;
    cJSON_ArrayForEach(pass, zt_check_passes(c)) {
        const char *const op = zt_check_string(pass, "op");
        const double shift = zt_check_number(pass, "shift", 5), t = zt_check_number(pass, "t", 0);
        const double sigma = zt_sampler_nearest(t, shift), guidance = zt_check_number(pass, "guidance", 1);
        if (strcmp(op, "warp") == 0) {
            op_warp(c, pass, shift);
        } else if (strcmp(op, "sigma-table") == 0) {
            op_table(c, pass, shift);
        } else if (strcmp(op, "x0") == 0) {
            op_combine(c, pass, (const char *const[]){ "x", "v" }, "x0", 1, -sigma);
        } else if (strcmp(op, "renoise") == 0) {
            op_combine(c, pass, (const char *const[]){ "x0", "eps" }, "x", 1 - sigma, sigma);
        } else if (strcmp(op, "cfg") == 0) {
            op_combine(c, pass, (const char *const[]){ "v_cond", "v_uncond" }, "v", guidance, 1 - guidance);
        } else if (strcmp(op, "euler") == 0) {
            op_euler(c, pass, shift);
        } else if (strcmp(op, "unipc") == 0) {
            op_unipc(c, pass, shift);
        } else {
            zt_error("%s: sampler '%s' is not supported in this version", c->dir, op);
            c->unsupported++;
        }
    }
}

static bool read_grid(zt_check *c, const cJSON *pass, int grid[3])
{
    const cJSON *const g = cJSON_GetObjectItemCaseSensitive(pass, "grid");
    for (int i = 0; i < 3; i++) {
        const cJSON *const n = cJSON_GetArrayItem(g, i);
        grid[i] = cJSON_IsNumber(n) ? (int)n->valuedouble : 0;
        if (grid[i] < 1 || grid[i] > 256) {
            zt_check_refuse(c, "a grid is missing or not reasonable");
            return false;
        }
    }
    return true;
}

static void op_rope(zt_check *c, const cJSON *pass)
{
    int grid[3];
    const int D = (int)zt_check_number(pass, "head_dim", 0), pairs = D / 2;
    const int64_t start = (int64_t)zt_check_number(pass, "start_frame", 0);
    if (D < 2 || D > 1024 || D % 2)
        return zt_check_refuse(c, "a head width is not reasonable");
    if (!read_grid(c, pass, grid))
        return;
    const zt_config config = { .dim = D, .heads = 1 };
    double freq[2][512];
    zt_dit t = {
        .c = &config, .n_space = D / 6, .n_time = pairs - 2 * (D / 6), .rope_time = freq[0], .rope_space = freq[1]
    };
    zt_frequencies(freq[0], t.n_time);
    zt_frequencies(freq[1], t.n_space);

    const int T = grid[1] * grid[2], n = grid[0] * T * pairs;
    float *const angle = zt_check_must(calloc(2 * (size_t)n, sizeof(*angle)));
    float *const cosine = zt_check_must(calloc((size_t)n, sizeof(*cosine)));
    float *const sine = zt_check_must(calloc((size_t)n, sizeof(*sine)));
    for (int f = 0; f < grid[0]; f++)
        zt_dit_angles(&t, start + f, grid[1], grid[2], angle + (size_t)f * (size_t)T * (size_t)D);
    for (int i = 0; i < n; i++) {
        cosine[i] = angle[2 * i];
        sine[i] = angle[2 * i + 1];
    }
    zt_check_out(c, pass, "cos", cosine, n);
    zt_check_out(c, pass, "sin", sine, n);
    free(angle);
    free(cosine);
    free(sine);
}

static void op_sinusoid(zt_check *c, const cJSON *pass)
{
    const int width = (int)zt_check_number(pass, "dim", 0);
    const cJSON *const times = cJSON_GetObjectItemCaseSensitive(pass, "t");
    const int n = cJSON_GetArraySize(times);
    double freq[512];
    if (width < 2 || width > 1024 || width % 2 || n < 1 || n > 1024)
        return zt_check_refuse(c, "a sinusoid of that width is not reasonable");
    zt_frequencies(freq, width / 2);
    float *const y = zt_check_must(calloc((size_t)n * (size_t)width, sizeof(*y)));
    for (int i = 0; i < n; i++)
        zt_sinusoid(y + (size_t)i * (size_t)width, width, cJSON_GetArrayItem(times, i)->valuedouble, freq);
    zt_check_out(c, pass, "emb", y, (int64_t)n * width);
    free(y);
}

// x [C][F][h][w] to tokens [F h/2 w/2][4 C] one frame at a time, as the transformer does it.
static void op_patchify(zt_check *c, const cJSON *pass)
{
    const zt_weight *w;
    float *const x = zt_check_in(c, pass, "x", &w);
    if (x && w->rank == 4 && w->shape[2] % 2 == 0 && w->shape[3] % 2 == 0 && w->elements <= MANY && w->elements > 0) {
        const int C = (int)w->shape[0], F = (int)w->shape[1], h = (int)w->shape[2], wide = (int)w->shape[3];
        const int T = h / 2 * (wide / 2);
        const size_t plane = (size_t)(h * wide);
        float *const frame = zt_check_must(calloc((size_t)C * plane, sizeof(*frame)));
        float *const y = zt_check_must(calloc((size_t)w->elements, sizeof(*y)));
        for (int f = 0; f < F; f++) {
            for (int i = 0; i < C; i++)
                memcpy(frame + (size_t)i * plane, x + (size_t)(i * F + f) * plane, plane * sizeof(float));
            c->d->k.patchify(c->d, zt_tensor_rows(zt_tensor_2d(y, ZT_F32, F * T, 4 * C), f * T, T),
                             zt_tensor_4d(frame, ZT_F32, 1, C, h, wide), 0);
        }
        zt_check_out(c, pass, "tokens", y, w->elements);
        free(frame);
        free(y);
    } else {
        zt_check_refuse(c, "x of a patchify pass does not fit");
    }
    free(x);
}

static void op_unpatchify(zt_check *c, const cJSON *pass)
{
    const zt_weight *w;
    int grid[3];
    const int C = (int)zt_check_number(pass, "channels", 0);
    if (!read_grid(c, pass, grid))
        return;
    float *const x = zt_check_in(c, pass, "tokens", &w);
    const int F = grid[0], T = grid[1] * grid[2], h = 2 * grid[1], wide = 2 * grid[2];
    if (x && C > 0 && C <= 256 && w->elements == (int64_t)F * T * 4 * C) {
        const size_t plane = (size_t)(h * wide);
        float *const frame = zt_check_must(calloc((size_t)C * plane, sizeof(*frame)));
        float *const y = zt_check_must(calloc((size_t)w->elements, sizeof(*y)));
        for (int f = 0; f < F; f++) {
            c->d->k.unpatchify(c->d, zt_tensor_4d(frame, ZT_F32, 1, C, h, wide),
                               zt_tensor_rows(zt_tensor_2d(x, ZT_F32, F * T, 4 * C), f * T, T));
            for (int i = 0; i < C; i++)
                memcpy(y + (size_t)(i * F + f) * plane, frame + (size_t)i * plane, plane * sizeof(float));
        }
        zt_check_out(c, pass, "x", y, w->elements);
        free(frame);
        free(y);
    } else {
        zt_check_refuse(c, "tokens of an unpatchify pass do not fit");
    }
    free(x);
}

void zt_check_tokens(zt_check *c)
{
    const cJSON *pass;
    cJSON_ArrayForEach(pass, zt_check_passes(c)) {
        const char *const op = zt_check_string(pass, "op");
        if (strcmp(op, "rope") == 0) {
            op_rope(c, pass);
        } else if (strcmp(op, "sinusoid") == 0) {
            op_sinusoid(c, pass);
        } else if (strcmp(op, "patchify") == 0) {
            op_patchify(c, pass);
        } else if (strcmp(op, "unpatchify") == 0) {
            op_unpatchify(c, pass);
        } else {
            zt_error("%s: '%s' is not supported in this version", c->dir, op);
            c->unsupported++;
        }
    }
}
