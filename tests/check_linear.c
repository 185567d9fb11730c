// SPDX-License-Identifier: Apache-2.0
// Cases of linear.
#include "tests/checkkernel.h"

#include "base/base.h"

enum { SETS = 3 };              // of gates

static const enum zt_type types[] = { ZT_F32, ZT_BF16, ZT_I8, ZT_I4 };

enum epilogue { PLAIN, RELU, SILU, GELU, ADD, GATE, GATE_ROWS, EPILOGUES };
static const char *const epilogue_names[] = { "plain", "relu", "silu", "gelu", "add", "gate", "rows" };

static zt_epilogue make_epilogue(ck *c, enum epilogue kind, int M, int N)
{
    zt_epilogue e = { .act = kind == RELU ? ZT_ACT_RELU : kind == SILU ? ZT_ACT_SILU
                             : kind == GELU ? ZT_ACT_GELU : ZT_ACT_NONE, .add = kind == ADD };
    if (kind == GATE || kind == GATE_ROWS) {
        e.gate = ck_floats(c, SETS * (N + 3) - 3, 0, 1);
        e.gate_step = N + 3;
    }
    if (kind == GATE_ROWS)
        e.row = ck_ints(c, M, SETS);
    return e;
}

static double limit(enum zt_type type, int K, enum epilogue kind)
{
    // I8, I4: integers are exact; float(sum), s * scale, the product and + bias round, and + out. Others: a sum.
    const double sum = type == ZT_I8 || type == ZT_I4 ? 4 : 4 + K / 4.0;
    return (sum + (kind == SILU || kind == GELU ? 64 : 0)) * CK_U2;     // act: 8 roundings, in steps of one sign
}

static void run_case(ck *c, enum zt_type type, int M, int N, int K, enum epilogue kind, int pad)
{
    if (ck_skips(c, 2.0 * M * N * K) || !ck_begin(c, linear, "%s %dx%dx%d %s", ck_type(type), M, N, K, epilogue_names[kind]))
        return;
    const zt_matrix w = ck_matrix(c, type, N, K, kind != RELU && N > 1);    // one sum may cancel with its bias
    const zt_tensor x = type == ZT_I8 || type == ZT_I4 ? ck_input_i8(c, M, K, pad) : ck_input(c, ZT_F32, 1, 1, M, K, pad);
    const zt_epilogue e = make_epilogue(c, kind, M, N);
    const ck_buf out = (kind >= ADD ? ck_inout : ck_output)(c, ZT_F32, 1, 1, M, N, pad * 2);
    ck_ready(c);

    c->ref.linear(c->host, out.ref, x, &w, &e);
    c->now.linear(c->dev, out.now, x, &w, &e);
    for (int m = 0, rows; m < M; m += rows) {
        rows = ck_part(c, M - m);
        zt_epilogue part = e;
        part.row = e.row ? e.row + m : NULL;
        c->now.linear(c->one, zt_tensor_rows(out.again, m, rows), zt_tensor_rows(x, m, rows), &w, &part);
    }
    ck_compare(c, &out, limit(type, K, kind));
    ck_same(c, &out);
    while (M >= 45 && ck_bench(c, 2.0 * M * N * K, (double)zt_matrix_bytes(type, N, K) + 4.0 * M * (N + K)))
        c->now.linear(c->run, out.now, x, &w, &e);
    ck_end(c);
}

// x / s is a tie for every element but the largest: half goes to even.
static void run_ties(ck *c)
{
    enum { M = 5, N = 33, K = 50 };
    if (!ck_begin(c, linear, "i8 ties %dx%dx%d", M, N, K))
        return;
    const zt_matrix w = ck_matrix(c, ZT_I8, N, K, true);
    const zt_tensor x = ck_input(c, ZT_F32, 1, 1, M, K, 0);
    for (int i = 0; i < M * K; i++)
        zt_f32(x)[i] = i % K ? (float)((int)(ck_random(c) % 252) - 126) + 0.5f : 127;
    const zt_epilogue e = { 0 };
    const ck_buf out = ck_output(c, ZT_F32, 1, 1, M, N, 0);
    ck_ready(c);
    c->ref.linear(c->host, out.ref, x, &w, &e);
    c->now.linear(c->dev, out.now, x, &w, &e);
    ck_compare(c, &out, limit(ZT_I8, K, PLAIN));
    ck_end(c);
}

void check_linear(ck *c)
{
    static const int shapes[][3] = {        // M, N, K
        { 1, 1, 1 }, { 2, 3, 5 }, { 3, 15, 16 }, { 4, 16, 17 }, { 1, 192, 256 }, { 5, 17, 31 }, { 7, 33, 64 },
        { 13, 48, 63 }, { 6, 64, 200 }, { 25, 100, 70 }, { 1, 1152, 192 }, { 12, 192, 128 }, { 45, 576, 192 },
        { 144, 64, 192 }, { 144, 192, 192 }, { 144, 192, 200 }, { 144, 768, 192 }, { 144, 192, 768 },
        { 144, 256, 256 }, { 144, 448, 256 }, { 144, 256, 224 }, { 288, 576, 192 }, { 288, 768, 256 },
        { 31, 1536, 1536 }, { 70, 256, 2048 },
    };
    for (size_t t = 0; t < ZT_LEN(types); t++) {
        for (size_t i = 0; i < ZT_LEN(shapes); i++) {
            const int *s = shapes[i];
            run_case(c, types[t], s[0], s[1], s[2], (enum epilogue)(i % EPILOGUES), (int)(i % 2) * 3);
        }
        for (int kind = 0; kind < EPILOGUES; kind++)
            run_case(c, types[t], 29, 40, 50, (enum epilogue)kind, kind % 3);
    }
    run_ties(c);
}
