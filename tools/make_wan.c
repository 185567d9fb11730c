// SPDX-License-Identifier: Apache-2.0
// Writes a Wan directory of full size with random weights, as its publisher lays it out: for load times, memory and speed.
//
// make_wan [--size 1.3B|14B|5B|small] [--quant f32|bf16] [--seed N] [--text small] OUT
// --text small adds a UMT5 encoder of two narrow layers for 256 tokens, as transformers lays it out.
// Weights are scaled so that every layer keeps the size of its input. They are cut from one pool of normal deviates at random
// places: enough for arithmetic, and a 1.3B is written as fast as the disk takes it.
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/base.h"
#include "diffusion/noise.h"
#include "diffusion/weights.h"

enum { POOL = 1 << 22, TENSORS = 27 * 40 + 15, TEXT = 4096, FREQ = 256 };

static const struct size {
    const char *name;
    int         dim, heads, layers, ffn, channels;
} sizes[] = {
    { "1.3B", 1536, 12, 30, 8960, 16 }, { "14B", 5120, 40, 40, 13824, 16 }, { "5B", 3072, 24, 30, 14336, 48 },
    { "small", 256, 2, 2, 512, 16 },
};

struct list {
    const struct size *size;
    enum zt_type type;
    zt_weight w[TENSORS];
    float     mean[TENSORS], spread[TENSORS];
    char      name[TENSORS][96];
    int       n;
    float    *pool;
    uint64_t  random, seed;
    bool      text;             // an encoder, too
};

static void add(struct list *l, float mean, double spread, int rank, const int64_t *shape, const char *format, int layer,
                const char *part)
{
    zt_weight *const w = &l->w[l->n];
    snprintf(l->name[l->n], sizeof(l->name[0]), format, layer, part);
    *w = (zt_weight){ .name = l->name[l->n], .dtype = l->type == ZT_BF16 ? "BF16" : "F32", .type = l->type, .rank = rank,
                      .elements = 1 };
    for (int i = 0; i < rank; i++) {
        w->shape[i] = shape[i];
        w->elements *= shape[i];
    }
    w->bytes = (size_t)w->elements * zt_type_bytes(l->type);
    l->mean[l->n] = mean;
    l->spread[l->n++] = (float)spread;
}

static void linear(struct list *l, int64_t out, int64_t in, const char *format, int layer)
{
    add(l, 0, sqrt(1.0 / (double)in), 2, (const int64_t[]){ out, in }, format, layer, "weight");
    add(l, 0, 0.02, 1, &out, format, layer, "bias");
}

static void block(struct list *l, int layer)
{
    static const char *const linears[] = {
        "blocks.%d.self_attn.q.%s", "blocks.%d.self_attn.k.%s", "blocks.%d.self_attn.v.%s", "blocks.%d.self_attn.o.%s",
        "blocks.%d.cross_attn.q.%s", "blocks.%d.cross_attn.k.%s", "blocks.%d.cross_attn.v.%s", "blocks.%d.cross_attn.o.%s",
    };
    static const char *const norms[] = {
        "blocks.%d.self_attn.norm_q.%s", "blocks.%d.self_attn.norm_k.%s", "blocks.%d.cross_attn.norm_q.%s",
        "blocks.%d.cross_attn.norm_k.%s", "blocks.%d.norm3.%s",
    };
    const int64_t d = l->size->dim, f = l->size->ffn;
    add(l, 0, 0.3, 3, (const int64_t[]){ 1, 6, d }, "blocks.%d.%s", layer, "modulation");
    for (size_t i = 0; i < ZT_LEN(linears); i++)
        linear(l, d, d, linears[i], layer);
    for (size_t i = 0; i < ZT_LEN(norms); i++)
        add(l, 1, 0.1, 1, &d, norms[i], layer, "weight");
    add(l, 0, 0.1, 1, &d, "blocks.%d.norm3.%s", layer, "bias");
    linear(l, f, d, "blocks.%d.ffn.0.%s", layer);
    linear(l, d, f, "blocks.%d.ffn.2.%s", layer);
}

