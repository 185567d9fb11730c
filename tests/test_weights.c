// SPDX-License-Identifier: Apache-2.0
// torch.save and GGUF files give the tensors that the same model's safetensors file has; damaged ones are refused.
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/log.h"
#include "diffusion/config.h"
#include "diffusion/json.h"
#include "diffusion/models.h"
#include "diffusion/pickle.h"
#include "diffusion/quantize.h"
#include "diffusion/weights.h"

static const char *tests;       // this folder
static int  lines;
static char last[1024];

static void count_line(void *cookie, enum zt_level level, const char *line)
{
    lines += level == ZT_LOG_ERROR;
    snprintf(last, sizeof(last), "%s", line);
}

static zt_weights *open_weights(const char *name)
{
    char path[1024];
    zt_weights *w = NULL;
    snprintf(path, sizeof(path), "%s/%s", tests, name);
    if (zt_weights_open(&w, path) != 0)
        fail_msg("%s", last);
    return w;
}

static uint8_t *read_file(const char *name, size_t *n)
{
    char path[1024];
    void *bytes = NULL;
    snprintf(path, sizeof(path), "%s/%s", tests, name);
    assert_int_equal(zt_file_read(&bytes, n, path, 1 << 20), 0);
    return bytes;
}

// ---- the same model, three times

static void every_format_gives_the_same_tensors(void **state)
{
    static const char *const names[] = { "malformed/00-control/self_forcing.pt", "malformed/00-control/tiny.gguf" };
    zt_weights *const a = open_weights("malformed/00-control/diffusion_pytorch_model.safetensors");
    for (size_t k = 0; k < ZT_LEN(names); k++) {
        zt_weights *b = open_weights(names[k]);
        assert_int_equal(zt_weights_count(a), zt_weights_count(b));
        for (int i = 0; i < zt_weights_count(a); i++) {
            const zt_weight *const x = zt_weights_at(a, i), *const y = zt_weights_at(b, i);
            float u[1024], v[1024];
            assert_string_equal(x->name, y->name);
            assert_int_equal(x->rank, y->rank);
            assert_memory_equal(x->shape, y->shape, sizeof(x->shape));
            assert_true(x->elements <= 1024 && y->usable);
            zt_weight_read(x, 0, x->elements, u);
            zt_weight_read(y, 0, y->elements, v);
            assert_memory_equal(u, v, (size_t)x->elements * sizeof(float));
        }
        zt_weights_close(&b);
    }
    zt_weights *w = a;
    zt_weights_close(&w);
}

// Whatever is accepted must be readable to its end; the sanitizers watch.
static int parse(const uint8_t *bytes, size_t n, const char *label)
{
    zt_weights *w = NULL;
    uint8_t *const exact = malloc(ZT_MAX(n, (size_t)1));
    memcpy(exact, bytes, n);
    lines = 0;
    const int err = zt_weights_parse(&w, exact, n, label);
    for (int i = 0; !err && i < zt_weights_count(w); i++) {
        const zt_weight *const t = zt_weights_at(w, i);
        float x[2];
        if (t->usable && t->elements > 1)
            zt_weight_read(t, t->elements - 2, 2, x);
    }
    assert_int_equal(lines, err ? 1 : 0);
    zt_weights_close(&w);
    free(exact);
    return err;
}

static void cut_files_are_refused(void **state)
{
    static const char *const names[] = { "malformed/00-control/self_forcing.pt", "malformed/00-control/tiny.gguf" };
    for (size_t k = 0; k < ZT_LEN(names); k++) {
        size_t n;
        uint8_t *const bytes = read_file(names[k], &n);
        for (size_t i = 0; i < n; i += i > 200 && i + 200 < n ? 11 : 1) {
            if (parse(bytes, i, names[k]) != -EINVAL)
                fail_msg("%s: accepted with %zu of %zu bytes", names[k], i, n);
        }
        assert_int_equal(parse(bytes, n, names[k]), 0);
        free(bytes);
    }
}

static void a_changed_byte_does_no_harm(void **state)
{
    static const uint8_t to[] = { 0x00, 0x7f, 0x80, 0xff };
    static const char *const names[] = { "malformed/00-control/self_forcing.pt", "malformed/00-control/tiny.gguf" };
    for (size_t k = 0; k < ZT_LEN(names); k++) {
        size_t n;
        uint8_t *const bytes = read_file(names[k], &n);
        for (size_t i = 0; i < n; i += i > 6000 && i + 4000 < n ? 17 : 1) {
            const uint8_t was = bytes[i];
            bytes[i] = to[i % ZT_LEN(to)] == was ? (uint8_t)~was : to[i % ZT_LEN(to)];
            const int err = parse(bytes, n, names[k]);
            assert_true(err == 0 || err == -EINVAL);
            bytes[i] = was;
        }
        free(bytes);
    }
}

// ---- values

