// SPDX-License-Identifier: Apache-2.0
// Latents to frames.
//
// A 1x1 convolution makes one or two frames of each, nearest doubling follows, then a 3x3 convolution; none of them has a
// bias, so the first is folded into the last when the weights are loaded. Frames go depth first, so a memory block needs
// the frame before and nothing else; 33.5 M values are kept at 832x480.
#include "diffusion/decoder_taehv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"
#include "base/log.h"
#include "diffusion/decoder.h"
#include "diffusion/internal.h"

static const int grows[ZT_TAEHV_LEVELS] = { 1, 2, 2 };

// Channels of decoder.NAME.weight along an axis; 0 when it is not a convolution.
static int channels_of(const zt_loader *l, const char *name, int axis)
{
    char text[64];
    snprintf(text, sizeof(text), "decoder.%s.weight", name);
    const zt_weight *const w = zt_weights_find(l->w, text);
    return w && w->rank == 4 && w->shape[axis] >= 1 && w->shape[axis] <= 4096 ? (int)w->shape[axis] : 0;
}

static int load_memory(zt_loader *l, zt_taehv *k, int level)
{
    int err = 0;
    for (int j = 0; j < 3 && !err; j++) {
        for (int i = 0; i < 3 && !err; i++) {
            char name[64];
            const int C = k->channels[level];
            snprintf(name, sizeof(name), "decoder.%d.conv.%d", 3 + 6 * level + j, 2 * i);
            err = zt_load_conv(l, &k->mem[level][j][i], k->type, C, i ? C : 2 * C, name);
            k->mem[level][j][i].act = ZT_ACT_RELU;
        }
    }
    return err;
}

// up[j] = conv after rows j C .. of grow: [N][C][3][3] times [C][C], one output row at a time.
static int fold(zt_loader *l, zt_taehv *k, int level, const zt_weight *grow, const zt_weight *conv)
{
    const int C = k->channels[level], N = k->channels[level + 1], G = grows[level], K = 9 * C;
    float *const g = malloc(((size_t)G * (size_t)(C * C) + 2 * (size_t)K) * sizeof(*g));
    if (!g)
        return -ENOMEM;
    float *const row = g + G * C * C, *const to = row + K;
    int err = 0;
    zt_weight_read(grow, grow->elements - (int64_t)G * C * C, (int64_t)G * C * C, g);
    for (int j = 0; j < G && !err; j++) {
        zt_conv *const up = &k->up[level][j];
        up->up = true;
        err = zt_load_empty_conv(l, up, k->type, N, C);
        up->act = level == ZT_TAEHV_LEVELS - 1 ? ZT_ACT_RELU : ZT_ACT_NONE;
        for (int n = 0; n < N && !err; n++) {
            zt_weight_read(conv, (int64_t)n * K, K, row);               // [middle][tap]
            for (int tap = 0; tap < 9; tap++) {
                for (int c = 0; c < C; c++) {
                    double sum = 0;
                    for (int m = 0; m < C; m++)
                        sum += (double)row[m * 9 + tap] * g[(j * C + m) * C + c];
                    to[tap * C + c] = (float)sum;
                }
            }
            zt_load_conv_row(l, up, n, to);
        }
        if (!err)
            err = zt_load_settle_conv(l, up);
    }
    free(g);
    return err;
}

static int load_up(zt_loader *l, zt_taehv *k, int level)
{
    const zt_weight *grow, *conv;
    char name[2][64];
    const int C = k->channels[level];
    snprintf(name[0], sizeof(name[0]), "decoder.%d.conv.weight", 7 + 6 * level);
    snprintf(name[1], sizeof(name[1]), "decoder.%d.weight", 8 + 6 * level);
    const zt_weight *const found = zt_weights_find(l->w, name[0]);
    const int64_t rows = found && found->rank == 4 ? ZT_MAX(found->shape[0], grows[level] * C) : grows[level] * C;
    int err = zt_load_find(l, &grow, name[0], 4, (const int64_t[]){ rows, C, 1, 1 });
    if (!err)
        err = zt_load_find(l, &conv, name[1], 4, (const int64_t[]){ k->channels[level + 1], C, 3, 3 });
    return err ? err : fold(l, k, level, grow, conv);
}

static int load(zt_loader *l, zt_taehv *k)
{
    k->z = channels_of(l, "1", 1);
    k->channels[0] = channels_of(l, "1", 0);
    for (int i = 0; i < ZT_TAEHV_LEVELS; i++) {
        char name[16];
        snprintf(name, sizeof(name), "%d", 8 + 6 * i);
        k->channels[i + 1] = channels_of(l, name, 0);
    }
    const int colours = channels_of(l, "22", 0);
    k->patch = colours == 12 ? 2 : 1;
    if (!k->z || !k->channels[0] || !k->channels[1] || !k->channels[2] || !k->channels[3]
        || (colours != 3 && colours != 12)) {
        zt_error("%s: not a TAEHV decoder", zt_weights_label(l->w));
        return -EINVAL;
    }
    int err = zt_load_conv(l, &k->in, k->type, k->channels[0], k->z, "decoder.1");
    k->in.act = ZT_ACT_RELU;
    for (int i = 0; i < ZT_TAEHV_LEVELS && !err; i++) {
        err = load_memory(l, k, i);
        if (!err)
            err = load_up(l, k, i);
    }
    return err ? err : zt_load_conv(l, &k->out, k->type, colours, k->channels[ZT_TAEHV_LEVELS], "decoder.22");
}

