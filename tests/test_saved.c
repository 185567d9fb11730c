// SPDX-License-Identifier: Apache-2.0
// A stream that was saved and restored goes on with the same bits, whatever kind of model makes it; what is no saved stream of
// the model is refused, and a number in it that was changed does no harm.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/log.h"
#include "diffusion/model.h"
#include "diffusion/weights.h"
#include "tests/small_model.h"

enum { FRAMES = 14, STEPS = 2, SEED = 7, CHECK_AT = 16, CHECK_END = 24, HEAD = 400 };

static const char *make_model;

static zt_device *open_device(void)
{
    zt_device *d = NULL;
    assert_int_equal(zt_device_open(&d, &(zt_device_params){ .device = "cpu", .threads = 2 }), 0);
    return d;
}

static zt_state *new_state(zt_model *m, uint64_t seed)
{
    zt_state *s = NULL;
    assert_int_equal(zt_state_create(&s, m, 0, 0, seed), 0);
    return s;
}

// The next frame: its pictures as a hash. What a script says is said before.
static uint64_t make_frame(zt_model *m, zt_state *s)
{
    const zt_model_info *const info = zt_model_get_info(m);
    const uint64_t frame = zt_state_frame(s);
    float t[ZT_MAX_STEPS + 1] = { 0 };
    if (frame == 2 || frame == 9)
        zt_state_prompt(s, frame == 2 ? "volcano at night" : "snow on hills", NULL, 0);
    if (frame % 3 == 1)
        zt_state_control(s, (int)frame % 2, frame % 4 ? 0.7f : -1);
    zt_state_begin(s);
    zt_model_steps(m, STEPS, t);
    for (int i = 0; i < STEPS; i++) {
        const zt_job job = { s, i == 0 && frame ? ZT_COMMIT_DENOISE : ZT_DENOISE, t[i], t[i + 1] };
        assert_int_equal(zt_model_pass(m, &job, 1, 0, info->layers), 0);
    }
    const size_t n = (size_t)info->pictures * 3 * (size_t)(info->w * info->h);
    float *const rgb = calloc(n, sizeof(*rgb));
    assert_non_null(rgb);
    zt_state_decode(s, zt_tensor_4d(rgb, ZT_F32, info->pictures, 3, info->h, info->w));
    const uint64_t h = zt_hash(frame, rgb, n * sizeof(*rgb));
    free(rgb);
    return h;
}

static void *save(zt_state *s, size_t *bytes)
{
    *bytes = zt_state_save(s, NULL);
    assert_true(*bytes > 0);
    void *const data = malloc(*bytes);
    assert_non_null(data);
    assert_int_equal(zt_state_save(s, data), *bytes);
    return data;
}

static void goes_on(const char *path, enum zt_precision precision, enum zt_kv_choice kv)
{
    uint64_t whole[FRAMES], begun;
    zt_device *d = open_device();
    zt_model *m = NULL;
    assert_int_equal(zt_model_open_kv(&m, d, path, precision, kv), 0);
    zt_state *s = new_state(m, SEED), *other = NULL;
    void *data[FRAMES];
    size_t bytes[FRAMES];
    assert_int_equal(zt_state_save(s, NULL), 0);
    for (int i = 0; i < FRAMES; i++) {
        whole[i] = make_frame(m, s);
        data[i] = save(s, &bytes[i]);
    }
    for (int from = 1; from < FRAMES; from += 4) {
        other = new_state(m, SEED);
        for (int i = 0; i < from % 3; i++)          // one that has done something else is as good
            make_frame(m, other);
        assert_int_equal(zt_state_saved(m, data[from - 1], bytes[from - 1], &begun), 0);
        assert_int_equal(begun, from);
        assert_int_equal(zt_state_restore(other, data[from - 1], bytes[from - 1]), 0);
        assert_int_equal(zt_state_frame(other), from);
        for (int i = from; i < FRAMES; i++)
            assert_int_equal(make_frame(m, other), whole[i]);
        zt_state_destroy(&other);
    }
    for (int i = 0; i < FRAMES; i++)
        free(data[i]);
    zt_state_destroy(&s);
    zt_model_close(&m);
    zt_device_close(&d);
}

