// SPDX-License-Identifier: Apache-2.0
// States and passes: what is packed, merged, sliced or threaded gives the same bits as what is not.
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"
#include "diffusion/model.h"
#include "diffusion/weights.h"
#include "tests/small_model.h"

static const char *make_model;
static char *int8_model, *renoise_model;

static const char *const levels[] = { "c", "avx2", "avx512" };
static const struct variant {
    enum zt_precision precision;
    enum zt_kv_choice kv;
} variants[] = {
    { ZT_PRECISION_F32, ZT_KV_DEFAULT }, { ZT_PRECISION_BF16, ZT_KV_DEFAULT }, { ZT_PRECISION_INT8, ZT_KV_DEFAULT },
    { ZT_PRECISION_INT8, ZT_KV_INT8 },
};

// NULL when this machine or build does not have the level.
static zt_device *open_device(const char *level, int threads)
{
    zt_device *d = NULL;
    if (zt_device_open(&d, &(zt_device_params){ .device = "cpu", .level = level, .threads = threads }) < 0)
        return NULL;
    if (level && strcmp(d->level, level) != 0)
        zt_device_close(&d);
    return d;
}

static zt_model *open_model(zt_device *d, const char *path, enum zt_precision p)
{
    zt_model *m = NULL;
    assert_int_equal(zt_model_open(&m, d, path, p), 0);
    return m;
}

static zt_state *new_state(zt_model *m, uint64_t seed)
{
    zt_state *s = NULL;
    assert_int_equal(zt_state_create(&s, m, 0, 0, seed), 0);
    return s;
}

static size_t floats(const zt_state *s)
{
    const zt_tensor x = zt_state_x0(s);
    return (size_t)x.n[1] * (size_t)x.n[2] * (size_t)x.n[3];
}

static uint64_t hash_x0(const zt_state *s)
{
    return zt_hash(0, zt_state_x0(s).data, floats(s) * sizeof(float));
}

static void pass(zt_model *m, zt_state *s, enum zt_pass what, float t, float t_next)
{
    const zt_job job = { s, what, t, t_next };
    assert_int_equal(zt_model_pass(m, &job, 1, 0, zt_model_get_info(m)->layers), 0);
}

// Frame k of a session in `steps` steps; the commit of k - 1 is merged or done alone.
static void make_frame(zt_model *m, zt_state *s, int steps, bool merged)
{
    float t[ZT_MAX_STEPS + 1] = { 0 };
    const bool first = zt_state_frame(s) == 0;
    if (!first && !merged)
        pass(m, s, ZT_COMMIT, 0, 0);
    zt_state_begin(s);
    zt_model_steps(m, steps, t);
    for (int i = 0; i < steps; i++)
        pass(m, s, i == 0 && !first && merged ? ZT_COMMIT_DENOISE : ZT_DENOISE, t[i], i + 1 < steps ? t[i + 1] : 0);
}

// Calls fn for every level and precision that runs here.
static void everywhere(void (*fn)(zt_device *d, zt_model *m), int threads)
{
    int ran = 0;
    for (size_t l = 0; l < ZT_LEN(levels); l++) {
        zt_device *d = open_device(levels[l], threads);
        for (size_t v = 0; d && v < ZT_LEN(variants); v++) {
            zt_model *m = NULL;
            assert_int_equal(zt_model_open_kv(&m, d, int8_model, variants[v].precision, variants[v].kv), 0);
            assert_int_equal(zt_model_get_info(m)->precision, variants[v].precision);
            fn(d, m);
            zt_model_close(&m);
            ran++;
        }
        zt_device_close(&d);
    }
    assert_true(ran >= (int)ZT_LEN(variants));
}

// ---- packed

enum { STATES = 4, ROUNDS = 12 };

static const char *const prompts[STATES] = { "volcano at night", "snow on hills", "fog over a canyon at dawn in snow", NULL };

