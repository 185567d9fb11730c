// SPDX-License-Identifier: Apache-2.0
// Writes a model directory with random weights, of any shape: for tests, benchmarks and planning.
//
// make_model [--dim N] [--heads N] [--layers N] [--experts N] [--inter N] [--ffn N] [--quant int8|bf16|f32] [--kv float|int8]
//            [--size WxH] [--window N] [--sink N] [--chunk N] [--recache N] [--ground 0|1] [--blocks plain,mla,mamba2]
//            [--sampler euler|renoise] [--words FILE] [--seed N] OUT
// --chunk of more than one frame leaves out the previous latents, as the Wan family does.
// Weights are scaled so that every layer keeps the size of its input; --ffn gives the dense feed-forward instead of
// experts.
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/base.h"
#include "diffusion/ground.h"
#include "diffusion/noise.h"
#include "diffusion/quantize.h"
#include "diffusion/weights.h"

enum { CHANNELS = 16, PREVIOUS = 2, CONTROLS = 4, TEXT = 128, TOKENS = 16, FREQ = 256 };
enum { CODE = 11, SHAPE = 24, HIDDEN = 20, FEATURES = 18, READ = 256 };     // of what sees the ground

struct shape {
    int dim, heads, layers, experts, inter, ffn, w, h, window, sink, chunk, recache, ground;
    unsigned long long seed;
    enum zt_type type;          // of the matrices: ZT_F32, ZT_BF16, ZT_I8
    const char *sampler, *kv, *words, *blocks, *out;
};

struct list {
    zt_weight *w;
    int        n, room;
    uint64_t   seed, drawn;     // tensors drawn so far: the same weights at every precision
};

// The words of a model that nobody trained.
static const char *const some_words =
    "\"tokens\": [\"\", \"mountains\", \"desert\", \"islands\", \"canyon\", \"volcano\", \"tundra\", \"hills\", "
    "\"forest\", \"day\", \"sunset\", \"night\", \"dawn\", \"clear\", \"fog\", \"snow\"], "
    "\"groups\": {\"place\": [1, 8], \"time\": [9, 12], \"weather\": [13, 15]}, "
    "\"words\": {\"mountains\": 1, \"mountain\": 1, \"desert\": 2, \"dunes\": 2, \"islands\": 3, \"sea\": 3, "
    "\"canyon\": 4, \"volcano\": 5, \"lava\": 5, \"tundra\": 6, \"hills\": 7, \"forest\": 8, \"day\": 9, \"noon\": 9, "
    "\"sunset\": 10, \"night\": 11, \"dawn\": 12, \"clear\": 13, \"fog\": 14, \"mist\": 14, \"snow\": 15}";

static void *must(void *p)
{
    if (!p) {
        fprintf(stderr, "make_model: not enough memory\n");
        exit(69);
    }
    return p;
}

static zt_weight *append(struct list *l, const char *name, const char *dtype, size_t element, int rank,
                         const int64_t *shape)
{
    if (l->n == l->room) {
        l->room = l->room ? 2 * l->room : 1024;
        l->w = must(realloc(l->w, (size_t)l->room * sizeof(*l->w)));
    }
    zt_weight *const w = &l->w[l->n++];
    *w = (zt_weight){ .name = must(strdup(name)), .dtype = dtype, .rank = rank, .elements = 1 };
    for (int i = 0; i < rank; i++) {
        w->shape[i] = shape[i];
        w->elements *= shape[i];
    }
    w->bytes = (size_t)w->elements * element;
    w->data = must(malloc(w->bytes));
    return w;
}

// mean + spread * normal deviates, stored as `type`; I8 with a scale tensor beside it.
static void add(struct list *l, enum zt_type type, double mean, double spread, int rank, const int64_t *shape,
                const char *format, ...) ZT_PRINTF(7, 8);