static void transformer(struct list *l)
{
    const int64_t d = l->size->dim, c = l->size->channels;
    add(l, 0, sqrt(0.25 / (double)c), 5, (const int64_t[]){ d, c, 1, 2, 2 }, "patch_embedding.%.0d%s", 0, "weight");
    add(l, 0, 0.02, 1, &d, "patch_embedding.%.0d%s", 0, "bias");
    linear(l, d, TEXT, "text_embedding.%d.%s", 0);
    linear(l, d, d, "text_embedding.%d.%s", 2);
    linear(l, d, FREQ, "time_embedding.%d.%s", 0);
    linear(l, d, d, "time_embedding.%d.%s", 2);
    linear(l, 6 * d, d, "time_projection.%d.%s", 1);
    add(l, 0, 0.3, 3, (const int64_t[]){ 1, 2, d }, "head.%.0d%s", 0, "modulation");
    linear(l, 4 * c, d, "head.head.%.0d%s", 0);
    for (int i = 0; i < l->size->layers; i++)
        block(l, i);
}

// Of UMT5, as wide as the transformer's text.
static void encoder(struct list *l)
{
    enum { WORDS = 256, HEADS = 4, WIDE = 64, INNER = 96 };
    static const int64_t words[] = { WORDS, TEXT }, in[] = { WIDE, TEXT }, out[] = { TEXT, WIDE }, up[] = { INNER, TEXT };
    static const int64_t down[] = { TEXT, INNER }, position[] = { 32, HEADS }, all[] = { TEXT };
    const char *const block = "encoder.block.%d.layer.";
    char format[128];
    add(l, 0, 1, 2, words, "shared.%.0d%s", 0, "weight");
    add(l, 1, 0.1, 1, all, "encoder.final_layer_norm.%.0d%s", 0, "weight");
    for (int i = 0; i < 2; i++) {
        const struct { const char *name; int rank; const int64_t *shape; double mean, spread; } parts[] = {
            { "0.SelfAttention.q.%s", 2, in, 0, 0.05 }, { "0.SelfAttention.k.%s", 2, in, 0, 0.05 },
            { "0.SelfAttention.v.%s", 2, in, 0, 0.02 }, { "0.SelfAttention.o.%s", 2, out, 0, 0.1 },
            { "0.SelfAttention.relative_attention_bias.%s", 2, position, 0, 0.5 }, { "0.layer_norm.%s", 1, all, 1, 0.1 },
            { "1.DenseReluDense.wi_0.%s", 2, up, 0, 0.02 }, { "1.DenseReluDense.wi_1.%s", 2, up, 0, 0.02 },
            { "1.DenseReluDense.wo.%s", 2, down, 0, 0.1 }, { "1.layer_norm.%s", 1, all, 1, 0.1 },
        };
        for (size_t k = 0; k < ZT_LEN(parts); k++) {
            snprintf(format, sizeof(format), "%s%s", block, parts[k].name);
            add(l, (float)parts[k].mean, parts[k].spread, parts[k].rank, parts[k].shape, format, i, "weight");
        }
    }
}

static int fill(void *cookie, int i, FILE *f)
{
    struct list *const l = cookie;
    float x[4096];
    uint16_t b[4096];
    for (int64_t left = l->w[i].elements; left > 0;) {
        const int n = (int)ZT_MIN((int64_t)ZT_LEN(x), left);
        l->random = l->random * 6364136223846793005u + 1442695040888963407u;
        const float *const from = l->pool + (l->random >> 33) % (POOL - (int)ZT_LEN(x));
        for (int k = 0; k < n; k++) {
            x[k] = l->mean[i] + l->spread[i] * from[k];
            b[k] = zt_f32_to_bf16(x[k]);
        }
        if (l->type == ZT_BF16)
            fwrite(b, 2, (size_t)n, f);
        else
            fwrite(x, 4, (size_t)n, f);
        left -= n;
    }
    return 0;
}

