// SPDX-License-Identifier: Apache-2.0
// Cases of conv.
#include "tests/checkkernel.h"

#include <string.h>

#include "base/base.h"

struct shape {
    int         h, w, Ca, Cb, N;
    bool        up, residual;
    enum zt_act act;
};

// Sums of K products. An output in bf16 is now and then rounded the other way: 4e-4 of them by 2^-8,
// and one of the largest (by 2^-6) may be.
// I8: the same integers; avx2 rounds their sums, of up to 9 (Ca + Cb) products, to f32.
static double limit(enum zt_type out, struct shape s)
{
    const double pixels = (double)s.h * s.w * (s.up ? 4 : 1);
    const double sum = (4 + 9 * (s.Ca + s.Cb) / 4.0) * CK_U2;
    return out == ZT_F32 ? sum : 2e-8 + 0x1p-11 / (pixels * s.N);
}

// What comes out of a ReLU
static void rectify(zt_tensor t)
{
    uint16_t *const x = t.data;
    for (int64_t i = 0; t.data && i < t.n[1] * t.step[1]; i++)
        x[i] = x[i] >> 15 && x[i] != 0xffff ? 0 : x[i];     // what lies between the rows stays NaN
}

static void run_case(ck *c, enum zt_type type, enum zt_type to, struct shape s, int pad)
{
    if (ck_skips(c, 18.0 * s.h * s.w * (s.Ca + s.Cb) * s.N * (s.up ? 4.0 * 4 / 9 : 1)))
        return;
    if (!ck_begin(c, conv, "%s to %s %dx%d %d+%d to %d%s%s%s", ck_type(type), ck_type(to), s.h, s.w, s.Ca, s.Cb, s.N,
                  s.up ? " up" : "", s.residual ? " residual" : "", s.act == ZT_ACT_RELU ? " relu" : ""))
        return;
    const int K = 9 * (s.Ca + s.Cb), oh = s.h << s.up, ow = s.w << s.up;
    const bool bias = s.N > 1;                          // one sum may cancel with its bias
    zt_conv conv = { .w = ck_matrix(c, type, s.N, K, bias), .up = s.up, .act = s.act };
    for (int i = 0; i < 4 && s.up; i++)
        conv.phase[i] = ck_matrix(c, type, s.N, K / 9 * 4, bias);
    const enum zt_type in = type == ZT_I8 ? ZT_BF16 : type;
    const zt_tensor none = { 0 };
    const zt_tensor a = ck_input(c, in, 1, s.h, s.w, s.Ca, pad);
    const zt_tensor b = s.Cb ? ck_input(c, in, 1, s.h, s.w, s.Cb, pad * 2) : none;
    const zt_tensor residual = s.residual ? ck_input(c, in, 1, oh, ow, s.N, pad) : none;
    if (type == ZT_I8) {
        rectify(a);
        rectify(b);
    }
    const ck_buf out = ck_output(c, to, 1, oh, ow, s.N, pad);
    ck_ready(c);

    c->ref.conv(c->host, out.ref, a, b, residual, &conv);
    c->now.conv(c->dev, out.now, a, b, residual, &conv);
    c->now.conv(c->one, out.again, a, b, residual, &conv);
    ck_compare(c, &out, limit(to, s));
    ck_same(c, &out);
    const double pixels = (double)oh * ow, products = K * (s.up ? 4.0 / 9 : 1);
    const double bytes = pixels * (s.Ca + s.Cb + s.N) * (double)zt_type_bytes(in);
    while (s.h >= 18 && ck_bench(c, 2 * pixels * products * s.N, bytes))
        c->now.conv(c->run, out.now, a, b, residual, &conv);
    ck_end(c);
}

// The phases of a kernel on a picture give what the kernel gives on the picture doubled.
static void phases(ck *c)
{
    enum { H = 5, W = 14, C = 8, N = 16 };
    if (!ck_begin(c, conv, "f32 phases"))
        return;
    const float *w = ck_floats(c, N * 9 * C, 0, 0.1f);
    zt_conv up = { .w = ck_matrix(c, ZT_F32, N, 9 * C, false), .up = true }, plain = { .w = up.w };
    for (int i = 0; i < 4; i++)
        up.phase[i] = ck_matrix(c, ZT_F32, N, 4 * C, false);
    for (int n = 0; n < N; n++) {
        float row[4 * C];
        zt_matrix_pack((void *)plain.w.data, ZT_F32, N, 9 * C, w + n * 9 * C, ZT_F32, 1, n, 1);
        for (int i = 0; i < 4; i++) {
            zt_conv_phase(row, w + n * 9 * C, C, i / 2, i % 2);
            zt_matrix_pack((void *)up.phase[i].data, ZT_F32, N, 4 * C, row, ZT_F32, 1, n, 1);
        }
    }
    const zt_tensor none = { 0 }, x = ck_input(c, ZT_F32, 1, H, W, C, 0);
    const zt_tensor twice = ck_input(c, ZT_F32, 1, 2 * H, 2 * W, C, 0);
    for (int i = 0; i < 4 * H * W; i++)
        memcpy(zt_f32(twice) + i * C, zt_f32(x) + (i / (2 * W) / 2 * W + i % (2 * W) / 2) * C, C * sizeof(float));
    const ck_buf out = ck_output(c, ZT_F32, 1, 2 * H, 2 * W, N, 0);
    ck_ready(c);
    c->ref.conv(c->host, out.ref, twice, none, none, &plain);
    c->now.conv(c->dev, out.now, x, none, none, &up);
    ck_compare(c, &out, (4 + 9 * C / 4.0) * CK_U2);
    ck_end(c);
}