static void models_go_on(void **state)
{
    (void)state;
    static const struct { const char *flags; enum zt_precision precision; enum zt_kv_choice kv; } list[] = {
        { "--quant int8", ZT_PRECISION_DEFAULT, ZT_KV_DEFAULT }, { "--quant int8", ZT_PRECISION_F32, ZT_KV_DEFAULT },
        { "--quant int8", ZT_PRECISION_DEFAULT, ZT_KV_INT8 }, { "--ground 1", ZT_PRECISION_F32, ZT_KV_DEFAULT },
        { "--quant int8 --ground 1 --sampler renoise", ZT_PRECISION_DEFAULT, ZT_KV_DEFAULT },
        { "--chunk 3 --window 9 --sink 3 --recache 6", ZT_PRECISION_BF16, ZT_KV_DEFAULT },
        { "--chunk 3 --window 9 --sink 3 --blocks mla,plain", ZT_PRECISION_F32, ZT_KV_DEFAULT },
        { "--blocks mamba2,mla", ZT_PRECISION_BF16, ZT_KV_DEFAULT },
    };
    for (size_t i = 0; i < ZT_LEN(list); i++) {
        char *folder = small_model(make_model, list[i].flags);
        goes_on(folder, list[i].precision, list[i].kv);
        small_model_remove(folder);
    }
}

static void sign(char *data, size_t bytes)
{
    const uint64_t check = zt_hash(1, data + CHECK_END, bytes - CHECK_END);
    memcpy(data + CHECK_AT, &check, sizeof(check));
}

static void what_is_another_is_refused(void **state)
{
    (void)state;
    char *folder = small_model(make_model, "--ground 1"), *second = small_model(make_model, "--ground 1 --seed 9");
    uint64_t begun;
    size_t bytes;
    zt_device *d = open_device();
    zt_model *m = NULL, *another = NULL;
    assert_int_equal(zt_model_open(&m, d, folder, ZT_PRECISION_F32), 0);
    assert_int_equal(zt_model_open(&another, d, second, ZT_PRECISION_F32), 0);
    zt_state *s = new_state(m, SEED), *seed = new_state(m, SEED + 1), *size = NULL;
    assert_int_equal(zt_state_create(&size, m, 112, 64, SEED), 0);
    make_frame(m, s);
    char *const data = save(s, &bytes), *const bad = malloc(bytes);
    assert_int_equal(zt_state_restore(seed, data, bytes), -EINVAL);
    assert_int_equal(zt_state_restore(size, data, bytes), -EINVAL);
    assert_int_equal(zt_state_saved(another, data, bytes, &begun), -EINVAL);
    for (size_t n = 0; n < bytes; n += n < HEAD ? 1 : bytes / 50)
        assert_int_equal(zt_state_restore(s, data, n), -EINVAL);
    for (size_t at = 0; at < bytes; at += at < HEAD ? 1 : bytes / 50) {
        memcpy(bad, data, bytes);
        bad[at] ^= 0x40;
        assert_int_equal(zt_state_restore(s, bad, bytes), -EINVAL);
    }
    memcpy(bad, data, bytes);
    bad[8] = 2;                         // a version from tomorrow
    sign(bad, bytes);
    assert_int_equal(zt_state_saved(m, bad, bytes, &begun), -EINVAL);
    assert_int_equal(zt_state_restore(s, data, bytes), 0);

    // numbers that somebody has changed, and signed: refused, or another stream
    int taken = 0;
    for (size_t at = 0; at < HEAD; at++) {
        for (int how = 0; how < 3; how++) {
            memcpy(bad, data, bytes);
            bad[at] = (char)(how == 0 ? bad[at] ^ 0x81 : how == 1 ? 0xff : 0x7f);
            sign(bad, bytes);
            if (zt_state_restore(s, bad, bytes) < 0)
                continue;
            taken++;
            make_frame(m, s);
        }
    }
    assert_true(taken > 0);
    free(bad);
    free(data);
    zt_state_destroy(&s);
    zt_state_destroy(&seed);
    zt_state_destroy(&size);
    zt_model_close(&m);
    zt_model_close(&another);
    zt_device_close(&d);
    small_model_remove(folder);
    small_model_remove(second);
}

static void quiet(void *cookie, enum zt_level level, const char *line)
{
    (void)cookie, (void)level, (void)line;
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    make_model = argv[1];
    zt_log_set(quiet, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_go_on),
        cmocka_unit_test(what_is_another_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
