// SPDX-License-Identifier: Apache-2.0
// Reads the autoencoder's tensors, under the names of either publisher.
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "diffusion/internal.h"
#include "diffusion/json.h"
#include "diffusion/vae_wan.h"

// As published, per channel of the latent: Wan 2.1, Wan 2.2.
static const float mean_21[16] = { -0.7571f, -0.7089f, -0.9113f, 0.1075f, -0.1745f, 0.9653f, -0.1517f, 1.5508f,
                                          0.4134f, -0.0715f, 0.5517f, -0.3632f, -0.1922f, -0.9497f, 0.2503f, -0.2921f };
static const float std_21[16] = { 2.8184f, 1.4541f, 2.3275f, 2.6558f, 1.2196f, 1.7708f, 2.6052f, 2.0743f,
                                         3.2687f, 2.1526f, 2.8652f, 1.5579f, 1.6382f, 1.1253f, 2.8251f, 1.9160f };
static const float mean_22[48] = {
    -0.2289f, -0.0052f, -0.1323f, -0.2339f, -0.2799f, 0.0174f, 0.1838f, 0.1557f,
    -0.1382f, 0.0542f, 0.2813f, 0.0891f, 0.1570f, -0.0098f, 0.0375f, -0.1825f,
    -0.2246f, -0.1207f, -0.0698f, 0.5109f, 0.2665f, -0.2108f, -0.2158f, 0.2502f,
    -0.2055f, -0.0322f, 0.1109f, 0.1567f, -0.0729f, 0.0899f, -0.2799f, -0.1230f,
    -0.0313f, -0.1649f, 0.0117f, 0.0723f, -0.2839f, -0.2083f, -0.0520f, 0.3748f,
    0.0152f, 0.1957f, 0.1433f, -0.2944f, 0.3573f, -0.0548f, -0.1681f, -0.0667f,
};
static const float std_22[48] = {
    0.4765f, 1.0364f, 0.4514f, 1.1677f, 0.5313f, 0.4990f, 0.4818f, 0.5013f,
    0.8158f, 1.0344f, 0.5894f, 1.0901f, 0.6885f, 0.6165f, 0.8454f, 0.4978f,
    0.5759f, 0.3523f, 0.7135f, 0.6804f, 0.5833f, 1.4146f, 0.8986f, 0.5659f,
    0.7069f, 0.5338f, 0.4889f, 0.4917f, 0.4069f, 0.4999f, 0.6866f, 0.4093f,
    0.5709f, 0.6065f, 0.6415f, 0.4944f, 0.5726f, 1.2042f, 0.5458f, 1.6887f,
    0.3971f, 1.0600f, 0.3943f, 0.5537f, 0.5444f, 0.4089f, 0.7468f, 0.7744f,
};

enum { NAME = 160, MAX_CHANNELS = 1 << 14 };

typedef struct reader {
    zt_loader  l;
    zt_vae    *v;
    bool       diffusers;
    bool       shortcuts;       // of Wan 2.2
    bool       encoder;         // which half is read
} reader;

// Either name after "encoder." or "decoder.".
static const char *either(const reader *r, char out[NAME], const char *original, const char *diffusers)
{
    snprintf(out, NAME, "%s.%s", r->encoder ? "encoder" : "decoder", r->diffusers ? diffusers : original);
    return out;
}

// Block i of a stage, counted from its first; the one after the last is the resampling. Names of Wan 2.2 and the decoder's
// diffusers names count stages, all others count blocks throughout.
static const char *stage_name(const reader *r, char out[NAME], int stage, int i, int blocks)
{
    const int n = stage * (blocks + 1) + i;
    const char *const way = r->encoder ? "down" : "up", *const half = r->encoder ? "encoder" : "decoder";
    if (r->shortcuts && !r->diffusers)
        snprintf(out, NAME, "%s.%ssamples.%d.%ssamples.%d", half, way, stage, way, i);
    else if (r->shortcuts && i < blocks)
        snprintf(out, NAME, "%s.%s_blocks.%d.resnets.%d", half, way, stage, i);
    else if (r->shortcuts)
        snprintf(out, NAME, "%s.%s_blocks.%d.%ssampler", half, way, stage, way);
    else if (r->encoder)
        snprintf(out, NAME, r->diffusers ? "encoder.down_blocks.%d" : "encoder.downsamples.%d", n);
    else if (!r->diffusers)
        snprintf(out, NAME, "decoder.upsamples.%d", n);
    else if (i < blocks)
        snprintf(out, NAME, "decoder.up_blocks.%d.resnets.%d", stage, i);
    else
        snprintf(out, NAME, "decoder.up_blocks.%d.upsamplers.0", stage);
    return out;
}