int zt_taehv_open(zt_taehv *k, zt_device *d, const char *path, enum zt_type type)
{
    char config[4096], file[4096];
    zt_weights *w = NULL;
    zt_loader l;
    *k = (zt_taehv){ .d = d, .memory = { .d = d }, .type = type };
    int err = zt_model_find_weights(path, config, file, sizeof(file));
    if (!err)
        err = zt_weights_open(&w, file);
    if (err < 0)
        return err;
    zt_loader_init(&l, w, &k->memory);
    err = load(&l, k);
    zt_loader_finish(&l);
    zt_weights_close(&w);
    if (err)
        zt_taehv_finish(k);
    return err;
}

void zt_taehv_finish(zt_taehv *k)
{
    zt_memory_finish(&k->memory);
    *k = (zt_taehv){ 0 };
}

static size_t level_bytes(const zt_taehv *k, int level, int h, int w)
{
    const size_t n = (size_t)(((int64_t)h * w) << 2 * level) * (size_t)ZT_MAX(k->channels[level], k->z);
    return (size_t)zt_round_up((int64_t)(n * zt_type_bytes(k->type)), 64);
}

// Places everything after base; returns the bytes in all.
static size_t place(zt_taehv_state *s, const zt_taehv *k, char *base, int h, int w)
{
    size_t at = 0, widest = 0;
    for (int i = 0; i <= ZT_TAEHV_LEVELS; i++) {
        const size_t bytes = level_bytes(k, i, h, w);
        for (int j = 0; j < 3 && i < ZT_TAEHV_LEVELS; j++) {
            s->now[i][j] = base + at;
            s->before[i][j] = base + at + bytes;
            at += 2 * bytes;
            widest = ZT_MAX(widest, bytes);
        }
        s->x[i] = base + at;
        at += bytes;
    }
    s->work[0] = base + at;
    s->work[1] = base + at + widest;
    return at + 2 * widest;
}

static size_t pixel_bytes(const zt_taehv *k, int h, int w)
{
    return (size_t)(((int64_t)h * w) << 6) * 3 * (size_t)(k->patch * k->patch) * sizeof(float);
}

int64_t zt_taehv_state_bytes(const zt_taehv *k, int h, int w)
{
    zt_taehv_state s;
    return (int64_t)(place(&s, k, NULL, h, w) + pixel_bytes(k, h, w));
}

int zt_taehv_state_init(zt_taehv_state *s, zt_taehv *k, int h, int w)
{
    *s = (zt_taehv_state){ .k = k, .h = h, .w = w, .bytes = zt_taehv_state_bytes(k, h, w) };
    s->memory = zt_device_alloc(k->d, (size_t)s->bytes - pixel_bytes(k, h, w));
    s->pixels = zt_device_alloc_host(k->d, pixel_bytes(k, h, w));
    if (!s->memory || !s->pixels)
        return -ENOMEM;
    place(s, k, s->memory, h, w);
    return 0;
}

void zt_taehv_state_finish(zt_taehv_state *s)
{
    if (s->k) {
        zt_device_free(s->k->d, s->memory);
        zt_device_free_host(s->k->d, s->pixels);
    }
    *s = (zt_taehv_state){ 0 };
}

// x = ReLU(conv4(ReLU(conv2(ReLU(conv0([x, the one before]))))) + x), three times; the last result is s->x[level].
static void memory_blocks(zt_taehv_state *s, int level)
{
    const zt_taehv *const k = s->k;
    const zt_tensor none = { 0 };
    zt_tensor t = zt_tensor_4d(NULL, k->type, 1, s->h << level, s->w << level, k->channels[level]);
    for (int j = 0; j < 3; j++) {
        zt_tensor now = t, before = t, a = t, b = t, to = t;
        now.data = s->now[level][j];
        before.data = s->before[level][j];
        a.data = s->work[0];
        b.data = s->work[1];
        to.data = j < 2 ? s->now[level][j + 1] : s->x[level];
        k->d->k.conv(k->d, a, now, before, none, &k->mem[level][j][0]);
        k->d->k.conv(k->d, b, a, none, none, &k->mem[level][j][1]);
        k->d->k.conv(k->d, to, b, none, now, &k->mem[level][j][2]);
        s->before[level][j] = now.data;
        s->now[level][j] = before.data;
    }
}

