// SPDX-License-Identifier: Apache-2.0
// Cases of kv_append and attention.
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

static zt_kv make_kv(enum zt_type type, int H, int D, int valid, void *k, void *v)
{
    return (zt_kv){ .type = type, .H = H, .D = D, .keys = (int)zt_round_up(valid, 16), .valid = valid,
                    .k = k, .v = v };
}

static struct context make_context(ck *c, enum zt_type type, int H, int D, int valid, int n, bool bias)
{
    struct context x = { .kv = make_kv(type, H, D, valid, NULL, NULL), .n = n };
    const size_t bytes = zt_kv_slot_bytes(&x.kv);
    x.kv.k = ck_take(c, SLOTS * bytes);
    x.kv.v = ck_take(c, SLOTS * bytes);
    int *slot = ck_ints(c, n, SLOTS);
    for (int i = 0; i < n; i++) {
        slot[i] = i ? (slot[i - 1] + 2) % SLOTS : slot[0];      // each once, since 2 and 9 share no factor
        const zt_tensor k = ck_input(c, ZT_F32, 1, 1, valid, H * D, 0);
        const zt_tensor v = ck_input(c, ZT_F32, 1, 1, valid, H * D, 0);
        memset((char *)x.kv.k + (size_t)slot[i] * bytes, 0, bytes);
        memset((char *)x.kv.v + (size_t)slot[i] * bytes, 0, bytes);
        c->ref.kv_append(c->one, &x.kv, slot[i], k, v);
    }
    x.slot = slot;
    x.bias = bias ? ck_floats(c, n * valid, 0, 2) : NULL;
    return x;
}

static zt_span make_span(const struct context *x, int row0, int rows)
{
    return (zt_span){ .row0 = row0, .rows = rows, .kv = &x->kv, .slot = x->slot, .n = x->n, .bias = x->bias };
}

// Two roundings of each probability to bf16 (ours and the reference's, which may scale them differently) have
// a variance of 2^-16 / 24 each: 1.3e-6. F32: sums over D and over the keys, exp, and the scaling of q.
static double limit(enum zt_type type, int D, int keys)
{
    return type == ZT_BF16 ? 2e-6 : (64 + D + keys / 2.0) * CK_U2;
}

struct shape {
    int  M, H, D, valid, n;
    bool bias;
};

static void attention(ck *c, enum zt_type type, struct shape s, int pad)
{
    if (!ck_begin(c, attention, "%s %d x %dx%d, %d heads of %d%s", ck_type(type), s.M, s.n, s.valid, s.H, s.D,
                  s.bias ? ", bias" : ""))
        return;
    const struct context x = make_context(c, type, s.H, s.D, s.valid, s.n, s.bias);
    const zt_tensor q = ck_input(c, ZT_F32, 1, 1, s.M, s.H * s.D, pad);
    const ck_buf out = ck_output(c, ZT_F32, 1, 1, s.M, s.H * s.D, pad * 2);
    ck_ready(c);

    const zt_span whole = make_span(&x, 0, s.M);
    c->ref.attention(c->one, out.ref, q, &whole, 1);
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
    c->ref.attention(c->one, out.ref, q, span, ZT_LEN(span));
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
    c->ref.attention(c->one, out.ref, q, &whole, 1);
    c->now.attention(c->dev, out.now, q, &whole, 1);
    // A logit of 80 rounded in f32 is off by 80 units, and so is the probability, relatively.
    ck_compare(c, &out, limit(type, D, 200) + 80 * 80 * CK_U2);
    ck_end(c);
}

static void kv_append(ck *c, enum zt_type type, int H, int D, int valid, int pad)
{
    if (!ck_begin(c, kv_append, "%s %d keys, %d heads of %d", ck_type(type), valid, H, D))
        return;
    const zt_tensor k = ck_input(c, ZT_F32, 1, 1, valid, H * D, pad);
    const zt_tensor v = ck_input(c, ZT_F32, 1, 1, valid, H * D, pad + 1);
    zt_kv kv = make_kv(type, H, D, valid, NULL, NULL);
    const int n = (int)(zt_kv_slot_bytes(&kv) / zt_type_bytes(type));
    const ck_buf kc = ck_output(c, type, 3, 1, 1, n, 0), vc = ck_output(c, type, 3, 1, 1, n, 0);
    const zt_tensor all[] = { kc.ref, vc.ref, kc.now, vc.now };
    for (size_t i = 0; i < ZT_LEN(all); i++)            // slot 1 is zero but for what is appended
        memset((char *)all[i].data + zt_kv_slot_bytes(&kv), 0, zt_kv_slot_bytes(&kv));
    ck_ready(c);

    kv.k = kc.ref.data, kv.v = vc.ref.data;
    c->ref.kv_append(c->one, &kv, 1, k, v);
    kv.k = kc.now.data, kv.v = vc.now.data;
    c->now.kv_append(c->dev, &kv, 1, k, v);
    ck_exact(c, &kc);
    ck_exact(c, &vc);
    while (valid >= 45 && ck_bench(c, 0, (8.0 + 2.0 * (double)zt_type_bytes(type)) * valid * H * D))
        c->now.kv_append(c->run, &kv, 1, k, v);
    ck_end(c);
}

void check_attention(ck *c)
{
    static const enum zt_type types[] = { ZT_F32, ZT_BF16 };
    static const struct shape shapes[] = {
        { 1, 1, 32, 1, 1, false }, { 3, 2, 32, 5, 1, false }, { 7, 1, 64, 16, 1, true }, { 13, 3, 64, 17, 2, false },
        { 144, 3, 64, 16, 1, false }, { 144, 3, 64, 3, 1, false }, { 45, 6, 32, 45, 8, false }, { 20, 2, 128, 45, 4, true },
        { 144, 3, 64, 144, 1, false }, { 144, 3, 64, 144, 4, false }, { 144, 3, 64, 144, 8, false },
        { 144, 4, 64, 144, 8, false }, { 144, 6, 32, 144, 8, false }, { 45, 2, 128, 144, 8, false }, { 11, 2, 48, 33, 7, true },
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
    }
}