// Output or input channels of a convolution; 0 when it is not there or not reasonable.
static int channels_of(const reader *r, const char *name, int axis)
{
    char text[2 * NAME];
    snprintf(text, sizeof(text), "%s.weight", name);
    const zt_weight *const w = zt_weights_find(r->l.w, text);
    return w && w->rank >= 4 && w->shape[axis] >= 1 && w->shape[axis] <= MAX_CHANNELS ? (int)w->shape[axis] : 0;
}

// gamma [C, 1, 1, 1] or [C, 1, 1].
static int load_norm(reader *r, const float **out, const char *name, int C, int rank)
{
    char text[2 * NAME];
    snprintf(text, sizeof(text), "%s.gamma", name);
    return zt_load_floats(&r->l, out, text, rank, (const int64_t[]){ C, 1, 1, 1 });
}

static int load_causal(reader *r, zt_conv *c, const char *name, int N, int C)
{
    *c = (zt_conv){ 0 };
    return zt_load_kernel(&r->l, &c->w, r->v->type, name, (zt_kernel_shape){ N, C, 3, 3, 3 });
}

// Products of a pixel alone stay f32: next to nothing.
static int load_point(reader *r, zt_matrix *m, const char *name, int N, int C, int T)
{
    return zt_load_kernel(&r->l, m, ZT_F32, name, (zt_kernel_shape){ N, C, T, 1, 1 });
}

// `prefix` names the block.
static int load_res(reader *r, zt_vae_res *b, const char *prefix, int in)
{
    static const char *const part[2][5] = { { "residual.0", "residual.2", "residual.3", "residual.6", "shortcut" },
                                            { "norm1", "conv1", "norm2", "conv2", "conv_shortcut" } };
    char name[5][NAME + 16];
    for (int i = 0; i < 5; i++)
        snprintf(name[i], sizeof(name[i]), "%s.%s", prefix, part[r->diffusers][i]);
    *b = (zt_vae_res){ .in = in, .out = channels_of(r, name[1], 0) };
    int err = load_norm(r, &b->norm1, name[0], in, 4);
    if (!err)
        err = load_causal(r, &b->conv1, name[1], ZT_MAX(b->out, 1), in);
    if (!err)
        err = load_norm(r, &b->norm2, name[2], b->out, 4);
    if (!err)
        err = load_causal(r, &b->conv2, name[3], b->out, b->out);
    if (!err && b->in != b->out)
        err = load_point(r, &b->shortcut, name[4], b->out, in, 1);
    return err;
}

static int load_middle(reader *r, zt_vae_half *h, int C)
{
    char name[NAME], part[NAME + 16];
    int err = load_res(r, &h->middle[0], either(r, name, "middle.0", "mid_block.resnets.0"), C);
    if (!err)
        err = load_res(r, &h->middle[1], either(r, name, "middle.2", "mid_block.resnets.1"), C);
    either(r, name, "middle.1", "mid_block.attentions.0");
    snprintf(part, sizeof(part), "%s.norm", name);
    if (!err)
        err = load_norm(r, &h->attention.norm, part, C, 3);
    snprintf(part, sizeof(part), "%s.to_qkv", name);
    if (!err)
        err = load_point(r, &h->attention.qkv, part, 3 * C, C, 0);
    snprintf(part, sizeof(part), "%s.proj", name);
    if (!err)
        err = load_point(r, &h->attention.proj, part, C, C, 0);
    if (!err && (h->middle[0].out != C || h->middle[1].out != C || C % 2)) {
        zt_error("%s: the middle blocks change the number of channels, or it is odd", zt_weights_label(r->l.w));
        err = -EINVAL;
    }
    return err;
}

