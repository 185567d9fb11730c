// SPDX-License-Identifier: Apache-2.0
// Parity of what lies around the transformer: text encoder, autoencoder, tiny decoder.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/check.h"
#include "base/log.h"
#include "diffusion/decoder_taehv.h"
#include "diffusion/text_umt5.h"
#include "diffusion/vae_wan.h"

enum { MANY = 1 << 26 };

static void path_of(const zt_check *c, char path[4096])
{
    snprintf(path, 4096, "%s/%s", c->dir, zt_check_string(c->json, "model"));
}

static enum zt_type type_of(const zt_check *c)
{
    return c->precision == ZT_PRECISION_F32 ? ZT_F32 : ZT_BF16;         // convolutions have no int8 here
}

static void run_text(zt_check *c, zt_umt5 *t, const cJSON *pass)
{
    const zt_weight *w;
    float *const ids = zt_check_in(c, pass, "ids", &w);
    const int n = (int)zt_check_number(pass, "n_tokens", 0);
    if (!ids || n < 1 || n > w->elements || w->elements > ZT_UMT5_MAX_TOKENS) {
        zt_check_refuse(c, "ids and n_tokens do not fit");
        free(ids);
        return;
    }
    int32_t *const id = zt_check_must(malloc((size_t)n * sizeof(*id)));
    float *const rows = zt_check_must(calloc((size_t)w->elements * (size_t)t->dim, sizeof(*rows)));
    memcpy(id, w->data, (size_t)n * sizeof(*id));
    c->broken |= zt_umt5_encode(t, id, n, rows) < 0;
    zt_check_out(c, pass, "embeds", rows, w->elements * t->dim);
    free(rows);
    free(id);
    free(ids);
}

void zt_check_text(zt_check *c)
{
    char path[4096];
    zt_umt5 t;
    const cJSON *pass;
    path_of(c, path);
    c->broken |= zt_umt5_open(&t, c->d, path, c->precision >= ZT_PRECISION_INT8 ? ZT_I8 : type_of(c)) < 0;
    if (c->broken)
        return;
    cJSON_ArrayForEach(pass, zt_check_passes(c))
        run_text(c, &t, pass);
    zt_umt5_finish(&t);
}

// A picture of a pass: [C][frames][h][w], frame by frame in `frames` as [frames][C][h][w].
static float *frames_of(zt_check *c, const cJSON *pass, const char *role, int C, int unit, const zt_weight **w)
{
    float *const x = zt_check_in(c, pass, role, w);
    if (!x)
        return NULL;
    const int64_t *const n = (*w)->shape;
    if ((*w)->rank != 4 || n[0] != C || n[1] < 1 || n[2] < unit || n[3] < unit || n[2] % unit || n[3] % unit
        || (*w)->elements > MANY) {
        zt_check_refuse(c, "the input does not fit the model");
        free(x);
        return NULL;
    }
    float *const frames = zt_check_must(malloc((size_t)(*w)->elements * sizeof(*x)));
    zt_check_exchange(frames, x, C, (int)n[1], (size_t)(n[2] * n[3]));
    free(x);
    return frames;
}

// Compares frames [n][C][plane]; clamps them first when `low` < `high`.
static void compare(zt_check *c, const cJSON *pass, const char *role, const float *frames, int n, int C, size_t plane,
                    float low, float high)
{
    const size_t floats = (size_t)n * (size_t)C * plane;
    float *const y = zt_check_must(malloc((floats + 1) * sizeof(*y)));
    zt_check_exchange(y, frames, n, C, plane);
    for (size_t i = 0; i < floats && low < high; i++)
        y[i] = y[i] < low ? low : y[i] > high ? high : y[i];
    zt_check_out(c, pass, role, y, (int64_t)floats);
    free(y);
}

static void decode_pass(zt_check *c, zt_vae *v, zt_vae_state *s, const cJSON *pass)
{
    const zt_weight *w;
    float *const z = frames_of(c, pass, "z", v->z, 1, &w);
    if (!z)
        return;
    const int n = (int)w->shape[1], h = (int)w->shape[2], wide = (int)w->shape[3];
    const size_t plane = (size_t)(h * wide * v->patch * v->patch) << 6;
    if (!s->memory && zt_vae_state_init(s, v, &v->decoder, h, wide) < 0)
        zt_check_must(NULL);
    float *const frames = zt_check_must(malloc((size_t)n * 12 * plane * sizeof(*frames)));
    int made = 0;
    for (int i = 0; i < n && s->h == h && s->w == wide; i++)
        made += zt_vae_decode(s, z + (size_t)(i * v->z * h * wide), frames + (size_t)made * 3 * plane);
    compare(c, pass, "frames", frames, made, 3, plane, -1, 1);
    free(frames);
    free(z);
}

