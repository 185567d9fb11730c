// SPDX-License-Identifier: Apache-2.0
// The checks are checked: every broken kernel is caught in each case where its fault shows, and in no other.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "tests/checkkernel.h"

static ck c;
static int shown;                   // cases in which the fault had an effect
static char last_case[sizeof(c.name)];

static void show(void)
{
    shown += strcmp(last_case, c.name) != 0;
    snprintf(last_case, sizeof(last_case), "%s", c.name);
}

static zt_layer_norm_fn norm_correct, norm_drops_tail, norm_writes_past_end, norm_forgets_last_row, norm_scribbles,
    norm_wrong_eps, norm_reads_past_end, norm_depends_on_threads, norm_fails;

static void norm_correct(struct zt_device *d, zt_tensor out, zt_tensor x, const float *scale, const float *shift,
                         int64_t step, const int32_t *row, float eps)
{
    zt_layer_norm_c(d, out, x, scale, shift, step, row, eps);
}

// The statistics are right, the columns past the last whole vector are not written.
static void norm_drops_tail(struct zt_device *d, zt_tensor out, zt_tensor x, const float *scale, const float *shift,
                            int64_t step, const int32_t *row, float eps)
{
    const int C = out.n[3];
    float tail[16][16];             // of at most 16 rows
    for (int m = 0; m < ZT_MIN(out.n[2], 16); m++) {
        for (int i = C - C % 16; i < C; i++)
            tail[m][i % 16] = zt_f32(out)[m * out.step[2] + i];
    }
    zt_layer_norm_c(d, out, x, scale, shift, step, row, eps);
    for (int m = 0; m < ZT_MIN(out.n[2], 16); m++) {
        for (int i = C - C % 16; i < C; i++)
            zt_f32(out)[m * out.step[2] + i] = tail[m][i % 16];
    }
    if (C % 16)
        show();
}

static void norm_writes_past_end(struct zt_device *d, zt_tensor out, zt_tensor x, const float *scale,
                                 const float *shift, int64_t step, const int32_t *row, float eps)
{
    zt_layer_norm_c(d, out, x, scale, shift, step, row, eps);
    zt_f32(out)[(out.n[2] - 1) * out.step[2] + out.n[3]] = 1;
    show();
}

static void norm_forgets_last_row(struct zt_device *d, zt_tensor out, zt_tensor x, const float *scale,
                                  const float *shift, int64_t step, const int32_t *row, float eps)
{
    const int M = out.n[2] - 1;
    zt_layer_norm_c(d, zt_tensor_rows(out, 0, M), zt_tensor_rows(x, 0, M), scale, shift, step, row, eps);
    show();
}

static void norm_scribbles(struct zt_device *d, zt_tensor out, zt_tensor x, const float *scale, const float *shift,
                           int64_t step, const int32_t *row, float eps)
{
    zt_layer_norm_c(d, out, x, scale, shift, step, row, eps);
    if (x.data == out.data)
        return;
    zt_f32(x)[0] = nextafterf(zt_f32(x)[0], 9);
    show();
}

static void norm_wrong_eps(struct zt_device *d, zt_tensor out, zt_tensor x, const float *scale, const float *shift,
                           int64_t step, const int32_t *row, float eps)
{
    zt_layer_norm_c(d, out, x, scale, shift, step, row, eps * 1.01f);
    if (x.data != out.data && x.n[3] > 1)   // in place no row is small; of one column the variance is 0
        show();
}

static void norm_reads_past_end(struct zt_device *d, zt_tensor out, zt_tensor x, const float *scale,
                                const float *shift, int64_t step, const int32_t *row, float eps)
{
    const int64_t last = (x.n[2] - 1) * x.step[2];
    const float past = zt_f32(x)[last + x.n[3]];
    zt_layer_norm_c(d, out, x, scale, shift, step, row, eps);
    zt_f32(out)[0] += 0 * past;
    show();
}

static void norm_depends_on_threads(struct zt_device *d, zt_tensor out, zt_tensor x, const float *scale,
                                    const float *shift, int64_t step, const int32_t *row, float eps)
{
    zt_layer_norm_c(d, out, x, scale, shift, step, row, eps);
    if (d->threads == 1 || x.data == out.data)
        return;
    zt_f32(out)[0] = nextafterf(zt_f32(out)[0], 9);
    show();
}

