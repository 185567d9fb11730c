// SPDX-License-Identifier: Apache-2.0
// Cases of kv_append, qkv_append and attention.
#include "tests/checkkernel.h"

#include <string.h>

#include "base/base.h"

enum { SLOTS = 9 };

// One context of random keys and values: `n` of the SLOTS slots, in random order; the others stay NaN.
struct context {
    zt_kv        kv;
    int          n;
    const int   *slot;
    const float *bias;
};

static zt_kv make_kv(enum zt_type type, int H, int D, int valid)
{
    return (zt_kv){ .type = type, .H = H, .D = D, .keys = (int)zt_round_up(valid, 16), .valid = valid };
}

static struct context make_context(ck *c, enum zt_type type, int H, int D, int valid, int n, bool bias)
{
    struct context x = { .kv = make_kv(type, H, D, valid), .n = n };
    const size_t bytes = zt_kv_slot_bytes(&x.kv);
    x.kv.k = ck_take(c, SLOTS * bytes);
    x.kv.v = ck_take(c, SLOTS * bytes);
    if (type == ZT_I8)
        x.kv.scale = ck_take(c, SLOTS * (size_t)H * zt_kv_scales(&x.kv) * sizeof(float));
    int *slot = ck_ints(c, n, SLOTS);
    for (int i = 0; i < n; i++) {
        slot[i] = i ? (slot[i - 1] + 2) % SLOTS : slot[0];      // each once, since 2 and 9 share no factor
        const zt_tensor k = ck_input(c, ZT_F32, 1, 1, valid, H * D, 0);
        const zt_tensor v = ck_input(c, ZT_F32, 1, 1, valid, H * D, 0);
        for (int j = 0; j < valid * H * D && type == ZT_I8; j++)    // what keys of a slot have in common
            zt_f32(k)[j] += (float)((slot[i] * 7 + j % (H * D)) % 5 - 2);
        memset((char *)x.kv.k + (size_t)slot[i] * bytes, 0, bytes);
        memset((char *)x.kv.v + (size_t)slot[i] * bytes, 0, bytes);
        c->ref.kv_append(c->host, &x.kv, slot[i], k, v);
    }
    x.slot = slot;
    x.bias = bias ? ck_floats(c, n * valid, 0, 2) : NULL;
    return x;
}

static zt_span make_span(const struct context *x, int row0, int rows)
{
    return (zt_span){ .row0 = row0, .rows = rows, .kv = &x->kv, .slot = x->slot, .n = x->n, .bias = x->bias };
}

// BF16: two roundings of each probability (ours and the reference's, which may scale them differently) have a variance
// of 2^-16 / 24 each: 1.3e-6. F32: sums over D and over the keys, exp, and the scaling of q. I8: logits rounded to
// 1/64 of a factor of two make probabilities wrong by ln 2 / 128 at most, in square 1e-5 of theirs; in units of 1/255
// of the largest, which both are rounded to, one of a units comes out differently with a chance of 0.0027 a (that is
// ln 2 / 256): sum of 0.0027 a / sum of a^2, where sum of a^2 / sum of a is 27 or more with these logits.
static double limit(enum zt_type type, int D, int keys)
{
    if (type == ZT_I8)
        return 1e-5 + 0.0027 / 27;
    return type == ZT_BF16 ? 2e-6 : (64 + D + keys / 2.0) * CK_U2;
}

struct shape {
    int  M, H, D, valid, n;
    bool bias;
};

static void attention(ck *c, enum zt_type type, struct shape s, int pad)
{
    if (ck_skips(c, 4.0 * s.M * s.n * s.valid * s.H * s.D))
        return;
    if (!ck_begin(c, attention, "%s %d x %dx%d, %d heads of %d%s", ck_type(type), s.M, s.n, s.valid, s.H, s.D,
                  s.bias ? ", bias" : ""))
        return;
    const struct context x = make_context(c, type, s.H, s.D, s.valid, s.n, s.bias);
    const zt_tensor q = ck_input(c, ZT_F32, 1, 1, s.M, s.H * s.D, pad);
    const ck_buf out = ck_output(c, ZT_F32, 1, 1, s.M, s.H * s.D, pad * 2);
    ck_ready(c);

    const zt_span whole = make_span(&x, 0, s.M);
    c->ref.attention(c->host, out.ref, q, &whole, 1);
    c->now.attention(c->dev, out.now, q, &whole, 1);
    for (int m = 0, rows; m < s.M; m += rows) {
        rows = ck_part(c, s.M - m);
        const zt_span part = make_span(&x, m, rows);
        c->now.attention(c->one, out.again, q, &part, 1);
    }
    ck_compare(c, &out, limit(type, s.D, s.n * s.valid));
    ck_same(c, &out);
    const double pairs = (double)s.M * s.n * s.valid * s.H;
    while (s.M >= 45 && ck_bench(c, 4 * pairs * s.D, 2.0 * s.n * (double)zt_kv_slot_bytes(&x.kv)))
        c->now.attention(c->run, out.now, q, &whole, 1);
    ck_end(c);
}