// What state i does in round r: a script of frames of two steps whose commits are sometimes merged; state i starts i rounds late.
static bool next_job(zt_model *m, zt_state *s, int i, int r, zt_job *job)
{
    static const struct {
        bool         begin;
        enum zt_pass pass;
        int          step;
    } script[] = {
        { true, ZT_DENOISE, 0 }, { false, ZT_DENOISE, 1 }, { true, ZT_COMMIT_DENOISE, 0 }, { false, ZT_DENOISE, 1 },
        { false, ZT_COMMIT, 0 }, { true, ZT_DENOISE, 0 }, { false, ZT_DENOISE, 1 }, { true, ZT_COMMIT_DENOISE, 0 },
        { false, ZT_DENOISE, 1 },
    };
    float t[3] = { 0 };
    const int at = r - i;
    if (at < 0 || at >= (int)ZT_LEN(script))
        return false;
    if (at == 5 && i == 1)
        zt_state_prompt(s, "desert at noon", NULL, 0);
    if (at == 7)
        zt_state_control(s, i, 0.5f);
    if (script[at].begin)
        zt_state_begin(s);
    zt_model_steps(m, 2, t);
    *job = (zt_job){ s, script[at].pass, t[script[at].step], t[script[at].step + 1] };
    return true;
}

static void run_script(zt_model *m, bool packed, uint64_t hash[STATES][ROUNDS])
{
    zt_state *s[STATES];
    for (int i = 0; i < STATES; i++) {
        s[i] = new_state(m, (uint64_t)(100 + i));
        zt_state_prompt(s[i], prompts[i], NULL, 0);
    }
    for (int r = 0; r < ROUNDS; r++) {
        zt_job job[STATES];
        int n = 0;
        for (int i = 0; i < STATES; i++) {
            if (!next_job(m, s[i], i, r, &job[n]))
                continue;
            if (packed)
                n++;
            else
                assert_int_equal(zt_model_pass(m, job, 1, 0, zt_model_get_info(m)->layers), 0);
        }
        if (n > 0)
            assert_int_equal(zt_model_pass(m, job, n, 0, zt_model_get_info(m)->layers), 0);
        for (int i = 0; i < STATES; i++)
            hash[i][r] = hash_x0(s[i]);
    }
    for (int i = 0; i < STATES; i++)
        zt_state_destroy(&s[i]);
}

static void check_packed(zt_device *d, zt_model *m)
{
    uint64_t alone[STATES][ROUNDS], packed[STATES][ROUNDS];
    run_script(m, false, alone);
    run_script(m, true, packed);
    assert_memory_equal(alone, packed, sizeof(alone));
    assert_int_not_equal(alone[0][ROUNDS - 1], alone[3][ROUNDS - 1]);
    assert_int_equal(zt_device_sync(d), 0);
}

static void packed_passes_equal_separate_ones(void **state)
{
    everywhere(check_packed, 1);
    everywhere(check_packed, 2);
}

// ---- merged

static void check_merged(zt_device *d, zt_model *m)
{
    zt_state *a = new_state(m, 5), *b = new_state(m, 5);
    for (int k = 0; k < 12; k++) {                      // past the window of 8
        if (k == 4) {
            zt_state_prompt(a, "snow at night", NULL, 0);
            zt_state_prompt(b, "snow at night", NULL, 0);
        }
        if (k == 6) {
            zt_state_control(a, 0, -1);
            zt_state_control(b, 0, -1);
        }
        make_frame(m, a, 2, true);
        make_frame(m, b, 2, false);
        assert_int_equal(hash_x0(a), hash_x0(b));
    }
    zt_state_destroy(&a);
    zt_state_destroy(&b);
    assert_int_equal(zt_device_sync(d), 0);
}

static void merged_commit_equals_commit_then_denoise(void **state)
{
    everywhere(check_merged, 1);
}

// ---- threads, slices, seeds

static uint64_t run(zt_model *m, uint64_t seed, int frames, int window)
{
    zt_state *s = new_state(m, seed);
    uint64_t h = 0;
    zt_state_window(s, window);
    for (int k = 0; k < frames; k++) {
        make_frame(m, s, 2, true);
        h = h * 31 + hash_x0(s);
    }
    zt_state_destroy(&s);
    return h;
}

static void one_and_two_threads_give_the_same_bits(void **state)
{
    for (size_t l = 0; l < ZT_LEN(levels); l++) {
        uint64_t h[2] = { 0 };
        for (int threads = 1; threads <= 2; threads++) {
            zt_device *d = open_device(levels[l], threads);
            if (!d)
                continue;
            zt_model *m = open_model(d, int8_model, ZT_PRECISION_INT8);
            h[threads - 1] = run(m, 3, 6, 0);
            zt_model_close(&m);
            zt_device_close(&d);
        }
        assert_int_equal(h[0], h[1]);
    }
}