// expected.safetensors holds what another implementation makes of the same random blocks.
static void blocks_are_decoded_as_published(void **state)
{
    zt_weights *blocks = open_weights("gguf/blocks.gguf"), *expected = open_weights("gguf/expected.safetensors");
    assert_int_equal(zt_weights_count(blocks), 8);
    for (int i = 0; i < 8; i++) {
        const zt_weight *const t = zt_weights_at(blocks, i), *const e = zt_weights_find(expected, t->name);
        float x[768], y[768], part[64];
        assert_string_equal(t->name, t->dtype);
        assert_non_null(e);
        assert_int_equal(t->elements, e->elements);
        zt_weight_read(t, 0, t->elements, x);
        zt_weight_read(e, 0, e->elements, y);
        for (int k = 0; k < t->elements; k++) {         // two roundings of a product and of a sum, at most
            if (fabsf(x[k] - y[k]) > 0x1p-22f * (fabsf(x[k]) + 1))
                fail_msg("%s[%d] is %g, not %g", t->name, k, x[k], y[k]);
        }
        for (int from = 0; from + 64 <= t->elements; from += 13) {
            zt_weight_read(t, from, 64, part);
            assert_memory_equal(part, x + from, sizeof(part));
        }
    }
    zt_weights_close(&blocks);
    zt_weights_close(&expected);
}

static void eight_bit_floats_are_read(void **state)
{
    static const uint8_t a[] = { 0x00, 0x01, 0x08, 0x38, 0xb8, 0x7e, 0x7f }, b[] = { 0x00, 0x01, 0x3c, 0xbc, 0x7b, 0x7c, 0xfc };
    static const float as[] = { 0, 0x1p-9f, 0x1p-6f, 1, -1, 448 }, bs[] = { 0, 0x1p-16f, 1, -1, 57344, INFINITY, -INFINITY };
    const zt_weight e4m3 = { .usable = true, .coding = ZT_F8_E4M3, .elements = 7, .data = a };
    const zt_weight e5m2 = { .usable = true, .coding = ZT_F8_E5M2, .elements = 7, .data = b };
    float x[7];
    zt_weight_read(&e4m3, 0, 7, x);
    assert_memory_equal(x, as, sizeof(as));
    assert_true(isnan(x[6]));
    zt_weight_read(&e5m2, 0, 7, x);
    assert_memory_equal(x, bs, sizeof(bs));
}

// Every value that there is comes back as itself; what lies between two goes to the nearer one.
static void eight_bit_floats_are_written(void **state)
{
    uint8_t all[254], q[254];
    float x[254];
    int n = 0;
    for (int b = 0; b < 256; b++) {
        if ((b & 127) != 127)
            all[n++] = (uint8_t)b;
    }
    const zt_weight t = { .usable = true, .coding = ZT_F8_E4M3, .elements = n, .data = all };
    zt_weight_read(&t, 0, n, x);
    assert_true(zt_quantize_row8f(x, n, q) == 1);
    assert_memory_equal(q, all, sizeof(all));
    const float between[] = { 448, 0x1.1p0f, 0x1.0fp0f, 0x1.3p0f, 0x1.8p-10f, -0x1.8p-10f, 0x1p-11f }, want[] = { 448, 1, 1, 1.25f, 0x1p-9f, -0x1p-9f, 0 };
    zt_quantize_row8f(between, 7, q);
    const zt_weight u = { .usable = true, .coding = ZT_F8_E4M3, .elements = 7, .data = q };
    zt_weight_read(&u, 0, 7, x);
    assert_memory_equal(x, want, sizeof(want));
    assert_true(zt_quantize_row8f((const float[]){ 0, 0 }, 2, q) == 0 && q[1] == 0);
}

static void views_are_walked(void **state)
{
    static const float data[] = { 0, 1, 2, 3, 4, 5 };
    const zt_weight t = { .usable = true, .type = ZT_F32, .rank = 2, .shape = { 3, 2 }, .elements = 6, .strided = true,
                          .step = { 1, 3 }, .data = data };         // the transpose of 2 x 3
    static const float want[] = { 0, 3, 1, 4, 2, 5 };
    float x[6];
    zt_weight_read(&t, 0, 6, x);
    assert_memory_equal(x, want, sizeof(want));
    zt_weight_read(&t, 3, 2, x);
    assert_memory_equal(x, want + 3, 2 * sizeof(float));
}

// ---- pickles

static int pickle(const char *text, size_t n)
{
    zt_pickle p;
    lines = 0;
    const int err = zt_pickle_read(&p, text, n, "test");
    assert_int_equal(lines, err == -EINVAL);
    if (!err)
        zt_pickle_finish(&p);
    return err;
}

#define PICKLE(text) pickle("\x80\x02" text, sizeof(text) + 1)