static void add(struct list *l, enum zt_type type, double mean, double spread, int rank, const int64_t *shape,
                const char *format, ...)
{
    char name[128], scale_name[160];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof(name), format, args);
    va_end(args);

    const char *const dtype = type == ZT_I8 ? "I8" : type == ZT_BF16 ? "BF16" : "F32";
    const zt_weight *const w = append(l, name, dtype, zt_type_bytes(type), rank, shape);
    const int64_t rows = shape[0], n = w->elements / rows;
    void *const data = (void *)w->data;
    float *const x = must(malloc((size_t)w->elements * sizeof(*x)));
    zt_noise_fill(x, (size_t)w->elements, l->seed, l->drawn++, 0);
    for (int64_t i = 0; i < n * rows; i++)
        x[i] = (float)(mean + spread * x[i]);
    for (int64_t i = 0; i < n * rows && type == ZT_BF16; i++)
        ((uint16_t *)data)[i] = zt_f32_to_bf16(x[i]);
    if (type == ZT_F32)
        memcpy(data, x, w->bytes);
    if (type == ZT_I8) {
        snprintf(scale_name, sizeof(scale_name), "%s_scale", name);
        float *const scale = (float *)append(l, scale_name, "F32", sizeof(float), 1, (const int64_t[]){ rows })->data;
        for (int64_t r = 0; r < rows; r++)
            scale[r] = zt_quantize_row(x + r * n, n, (int8_t *)data + r * n);
    }
    free(x);
}

static void matrix(struct list *l, enum zt_type type, int64_t out, int64_t in, const char *name, const char *part)
{
    add(l, type, 0, sqrt(1.0 / (double)in), 2, (const int64_t[]){ out, in }, "%s%s.weight", name, part);
}

static void linear(struct list *l, enum zt_type type, int64_t out, int64_t in, const char *name, const char *part)
{
    matrix(l, type, out, in, name, part);
    add(l, ZT_F32, 0, 0.02, 1, (const int64_t[]){ out }, "%s%s.bias", name, part);
}

static void expert(struct list *l, const struct shape *s, int64_t inter, const char *name)
{
    matrix(l, s->type, inter, s->dim, name, ".w1");
    matrix(l, s->type, inter, s->dim, name, ".w3");
    matrix(l, s->type, s->dim, inter, name, ".w2");
}

// Sizes of the blocks that compress the past.
enum { Q_LATENT = 24, LATENT = 32, NOPE = 16, ROPE = 12, VALUE = 16, STATE = 16, STATE_HEAD = 16, TAPS = 4 };

// Type of a block: 'a' (mamba2), 'l' (mla) or 'p', by the second or third letter of its name in the list.
static char type_of(const struct shape *s, int layer)
{
    const char *at = s->blocks;
    for (int i = 0; at && i < layer; i++) {
        at = strchr(at, ',');
        at = at ? at + 1 : s->blocks;
    }
    return !at || strncmp(at, "plain", 5) == 0 ? 'p' : strncmp(at, "mla", 3) == 0 ? 'l' : 'a';
}

static void mla(struct list *l, const struct shape *s, const char *name)
{
    const int64_t d = s->dim, H = s->heads, q = Q_LATENT, c = LATENT;
    matrix(l, s->type, q, d, name, "wq_a");
    add(l, ZT_F32, 1, 0.1, 1, &q, "%sq_norm.weight", name);
    matrix(l, s->type, H * (NOPE + ROPE), q, name, "wq_b");
    matrix(l, s->type, LATENT + ROPE, d, name, "wkv_a");
    add(l, ZT_F32, 1, 0.1, 1, &c, "%skv_norm.weight", name);
    matrix(l, s->type, H * (NOPE + VALUE), c, name, "wkv_b");
    matrix(l, s->type, d, H * VALUE, name, "wo");
}

static void mamba(struct list *l, const struct shape *s, const char *name)
{
    const int64_t d = s->dim, inner = 2 * d, heads = inner / STATE_HEAD, channels = inner + 2 * STATE;
    matrix(l, s->type, inner + channels + heads, d, name, "in_proj");
    add(l, ZT_F32, 0, 0.5, 3, (const int64_t[]){ channels, 1, TAPS }, "%sconv1d.weight", name);
    add(l, ZT_F32, 0, 0.1, 1, &channels, "%sconv1d.bias", name);
    add(l, ZT_F32, -1, 0.5, 1, &heads, "%sdt_bias", name);
    add(l, ZT_F32, 0, 0.5, 1, &heads, "%sA_log", name);
    add(l, ZT_F32, 1, 0.1, 1, &heads, "%sD", name);
    add(l, ZT_F32, 1, 0.1, 1, &inner, "%snorm.weight", name);
    matrix(l, s->type, d, inner, name, "out_proj");
}