// The last level's frame to pixels.
static void emit(zt_taehv_state *s)
{
    const zt_taehv *const k = s->k;
    const zt_tensor none = { 0 };
    const int h = s->h << ZT_TAEHV_LEVELS, w = s->w << ZT_TAEHV_LEVELS, p = k->patch, N = 3 * p * p;
    if (s->skip > 0) {
        s->skip--;
        return;
    }
    k->d->k.conv(k->d, zt_tensor_4d(s->pixels, ZT_F32, 1, h, w, N),
                 zt_tensor_4d(s->x[ZT_TAEHV_LEVELS], k->type, 1, h, w, k->channels[ZT_TAEHV_LEVELS]), none, none, &k->out);
    zt_device_wait(k->d);
    for (int c = 0; c < 3; c++) {
        for (int y = 0; y < h * p; y++) {
            const float *const from = s->pixels + (int64_t)(y / p) * w * N + c * p * p + y % p * p;
            for (int x = 0; x < w * p; x++)
                *s->to++ = from[x / p * N + x % p];
        }
    }
    s->made++;
}

static void run_level(zt_taehv_state *s, int level)
{
    const zt_taehv *const k = s->k;
    const zt_tensor none = { 0 };
    if (level == ZT_TAEHV_LEVELS) {
        emit(s);
        return;
    }
    memory_blocks(s, level);
    const zt_tensor x = zt_tensor_4d(s->x[level], k->type, 1, s->h << level, s->w << level, k->channels[level]);
    for (int j = 0; j < grows[level]; j++) {
        void *const to = level + 1 < ZT_TAEHV_LEVELS ? s->now[level + 1][0] : s->x[level + 1];
        k->d->k.conv(k->d, zt_tensor_4d(to, k->type, 1, 2 * x.n[1], 2 * x.n[2], k->channels[level + 1]), x, none, none,
                     &k->up[level][j]);
        run_level(s, level + 1);
    }
}

int zt_taehv_decode(zt_taehv_state *s, const float *z, float *frames)
{
    const zt_taehv *const k = s->k;
    const zt_tensor none = { 0 }, in = zt_tensor_4d(s->work[0], k->type, 1, s->h, s->w, k->z);
    k->d->k.latents_in(k->d, in, zt_tensor_4d((void *)z, ZT_F32, 1, k->z, s->h, s->w), 3);
    k->d->k.conv(k->d, zt_tensor_4d(s->now[0][0], k->type, 1, s->h, s->w, k->channels[0]), in, none, none, &k->in);
    s->skip = s->latents == 0 && !s->all ? 3 : 0;
    s->made = 0;
    s->to = frames;
    s->latents++;
    run_level(s, 0);
    return s->made;
}

static int open_taehv(zt_decoder *k, const zt_decoder_source *s)
{
    zt_taehv *const t = calloc(1, sizeof(*t));
    if (!t)
        return -ENOMEM;
    if (!s->path) {
        zt_error("the configuration asks for the decoder \"taehv\", but its file is not there");
        free(t);
        return -ENOENT;
    }
    const int err = zt_taehv_open(t, s->d, s->path, s->type);
    k->self = t;
    k->channels = t->z;
    k->scale = 8 * t->patch;
    k->first = 1;
    k->next = 4;
    k->bytes = t->memory.bytes;
    k->files = t->memory.files;
    return err;
}

static void close_taehv(zt_decoder *k)
{
    zt_taehv_finish(k->self);
    free(k->self);
}

static int64_t bytes_of_stream(const zt_decoder *k, int h, int w)
{
    return zt_taehv_state_bytes(k->self, h, w);
}

static int open_stream(zt_decoder *k, void **state, int h, int w)
{
    zt_taehv_state *const s = calloc(1, sizeof(*s));
    const int err = s ? zt_taehv_state_init(s, k->self, h, w) : -ENOMEM;
    *state = s;
    return err;
}

static void close_stream(zt_decoder *k, void *state)
{
    (void)k;
    if (state)
        zt_taehv_state_finish(state);
    free(state);
}

static int walk_taehv(const zt_decoder *k, void *state, zt_walk_fn *fn, void *cookie)
{
    zt_taehv_state *const s = state;
    int err = fn(cookie, &s->latents, sizeof(s->latents));
    for (int i = 0; i < 3 * ZT_TAEHV_LEVELS && !err; i++)
        err = fn(cookie, s->before[i / 3][i % 3], level_bytes(k->self, i / 3, s->h, s->w));
    return err;
}

static int run_taehv(zt_decoder *k, void *state, const float *z, float *rgb)
{
    const zt_taehv_state *const s = state;
    const int n = zt_taehv_decode(state, z, rgb);
    const int64_t floats = (int64_t)n * 3 * s->h * s->w * k->scale * k->scale;
    for (int64_t i = 0; i < floats; i++)
        rgb[i] = ZT_MIN(ZT_MAX(2 * rgb[i] - 1, -1), 1);
    return n;
}

extern const zt_decoder_kind zt_decoder_taehv;
const zt_decoder_kind zt_decoder_taehv = {
    .name = "taehv", .files = { "taew2_1.safetensors", "taew2_1.pth", "taew2_2.safetensors", "taew2_2.pth" },
    .open = open_taehv, .close = close_taehv, .state_bytes = bytes_of_stream, .state_open = open_stream,
    .state_close = close_stream, .state_walk = walk_taehv, .run = run_taehv,
};