static void slices_equal_whole_passes(void **state)
{
    zt_device *d = open_device(NULL, 1);
    zt_model *m = open_model(d, int8_model, ZT_PRECISION_DEFAULT);
    zt_state *a = new_state(m, 1), *b = new_state(m, 1), *other = new_state(m, 2);
    make_frame(m, a, 1, true);
    zt_state_begin(b);
    const zt_job job = { b, ZT_DENOISE, 1000, 0 };
    assert_int_equal(zt_model_pass(m, &job, 1, 0, 1), 0);
    zt_state *late = NULL;                              // sessions come and begin between two slices, larger ones too
    assert_int_equal(zt_state_create(&late, m, 320, 192, 7), 0);
    zt_state_prompt(other, "volcano", NULL, 0);
    zt_state_begin(other);
    assert_int_equal(zt_model_pass(m, &job, 1, 1, 2), 0);
    assert_int_equal(hash_x0(a), hash_x0(b));
    zt_state_destroy(&a);
    zt_state_destroy(&b);
    zt_state_destroy(&other);
    zt_state_destroy(&late);
    zt_model_close(&m);
    zt_device_close(&d);
}

// Commits and steps of three frames of two streams, the blocks cut at every unit of so many groups; 0: whole passes.
static uint64_t in_units(zt_model *m, int groups)
{
    zt_state *s[2] = { new_state(m, 1), new_state(m, 2) };
    const int units = zt_model_get_info(m)->layers * ZT_PARTS * groups;
    uint64_t h = 0;
    for (int frame = 0; frame < 3; frame++) {
        zt_job job[2];
        for (int i = 0; i < 2; i++) {
            zt_state_begin(s[i]);
            job[i] = (zt_job){ s[i], frame ? ZT_COMMIT_DENOISE : ZT_DENOISE, 1000, 0 };
        }
        if (!groups)
            assert_int_equal(zt_model_pass(m, job, 2, 0, zt_model_get_info(m)->layers), 0);
        for (int u = 0; u < units; u++)
            assert_int_equal(zt_model_slice(m, job, 2, groups, u, u + 1), 0);
        h = h * 31 + hash_x0(s[0]);
        h = h * 31 + hash_x0(s[1]);
    }
    zt_state_destroy(&s[0]);
    zt_state_destroy(&s[1]);
    return h;
}

static void check_units(zt_device *d, zt_model *m)
{
    (void)d;
    const uint64_t whole = in_units(m, 0);
    for (int groups = 1; groups <= 7; groups += 3)      // of 24 rows each frame: groups end within frames, some are empty
        assert_int_equal(in_units(m, groups), whole);
}

static void groups_of_rows_equal_whole_passes(void **state)
{
    (void)state;
    everywhere(check_units, 2);
}

// A pass on the buffers of its own waits between its units while others run, and may be forgotten.
static void a_slice_waits_for_whole_passes(void **state)
{
    zt_device *d = open_device(NULL, 2);
    zt_model *m = open_model(d, int8_model, ZT_PRECISION_DEFAULT);
    zt_state *a = new_state(m, 1), *b = new_state(m, 1), *other = new_state(m, 2), *alone = new_state(m, 2);
    make_frame(m, a, 1, true);
    for (int i = 0; i < 3; i++)
        make_frame(m, alone, 2, true);
    zt_state_begin(b);
    const zt_job job = { b, ZT_DENOISE, 1000, 0 };
    assert_int_equal(zt_model_slice(m, &job, 1, 1, 0, 1), 0);
    assert_int_equal(zt_model_slice(m, &job, 1, 2, 0, 5), 0);      // begun again: the first is forgotten
    for (int i = 0; i < 3; i++)
        make_frame(m, other, 2, true);
    assert_int_equal(zt_model_slice(m, &job, 1, 2, 5, 2 * 2 * ZT_PARTS), 0);
    assert_int_equal(hash_x0(a), hash_x0(b));
    assert_int_equal(hash_x0(alone), hash_x0(other));
    zt_state_destroy(&a);
    zt_state_destroy(&b);
    zt_state_destroy(&other);
    zt_state_destroy(&alone);
    zt_model_close(&m);
    zt_device_close(&d);
}

