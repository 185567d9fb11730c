// SPDX-License-Identifier: Apache-2.0
// Weight files and configurations of unknown origin: what is well-formed is read exactly, everything else is refused in one line.
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/log.h"
#include "diffusion/json.h"
#include "diffusion/model.h"
#include "diffusion/quantize.h"
#include "diffusion/weights.h"

static const char *cases;       // tests/malformed
static int  lines;
static char last[1024];

static void count_line(void *cookie, enum zt_level level, const char *line)
{
    lines += level == ZT_LOG_ERROR;
    snprintf(last, sizeof(last), "%s", line);
}

// ---- files

// What a case offers: its weights file, or the folder where that is the point.
static void case_path(char *out, size_t bytes, const char *name)
{
    snprintf(out, bytes, "%s/%s/diffusion_pytorch_model.safetensors", cases, name);
    const int number = atoi(name);
    if (number == 25)
        snprintf(out, bytes, "%s/%s/no-such-file.safetensors", cases, name);
    if ((number >= 17 && number <= 22) || number == 24 || number == 26)
        snprintf(out, bytes, "%s/%s", cases, name);
    if (number >= 27)
        snprintf(out, bytes, "%s/%s/%s", cases, name, number < 38 ? "self_forcing.pt" : "tiny.gguf");
}

static void malformed_models_are_refused_in_one_line(void **state)
{
    zt_device *d = NULL;
    assert_int_equal(zt_device_open(&d, &(zt_device_params){ .device = "cpu", .threads = 1 }), 0);
    DIR *const dir = opendir(cases);
    assert_non_null(dir);
    int seen = 0;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        char path[1024];
        zt_model *m = NULL;
        if (e->d_name[0] < '0' || e->d_name[0] > '9' || atoi(e->d_name) == 48)   // an autoencoder: test_model_cli.sh
            continue;
        case_path(path, sizeof(path), e->d_name);
        lines = 0;
        const int err = zt_model_open(&m, d, path, ZT_PRECISION_DEFAULT);
        if (strncmp(e->d_name, "00", 2) == 0) {
            assert_int_equal(err, 0);
            assert_int_equal(zt_model_get_info(m)->parameters, 1952);
            zt_model_close(&m);
        } else {
            const bool missing = atoi(e->d_name) >= 24 && atoi(e->d_name) <= 26;
            if (err != (missing ? -ENOENT : -EINVAL) || lines != 1 || m)
                fail_msg("%s: %d, %d lines: %s", e->d_name, err, lines, last);
        }
        seen++;
    }
    assert_int_equal(seen, 48);
    assert_int_equal(access("pickle_was_executed", F_OK), -1);
    closedir(dir);
    zt_device_close(&d);
}

// ---- headers

static char file[1 << 16];

// A file of that header and `data` bytes.
static int parse(const char *header, size_t data)
{
    const uint64_t n = strlen(header);
    zt_weights *w = NULL;
    memcpy(file, &n, 8);
    memcpy(file + 8, header, n);
    memset(file + 8 + n, 1, data);
    lines = 0;
    const int err = zt_weights_parse(&w, file, 8 + n + data, "test");
    assert_int_equal(lines, err ? 1 : 0);
    zt_weights_close(&w);
    return err;
}

