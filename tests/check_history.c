// SPDX-License-Identifier: Apache-2.0
// Cases of history.
#include "tests/checkkernel.h"

#include <string.h>

#include "base/base.h"

// Two frames in a row: the second finds the first one in the past.
static void run_case(ck *c, enum zt_type type, int M, int C, bool past, bool norm, enum zt_act act)
{
    if (!ck_begin(c, history, "%s %dx%d%s%s%s", ck_type(type), M, C, past ? " past" : "", norm ? " norm" : "",
                  act ? " silu" : ""))
        return;
    const zt_tensor x = ck_input(c, ZT_F32, 1, 1, M, C, 3), y = ck_input(c, ZT_F32, 1, 1, M, C, 0);
    const float *gamma = norm ? ck_floats(c, C, 1, 0.1f) : NULL;
    const ck_buf out = ck_output(c, type, 1, 1, M, past ? 3 * C : C, 0);
    const ck_buf old = ck_inout(c, type, 1, 1, past ? M : 1, 2 * C, 0);
    ck_ready(c);
    const zt_tensor in[2] = { x, y };
    for (int i = 0; i < 2; i++) {
        c->ref.history(c->host, out.ref, past ? old.ref.data : NULL, in[i], gamma, act);
        c->now.history(c->dev, out.now, past ? old.now.data : NULL, in[i], gamma, act);
    }
    // A few roundings in the norm, its products and the sigmoid. A bf16 is now and then rounded the other way: 4e-4 of
    // them by 2^-8, and one of the largest (by 2^-6) may be.
    const double limit = (8 + C / 4.0) * CK_U2 + (type == ZT_BF16 ? 2e-8 + 0x1p-11 / ((double)M * C) : 0);
    ck_compare(c, &out, limit);
    if (past)
        ck_compare(c, &old, limit);
    while (M > 1000 && ck_bench(c, (double)M * C, (double)M * C * (4 + 8 * (double)zt_type_bytes(type))))
        c->now.history(c->run, out.now, past ? old.now.data : NULL, y, gamma, act);
    ck_end(c);
}

void check_history(ck *c)
{
    static const int sizes[][2] = { { 1, 1 }, { 3, 5 }, { 130, 16 }, { 70, 33 }, { 9, 384 }, { 1200, 96 } };
    for (size_t i = 0; i < ZT_LEN(sizes); i++) {
        for (int j = 0; j < 8; j++)
            run_case(c, j & 1 ? ZT_BF16 : ZT_F32, sizes[i][0], sizes[i][1], j & 2, j & 4,
                     j & 4 ? ZT_ACT_SILU : ZT_ACT_NONE);
    }
    run_case(c, ZT_F32, 20, 48, false, true, ZT_ACT_NONE);
}
