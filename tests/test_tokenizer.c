// SPDX-License-Identifier: Apache-2.0
// Prompts are cleaned as the reference cleans them and give the ids that sentencepiece gives; damaged models cost a line.
#include <errno.h>
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
#include "diffusion/spiece.h"
#include "diffusion/text_cache.h"
#include "diffusion/tokenizer.h"

static const char *model;
static int lines;

static void count_line(void *cookie, enum zt_level level, const char *line)
{
    lines += level == ZT_LOG_ERROR;
}

// What ftfy.fix_text(), html.unescape() twice and the collapse of white space make of a prompt, and the ids that the
// published Python module gives for it with this model, end token included.
static const struct {
    const char *text, *clean;
    int         n, id[12];
} cases[] = {
    { "mountains at sunset", "mountains at sunset", 5, { 30, 54, 64, 23, 1 } },
    { "  a  red\tcat \n walking ", "a red cat walking", 5, { 54, 16, 9, 58, 1 } },
    { "A&amp;amp;B &lt;fog&gt;", "A&B <fog>", 10, { 54, 3, 95, 60, 3, 68, 63, 101, 3, 1 } },
    { "\xef\xac\x81re \xef\xac\x82ight", "fire flight", 12, { 60, 68, 103, 105, 107, 60, 68, 104, 103, 101, 99, 64 } },
    { "\xef\xbc\xa1\xef\xbc\xa2\xef\xbc\xa3\xef\xbc\x81", "ABC!", 5, { 54, 95, 3, 79, 1 } },
    { "\x1b[31mred\x1b[0m night", "red night", 3, { 16, 29, 1 } },
    { "", "", 1, { 1 } },
    { "\xe6\x97\xa5\xe6\x9c\xac", "\xe6\x97\xa5\xe6\x9c\xac", 3, { 60, 3, 1 } },
    { "snow\xc2\xa0\xe3\x80\x80" "fog", "snow fog", 3, { 22, 4, 1 } },
    { "caf\xc3\xa9 \xe2\x80\x94 day", "caf\xc3\xa9 \xe2\x80\x94 day", 7, { 67, 68, 89, 60, 3, 6, 1 } },
    { "zzzqqq", "zzzqqq", 6, { 60, 3, 87, 87, 87, 1 } },
    { "&#233;&#x2026;&hellip;", "\xc3\xa9\xe2\x80\xa6\xe2\x80\xa6", 4, { 60, 89, 3, 1 } },
    { "tab\x0b" "bed", "tabbed", 7, { 60, 64, 62, 95, 95, 69, 1 } },
    { "\xe2\x80\x9cquoted\xe2\x80\x9d", "\"quoted\"", 0, { 0 } },
    { "&am;&#xd800;&#;&#x;&;&", "&am;\xef\xbf\xbd&#;&#x;&;&", 0, { 0 } },
};

static void prompts_are_cleaned_as_the_reference_does(void **state)
{
    char out[256];
    for (size_t i = 0; i < ZT_LEN(cases); i++) {
        assert_int_equal(zt_prompt_clean(cases[i].text, out, sizeof(out)), 0);
        assert_string_equal(out, cases[i].clean);
    }
    assert_int_equal(zt_prompt_clean("\xff", out, sizeof(out)), -EINVAL);
    assert_int_equal(zt_prompt_clean("four", out, 4), -ENOSPC);
    assert_int_equal(zt_prompt_clean("four", out, 5), 0);
}

static void ids_are_those_of_sentencepiece(void **state)
{
    zt_tokenizer *t = NULL;
    int32_t id[16];
    if (!zt_spiece_here())
        skip();
    lines = 0;
    assert_int_equal(zt_tokenizer_open(&t, model), 0);
    assert_int_equal(zt_tokenizer_pieces(t), 109);
    for (size_t i = 0; i < ZT_LEN(cases); i++) {
        const int n = zt_tokenizer_encode(t, cases[i].text, id, 16);
        for (int k = 0; k < ZT_MIN(cases[i].n, 12); k++)
            assert_int_equal(id[k], cases[i].id[k]);
        if (cases[i].n && cases[i].n < 12)
            assert_int_equal(n, cases[i].n);
        assert_int_equal(id[n - 1], ZT_TOKEN_END);
    }
    assert_int_equal(zt_tokenizer_encode(t, cases[0].text, id, 3), 3);          // cut, and still ended
    assert_true(id[0] == 30 && id[1] == 54 && id[2] == 1);
    assert_int_equal(zt_tokenizer_encode(t, cases[0].text, id, 1), 1);
    assert_int_equal(lines, 0);
    assert_int_equal(zt_tokenizer_encode(t, "\xff", id, 16), -EINVAL);
    char *const longest = malloc(ZT_PROMPT_MAX + 2);
    memset(longest, 'a', ZT_PROMPT_MAX + 1);
    longest[ZT_PROMPT_MAX + 1] = 0;
    assert_int_equal(zt_tokenizer_encode(t, longest, id, 16), -EINVAL);
    assert_int_equal(lines, 2);
    longest[ZT_PROMPT_MAX] = 0;
    assert_int_equal(zt_tokenizer_encode(t, longest, id, 16), 16);
    free(longest);
    zt_tokenizer_close(&t);
    zt_tokenizer_close(&t);
}