static void fewer_experts_hold_for_whole_frames(void **state)
{
    zt_device *d = open_device(NULL, 1);
    zt_model *m = open_model(d, int8_model, ZT_PRECISION_DEFAULT);
    zt_state *own = new_state(m, 1), *same = new_state(m, 1), *fewer = new_state(m, 1);
    zt_state_top_k(same, zt_model_get_info(m)->top_k);
    make_frame(m, own, 2, true);
    make_frame(m, same, 2, true);
    make_frame(m, fewer, 2, true);
    assert_int_equal(hash_x0(own), hash_x0(fewer));
    zt_state_top_k(fewer, 1);
    make_frame(m, own, 2, true);
    make_frame(m, same, 2, false);
    make_frame(m, fewer, 2, false);                     // the frame before is committed first, with all of them
    assert_int_equal(hash_x0(own), hash_x0(same));
    assert_int_not_equal(hash_x0(own), hash_x0(fewer));
    zt_state_destroy(&own);
    zt_state_destroy(&same);
    zt_state_destroy(&fewer);
    zt_model_close(&m);
    zt_device_close(&d);
}

static void seeds_decide_the_frames(void **state)
{
    zt_device *d = open_device(NULL, 1);
    const char *const models[] = { int8_model, renoise_model };
    for (int i = 0; i < 2; i++) {
        zt_model *m = open_model(d, models[i], ZT_PRECISION_DEFAULT);
        assert_int_equal(run(m, 1, 3, 0), run(m, 1, 3, 0));
        assert_int_not_equal(run(m, 1, 3, 0), run(m, 2, 3, 0));
        zt_model_close(&m);
    }
    zt_device_close(&d);
}

// ---- window

static void a_smaller_window_equals_a_model_of_that_window(void **state)
{
    char *const narrow = small_model(make_model, "--quant int8 --window 4 --ground 1");
    char *const sink = small_model(make_model, "--quant int8 --window 8 --sink 2 --ground 1");
    zt_device *d = open_device(NULL, 1);
    zt_model *wide = open_model(d, int8_model, ZT_PRECISION_DEFAULT), *m = open_model(d, narrow, ZT_PRECISION_DEFAULT);
    zt_model *pinned = open_model(d, sink, ZT_PRECISION_DEFAULT);
    assert_int_equal(run(wide, 9, 7, 4), run(m, 9, 7, 0));
    assert_int_equal(run(wide, 9, 4, 4), run(wide, 9, 4, 0));           // nothing to leave out yet
    assert_int_not_equal(run(wide, 9, 7, 4), run(wide, 9, 7, 0));
    assert_int_equal(run(wide, 9, 8, 0), run(pinned, 9, 8, 0));         // all frames fit: a sink changes nothing
    assert_int_not_equal(run(wide, 9, 10, 0), run(pinned, 9, 10, 0));
    zt_model_close(&wide);
    zt_model_close(&m);
    zt_model_close(&pinned);
    zt_device_close(&d);
    small_model_remove(narrow);
    small_model_remove(sink);
}

// ---- numbers

static double distance(const zt_state *a, const zt_state *b)
{
    const float *const x = zt_state_x0(a).data, *const y = zt_state_x0(b).data;
    double error = 0, norm = 0;
    for (size_t i = 0; i < floats(a); i++) {
        error += ((double)x[i] - y[i]) * ((double)x[i] - y[i]);
        norm += (double)x[i] * x[i];
    }
    return sqrt(error / norm);
}

static double distance_of(const char *level, enum zt_precision p, enum zt_precision q, enum zt_kv_choice kv)
{
    zt_device *c = open_device("c", 1), *d = open_device(level, 1);
    if (!d) {
        zt_device_close(&c);
        return 0;
    }
    zt_model *m = NULL, *n = NULL;
    assert_int_equal(zt_model_open_kv(&m, c, int8_model, p, p == q ? kv : ZT_KV_DEFAULT), 0);
    assert_int_equal(zt_model_open_kv(&n, d, int8_model, q, kv), 0);
    zt_state *a = new_state(m, 4), *b = new_state(n, 4);
    make_frame(m, a, 1, true);
    make_frame(n, b, 1, true);
    const double result = distance(a, b);
    zt_state_destroy(&a);
    zt_state_destroy(&b);
    zt_model_close(&m);
    zt_model_close(&n);
    zt_device_close(&c);
    zt_device_close(&d);
    return result;
}

