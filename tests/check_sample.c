// SPDX-License-Identifier: Apache-2.0
// Cases of combine, patchify, unpatchify and warp.
#include "tests/checkkernel.h"

#include "base/base.h"

static void combine(ck *c, int C, int h, int w)
{
    if (!ck_begin(c, combine, "%dx%dx%d", C, h, w))
        return;
    const zt_tensor x = ck_input(c, ZT_F32, 1, C, h, w, 0), y = ck_input(c, ZT_F32, 1, C, h, w, 0);
    const ck_buf out = ck_output(c, ZT_F32, 1, C, h, w, 0);
    const ck_buf same = ck_inout(c, ZT_F32, 1, C, h, w, 0);
    ck_ready(c);
    c->ref.combine(c->host, out.ref, 0.75f, x, -0.3f, y);
    c->now.combine(c->dev, out.now, 0.75f, x, -0.3f, y);
    c->ref.combine(c->host, same.ref, 1, same.ref, 0.3f, y);
    c->now.combine(c->dev, same.now, 1, same.now, 0.3f, y);
    ck_compare(c, &out, 3 * CK_U2);         // two products and a sum
    ck_compare(c, &same, 3 * CK_U2);
    ck_end(c);
}

static void patchify(ck *c, int C, int h, int w, int c0, int wide)
{
    if (!ck_begin(c, patchify, "%dx%dx%d at %d of %d", C, h, w, c0, wide))
        return;
    const zt_tensor x = ck_input(c, ZT_F32, 1, C, h, w, 0);
    const ck_buf out = ck_inout(c, ZT_F32, 1, 1, h / 2 * (w / 2), wide, 1);
    ck_ready(c);
    c->ref.patchify(c->host, out.ref, x, c0);
    c->now.patchify(c->dev, out.now, x, c0);
    ck_exact(c, &out);                      // copies; other columns stay
    ck_end(c);
}

static void unpatchify(ck *c, int C, int h, int w)
{
    if (!ck_begin(c, unpatchify, "%dx%dx%d", C, h, w))
        return;
    const zt_tensor x = ck_input(c, ZT_F32, 1, 1, h / 2 * (w / 2), 4 * C, 3);
    const ck_buf out = ck_output(c, ZT_F32, 1, C, h, w, 0);
    ck_ready(c);
    c->ref.unpatchify(c->host, out.ref, x);
    c->now.unpatchify(c->dev, out.now, x);
    ck_exact(c, &out);
    ck_end(c);
}

static void warp(ck *c, int C, int h, int w)
{
    if (!ck_begin(c, warp, "%dx%dx%d", C, h, w))
        return;
    const zt_tensor x = ck_input(c, ZT_F32, 1, C, h, w, 0), move = ck_input(c, ZT_F32, 1, 2, h, w, 0);
    const ck_buf out = ck_output(c, ZT_F32, 1, C, h, w, 0);
    ck_ready(c);
    c->ref.warp(c->host, out.ref, x, move);
    c->now.warp(c->dev, out.now, x, move);
    ck_compare(c, &out, 32 * CK_U2);        // 16 products of two weights, their sum
    ck_end(c);
}

void check_sample(ck *c)
{
    static const int sizes[][3] = { { 1, 2, 2 }, { 3, 4, 6 }, { 16, 10, 18 }, { 16, 18, 32 }, { 5, 2, 34 } };
    for (size_t i = 0; i < ZT_LEN(sizes); i++) {
        const int C = sizes[i][0], h = sizes[i][1], w = sizes[i][2];
        combine(c, C, h, w);
        patchify(c, C, h, w, (int)i, 4 * (C + (int)i) + (int)i % 2 * 4);
        unpatchify(c, C, h, w);
        warp(c, C, h, w);
    }
    combine(c, 1, 1, 1);
    combine(c, 7, 1, 31);
}