void zt_check_vae_decode(zt_check *c)
{
    char path[4096];
    zt_vae v;
    zt_vae_state s = { 0 };
    const cJSON *pass;
    path_of(c, path);
    c->broken |= zt_vae_open(&v, c->d, path, type_of(c), ZT_VAE_DECODER) < 0;
    if (c->broken)
        return;
    cJSON_ArrayForEach(pass, zt_check_passes(c))
        decode_pass(c, &v, &s, pass);
    zt_vae_state_finish(&s);
    zt_vae_finish(&v);
}

static void encode_pass(zt_check *c, zt_vae *v, const cJSON *pass)
{
    const zt_weight *w;
    zt_vae_state s;
    float *const frames = frames_of(c, pass, "frames", 3, 8 * v->patch, &w);
    if (!frames)
        return;
    const int unit = 8 * v->patch, n = (int)w->shape[1], h = (int)w->shape[2] / unit, wide = (int)w->shape[3] / unit;
    const size_t latent = (size_t)v->z * (size_t)(h * wide);
    float *const z = zt_check_must(malloc((size_t)n * latent * sizeof(*z)));
    if (zt_vae_state_init(&s, v, &v->encoder, h, wide) < 0)
        zt_check_must(NULL);
    int made = 0;
    for (int i = 0; i < n; i++)
        made += zt_vae_encode(&s, frames + (size_t)i * (size_t)(3 * unit * unit) * (size_t)(h * wide), z + (size_t)made * latent);
    compare(c, pass, "z", z, made, v->z, (size_t)(h * wide), 0, 0);
    zt_vae_state_finish(&s);
    free(z);
    free(frames);
}

void zt_check_vae_encode(zt_check *c)
{
    char path[4096];
    zt_vae v;
    const cJSON *pass;
    path_of(c, path);
    c->broken |= zt_vae_open(&v, c->d, path, type_of(c), ZT_VAE_ENCODER) < 0;
    if (c->broken)
        return;
    cJSON_ArrayForEach(pass, zt_check_passes(c))
        encode_pass(c, &v, pass);
    zt_vae_finish(&v);
}

static void taehv_pass(zt_check *c, zt_taehv *k, zt_taehv_state *s, const cJSON *pass)
{
    const zt_weight *w;
    float *const z = frames_of(c, pass, "z", k->z, 1, &w);
    if (!z)
        return;
    const int n = (int)w->shape[1], h = (int)w->shape[2], wide = (int)w->shape[3];
    const size_t plane = (size_t)(h * wide * k->patch * k->patch) << 6;
    const cJSON *const counts = cJSON_GetObjectItemCaseSensitive(pass, "frames_per_latent");
    if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(pass, "reset")))
        zt_taehv_state_finish(s);
    if (!s->memory && zt_taehv_state_init(s, k, h, wide) < 0)
        zt_check_must(NULL);
    s->all = true;
    float *const frames = zt_check_must(malloc((size_t)n * 12 * plane * sizeof(*frames)));
    const bool first = s->latents == 0;
    int made = 0;
    for (int i = 0; i < n && s->h == h && s->w == wide; i++) {
        const cJSON *const count = cJSON_GetArrayItem(counts, i);
        const int frame = zt_taehv_decode(s, z + (size_t)(i * k->z * h * wide), frames + (size_t)made * 3 * plane);
        if (count && count->valuedouble != (first && i == 0 ? frame - 3 : frame))
            zt_check_refuse(c, "frames_per_latent is not what the model makes");
        made += frame;
    }
    const int drop = first && made > 3 ? 3 : 0;
    compare(c, pass, "frames", frames + (size_t)drop * 3 * plane, made - drop, 3, plane, 0, 1);
    if (cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(pass, "out"), "raw"))
        compare(c, pass, "raw", frames, made, 3, plane, 0, 0);
    free(frames);
    free(z);
}

void zt_check_taehv(zt_check *c)
{
    char path[4096];
    zt_taehv k;
    zt_taehv_state s = { 0 };
    const cJSON *pass;
    path_of(c, path);
    c->broken |= zt_taehv_open(&k, c->d, path, type_of(c)) < 0;
    if (c->broken)
        return;
    cJSON_ArrayForEach(pass, zt_check_passes(c))
        taehv_pass(c, &k, &s, pass);
    zt_taehv_state_finish(&s);
    zt_taehv_finish(&k);
}