static void block(struct list *l, const struct shape *s, int layer)
{
    static const char *const attention[] = { "self_attn", "cross_attn" };
    const char type = type_of(s, layer);
    char name[64];
    const int64_t d = s->dim;
    add(l, ZT_F32, 0, 0.3, 3, (const int64_t[]){ 1, 6, d }, "blocks.%d.modulation", layer);
    add(l, ZT_F32, 1, 0.1, 1, &d, "blocks.%d.norm3.weight", layer);
    add(l, ZT_F32, 0, 0.1, 1, &d, "blocks.%d.norm3.bias", layer);
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof(name), "blocks.%d.%s.", layer, attention[i]);
        if (i == 0 && type != 'p') {
            (type == 'l' ? mla : mamba)(l, s, name);
            continue;
        }
        for (const char *part = "qkvo"; *part; part++)
            linear(l, s->type, d, d, name, (const char[]){ *part, 0 });
        add(l, ZT_F32, 1, 0.1, 1, &d, "%snorm_q.weight", name);
        add(l, ZT_F32, 1, 0.1, 1, &d, "%snorm_k.weight", name);
    }
    snprintf(name, sizeof(name), "blocks.%d.ffn", layer);
    if (!s->experts) {
        linear(l, s->type, s->ffn, d, name, ".0");
        linear(l, s->type, d, s->ffn, name, ".2");
        return;
    }
    matrix(l, ZT_F32, s->experts, d, name, ".gate");
    add(l, ZT_F32, 0, 0.02, 1, (const int64_t[]){ s->experts }, "%s.gate.bias", name);
    for (int i = 0; i < s->experts; i++) {
        snprintf(name, sizeof(name), "blocks.%d.ffn.experts.%d", layer, i);
        expert(l, s, s->inter, name);
    }
    snprintf(name, sizeof(name), "blocks.%d.ffn.shared_experts", layer);
    expert(l, s, s->inter, name);
}

static void mlp(struct list *l, int64_t in, int64_t d, const char *name)
{
    linear(l, ZT_F32, d, in, name, ".0");
    linear(l, ZT_F32, d, d, name, ".2");
}

static int previous(const struct shape *s)
{
    return s->chunk > 1 ? 0 : PREVIOUS;
}

static int in_dim(const struct shape *s)
{
    return (1 + previous(s) + (s->ground ? 1 : 0)) * CHANNELS + previous(s);
}

// Of the network that sees the ground's noise (diffusion/dit_ground.c).
static void ground(struct list *l, int64_t d)
{
    const int64_t seen = ZT_GROUND_NOISES, more = 7, more_of_ray = 7;
    linear(l, ZT_F32, CODE, d, "ground.code", "");
    linear(l, ZT_F32, CODE, d, "ground.mood", "");
    linear(l, ZT_F32, SHAPE, seen + CODE, "ground.shape", ".0");
    linear(l, ZT_F32, SHAPE, SHAPE, "ground.shape", ".2");
    linear(l, ZT_F32, 1, SHAPE, "ground.shape", ".4");
    linear(l, ZT_F32, HIDDEN, seen + CODE + more, "ground.surface", ".0");
    linear(l, ZT_F32, HIDDEN, HIDDEN, "ground.surface", ".2");
    linear(l, ZT_F32, FEATURES, HIDDEN, "ground.surface", ".4");
    linear(l, ZT_F32, HIDDEN, FEATURES + more_of_ray + CODE, "ground.look", ".0");
    linear(l, ZT_F32, HIDDEN, HIDDEN, "ground.look", ".2");
    linear(l, ZT_F32, d, 4 * HIDDEN, "ground.token", "");
    add(l, ZT_F32, 1.5, 0, 1, (const int64_t[]){ 1 }, "ground.sharp");
    add(l, ZT_F32, 1, 0.1, 1, &d, "ground.read.0.weight");
    add(l, ZT_F32, 0, 0.1, 1, &d, "ground.read.0.bias");
    linear(l, ZT_F32, READ, d, "ground.read", ".1");
    linear(l, ZT_F32, 4 * CHANNELS, READ, "ground.read", ".3");
}