static void damaged_models_are_refused_in_one_line(void **state)
{
    char path[] = "/tmp/zt-tokenizer-XXXXXX";
    void *bytes;
    size_t n;
    zt_tokenizer *t = NULL;
    if (!zt_spiece_here())
        skip();
    assert_int_equal(zt_file_read(&bytes, &n, model, ZT_TOKENIZER_MAX), 0);
    close(mkstemp(path));
    for (size_t cut = 0; cut < n; cut += n / 8) {
        FILE *const f = fopen(path, "wb");
        assert_non_null(f);
        fwrite(bytes, 1, cut, f);
        fclose(f);
        lines = 0;
        const int err = zt_tokenizer_open(&t, path);    // a cut between two pieces leaves a model
        assert_int_equal(lines, err ? 1 : 0);
        assert_true(err == 0 || err == -EINVAL);
        zt_tokenizer_close(&t);
    }
    unlink(path);
    free(bytes);
    lines = 0;
    assert_int_equal(zt_tokenizer_open(&t, "/nothing"), -ENOENT);
    assert_int_equal(zt_tokenizer_open(&t, "/dev/null"), -EINVAL);
    assert_int_equal(lines, 2);
}

static void a_prompt_is_encoded_once(void **state)
{
    char folder[] = "/tmp/zt-cache-XXXXXX", command[64];
    const int32_t id[3] = { 5, 6, 1 }, other[3] = { 5, 7, 1 };
    const float rows[3][4] = { { 1, 2, 3, 4 }, { 5, 6, 7, 8 }, { 9, 10, 11, 12 } };
    float got[3][4] = { 0 };
    assert_non_null(mkdtemp(folder));
    setenv("ZOETROPE_CACHE", folder, 1);
    assert_int_equal(zt_text_cache_get(7, id, 3, 4, got[0]), -ENOENT);
    assert_int_equal(zt_text_cache_put(7, id, 3, 4, rows[0]), 0);
    assert_int_equal(zt_text_cache_put(7, id, 3, 4, rows[0]), 0);
    assert_int_equal(zt_text_cache_get(7, id, 3, 4, got[0]), 0);
    assert_memory_equal(got, rows, sizeof(rows));
    assert_int_equal(zt_text_cache_get(8, id, 3, 4, got[0]), -ENOENT);          // another model
    assert_int_equal(zt_text_cache_get(7, other, 3, 4, got[0]), -ENOENT);       // another prompt
    assert_int_equal(zt_text_cache_get(7, id, 3, 5, got[0]), -ENOENT);
    for (uint64_t which = 100; which < 400; which++)                            // the first goes, what is in use stays
        assert_true(zt_text_cache_put(which, id, 3, 4, rows[0]) == 0 && zt_text_cache_get(7, id, 3, 4, got[0]) == 0);
    assert_int_equal(zt_text_cache_get(100, id, 3, 4, got[0]), -ENOENT);
    assert_int_equal(zt_text_cache_get(399, id, 3, 4, got[0]), 0);
    setenv("ZOETROPE_CACHE", "/proc/nowhere", 1);
    assert_true(zt_text_cache_put(7, id, 3, 4, rows[0]) < 0);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

int main(int argc, char **argv)
{
    model = argc > 1 ? argv[1] : "tests/tokenizer/spiece.model";
    zt_log_set(count_line, NULL);
    const struct CMUnitTest list[] = {
        cmocka_unit_test(prompts_are_cleaned_as_the_reference_does),
        cmocka_unit_test(ids_are_those_of_sentencepiece),
        cmocka_unit_test(damaged_models_are_refused_in_one_line),
        cmocka_unit_test(a_prompt_is_encoded_once),
    };
    return cmocka_run_group_tests(list, NULL, NULL);
}
