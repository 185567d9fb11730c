// SPDX-License-Identifier: Apache-2.0
// Cases of layer_norm, rms_rope and modulation.
#include "tests/checkkernel.h"

#include <math.h>

#include "base/base.h"

enum { SETS = 3 };
static const float eps = 1e-6f;

// Every third row is so small that eps decides.
static void shrink_rows(zt_tensor x)
{
    for (int m = 0; m < x.n[2]; m += 3) {
        for (int c = 0; c < x.n[3]; c++)
            zt_f32(x)[m * x.step[2] + c] *= 1e-3f;
    }
}

// f32 sums of C terms in at most a few lanes, then ten roundings per element, each less than a unit
static double limit(int C)
{
    return (32 + C / 8.0) * CK_U2;
}

static void layer_norm(ck *c, int M, int C, bool rows, int pad)
{
    if (!ck_begin(c, layer_norm, "%dx%d%s", M, C, rows ? " rows" : ""))
        return;
    const zt_tensor x = ck_input(c, ZT_F32, 1, 1, M, C, pad);
    shrink_rows(x);
    const int step = C + pad;
    const float *scale = ck_floats(c, SETS * step - pad, 1, 0.3f), *shift = ck_floats(c, SETS * step - pad, 0, 1);
    const int32_t *row = rows ? ck_ints(c, M, SETS) : NULL;
    const ck_buf out = ck_output(c, ZT_F32, 1, 1, M, C, pad * 2);
    ck_ready(c);

    c->ref.layer_norm(c->host, out.ref, x, scale, shift, step, row, eps);
    c->now.layer_norm(c->dev, out.now, x, scale, shift, step, row, eps);
    for (int m = 0, n; m < M; m += n) {
        n = ck_part(c, M - m);
        c->now.layer_norm(c->one, zt_tensor_rows(out.again, m, n), zt_tensor_rows(x, m, n), scale, shift, step,
                          row ? row + m : NULL, eps);
    }
    ck_compare(c, &out, limit(C));
    ck_same(c, &out);
    while (M >= 45 && ck_bench(c, 8.0 * M * C, 8.0 * M * C))
        c->now.layer_norm(c->run, out.now, x, scale, shift, step, row, eps);
    ck_end(c);
}

static void layer_norm_in_place(ck *c)
{
    enum { M = 7, C = 50 };
    if (!ck_begin(c, layer_norm, "in place %dx%d", M, C))
        return;
    const float *scale = ck_floats(c, C, 1, 0.3f), *shift = ck_floats(c, C, 0, 1);
    const ck_buf x = ck_inout(c, ZT_F32, 1, 1, M, C, 1);
    ck_ready(c);
    c->ref.layer_norm(c->host, x.ref, x.ref, scale, shift, C, NULL, eps);
    c->now.layer_norm(c->dev, x.now, x.now, scale, shift, C, NULL, eps);
    ck_compare(c, &x, limit(C));
    ck_end(c);
}

static void rms_rope(ck *c, int M, int C, int D, bool rope, int pad)
{
    if (!ck_begin(c, rms_rope, "%dx%d heads of %d%s", M, C, D, rope ? "" : ", no rotation"))
        return;
    const float *weight = ck_floats(c, C, 1, 0.3f);
    float *angle = rope ? ck_floats(c, M * D, 0, 1) : NULL;
    for (int i = 0; rope && i < M * D; i += 2) {
        const float a = 3 * angle[i];
        angle[i] = cosf(a);
        angle[i + 1] = sinf(a);
    }
    const ck_buf x = ck_inout(c, ZT_F32, 1, 1, M, C, pad);
    shrink_rows(x.ref), shrink_rows(x.now), shrink_rows(x.again);
    ck_ready(c);

    c->ref.rms_rope(c->host, x.ref, weight, angle, D, eps);
    c->now.rms_rope(c->dev, x.now, weight, angle, D, eps);
    for (int m = 0, n; m < M; m += n) {
        n = ck_part(c, M - m);
        c->now.rms_rope(c->one, zt_tensor_rows(x.again, m, n), weight, angle ? angle + m * D : NULL, D, eps);
    }
    ck_compare(c, &x, limit(C));
    ck_same(c, &x);
    while (M >= 45 && ck_bench(c, 9.0 * M * C, 8.0 * M * C))
        c->now.rms_rope(c->run, x.now, weight, angle, D, eps);
    ck_end(c);
}

static void modulation(ck *c, int S, int n, int C, bool shared, unsigned ones)
{
    if (!ck_begin(c, modulation, "%dx%dx%d%s", S, n, C, shared ? " shared" : ""))
        return;
    const zt_tensor e = ck_input(c, ZT_F32, 1, 1, S, shared ? C : n * C, 3);
    const float *table = ck_floats(c, n * C, 0, 1);
    const ck_buf out = ck_output(c, ZT_F32, 1, S, n, C, 0);
    ck_ready(c);
    c->ref.modulation(c->host, out.ref, e, table, ones);
    c->now.modulation(c->dev, out.now, e, table, ones);
    ck_compare(c, &out, 2 * CK_U2);             // two additions in either order
    ck_end(c);
}

void check_norm(ck *c)
{
    static const int rows[] = { 1, 3, 45, 144 };
    static const int widths[] = { 1, 7, 15, 16, 17, 50, 64, 192, 256, 1536 };
    for (size_t i = 0; i < ZT_LEN(rows); i++) {
        for (size_t j = 0; j < ZT_LEN(widths); j++)
            layer_norm(c, rows[i], widths[j], (i + j) % 2, (int)((i + j) % 3) * 3);
    }
    layer_norm_in_place(c);

    static const int heads[][3] = {             // M, C, D
        { 1, 2, 2 }, { 3, 12, 6 }, { 2, 60, 20 }, { 5, 64, 64 }, { 45, 192, 32 }, { 144, 192, 64 }, { 288, 256, 64 },
        { 33, 256, 128 }, { 12, 1536, 128 }, { 16, 192, 64 }, { 7, 34, 34 },
    };
    for (size_t i = 0; i < ZT_LEN(heads); i++) {
        for (int rope = 0; rope < 2; rope++)
            rms_rope(c, heads[i][0], heads[i][1], heads[i][2], rope, (int)(i % 2) * 5);
    }

    modulation(c, 1, 6, 192, false, 1u << 1 | 1u << 4);
    modulation(c, 3, 2, 192, true, 1u << 1);
    modulation(c, 2, 6, 33, false, 0);
    modulation(c, 2, 3, 1, true, 7);
}