static double level_distance(const char *level, enum zt_precision p, enum zt_precision q)
{
    return distance_of(level, p, q, ZT_KV_DEFAULT);
}

static void levels_and_precisions_agree(void **state)
{
    for (size_t l = 1; l < ZT_LEN(levels); l++) {
        // f32: sums of up to 256 products in another order, 2^-24 each, through two blocks
        assert_true(level_distance(levels[l], ZT_PRECISION_F32, ZT_PRECISION_F32) < 1e-5);
        // bf16 and int8: a sum that differs in its last bit may round to another bf16 (2^-9) or integer (1/254 of the row's
        // largest), or choose another expert; most do not
        assert_true(level_distance(levels[l], ZT_PRECISION_BF16, ZT_PRECISION_BF16) < 0.03);
        assert_true(level_distance(levels[l], ZT_PRECISION_INT8, ZT_PRECISION_INT8) < 0.03);
        assert_true(distance_of(levels[l], ZT_PRECISION_INT8, ZT_PRECISION_INT8, ZT_KV_INT8) < 0.03);
    }
    // the same weights in a shorter arithmetic: roundings of every row of every matrix add up
    assert_true(level_distance("c", ZT_PRECISION_F32, ZT_PRECISION_BF16) < 0.05);
    assert_true(level_distance("c", ZT_PRECISION_F32, ZT_PRECISION_INT8) < 0.1);
    assert_true(distance_of("c", ZT_PRECISION_F32, ZT_PRECISION_INT8, ZT_KV_INT8) < 0.1);
}

static void pattern(float *x, size_t n, int kind)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)((int)(i * (size_t)(7 + 4 * kind) % 13) - 6) / 4;
}

// What a frame leaves in the cache is its clean latent alone: neither the noise nor the steps that led there.
static void commits_replace_what_denoising_left(void **state)
{
    zt_device *d = open_device(NULL, 1);
    zt_model *m = open_model(d, int8_model, ZT_PRECISION_DEFAULT);
    zt_state *a = new_state(m, 1), *b = new_state(m, 1);
    float *const x0 = calloc(floats(a), sizeof(float));
    for (int k = 0; k < 3; k++) {
        pattern(x0, floats(a), k);
        zt_state_begin(a);
        zt_state_begin(b);
        pass(m, a, ZT_DENOISE, 1000, 500);              // b has no keys of this frame before it commits
        zt_state_put(a, x0);
        zt_state_put(b, x0);
        pass(m, a, ZT_COMMIT, 0, 0);
        pass(m, b, ZT_COMMIT, 0, 0);
    }
    zt_state_begin(a);
    zt_state_begin(b);
    pass(m, a, ZT_DENOISE, 1000, 0);
    pass(m, b, ZT_DENOISE, 1000, 0);
    assert_int_equal(hash_x0(a), hash_x0(b));
    free(x0);
    zt_state_destroy(&a);
    zt_state_destroy(&b);
    zt_model_close(&m);
    zt_device_close(&d);
}

// Decodes the patterns named, as one stream; rgb holds the last picture.
static void decode_stream(zt_model *m, const char *kinds, float *rgb)
{
    zt_state *s = new_state(m, 1);
    float *const x0 = calloc(floats(s), sizeof(float));
    for (; *kinds; kinds++) {
        pattern(x0, floats(s), *kinds - '0');
        zt_state_begin(s);
        zt_state_put(s, x0);
        assert_memory_equal(zt_state_x0(s).data, x0, floats(s) * sizeof(float));
        zt_state_decode(s, zt_tensor_4d(rgb, ZT_F32, 1, 3, 64, 96));
        pass(m, s, ZT_COMMIT, 0, 0);
    }
    free(x0);
    zt_state_destroy(&s);
}