static void norm_fails(struct zt_device *d, zt_tensor out, zt_tensor x, const float *scale, const float *shift,
                       int64_t step, const int32_t *row, float eps)
{
    zt_layer_norm_c(d, out, x, scale, shift, step, row, eps);
    d->error = -ENOMEM;
    show();
}

static void linear_forgets_bias(struct zt_device *d, zt_tensor out, zt_tensor x, const zt_matrix *w,
                                const zt_epilogue *e)
{
    zt_matrix without = *w;
    without.bias = NULL;
    zt_linear_c(d, out, x, &without, e);
    if (w->bias)
        show();
}

static void linear_takes_gate_of_row_0(struct zt_device *d, zt_tensor out, zt_tensor x, const zt_matrix *w,
                                       const zt_epilogue *e)
{
    zt_epilogue wrong = *e;
    wrong.row = NULL;
    zt_linear_c(d, out, x, w, &wrong);
    if (e->row && (x.n[2] > 1 || e->row[0]))
        show();
}

// Ties go away from zero: only the case made of ties tells.
static void linear_rounds_half_up(struct zt_device *d, zt_tensor out, zt_tensor x, const zt_matrix *w,
                                  const zt_epilogue *e)
{
    static float rounded[1000];
    zt_tensor y = zt_tensor_2d(rounded, ZT_F32, x.n[2], x.n[3]);
    const bool ties = strstr(c.name, "ties");
    for (int i = 0; ties && i < x.n[2] * x.n[3]; i++)
        rounded[i] = roundf(zt_f32(x)[i]);
    zt_linear_c(d, out, ties ? y : x, w, e);
    if (ties)
        show();
}

// One padding key of each slot takes part.
static void attention_sees_padding(struct zt_device *d, zt_tensor out, zt_tensor q, const zt_span *span, int n)
{
    for (int i = 0; i < n; i++) {
        zt_kv kv = *span[i].kv;
        zt_span s = span[i];
        s.kv = &kv;
        const bool wrong = kv.valid < kv.keys && !s.bias;
        kv.valid += wrong;
        zt_attention_c(d, out, q, &s, 1);
        // a key of zeros has a logit of 0, which weighs nothing beside 80; in 8 bits it has its frame's mean, and shows
        if (wrong && (kv.type == ZT_I8 || !strstr(c.name, "peaked")))
            show();
    }
}

static void moe_swaps_ranks(struct zt_device *d, zt_tensor out, zt_tensor x, const zt_moe *w, const zt_epilogue *e)
{
    zt_moe_c(d, out, x, w, e);
    if (w->k < 2 || !w->topk)
        return;
    for (int m = 0; m < x.n[2]; m++) {
        int32_t *t = w->topk + (int64_t)m * w->k;
        const int32_t first = t[0];
        t[0] = t[1];
        t[1] = first;
    }
    show();
}

static void conv_forgets_residual(struct zt_device *d, zt_tensor out, zt_tensor a, zt_tensor b, zt_tensor residual,
                                  const zt_conv *w)
{
    const zt_tensor none = { 0 };
    zt_conv_c(d, out, a, b, none, w);
    if (residual.data)
        show();
}

static void history_keeps_the_oldest(struct zt_device *d, zt_tensor out, void *past, zt_tensor x, const float *gamma,
                                     enum zt_act act)
{
    const size_t frame = (size_t)x.n[3] * zt_type_bytes(out.type);
    zt_history_c(d, out, past, x, gamma, act);
    for (int m = 0; past && m < x.n[2]; m++)
        memcpy((char *)past + (2 * (size_t)m + 1) * frame, (char *)out.data + (3 * (size_t)m + 2) * frame, frame);
    if (past)
        show();
}

static void warp_moves_the_other_way(struct zt_device *d, zt_tensor out, zt_tensor in, zt_tensor move)
{
    float *const m = move.data;
    const int n = 2 * move.n[2] * move.n[3];
    for (int i = 0; i < n; i++)
        m[i] = -m[i];
    zt_warp_c(d, out, in, move);
    for (int i = 0; i < n; i++)
        m[i] = -m[i];
    show();
}