static void transformer(struct list *l, const struct shape *s)
{
    const int64_t d = s->dim, in = in_dim(s);
    add(l, ZT_F32, 0, sqrt(0.25 / (double)in), 5, (const int64_t[]){ d, in, 1, 2, 2 }, "patch_embedding.weight");
    add(l, ZT_F32, 0, 0.02, 1, &d, "patch_embedding.bias");
    mlp(l, FREQ, d, "time_embedding");
    mlp(l, FREQ, d, "step_embedding");
    mlp(l, CONTROLS, d, "control_embedding");
    linear(l, ZT_F32, 6 * d, d, "time_projection", ".1");
    add(l, ZT_F32, 0, 1, 2, (const int64_t[]){ TOKENS, TEXT }, "words.embedding.weight");
    linear(l, ZT_F32, TEXT, TEXT, "words", ".mix");
    mlp(l, TEXT, d, "text_embedding");
    add(l, ZT_F32, 0, 0.3, 3, (const int64_t[]){ 1, 2, d }, "head.modulation");
    linear(l, ZT_F32, 4 * (CHANNELS + (s->ground ? 3 : 0)), d, "head", ".head");
    for (int i = 0; i < s->layers; i++)
        block(l, s, i);
    if (s->ground)
        ground(l, d);
}

static void conv(struct list *l, int64_t out, int64_t in, const char *name)
{
    add(l, ZT_F32, 0, sqrt(1.0 / (9 * (double)in)), 4, (const int64_t[]){ out, in, 3, 3 }, "decoder.%s.weight", name);
    add(l, ZT_F32, 0, 0.02, 1, &out, "decoder.%s.bias", name);
}

static void decoder(struct list *l)
{
    static const int C[] = { 64, 48, 32 };
    conv(l, C[0], CHANNELS, "in");
    for (int i = 0; i < 2; i++) {
        char name[32];
        for (int j = 1; j <= 3; j++) {
            snprintf(name, sizeof(name), "mem%d.conv%d", i, j);
            conv(l, C[i], j == 1 ? 2 * C[i] : C[i], name);
        }
        snprintf(name, sizeof(name), "up%d", i + 1);
        conv(l, C[i + 1], C[i], name);
    }
    conv(l, C[2], C[2], "res2.conv1");
    conv(l, C[2], C[2], "res2.conv2");
    conv(l, 12, C[2], "out");
}

// The members of the words file, without its braces; some_words without a file.
static char *read_words(const char *path)
{
    if (!path)
        return must(strdup(some_words));
    FILE *const f = fopen(path, "rbe");
    char *const text = must(calloc(1, 1 << 20));
    const size_t n = f ? fread(text, 1, (1 << 20) - 1, f) : 0;
    if (f)
        fclose(f);
    char *const open = strchr(text, '{'), *const close = strrchr(text, '}');
    if (n == 0 || !open || !close || close < open) {
        fprintf(stderr, "make_model: %s: not a words file\n", path);
        exit(66);
    }
    *close = 0;
    memmove(text, open + 1, strlen(open + 1) + 1);
    return text;
}