// `prefix` names the resampling after a stage of C channels; *out is what it leaves.
static int load_resample(reader *r, zt_vae_resample *p, const char *prefix, int C, int *out)
{
    char name[NAME + 16];
    snprintf(name, sizeof(name), "%s.time_conv", prefix);
    int err = channels_of(r, name, 0) ? load_point(r, &p->time, name, r->encoder ? C : 2 * C, C, 3) : 0;
    snprintf(name, sizeof(name), "%s.resample.1", prefix);
    *out = channels_of(r, name, 0);
    p->conv.up = !r->encoder;
    if (!err)
        err = zt_load_conv(&r->l, &p->conv, r->v->type, ZT_MAX(*out, 1), C, name);
    return err;
}

// A shortcut takes whole groups of values (vae_wan22.c).
static int check_shortcut(const reader *r, const zt_vae_half *h, int s)
{
    const bool last = s == ZT_VAE_STAGES - 1;
    const int each = last ? 1 : h->resample[s].time.N ? 8 : 4, in = h->res[s][0].in, out = h->channels[s];
    if (!h->shortcuts || (last && !r->encoder))
        return 0;
    if (r->encoder ? in * each % out == 0 : out * each % in == 0)
        return 0;
    zt_error("%s: stage %d leads %d channels to %d, which its shortcut cannot", zt_weights_label(r->l.w), s, in, out);
    return -EINVAL;
}

static int load_stages(reader *r, zt_vae_half *h, int C)
{
    char name[NAME];
    int err = 0;
    h->blocks = r->encoder ? 2 : 3;
    for (int s = 0; s < ZT_VAE_STAGES && !err; s++) {
        for (int i = 0; i < h->blocks && !err; i++) {
            err = load_res(r, &h->res[s][i], stage_name(r, name, s, i, h->blocks), C);
            C = h->res[s][i].out;
        }
        h->channels[s] = C;
        if (!err && s < ZT_VAE_STAGES - 1)
            err = load_resample(r, &h->resample[s], stage_name(r, name, s, h->blocks, h->blocks), C, &C);
        if (!err)
            err = check_shortcut(r, h, s);
        if (!err && h->shortcuts && s < ZT_VAE_STAGES - 1 && C != h->channels[s]) {
            zt_error("%s: the resampling after stage %d changes the number of channels", zt_weights_label(r->l.w), s);
            err = -EINVAL;
        }
    }
    return err;
}

static int load_decoder(reader *r)
{
    zt_vae_half *const h = &r->v->decoder;
    char name[NAME];
    const int z = r->v->z;
    r->encoder = false;
    h->shortcuts = r->shortcuts;
    int err = load_point(r, &h->quant, r->diffusers ? "post_quant_conv" : "conv2", z, z, 1);
    const int C = channels_of(r, either(r, name, "conv1", "conv_in"), 0);
    if (!err)
        err = load_causal(r, &h->in, name, ZT_MAX(C, 1), z);
    if (!err)
        err = load_middle(r, h, C);
    if (!err)
        err = load_stages(r, h, C);
    const int last = h->channels[ZT_VAE_STAGES - 1];
    if (!err)
        err = load_norm(r, &h->norm, either(r, name, "head.0", "norm_out"), last, 4);
    return err ? err : load_causal(r, &h->out, either(r, name, "head.2", "conv_out"), 3 * r->v->patch * r->v->patch, last);
}

static int load_encoder(reader *r)
{
    zt_vae_half *const h = &r->v->encoder;
    char name[NAME];
    const int z = r->v->z;
    r->encoder = true;
    h->shortcuts = r->shortcuts;
    int err = load_point(r, &h->quant, r->diffusers ? "quant_conv" : "conv1", 2 * z, 2 * z, 1);
    const int C = channels_of(r, either(r, name, "conv1", "conv_in"), 0);
    if (!err)
        err = load_causal(r, &h->in, name, ZT_MAX(C, 1), 3 * r->v->patch * r->v->patch);
    if (!err)
        err = load_stages(r, h, C);
    const int last = h->channels[ZT_VAE_STAGES - 1];
    if (!err)
        err = load_middle(r, h, last);
    if (!err)
        err = load_norm(r, &h->norm, either(r, name, "head.0", "norm_out"), last, 4);
    return err ? err : load_causal(r, &h->out, either(r, name, "head.2", "conv_out"), 2 * z, last);
}

// latents_mean and latents_std of a diffusers configuration, when it is one.
static int read_list(zt_json *j, float *out)
{
    int n = 0;
    double x;
    if (!zt_json_enter(j, '['))
        return 0;
    while (zt_json_item(j)) {
        if (n == ZT_VAE_MAX_Z || !zt_json_number(j, &x))
            return 0;
        out[n++] = (float)x;
    }
    return n;
}

