// SPDX-License-Identifier: Apache-2.0
// The encoder of models with the tiny decoder: doc/formats.md, "Encoder tensors". One picture at a time, in f32.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "diffusion/encoder.h"
#include "diffusion/load.h"

enum { UNFOLDED = 48, RES = 4, SKIP = 8 };

typedef struct encoder {
    zt_device *d;
    zt_memory  memory;
    int        a, b;                    // channels at half and full depth
    zt_conv    in, res[RES][2], down, out;
    zt_matrix  skip;
} encoder;

static int channels_of(const zt_loader *l, const char *name)
{
    const zt_weight *const w = zt_weights_find(l->w, name);
    return w && w->rank == 4 && w->shape[0] >= 1 && w->shape[0] <= 4096 ? (int)w->shape[0] : 1;
}

static int load(encoder *e, zt_loader *l, int C)
{
    e->a = channels_of(l, "encoder.inp.weight");
    e->b = channels_of(l, "encoder.down.weight");
    int err = zt_load_conv(l, &e->in, ZT_F32, e->a, UNFOLDED, "encoder.inp");
    for (int i = 0; i < RES && !err; i++) {
        static const char *const name[RES][2] = {
            { "encoder.res0.conv1", "encoder.res0.conv2" }, { "encoder.res1.conv1", "encoder.res1.conv2" },
            { "encoder.res2.conv1", "encoder.res2.conv2" }, { "encoder.res3.conv1", "encoder.res3.conv2" },
        };
        const int width = i < 2 ? e->a : e->b;
        err = zt_load_conv(l, &e->res[i][0], ZT_F32, width, width, name[i][0]);
        e->res[i][0].act = ZT_ACT_RELU;
        if (!err)
            err = zt_load_conv(l, &e->res[i][1], ZT_F32, width, width, name[i][1]);
    }
    if (!err)
        err = zt_load_conv(l, &e->down, ZT_F32, e->b, e->a, "encoder.down");
    if (!err)
        err = zt_load_conv(l, &e->out, ZT_F32, C, e->b, "encoder.out");
    return err ? err : zt_load_kernel(l, &e->skip, ZT_F32, "encoder.skip", (zt_kernel_shape){ C, 3, 0, SKIP, SKIP });
}

// Blocks of n x n pixels become channels: [row][column][colour] of each, or the colour first.
static void unfold(float *to, const float *rgb, int h, int w, int n, bool colour_first)
{
    const int64_t plane = (int64_t)h * w * n * n;
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            for (int i = 0; i < 3 * n * n; i++) {
                const int c = colour_first ? i / (n * n) : i % 3, at = colour_first ? i % (n * n) : i / 3;
                *to++ = rgb[c * plane + ((int64_t)y * n + at / n) * w * n + (int64_t)x * n + at % n];
            }
}

static void relu(float *to, const float *from, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = ZT_MAX(from[i], 0);
}

// x += conv2(ReLU(conv1(ReLU(x))))
static void residual(const encoder *e, int i, float *x, float *t, float *u, int h, int w)
{
    const int C = i < 2 ? e->a : e->b;
    const zt_tensor none = { 0 }, tx = zt_tensor_4d(x, ZT_F32, 1, h, w, C);
    zt_tensor tt = tx, tu = tx;
    tt.data = t;
    tu.data = u;
    relu(t, x, (int64_t)h * w * C);
    e->d->k.conv(e->d, tu, tt, none, none, &e->res[i][0]);
    e->d->k.conv(e->d, tt, tu, none, none, &e->res[i][1]);
    e->d->k.combine(e->d, tx, 1, tx, 1, tt);
}

// h, w of the latent. x, t, u: room for [2h][2w] of the widest.
static void run(const encoder *e, const float *rgb, int h, int w, int C, float *z, float *x, float *t, float *u)
{
    const zt_tensor none = { 0 };
    const int H = 2 * h, W = 2 * w;
    unfold(t, rgb, H, W, 4, true);
    e->d->k.conv(e->d, zt_tensor_4d(x, ZT_F32, 1, H, W, e->a), zt_tensor_4d(t, ZT_F32, 1, H, W, UNFOLDED), none, none, &e->in);
    residual(e, 0, x, t, u, H, W);
    residual(e, 1, x, t, u, H, W);
    relu(t, x, (int64_t)H * W * e->a);
    // a stride of two, padded by one: every second pixel of the plain convolution, from the first on
    e->d->k.conv(e->d, zt_tensor_4d(u, ZT_F32, 1, H, W, e->b), zt_tensor_4d(t, ZT_F32, 1, H, W, e->a), none, none, &e->down);
    for (int i = 0; i < h * w; i++)
        memcpy(x + (int64_t)i * e->b, u + ((int64_t)(i / w * 2) * W + i % w * 2) * e->b, (size_t)e->b * sizeof(*x));
    residual(e, 2, x, t, u, h, w);
    residual(e, 3, x, t, u, h, w);
    relu(t, x, (int64_t)h * w * e->b);
    e->d->k.conv(e->d, zt_tensor_4d(x, ZT_F32, 1, h, w, C), zt_tensor_4d(t, ZT_F32, 1, h, w, e->b), none, none, &e->out);
    unfold(t, rgb, h, w, SKIP, false);
    e->d->k.linear(e->d, zt_tensor_2d(x, ZT_F32, h * w, C), zt_tensor_2d(t, ZT_F32, h * w, 3 * SKIP * SKIP), &e->skip,
                   &(zt_epilogue){ .add = true });
    for (int i = 0; i < h * w; i++)
        for (int c = 0; c < C; c++)
            z[c * h * w + i] = x[i * C + c];
}

static int encode(zt_device *d, const char *path, const float *rgb, int h, int w, int C, float *z)
{
    encoder e = { .d = d, .memory = { .d = d } };
    zt_weights *weights = NULL;
    zt_loader l;
    int err = zt_weights_open(&weights, path);
    if (err < 0)
        return err;
    zt_loader_init(&l, weights, &e.memory);
    err = load(&e, &l, C);
    const size_t n = 4 * (size_t)(h * w) * (size_t)ZT_MAX(ZT_MAX(e.a, e.b), UNFOLDED + C);
    float *const memory = err ? NULL : zt_device_alloc(d, 3 * n * sizeof(float));
    if (memory)
        run(&e, rgb, h, w, C, z, memory, memory + n, memory + 2 * n);
    else if (!err)
        err = -ENOMEM;
    zt_device_free(d, memory);
    zt_loader_finish(&l);
    zt_memory_finish(&e.memory);
    zt_weights_close(&weights);
    return err;
}

extern const zt_encoder_kind zt_encoder_tiny;
const zt_encoder_kind zt_encoder_tiny = { .files = { "encoder.safetensors" }, .encode = encode };