// Three spans of two contexts in one call; row 20 belongs to none and must not be touched.
static void spans(ck *c, enum zt_type type)
{
    enum { M = 40, H = 2, D = 32 };
    if (!ck_begin(c, attention, "%s spans", ck_type(type)))
        return;
    const struct context a = make_context(c, type, H, D, 45, 3, false);
    const struct context b = make_context(c, type, H, D, 7, 1, true);
    const zt_tensor q = ck_input(c, ZT_F32, 1, 1, M, H * D, 0);
    const ck_buf out = ck_output(c, ZT_F32, 1, 1, M, H * D, 0);
    ck_ready(c);
    const zt_span span[] = { make_span(&b, 21, 5), make_span(&a, 0, 20), make_span(&a, 26, M - 26) };
    c->ref.attention(c->host, out.ref, q, span, ZT_LEN(span));
    c->now.attention(c->dev, out.now, q, span, ZT_LEN(span));
    for (size_t i = 0; i < ZT_LEN(span); i++)
        c->now.attention(c->one, out.again, q, &span[i], 1);
    ck_compare(c, &out, limit(type, D, 3 * 45));
    ck_same(c, &out);
    ck_end(c);
}

// Logits of +-80: nothing may overflow, and hardly any key but the best counts.
static void peaked(ck *c, enum zt_type type)
{
    enum { M = 13, H = 1, D = 64 };
    if (!ck_begin(c, attention, "%s peaked", ck_type(type)))
        return;
    const struct context x = make_context(c, type, H, D, 100, 2, false);
    const zt_tensor q = ck_input(c, ZT_F32, 1, 1, M, H * D, 0);
    for (int i = 0; i < M * H * D; i++)
        zt_f32(q)[i] *= 30;
    const ck_buf out = ck_output(c, ZT_F32, 1, 1, M, H * D, 0);
    ck_ready(c);
    const zt_span whole = make_span(&x, 0, M);
    c->ref.attention(c->host, out.ref, q, &whole, 1);
    c->now.attention(c->dev, out.now, q, &whole, 1);
    // A logit of 80 rounded in f32 is off by 80 units, and so is the probability, relatively.
    ck_compare(c, &out, limit(type, D, 200) + 80 * 80 * CK_U2);
    ck_end(c);
}

// One slot of three, twice: what the reference and what the kernel appends. All bytes are compared.
struct caches {
    zt_kv  kv;
    ck_buf k, v, scale;
};

static struct caches make_caches(ck *c, enum zt_type type, int H, int D, int valid)
{
    struct caches x = { .kv = make_kv(type, H, D, valid) };
    const size_t bytes = zt_kv_slot_bytes(&x.kv);
    const int n = (int)(bytes / zt_type_bytes(type)), scales = H * (int)zt_kv_scales(&x.kv);
    x.k = ck_output(c, type, 3, 1, 1, n, 0), x.v = ck_output(c, type, 3, 1, 1, n, 0);
    const zt_tensor all[] = { x.k.ref, x.v.ref, x.k.now, x.v.now };
    for (size_t i = 0; i < ZT_LEN(all); i++)            // slot 1 is zero but for what is appended
        memset((char *)all[i].data + bytes, 0, bytes);
    if (type == ZT_I8) {
        x.scale = ck_output(c, ZT_F32, 3, 1, 1, scales, 0);
        memset(zt_f32(x.scale.ref) + scales, 0, (size_t)scales * sizeof(float));
        memset(zt_f32(x.scale.now) + scales, 0, (size_t)scales * sizeof(float));
    }
    return x;
}

static const zt_kv *of_ref(struct caches *x)
{
    x->kv.k = x->k.ref.data, x->kv.v = x->v.ref.data, x->kv.scale = x->scale.ref.data;
    return &x->kv;
}

static const zt_kv *of_now(struct caches *x)
{
    x->kv.k = x->k.now.data, x->kv.v = x->v.now.data, x->kv.scale = x->scale.now.data;
    return &x->kv;
}

static void compare_caches(ck *c, const struct caches *x)
{
    ck_exact(c, &x->k);
    ck_exact(c, &x->v);
    if (x->scale.ref.data)
        ck_exact(c, &x->scale);
}

