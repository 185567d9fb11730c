// SPDX-License-Identifier: Apache-2.0
// Cases of pixel_shuffle, latents_in and rgb_to_i420.
#include "tests/checkkernel.h"

#include <stdlib.h>

#include "base/base.h"

static void pixel_shuffle(ck *c, int h, int w, int C, int pad)
{
    if (!ck_begin(c, pixel_shuffle, "%dx%dx%d", h, w, C))
        return;
    const zt_tensor in = ck_input(c, ZT_F32, 1, h, w, 4 * C, pad);
    const ck_buf out = ck_output(c, ZT_F32, 1, C, 2 * h, 2 * w, pad);
    ck_ready(c);
    c->ref.pixel_shuffle(c->host, out.ref, in);
    c->now.pixel_shuffle(c->dev, out.now, in);
    ck_exact(c, &out);                      // copies
    while (h >= 18 && ck_bench(c, 0, 32.0 * h * w * C))
        c->now.pixel_shuffle(c->run, out.now, in);
    ck_end(c);
}

static void latents_in(ck *c, enum zt_type to, int h, int w, int C, float limit, int pad)
{
    if (!ck_begin(c, latents_in, "to %s %dx%dx%d, limit %g", ck_type(to), h, w, C, limit))
        return;
    const zt_tensor z = ck_input(c, ZT_F32, 1, C, h, w, pad);
    const ck_buf out = ck_output(c, to, 1, h, w, C, pad);
    ck_ready(c);
    c->ref.latents_in(c->host, out.ref, z, limit);
    c->now.latents_in(c->dev, out.now, z, limit);
    // tanh in f32, of |x| < 3.5 where the sum of exponentials is off by 3 units; bf16: 5e-5 round the other way,
    // and one of the largest (by 2^-6) may
    if (limit > 0)
        ck_compare(c, &out, to == ZT_F32 ? 64 * CK_U2 : 1e-8 + 0x1p-11 / ((double)h * w * C));
    else
        ck_exact(c, &out);
    ck_end(c);
}

// f32 arithmetic is off by 1e-4 of a level at most, so that share of the bytes may be one level off.
static void compare_plane(ck *c, const ck_buf *b, const char *plane)
{
    int wrong = 0, off = 0;
    for (int y = 0; y < b->now.n[2]; y++) {
        for (int x = 0; x < b->now.n[3]; x++) {
            const int64_t at = y * b->now.step[2] + x;
            const int diff = abs(((uint8_t *)b->now.data)[at] - ((uint8_t *)b->ref.data)[at]);
            wrong += diff > 1;
            off += diff == 1;
        }
    }
    if (wrong || off > 1 + b->now.n[2] * b->now.n[3] / 1000)
        ck_fail(c, "%s: %d bytes wrong, %d one off", plane, wrong, off);
}

static void rgb_to_i420(ck *c, int h, int w, int pad)
{
    if (!ck_begin(c, rgb_to_i420, "%dx%d", h, w))
        return;
    const zt_tensor rgb = ck_input(c, ZT_F32, 1, 3, h, w, pad);     // a third is clamped
    const ck_buf Y = ck_output(c, ZT_U8, 1, 1, h, w, pad), U = ck_output(c, ZT_U8, 1, 1, h / 2, w / 2, pad * 2),
                 V = ck_output(c, ZT_U8, 1, 1, h / 2, w / 2, pad);
    ck_ready(c);

    const ptrdiff_t pitch[3] = { Y.now.step[2], U.now.step[2], V.now.step[2] };
    c->ref.rgb_to_i420(c->host, (uint8_t *const[3]){ Y.ref.data, U.ref.data, V.ref.data }, pitch, rgb);
    c->now.rgb_to_i420(c->dev, (uint8_t *const[3]){ Y.now.data, U.now.data, V.now.data }, pitch, rgb);
    ck_wait(c);
    compare_plane(c, &Y, "Y");
    compare_plane(c, &U, "U");
    compare_plane(c, &V, "V");
    while (h >= 18 && ck_bench(c, 0, 13.5 * h * w))
        c->now.rgb_to_i420(c->run, (uint8_t *const[3]){ Y.now.data, U.now.data, V.now.data }, pitch, rgb);
    ck_end(c);
}

void check_pixel(ck *c)
{
    static const int sizes[][2] = { { 1, 1 }, { 2, 5 }, { 3, 16 }, { 5, 33 }, { 18, 32 }, { 72, 128 } };
    for (size_t i = 0; i < ZT_LEN(sizes); i++) {
        const int h = sizes[i][0], w = sizes[i][1], pad = (int)(i % 2) * 3;
        pixel_shuffle(c, h, w, 3, pad);
        latents_in(c, ZT_F32, h, w, i % 2 ? 16 : 5, 3, pad);
        latents_in(c, ZT_BF16, h, w, 16, 3, pad);
        latents_in(c, ZT_BF16, h, w, 7, 0, pad);
        rgb_to_i420(c, 2 * h, 2 * w, pad);
    }
    pixel_shuffle(c, 4, 6, 1, 0);
    latents_in(c, ZT_F32, 4, 6, 16, 0, 0);
}