static void only_state_dicts_are_understood(void **state)
{
    assert_int_equal(PICKLE("}q\0."), 0);
    assert_int_equal(PICKLE("}(X\1\0\0\0aK\1X\1\0\0\0bJ\xff\xff\xff\xffX\1\0\0\0c\x8a\1\x80u."), 0);
    assert_int_equal(PICKLE("ccollections\nOrderedDict\n)R}b."), 0);
    assert_int_equal(PICKLE("](NK\1\x88G\0\0\0\0\0\0\0\0e."), 0);
    static const struct {
        const char *text;
        size_t      n;
    } bad[] = {
#define BAD(text) { "\x80\x02" text, sizeof(text) + 1 }
        BAD(""), BAD("."), BAD("NN."), BAD("(N."), BAD("t."), BAD("(u."), BAD("]NNs."), BAD("}Ns."), BAD("}(Nu."), BAD("h\0."),
        BAD("Nr\xff\xff\xff\xff."), BAD("\x8a\x09\0\0\0\0\0\0\0\0\0."), BAD("X\xff\xff\xff\xff" "a."), BAD("cos\nsystem\n."),
        BAD("cos\nsystem\nX\4\0\0\0true\x85R."), BAD("cbuiltins\neval\n)R."), BAD("cposix\nsystem"), BAD("c"),
        BAD("ccollections\nOrderedDict\nN\x85R."), BAD("ctorch\nFloatStorage\n)R."), BAD(")R."), BAD("N)R."), BAD("NQ."),
        BAD("X\7\0\0\0storageq\0cbuiltins\nset\n."), BAD("N}b."), BAD("\x93."), BAD("i."), BAD("o."), BAD("\x81."), BAD("P1\n."),
        BAD("(ctorch._utils\n_rebuild_tensor_v2\n(NK\0))\x89)tR."), BAD("K\1" "0."), BAD("K\1" "2."),
#undef BAD
        { "\x80\x04}.", 4 }, { "}.", 2 }, { "", 0 },
    };
    for (size_t i = 0; i < ZT_LEN(bad); i++) {
        if (pickle(bad[i].text, bad[i].n) != -EINVAL)
            fail_msg("accepted: pickle %zu", i);
    }
}

// ---- names, numbers, files

static void names_lose_what_training_put_there(void **state)
{
    static const char *const from[] = { "blocks.0.ffn.0.weight", "model.blocks.0.ffn.0.weight", "model.diffusion_model.blocks.0.ffn.0.weight",
        "model._fsdp_wrapped_module.blocks.0._checkpoint_wrapped_module.ffn.0.weight", "_orig_mod.module.model.blocks.0.ffn.0.weight",
        "model._fsdp_wrapped_module._orig_mod.blocks.0._fsdp_wrapped_module._fsdp_wrapped_module.ffn.0.weight" };
    for (size_t i = 0; i < ZT_LEN(from); i++) {
        char name[128];
        snprintf(name, sizeof(name), "%s", from[i]);
        zt_name_strip(name);
        assert_string_equal(name, "blocks.0.ffn.0.weight");
    }
    char alone[] = "model.";
    zt_name_strip(alone);
    assert_string_equal(alone, "model.");       // a name is never empty
}

static void numbers_have_a_point_in_any_country(void **state)
{
    char folder[] = "/tmp/zt-locale-XXXXXX", command[256];
    assert_non_null(mkdtemp(folder));
    snprintf(command, sizeof(command), "localedef -f UTF-8 -i de_DE %s/de_DE.UTF-8 2> /dev/null", folder);
    setenv("LOCPATH", folder, 1);
    const bool comma = system(command) == 0 && setlocale(LC_NUMERIC, "de_DE.UTF-8") && strtod("1,5", NULL) == 1.5;
    snprintf(command, sizeof(command), "rm -r %s", folder);
    if (system(command) != 0 || !comma)
        skip();                                 // localedef or its sources are not installed
    zt_json j;
    double v = 0;
    zt_json_init(&j, "1.5", 3);
    assert_true(zt_json_number(&j, &v) && v == 1.5);
    setlocale(LC_NUMERIC, "C");
    unsetenv("LOCPATH");
}

static void pipes_do_not_block(void **state)
{
    char folder[] = "/tmp/zt-weights-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    zt_config c;
    zt_weights *w = NULL;
    snprintf(path, sizeof(path), "%s/config.json", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    lines = 0;
    assert_int_equal(zt_config_read(&c, path), -EINVAL);
    assert_int_equal(zt_weights_open(&w, path), -EINVAL);
    assert_int_equal(lines, 2);
    unlink(path);
    snprintf(path, sizeof(path), "%s/a.index.json", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(zt_weights_open(&w, path), -EINVAL);
    assert_int_equal(lines, 3);
    unlink(path);
    rmdir(folder);
}

int main(int argc, char **argv)
{
    tests = argc > 1 ? argv[1] : "tests";
    zt_log_set(count_line, NULL);
    const struct CMUnitTest list[] = {
        cmocka_unit_test(every_format_gives_the_same_tensors),
        cmocka_unit_test(cut_files_are_refused),
        cmocka_unit_test(a_changed_byte_does_no_harm),
        cmocka_unit_test(blocks_are_decoded_as_published),
        cmocka_unit_test(eight_bit_floats_are_read),
        cmocka_unit_test(eight_bit_floats_are_written),
        cmocka_unit_test(views_are_walked),
        cmocka_unit_test(only_state_dicts_are_understood),
        cmocka_unit_test(names_lose_what_training_put_there),
        cmocka_unit_test(numbers_have_a_point_in_any_country),
        cmocka_unit_test(pipes_do_not_block),
    };
    return cmocka_run_group_tests(list, NULL, NULL);
}