static void kv_append(ck *c, enum zt_type type, int H, int D, int valid, int pad)
{
    if (!ck_begin(c, kv_append, "%s %d keys, %d heads of %d", ck_type(type), valid, H, D))
        return;
    const zt_tensor k = ck_input(c, ZT_F32, 1, 1, valid, H * D, pad);
    const zt_tensor v = ck_input(c, ZT_F32, 1, 1, valid, H * D, pad + 1);
    for (int i = 0; i < valid && H > 1; i++)            // one dim of each without values
        zt_f32(k)[i * k.step[2] + 1] = zt_f32(v)[i * v.step[2] + D] = 0;
    struct caches x = make_caches(c, type, H, D, valid);
    ck_ready(c);

    c->ref.kv_append(c->host, of_ref(&x), 1, k, v);
    c->now.kv_append(c->dev, of_now(&x), 1, k, v);
    compare_caches(c, &x);
    while (valid >= 45 && ck_bench(c, 0, (8.0 + 2.0 * (double)zt_type_bytes(type)) * valid * H * D))
        c->now.kv_append(c->run, &x.kv, 1, k, v);
    ck_end(c);
}

// The bits of the three operations that it stands for, at the same level.
static void qkv_append(ck *c, enum zt_type type, int H, int D, int valid, int pad)
{
    if (!ck_begin(c, qkv_append, "%s %d keys, %d heads of %d", ck_type(type), valid, H, D))
        return;
    const int C = H * D;
    ck_buf qkv = ck_inout(c, ZT_F32, 1, 1, valid, 3 * C, pad);
    const float *wq = ck_floats(c, C, 1, 0.1f), *wk = ck_floats(c, C, 1, 0.1f);
    const float *angle = pad ? ck_floats(c, valid * D, 0, 1) : NULL;
    struct caches x = make_caches(c, type, H, D, valid);
    ck_ready(c);

    const zt_tensor k = zt_tensor_columns(qkv.ref, C, C);
    c->now.rms_rope(c->one, zt_tensor_columns(qkv.ref, 0, C), wq, angle, D, 1e-6f);
    c->now.rms_rope(c->one, k, wk, angle, D, 1e-6f);
    c->now.kv_append(c->one, of_ref(&x), 1, k, zt_tensor_columns(qkv.ref, 2 * C, C));
    c->now.qkv_append(c->dev, of_now(&x), 1, qkv.now, wq, wk, angle, 1e-6f);
    ck_exact(c, &qkv);
    compare_caches(c, &x);
    while (valid >= 45 && ck_bench(c, 0, (20.0 + 2.0 * (double)zt_type_bytes(type)) * valid * H * D))
        c->now.qkv_append(c->run, &x.kv, 1, qkv.now, wq, wk, angle, 1e-6f);
    ck_end(c);
}

void check_attention(ck *c)
{
    static const enum zt_type types[] = { ZT_F32, ZT_BF16, ZT_I8 };
    static const struct shape shapes[] = {
        { 1, 1, 32, 1, 1, false }, { 3, 2, 32, 5, 1, false }, { 7, 1, 64, 16, 1, true }, { 13, 3, 64, 17, 2, false },
        { 144, 3, 64, 16, 1, false }, { 144, 3, 64, 3, 1, false },
        { 45, 6, 32, 45, 8, false }, { 20, 2, 128, 45, 4, true },
        { 144, 3, 64, 144, 1, false }, { 144, 3, 64, 144, 4, false }, { 144, 3, 64, 144, 8, false },
        { 144, 4, 64, 144, 8, false }, { 144, 6, 32, 144, 8, false },
        { 45, 2, 128, 144, 8, false }, { 11, 2, 48, 33, 7, true },
        { 2, 1, 16, 250, 8, false },
    };
    for (size_t t = 0; t < ZT_LEN(types); t++) {
        for (size_t i = 0; i < ZT_LEN(shapes); i++)
            attention(c, types[t], shapes[i], (int)(i % 2) * 3);
        spans(c, types[t]);
        peaked(c, types[t]);

        static const int caches[][3] = { { 1, 16, 1 }, { 3, 64, 144 }, { 6, 32, 45 }, { 2, 128, 17 }, { 4, 64, 16 },
                                         { 3, 48, 31 }, { 3, 64, 3 } };
        for (size_t i = 0; i < ZT_LEN(caches); i++)
            kv_append(c, types[t], caches[i][0], caches[i][1], caches[i][2], (int)(i % 2) * 3);
        for (size_t i = 0; i < ZT_LEN(caches); i++)
            qkv_append(c, types[t], caches[i][0], caches[i][1], caches[i][2], (int)(i % 2) * 3);
    }
}