static void patchify_clears_other_columns(struct zt_device *d, zt_tensor out, zt_tensor x, int c0)
{
    const int used = (c0 + x.n[1]) * 4;
    zt_patchify_c(d, out, x, c0);
    for (int m = 0; m < out.n[2]; m++)
        memset(zt_f32(out) + m * out.step[2] + used, 0, (size_t)(out.n[3] - used) * sizeof(float));
    if (out.n[3] > used)
        show();
}

static void i420_is_two_levels_off(struct zt_device *d, uint8_t *const plane[3], const ptrdiff_t pitch[3],
                                   zt_tensor rgb)
{
    zt_rgb_to_i420_c(d, plane, pitch, rgb);
    plane[2][0] += 2;
    show();
}

// Runs the checks with `now` in place of the references.
static void expect(zt_kernels now, void (*check)(ck *c))
{
    c = (ck){ .seed = 7, .level = "broken", .quiet = true };
    shown = 0;
    last_case[0] = 0;
    zt_kernels_select(&c.ref, zt_levels, ZT_HOST, 0, "c");
    c.before = c.now = c.ref;
#define X(op) if (now.op) c.now.op = now.op;
    ZT_OPS(X)
#undef X
    assert_int_equal(zt_device_open(&c.dev, &(zt_device_params){ .level = "c", .threads = 2 }), 0);
    assert_int_equal(zt_device_open(&c.one, &(zt_device_params){ .level = "c", .threads = 1 }), 0);
    c.host = c.one;
    check(&c);
    zt_device_close(&c.one);
    zt_device_close(&c.dev);
    assert_true(c.passed + c.failed > 0);
    assert_int_equal(c.failed, shown);
}

static void test_a_correct_kernel_passes(void **state)
{
    expect((zt_kernels){ .layer_norm = norm_correct }, check_norm);
    assert_int_equal(c.failed, 0);
}

static void test_broken_norms_are_caught(void **state)
{
    static zt_layer_norm_fn *const broken[] = {
        norm_drops_tail, norm_writes_past_end, norm_forgets_last_row, norm_scribbles, norm_wrong_eps,
        norm_reads_past_end, norm_depends_on_threads, norm_fails,
    };
    for (size_t i = 0; i < ZT_LEN(broken); i++) {
        expect((zt_kernels){ .layer_norm = broken[i] }, check_norm);
        assert_true(c.failed > 0);
    }
}

static void test_other_faults_are_caught(void **state)
{
    const struct {
        zt_kernels now;
        void     (*check)(ck *c);
    } broken[] = {
        { { .linear = linear_forgets_bias }, check_linear },
        { { .linear = linear_takes_gate_of_row_0 }, check_linear },
        { { .linear = linear_rounds_half_up }, check_linear },
        { { .attention = attention_sees_padding }, check_attention },
        { { .moe = moe_swaps_ranks }, check_moe },
        { { .conv = conv_forgets_residual }, check_conv },
        { { .history = history_keeps_the_oldest }, check_history },
        { { .warp = warp_moves_the_other_way }, check_sample },
        { { .patchify = patchify_clears_other_columns }, check_sample },
        { { .rgb_to_i420 = i420_is_two_levels_off }, check_pixel },
    };
    for (size_t i = 0; i < ZT_LEN(broken); i++) {
        expect(broken[i].now, broken[i].check);
        assert_true(c.failed > 0);
    }
}

static void test_what_did_not_change_is_not_checked(void **state)
{
    expect((zt_kernels){ .layer_norm = norm_correct }, check_norm);
    const int once = c.passed;
    c.passed = 0;
    c.before = c.now;
    check_norm(&c);
    assert_int_equal(c.passed, 0);
    assert_true(once > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_correct_kernel_passes),
        cmocka_unit_test(test_broken_norms_are_caught),
        cmocka_unit_test(test_other_faults_are_caught),
        cmocka_unit_test(test_what_did_not_change_is_not_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
