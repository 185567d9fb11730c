// SPDX-License-Identifier: Apache-2.0
// Prompts to tokens.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "diffusion/text_words.h"

static const char *const config_text =
    "{\"dim\": 8, \"num_heads\": 1, \"num_layers\": 1, \"in_dim\": 4, \"out_dim\": 4, \"ffn_dim\": 8, \"text\": {\"encoder\": \"words\", "
    "\"text_dim\": 4, \"max_tokens\": 4, \"default_prompt\": \"mountains\", \"tokens\": [\"\", \"mountains\", \"night\", \"snow\", \"fog\"], "
    "\"words\": {\"mountains\": 1, \"alps\": 1, \"night\": 2, \"snow\": 3, \"fog\": 4, \"caf\\u00e9\": 4}, "
    "\"groups\": {\"place\": [1, 1], \"time\": [2, 3]}, \"usual\": [1, 3]}}";
static zt_config config;

static int setup(void **state)
{
    return zt_config_parse(&config, config_text, strlen(config_text), "test");
}

static void what_a_prompt_leaves_open_is_the_usual(void **state)
{
    int id[4] = { 0, 2 };
    assert_int_equal(zt_words_complete(&config.text, id, 2), 3);
    assert_memory_equal(id, ((const int[]){ 0, 2, 1 }), 3 * sizeof(int));
    assert_int_equal(zt_words_complete(&config.text, id, 1), 3);
    assert_memory_equal(id, ((const int[]){ 0, 1, 3 }), 3 * sizeof(int));
    assert_int_equal(zt_words_complete(&config.text, (int[]){ 0, 4, 4, 4 }, 4), 4);     // no room
}

static int teardown(void **state)
{
    zt_config_finish(&config);
    return 0;
}

static void check(const char *text, const char *ignored, int n, const int *id)
{
    int got[4];
    char unknown[64];
    assert_int_equal(zt_words_parse(&config.text, text, got, unknown, sizeof(unknown)), n);
    assert_memory_equal(got, id, (size_t)n * sizeof(int));
    assert_string_equal(unknown, ignored);
}

static void known_words_come_in_order_and_once(void **state)
{
    check("Snow on the ALPS at Night, mountains!", "", 4, (const int[]){ 0, 3, 1, 2 });
    check("", "", 1, (const int[]){ 0 });
    check("fog fog FOG", "", 2, (const int[]){ 0, 4 });
    check("caf\xc3\xa9", "", 2, (const int[]){ 0, 4 });
    check("snow fog night mountains", "", 4, (const int[]){ 0, 3, 4, 2 });      // max_tokens counts token 0
}

static void unknown_words_are_reported_once(void **state)
{
    check("a cat and a Cat over snow with a dog", "cat dog", 2, (const int[]){ 0, 3 });
    check("cats cat", "cats cat", 1, (const int[]){ 0 });
    check("snowy fog-bound", "snowy fog-bound", 1, (const int[]){ 0 });         // parts of words are not words
    check("\xe9\x9b\xaa night", "\xe9\x9b\xaa", 2, (const int[]){ 0, 2 });
}

static void long_input_is_cut_at_words(void **state)
{
    char text[70000], ignored[16];
    int id[4];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    memcpy(text + 60000, " night ", 7);
    assert_int_equal(zt_words_parse(&config.text, text, id, ignored, sizeof(ignored)), 2);
    assert_string_equal(ignored, "");                   // its 47 letters do not fit
    assert_int_equal(zt_words_parse(&config.text, "lion tiger elephant bear", id, ignored, sizeof(ignored)), 1);
    assert_string_equal(ignored, "lion tiger bear");    // what does not fit is left out
    assert_int_equal(zt_words_parse(&config.text, "lion", id, NULL, 0), 1);
}

// A long word is cut between letters, wherever those lie.
static void cut_words_stay_utf8(void **state)
{
    static const char *const letters[] = { "x", "\xc3\xa9", "\xe9\x9b\xaa", "\xf0\x9f\x8c\xbb" };
    for (size_t bytes = 1; bytes <= 4; bytes++) {
        for (size_t before = 0; before < 4; before++) {
            char text[300] = "", ignored[100];
            int id[4];
            memset(text, 'a', before);
            for (int i = 0; i < 60; i++)
                strcat(text, letters[bytes - 1]);
            assert_int_equal(zt_words_parse(&config.text, text, id, ignored, sizeof(ignored)), 1);
            const size_t n = before + (ZT_WORD_BYTES - 1 - before) / bytes * bytes;     // whole letters, and all that fit
            assert_int_equal(strlen(ignored), n);
            assert_memory_equal(ignored, text, n);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_prompt_leaves_open_is_the_usual),
        cmocka_unit_test(known_words_come_in_order_and_once),
        cmocka_unit_test(unknown_words_are_reported_once),
        cmocka_unit_test(long_input_is_cut_at_words),
        cmocka_unit_test(cut_words_stay_utf8),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