// A picture depends on its latent and on the frames before, and on nothing else.
static void decoder_remembers_the_frame_before(void **state)
{
    enum { PIXELS = 3 * 96 * 64 };
    static float x[PIXELS], y[PIXELS];
    zt_device *d = open_device(NULL, 1);
    zt_model *m = open_model(d, int8_model, ZT_PRECISION_DEFAULT);
    decode_stream(m, "01", x);
    decode_stream(m, "01", y);
    assert_memory_equal(x, y, sizeof(x));
    decode_stream(m, "11", y);
    assert_memory_not_equal(x, y, sizeof(x));
    decode_stream(m, "1", x);
    assert_memory_not_equal(x, y, sizeof(x));
    for (int i = 0; i < PIXELS; i++)
        assert_true(x[i] >= -1 && x[i] <= 1 && y[i] >= -1 && y[i] <= 1);
    zt_model_close(&m);
    zt_device_close(&d);
}

// ---- doors

static void impossible_sizes_are_refused(void **state)
{
    static const int bad[][2] = { { 0, 64 }, { 64, 0 }, { -16, 16 }, { 15, 16 }, { 16, 24 }, { 4112, 16 }, { 16, 4112 } };
    zt_device *d = open_device(NULL, 1);
    zt_model *m = open_model(d, int8_model, ZT_PRECISION_DEFAULT);
    zt_state *s = NULL;
    for (size_t i = 0; i < ZT_LEN(bad); i++)
        assert_int_equal(zt_state_create(&s, m, bad[i][0], bad[i][1], 1), -EINVAL);
    assert_null(s);
    assert_int_equal(zt_state_create(&s, m, 48, 32, 1), 0);     // another size than the model's own
    make_frame(m, s, 1, true);
    assert_int_equal(floats(s), 16 * 6 * 4);
    zt_state_destroy(&s);
    zt_state_destroy(&s);                                       // takes NULL
    zt_model_close(&m);
    zt_device_close(&d);
}

static void a_model_says_what_it_is(void **state)
{
    zt_device *d = open_device(NULL, 1);
    zt_model *m = open_model(d, int8_model, ZT_PRECISION_DEFAULT), *other = open_model(d, renoise_model, ZT_PRECISION_DEFAULT);
    const zt_model_info *const i = zt_model_get_info(m);
    assert_int_equal(i->precision, ZT_PRECISION_INT8);          // what the file has
    assert_int_equal(i->w, 96);
    assert_int_equal(i->n_controls, 4);
    assert_int_equal(zt_model_control(m, "speed"), 2);
    assert_int_equal(zt_model_control(m, "warp"), -1);
    assert_string_equal(zt_model_word(m, "place", 0), "mountains");
    assert_null(zt_model_word(m, "place", 8));
    assert_null(zt_model_word(m, "nothing", 0));
    assert_true(i->parameters > 100000 && i->weight_bytes > i->parameters && i->state_bytes > 100000);
    assert_int_not_equal(i->hash, zt_model_get_info(other)->hash);
    zt_model_close(&m);
    m = open_model(d, int8_model, ZT_PRECISION_F32);
    assert_true(zt_model_get_info(m)->weight_bytes > 3 * zt_model_get_info(m)->parameters);
    zt_model_close(&m);
    zt_model_close(&other);
    zt_device_close(&d);
}

int main(int argc, char **argv)
{
    make_model = argc > 1 ? argv[1] : "make_model";
    int8_model = small_model(make_model, "--quant int8 --ground 1");
    renoise_model = small_model(make_model, "--quant f32 --sampler renoise --ffn 96 --seed 2");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packed_passes_equal_separate_ones),
        cmocka_unit_test(merged_commit_equals_commit_then_denoise),
        cmocka_unit_test(one_and_two_threads_give_the_same_bits),
        cmocka_unit_test(slices_equal_whole_passes),
        cmocka_unit_test(groups_of_rows_equal_whole_passes),
        cmocka_unit_test(a_slice_waits_for_whole_passes),
        cmocka_unit_test(fewer_experts_hold_for_whole_frames),
        cmocka_unit_test(seeds_decide_the_frames),
        cmocka_unit_test(a_smaller_window_equals_a_model_of_that_window),
        cmocka_unit_test(levels_and_precisions_agree),
        cmocka_unit_test(commits_replace_what_denoising_left),
        cmocka_unit_test(decoder_remembers_the_frame_before),
        cmocka_unit_test(impossible_sizes_are_refused),
        cmocka_unit_test(a_model_says_what_it_is),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    small_model_remove(int8_model);
    small_model_remove(renoise_model);
    return failed;
}