static int write_config(const struct shape *s)
{
    char path[4096], *const words = read_words(s->words);
    snprintf(path, sizeof(path), "%s/config.json", s->out);
    FILE *const f = fopen(path, "wbe");
    if (!f) {
        fprintf(stderr, "make_model: %s: %s\n", path, strerror(errno));
        free(words);
        return 73;
    }
    fprintf(f, "{\n  \"_class_name\": \"ZoetropeModel\", \"version\": 1, \"name\": \"random\",\n"
            "  \"dim\": %d, \"num_heads\": %d, \"num_layers\": %d, \"eps\": 1e-6, \"freq_dim\": %d,\n"
            "  \"in_dim\": %d, \"out_dim\": %d, \"previous_frames\": %d,\n", s->dim, s->heads, s->layers, FREQ,
            in_dim(s), CHANNELS, previous(s));
    if (s->experts)
        fprintf(f, "  \"n_routed_experts\": %d, \"n_activated_experts\": %d, \"n_shared_experts\": 1, "
                "\"moe_inter_dim\": %d,\n  \"score_func\": \"sigmoid\", \"route_scale\": 1.0,\n",
                s->experts, ZT_MIN(2, s->experts), s->inter);
    else
        fprintf(f, "  \"ffn_dim\": %d,\n", s->ffn);
    for (const char *at = s->blocks; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        fprintf(f, "%s\"%.*s\"", at == s->blocks ? "  \"block_types\": [" : ", ", (int)strcspn(at, ","), at);
    if (s->blocks)
        fprintf(f, "], \"q_lora_rank\": %d, \"kv_lora_rank\": %d, \"qk_nope_head_dim\": %d, \"qk_rope_head_dim\": %d,\n"
                "  \"v_head_dim\": %d, \"d_state\": %d, \"headdim\": %d, \"d_conv\": %d, \"expand\": 2,\n",
                Q_LATENT, LATENT, NOPE, ROPE, VALUE, STATE, STATE_HEAD, TAPS);
    fprintf(f, "  \"chunk_frames\": %d, \"window_frames\": %d, \"sink_frames\": %d, \"recache_frames\": %d,\n"
            "  \"controls\": [\"yaw\", \"pitch\", \"speed\", \"climb\"],\n"
            "  \"kv\": \"%s\", \"sampler\": \"%s\", \"shift\": 3.0, \"step_embed\": true, \"first_frame_steps\": 4, \"steps\": 2,\n"
            "  \"width\": %d, \"height\": %d, \"fps\": 24, \"rope_grid\": [9, 16],\n",
            s->chunk, s->window, s->sink, s->recache, s->kv, s->sampler, s->w, s->h);
    if (s->ground)
        fprintf(f, "  \"residual\": true, \"warp\": true,\n"
                "  \"ground\": {\"code\": %d, \"shape\": %d, \"hidden\": %d, \"features\": %d, \"depths\": %d},\n",
                CODE, SHAPE, HIDDEN, FEATURES, ZT_GROUND_FINE);
    fprintf(f, "  \"text\": {\"encoder\": \"words\", \"text_dim\": %d, \"max_tokens\": 16, "
            "\"default_prompt\": \"mountains at sunset\",\n    %s},\n"
            "  \"decoder\": {\"type\": \"tiny\", \"channels\": [64, 48, 32]},\n"
            "  \"weights\": \"random.safetensors\"\n}\n", TEXT, words);
    free(words);
    return fclose(f) == 0 ? 0 : 73;
}

static int usage(void)
{
    fprintf(stderr, "usage: make_model [--dim N] [--heads N] [--layers N] [--experts N] [--inter N] [--ffn N]\n"
                    "       [--quant int8|bf16|f32] [--kv float|int8] [--size WxH] [--window N] [--sink N] [--chunk N]\n"
                    "       [--recache N] [--ground 0|1] [--sampler euler|renoise] [--words FILE] [--seed N] OUT\n");
    return 64;
}

static int refuse(const char *why)
{
    fprintf(stderr, "make_model: %s\n", why);
    return 64;
}

static bool set_number(struct shape *s, const char *flag, const char *value)
{
    const struct {
        const char *flag;
        int        *to;
    } list[] = { { "--dim", &s->dim }, { "--heads", &s->heads }, { "--layers", &s->layers },
                 { "--experts", &s->experts }, { "--inter", &s->inter }, { "--ffn", &s->ffn },
                 { "--window", &s->window }, { "--sink", &s->sink }, { "--chunk", &s->chunk }, { "--recache", &s->recache },
                 { "--ground", &s->ground } };
    for (size_t i = 0; i < ZT_LEN(list); i++) {
        if (strcmp(flag, list[i].flag) == 0) {
            char end;
            if (sscanf(value, "%d%c", list[i].to, &end) != 1)
                *list[i].to = -1;               // refused by check()
            return true;
        }
    }
    return false;
}

static bool set_type(struct shape *s, const char *name)
{
    static const char *const names[] = { "f32", "bf16", "int8" };
    static const enum zt_type types[] = { ZT_F32, ZT_BF16, ZT_I8 };
    for (size_t i = 0; i < ZT_LEN(names); i++) {
        if (strcmp(names[i], name) == 0) {
            s->type = types[i];
            return true;
        }
    }
    return false;
}

static int check(const struct shape *s)
{
    if (s->dim < 2 || s->heads < 1 || s->dim % s->heads || s->dim / s->heads % 2)
        return refuse("--dim does not split into --heads of even width");
    if (s->layers < 1 || s->inter < 1 || s->ffn < 0 || s->experts < 0 || (!s->ffn && !s->experts))
        return refuse("--layers, --inter and one of --experts and --ffn must be positive numbers");
    if (s->w < 16 || s->h < 16 || s->w > 4096 || s->h > 4096 || s->w % 16 || s->h % 16)
        return refuse("--size must be multiples of 16 up to 4096");
    if (s->chunk < 1 || s->sink < 0 || s->window < s->sink + s->chunk)
        return refuse("--window has no room for the sink and one chunk");
    if (s->recache < 0 || s->recache > ZT_MIN(21, s->window))
        return refuse("--recache is at most 21 and the window");
    if (s->ground < 0 || s->ground > 1 || (s->ground && (s->chunk > 1 || s->recache)))
        return refuse("--ground is 0 or 1, and 0 with --chunk and --recache");
    if (strcmp(s->kv, "float") != 0 && strcmp(s->kv, "int8") != 0)
        return refuse("--kv is float or int8");
    if (strcmp(s->sampler, "euler") != 0 && strcmp(s->sampler, "renoise") != 0)
        return refuse("--sampler is euler or renoise");
    return 0;
}

static int parse(struct shape *s, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *const a = argv[i], *const value = i + 1 < argc ? argv[i + 1] : NULL;
        if (a[0] != '-') {
            s->out = a;
            continue;
        }
        if (!value)
            return usage();
        if (strcmp(a, "--quant") == 0 && !set_type(s, value))
            return refuse("--quant is int8, bf16 or f32");
        if (strcmp(a, "--sampler") == 0)
            s->sampler = value;
        else if (strcmp(a, "--blocks") == 0)
            s->blocks = value;
        else if (strcmp(a, "--words") == 0)
            s->words = value;
        else if (strcmp(a, "--kv") == 0)
            s->kv = value;
        else if (strcmp(a, "--seed") == 0)
            s->seed = strtoull(value, NULL, 10);
        else if (strcmp(a, "--size") == 0)
            s->w = sscanf(value, "%dx%d", &s->w, &s->h) == 2 ? s->w : -1;
        else if (strcmp(a, "--quant") != 0 && !set_number(s, a, value))
            return usage();
        i++;
    }
    if (s->ffn)
        s->experts = 0;
    return s->out ? check(s) : usage();
}

int main(int argc, char **argv)
{
    struct shape s = { .dim = 256, .heads = 4, .layers = 8, .experts = 8, .inter = 224, .w = 256, .h = 144, .window = 8, .chunk = 1,
                       .type = ZT_I8, .sampler = "euler", .kv = "float", .seed = 1 };
    int err = parse(&s, argc, argv);
    if (err)
        return err;
    if (mkdir(s.out, 0777) < 0 && errno != EEXIST) {
        fprintf(stderr, "make_model: %s: %s\n", s.out, strerror(errno));
        return 73;
    }
    struct list l = { .seed = s.seed };
    char path[4096];
    transformer(&l, &s);
    decoder(&l);
    snprintf(path, sizeof(path), "%s/random.safetensors", s.out);
    err = zt_weights_write(path, l.w, l.n) < 0 ? 73 : write_config(&s);
    for (int i = 0; i < l.n; i++) {
        free((void *)l.w[i].name);
        free((void *)l.w[i].data);
    }
    free(l.w);
    return err;
}