static int read_statistics(zt_vae *v, const char *path)
{
    char *const text = malloc(1 << 16), key[256];
    FILE *const f = text ? fopen(path, "rbe") : NULL;
    const size_t bytes = f ? fread(text, 1, 1 << 16, f) : 0;
    int means = 0, deviations = 0;
    zt_json j;
    if (f)
        fclose(f);
    zt_json_init(&j, text, bytes);
    bool ok = bytes > 0 && zt_json_enter(&j, '{');
    while (ok && zt_json_key(&j, key, sizeof(key))) {
        if (strcmp(key, "latents_mean") == 0)
            means = read_list(&j, v->mean);
        else if (strcmp(key, "latents_std") == 0)
            deviations = read_list(&j, v->std);
        else
            ok = zt_json_skip(&j);
    }
    free(text);
    if (!means && !deviations)
        return 0;
    ok = means == v->z && deviations == v->z;
    for (int i = 0; i < v->z && ok; i++)
        ok = isfinite(v->mean[i]) && v->std[i] > 0;
    if (!ok)
        zt_error("%s: latents_mean and latents_std do not fit the %d channels of the latent", path, v->z);
    return ok ? 1 : -EINVAL;
}

// Whose names, which version: that of 2.2 has a name for each stage and reads and writes squares of 2x2.
static void find_kind(reader *r)
{
    r->diffusers = channels_of(r, "decoder.conv_in", 0) > 0 || channels_of(r, "encoder.conv_in", 0) > 0;
    static const char *const sign[2][2] = {
        { "decoder.upsamples.0.upsamples.0.residual.2", "encoder.downsamples.0.downsamples.0.residual.2" },
        { "decoder.up_blocks.0.upsampler.resample.1", "encoder.down_blocks.0.downsampler.resample.1" },
    };
    r->shortcuts = channels_of(r, sign[r->diffusers][0], 0) > 0 || channels_of(r, sign[r->diffusers][1], 0) > 0;
    r->v->patch = r->shortcuts ? 2 : 1;
}

// z from the tensors, its statistics from a configuration or as published.
static int find_latent(reader *r, const char *config)
{
    zt_vae *const v = r->v;
    find_kind(r);
    v->z = channels_of(r, r->diffusers ? "post_quant_conv" : "conv2", 0);
    if (v->z < 1 || v->z > ZT_VAE_MAX_Z) {
        zt_error("%s: not a Wan autoencoder", zt_weights_label(r->l.w));
        return -EINVAL;
    }
    const int found = read_statistics(v, config);
    if (found)
        return found < 0 ? found : 0;
    const bool small = v->z == (int)ZT_LEN(mean_21);
    if (!small && v->z != (int)ZT_LEN(mean_22)) {
        zt_error("%s: the statistics of a latent of %d channels are not given in %s", zt_weights_label(r->l.w), v->z,
                 config);
        return -EINVAL;
    }
    memcpy(v->mean, small ? mean_21 : mean_22, (size_t)v->z * sizeof(*v->mean));
    memcpy(v->std, small ? std_21 : std_22, (size_t)v->z * sizeof(*v->std));
    return 0;
}

int zt_vae_open(zt_vae *v, zt_device *d, const char *path, enum zt_type type, unsigned parts)
{
    char config[4096], file[4096];
    zt_weights *w = NULL;
    *v = (zt_vae){ .d = d, .memory = { .d = d }, .type = type };
    reader r = { .v = v };
    int err = zt_model_find_weights(path, config, file, sizeof(file));
    if (!err)
        err = zt_weights_open(&w, file);
    if (err < 0)
        return err;
    zt_loader_init(&r.l, w, &v->memory);
    err = find_latent(&r, config);
    if (!err && parts & ZT_VAE_DECODER)
        err = load_decoder(&r);
    if (!err && parts & ZT_VAE_ENCODER)
        err = load_encoder(&r);
    zt_loader_finish(&r.l);
    zt_weights_close(&w);
    if (err)
        zt_vae_finish(v);
    return err;
}

void zt_vae_finish(zt_vae *v)
{
    zt_memory_finish(&v->memory);
    *v = (zt_vae){ 0 };
}