static int write_config(const struct size *s, const char *out)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/config.json", out);
    FILE *const f = fopen(path, "wbe");
    if (!f) {
        fprintf(stderr, "make_wan: %s: %s\n", path, strerror(errno));
        return 73;
    }
    fprintf(f, "{\n  \"_class_name\": \"WanModel\",\n  \"_diffusers_version\": \"0.30.0\",\n  \"dim\": %d,\n  \"eps\": 1e-06,\n"
            "  \"ffn_dim\": %d,\n  \"freq_dim\": %d,\n  \"in_dim\": %d,\n  \"model_type\": \"t2v\",\n  \"num_heads\": %d,\n"
            "  \"num_layers\": %d,\n  \"out_dim\": %d,\n  \"text_len\": 512\n}\n", s->dim, s->ffn, FREQ, s->channels, s->heads,
            s->layers, s->channels);
    return fclose(f) == 0 ? 0 : 73;
}

static int make_text(struct list *l, const char *out)
{
    char path[4096];
    if (!l->text)
        return 0;
    snprintf(path, sizeof(path), "%s/text_encoder", out);
    if (mkdir(path, 0777) < 0 && errno != EEXIST) {
        fprintf(stderr, "make_wan: %s: %s\n", path, strerror(errno));
        return -errno;
    }
    snprintf(path, sizeof(path), "%s/text_encoder/model.safetensors", out);
    l->n = 0;
    encoder(l);
    return zt_weights_write_by(path, l->w, l->n, fill, l);
}

static int usage(void)
{
    fprintf(stderr, "usage: make_wan [--size 1.3B|14B|5B|small] [--quant f32|bf16] [--seed N] [--text small] OUT\n");
    return 64;
}

static int make(struct list *l, const char *out)
{
    char path[4096];
    if (mkdir(out, 0777) < 0 && errno != EEXIST) {
        fprintf(stderr, "make_wan: %s: %s\n", out, strerror(errno));
        return 73;
    }
    zt_noise_fill(l->pool, POOL, l->seed, 0, 0);
    transformer(l);
    snprintf(path, sizeof(path), "%s/diffusion_pytorch_model.safetensors", out);
    const int err = zt_weights_write_by(path, l->w, l->n, fill, l);
    return err < 0 || make_text(l, out) < 0 ? 73 : write_config(l->size, out);
}

int main(int argc, char **argv)
{
    const char *out = NULL, *size = "1.3B", *quant = "f32";
    uint64_t seed = 1;
    bool text = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--size") == 0 && i + 1 < argc)
            size = argv[++i];
        else if (strcmp(argv[i], "--quant") == 0 && i + 1 < argc)
            quant = argv[++i];
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--text") == 0 && i + 1 < argc && strcmp(argv[i + 1], "small") == 0)
            text = ++i;
        else if (argv[i][0] != '-' && !out)
            out = argv[i];
        else
            return usage();
    }
    const bool bf16 = strcmp(quant, "bf16") == 0;
    const struct size *s = NULL;
    for (size_t i = 0; i < ZT_LEN(sizes); i++)
        s = strcmp(sizes[i].name, size) == 0 ? &sizes[i] : s;
    if (!out || !s || (!bf16 && strcmp(quant, "f32") != 0))
        return usage();
    struct list *const l = calloc(1, sizeof(*l));
    float *const pool = malloc(POOL * sizeof(*pool));
    int code = 69;
    if (l && pool) {
        l->size = s;
        l->seed = seed;
        l->text = text;
        l->type = bf16 ? ZT_BF16 : ZT_F32;
        l->pool = pool;
        code = make(l, out);
    }
    free(pool);
    free(l);
    return code;
}