// A pixel has the same bits in a picture cut out of a larger one, wherever it lies.
static void cut(ck *c, enum zt_type type)
{
    enum { H = 9, W = 41, C = 20, N = 24 };
    if (!ck_begin(c, conv, "%s cut", ck_type(type)))
        return;
    const zt_conv conv = { .w = ck_matrix(c, type, N, 9 * C, true) };
    const zt_tensor none = { 0 }, whole = ck_input(c, type, 1, H, W, C, 0);
    const ck_buf out = ck_output(c, ZT_F32, 1, H, W, N, 0), part = ck_output(c, ZT_F32, 1, H - 2, W - 7, N, 0);
    ck_ready(c);

    enum { Y = 1, X = 5 };
    zt_tensor in = whole;
    in.data = (char *)whole.data + (size_t)(Y * whole.step[1] + X * whole.step[2]) * zt_type_bytes(type);
    in.n[1] = H - 2, in.n[2] = W - 7;
    c->now.conv(c->dev, out.now, whole, none, none, &conv);
    c->now.conv(c->dev, part.now, in, none, none, &conv);
    ck_wait(c);
    for (int y = 1; y < H - 3; y++) {               // not its border: there it sees zeros
        for (int x = 1; x < W - 8; x++) {
            const float *p = zt_f32(part.now) + y * part.now.step[1] + x * part.now.step[2];
            const float *o = zt_f32(out.now) + (y + Y) * out.now.step[1] + (x + X) * out.now.step[2];
            for (int n = 0; n < N; n++) {
                if (p[n] != o[n]) {
                    ck_fail(c, "pixel %d, %d depends on where it lies", x, y);
                    y = H;
                    x = W;
                    break;
                }
            }
        }
    }
    ck_end(c);
}

void check_conv(ck *c)
{
    static const struct shape shapes[] = {
        { 1, 1, 1, 0, 1, false, false, ZT_ACT_NONE },    { 2, 3, 3, 0, 5, false, true, ZT_ACT_RELU },
        { 5, 7, 16, 0, 16, false, true, ZT_ACT_NONE },   { 3, 33, 7, 5, 17, true, false, ZT_ACT_RELU },
        { 1, 50, 18, 0, 33, true, false, ZT_ACT_NONE },  { 45, 1, 4, 4, 12, false, false, ZT_ACT_NONE },
        { 10, 16, 64, 64, 64, false, false, ZT_ACT_RELU },
        { 18, 32, 16, 0, 64, false, false, ZT_ACT_RELU }, { 18, 32, 64, 64, 64, false, false, ZT_ACT_RELU },
        { 18, 32, 64, 0, 64, false, true, ZT_ACT_RELU },  { 18, 32, 64, 0, 48, true, false, ZT_ACT_RELU },
        { 36, 64, 48, 48, 48, false, false, ZT_ACT_RELU }, { 36, 64, 48, 0, 48, false, true, ZT_ACT_RELU },
        { 36, 64, 48, 0, 32, true, false, ZT_ACT_RELU },  { 72, 128, 32, 0, 32, false, true, ZT_ACT_RELU },
        { 72, 128, 32, 0, 12, false, false, ZT_ACT_NONE },
    };
    for (size_t i = 0; i < ZT_LEN(shapes); i++) {
        const int pad = i < 6 ? (int)(i % 2) * 3 : 0;
        run_case(c, ZT_F32, ZT_F32, shapes[i], pad);
        run_case(c, ZT_BF16, i % 3 == 0 ? ZT_F32 : ZT_BF16, shapes[i], pad);
        run_case(c, ZT_I8, i % 3 == 0 ? ZT_F32 : ZT_BF16, shapes[i], pad);
    }
    phases(c);
    cut(c, ZT_F32);
    cut(c, ZT_BF16);
}