static void well_formed_headers_are_read(void **state)
{
    assert_int_equal(parse("{}", 0), 0);
    assert_int_equal(parse("{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}  ", 4), 0);
    assert_int_equal(parse("{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"shape\":[2,0],\"dtype\":\"F16\",\"data_offsets\":[0,0]}}", 0), 0);
    assert_int_equal(parse("{\"b\":{\"dtype\":\"I8\",\"shape\":[3],\"data_offsets\":[4,7]},"
                           "\"a\":{\"dtype\":\"BF16\",\"shape\":[1,1,1,1,1,1,1,2],\"data_offsets\":[0,4]}}", 7), 0);
    assert_int_equal(parse("{\"\\u00e9\\ud83d\\ude00\":{\"dtype\":\"F8_E4M3\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1), 0);
}

static void ill_formed_headers_are_refused(void **state)
{
    static const struct {
        const char *header;
        size_t      data;
    } bad[] = {
        { "", 0 }, { "[]", 0 }, { " {}", 0 }, { "{", 0 }, { "{}x", 0 }, { "{,}", 0 }, { "{}", 1 },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},}", 4 },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 5 },          // bytes that nobody owns
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[1,5]}}", 5 },          // a hole
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,3]}}", 3 },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4 },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4]}}", 4 },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4 },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[01],\"data_offsets\":[0,4]}}", 4 },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[18446744073709551617],\"data_offsets\":[0,4]}}", 4 },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[9223372036854775807,2],\"data_offsets\":[0,4]}}", 4 },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4 },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4 },
        { "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4 },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"more\":1}}", 4 },
        { "{\"a\":{\"dtype\":\"f32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4 },
        { "{\"a\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,1]},\"a\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[1,2]}}", 2 },
        { "{\"a\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,1]},\"\\u0061\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[1,2]}}", 2 },
        { "{\"__metadata__\":{\"a\":1}}", 0 }, { "{\"__metadata__\":[]}", 0 }, { "{\"__metadata__\":{},\"__metadata__\":{}}", 0 },
        { "{\"a\\u0000\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1 },
        { "{\"\xff\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1 },
        { "{\"\xed\xa0\x80\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1 },
        { "{\"\\ud800\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1 },
        { "{\"a\n\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1 },
    };
    for (size_t i = 0; i < ZT_LEN(bad); i++) {
        if (parse(bad[i].header, bad[i].data) != -EINVAL)
            fail_msg("accepted: %s", bad[i].header);
    }
}

// Every prefix of a good file is bad, and so is the file with one byte more.
static void truncated_files_are_refused(void **state)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/00-control/diffusion_pytorch_model.safetensors", cases);
    FILE *const f = fopen(path, "rb");
    assert_non_null(f);
    const size_t n = fread(file, 1, sizeof(file) - 1, f);
    fclose(f);
    zt_weights *w = NULL;
    file[n] = 0;
    for (size_t i = 0; i <= n + 1; i++) {
        char *const copy = malloc(i + 1);               // its own size, so that a sanitizer sees every step too far
        memcpy(copy, file, i);
        assert_int_equal(zt_weights_parse(&w, copy, i, "test"), i == n ? 0 : -EINVAL);
        zt_weights_close(&w);
        free(copy);
    }
}

// ---- values

static void written_files_are_read_back(void **state)
{
    static const float f[4] = { 1.5f, -2, 3e-8f, INFINITY };
    static const uint16_t b[2] = { 0x3fc0, 0xc000 }, h[5] = { 0x3e00, 0xc000, 0x0001, 0x7c00, 0x8400 };
    static const int8_t q[3] = { -127, 0, 127 };
    const zt_weight w[] = {
        { .name = "z", .dtype = "F32", .rank = 2, .shape = { 2, 2 }, .data = f, .bytes = sizeof(f) },
        { .name = "b", .dtype = "BF16", .rank = 1, .shape = { 2 }, .data = b, .bytes = sizeof(b) },
        { .name = "q", .dtype = "I8", .rank = 1, .shape = { 3 }, .data = q, .bytes = sizeof(q) },
        { .name = "h", .dtype = "F16", .rank = 1, .shape = { 5 }, .data = h, .bytes = sizeof(h) },
    };
    char path[] = "/tmp/zt-weights-XXXXXX.safetensors";
    close(mkstemps(path, 12));
    assert_int_equal(zt_weights_write(path, w, 4), 0);
    zt_weights *r = NULL;
    assert_int_equal(zt_weights_open(&r, path), 0);
    unlink(path);
    assert_int_equal(zt_weights_count(r), 4);
    assert_null(zt_weights_find(r, "a"));
    float x[5];
    zt_weight_read(zt_weights_find(r, "z"), 1, 3, x);
    assert_memory_equal(x, f + 1, 3 * sizeof(float));
    zt_weight_read(zt_weights_find(r, "b"), 0, 2, x);
    assert_true(x[0] == 1.5f && x[1] == -2);
    zt_weight_read(zt_weights_find(r, "q"), 0, 3, x);
    assert_true(x[0] == -127 && x[1] == 0 && x[2] == 127);
    zt_weight_read(zt_weights_find(r, "h"), 0, 5, x);
    assert_true(x[0] == 1.5f && x[1] == -2 && x[2] == 0x1p-24f && x[3] == INFINITY && x[4] == -0x1p-14f);
    zt_weights_close(&r);
}

static void any_name_and_no_tensor_can_be_written(void **state)
{
    static const char *const name = "a \"quoted\" \\ name,\n\x01 caf\xc3\xa9";
    const zt_weight w = { .name = name, .dtype = "I8", .rank = 1, .shape = { 1 }, .data = "x", .bytes = 1 };
    char path[] = "/tmp/zt-weights-XXXXXX.safetensors";
    close(mkstemps(path, 12));
    for (int n = 0; n < 2; n++) {
        zt_weights *r = NULL;
        assert_int_equal(zt_weights_write(path, &w, n), 0);
        assert_int_equal(zt_weights_open(&r, path), 0);
        assert_int_equal(zt_weights_count(r), n);
        assert_int_equal(zt_weights_find(r, name) != NULL, n);
        zt_weights_close(&r);
    }
    unlink(path);
}

static void hashes_see_every_bit(void **state)
{
    char text[67];
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)i;
    const uint64_t h = zt_hash(0, text, sizeof(text));
    for (size_t i = 0; i < 8 * sizeof(text); i++) {
        text[i / 8] ^= (char)(1 << i % 8);
        assert_int_not_equal(zt_hash(0, text, sizeof(text)), h);
        text[i / 8] ^= (char)(1 << i % 8);
    }
    assert_int_not_equal(zt_hash(1, text, sizeof(text)), h);
    assert_int_not_equal(zt_hash(0, text, sizeof(text) - 1), h);
}

static void rows_of_four_bits_keep_a_factor_for_each_64(void **state)
{
    enum { N = 132, G = 3 };
    float x[N], back[N];
    int8_t q[N], again[N];
    uint8_t factor[G], two[N / 2];
    for (int i = 0; i < N; i++)
        x[i] = (float)(i * 37 % 29 - 14) / 14 * (i < 64 ? 1 : i < 128 ? 0.1f : 0);
    float scale = zt_quantize_row4(x, N, q, factor);
    assert_true(factor[0] > 10 && factor[1] >= 1 && factor[1] <= 2 && factor[2] == 0 && q[N - 1] == 0);
    double error = 0, energy = 0;
    for (int i = 0; i < N; i++) {
        const float step = (float)factor[i / 64] * scale, e = fabsf((float)q[i] * step - x[i]);
        assert_true(q[i] >= -8 && q[i] <= 7 && (e <= 0.5f * step * 1.001f + 1e-6f || q[i] == -8 || q[i] == 7));
        error += (double)(e * e);
        energy += (double)(x[i] * x[i]);
    }
    assert_true(error < 0.01 * energy);     // of uniform values: steps of 1/7, 1/12 of their squares, 3 / (12 * 49)
    zt_pack_row4(q, N, two);
    zt_unpack_row4(two, N, again);
    assert_memory_equal(q, again, sizeof(q));

    const zt_weight w = { .usable = true, .type = ZT_U8, .rank = 2, .shape = { 1, N / 2 }, .elements = N / 2, .data = two };
    const zt_weight s = { .usable = true, .type = ZT_F32, .rank = 1, .shape = { 1 }, .elements = 1, .data = &scale };
    const zt_weight f = { .usable = true, .type = ZT_U8, .rank = 2, .shape = { 1, G }, .elements = G, .data = factor };
    zt_quantised_read(&(zt_quantised){ &w, &s, &f }, 0, N, back);
    for (int i = 0; i < N; i++)
        assert_true(back[i] == (float)(q[i] * factor[i / 64]) * scale);
}

static void rows_are_quantised_to_half_a_step(void **state)
{
    float x[50];
    int8_t q[50];
    for (int i = 0; i < 50; i++)
        x[i] = (float)(i * 37 % 50 - 20) / 7;
    const float scale = zt_quantize_row(x, 50, q);
    int top = 0;
    for (int i = 0; i < 50; i++) {
        assert_true(fabsf(q[i] * scale - x[i]) <= 0.5f * scale * 1.0001f);
        top |= q[i] == 127 || q[i] == -127;
    }
    assert_true(top);
    memset(x, 0, sizeof(x));
    assert_true(zt_quantize_row(x, 50, q) == 0 && q[7] == 0);
    assert_true(zt_quantize_wanted("blocks.3.ffn.experts.0.w1.weight") && zt_quantize_wanted("blocks.0.cross_attn.o.weight"));
    assert_false(zt_quantize_wanted("blocks.3.ffn.gate.weight") || zt_quantize_wanted("head.head.weight"));
}

static void json_values_are_strict(void **state)
{
    static const char *const good[] = { "0", "-1.5e+3", "\"a\"", "[1,[2,{}]]", "{\"a\":null}", " true ", "[]" };
    static const char *const bad[] = { "", "-", "1.", ".5", "+1", "1e", "NaN", "Infinity", "[1,]", "[,1]", "{\"a\"}", "{1:2}", "tru",
                                       "'a'", "\"", "[1 2]", "]", "1 2", "\"\\x\"", "// a\n1" };
    zt_json j;
    for (size_t i = 0; i < ZT_LEN(good); i++) {
        zt_json_init(&j, good[i], strlen(good[i]));
        assert_true(zt_json_skip(&j) && zt_json_done(&j));
    }
    for (size_t i = 0; i < ZT_LEN(bad); i++) {
        zt_json_init(&j, bad[i], strlen(bad[i]));
        if (zt_json_skip(&j) && zt_json_done(&j))
            fail_msg("accepted: %s", bad[i]);
    }
    uint64_t u;
    zt_json_init(&j, "18446744073709551615", 20);
    assert_true(zt_json_u64(&j, &u) && u == UINT64_MAX);
    zt_json_init(&j, "18446744073709551616", 20);
    assert_false(zt_json_u64(&j, &u));
}

int main(int argc, char **argv)
{
    cases = argc > 1 ? argv[1] : "tests/malformed";
    zt_log_set(count_line, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_models_are_refused_in_one_line),
        cmocka_unit_test(well_formed_headers_are_read),
        cmocka_unit_test(ill_formed_headers_are_refused),
        cmocka_unit_test(truncated_files_are_refused),
        cmocka_unit_test(written_files_are_read_back),
        cmocka_unit_test(any_name_and_no_tensor_can_be_written),
        cmocka_unit_test(hashes_see_every_bit),
        cmocka_unit_test(rows_are_quantised_to_half_a_step),
        cmocka_unit_test(rows_of_four_bits_keep_a_factor_for_each_64),
        cmocka_unit_test(json_values_are_strict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
