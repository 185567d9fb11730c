// SPDX-License-Identifier: Apache-2.0
// Cleans a prompt as the Wan pipelines do, as far as that needs no tables of Unicode.
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "diffusion/tokenizer.h"

// Names that prompts have; numbers are decoded in any case.
static const struct entity {
    const char *name;
    uint32_t    code;
} entities[] = {
    { "amp", '&' }, { "lt", '<' }, { "gt", '>' }, { "quot", '"' }, { "apos", '\'' }, { "nbsp", 0xa0 }, { "iexcl", 0xa1 },
    { "cent", 0xa2 }, { "pound", 0xa3 }, { "yen", 0xa5 }, { "sect", 0xa7 }, { "copy", 0xa9 }, { "laquo", 0xab },
    { "reg", 0xae }, { "deg", 0xb0 }, { "plusmn", 0xb1 }, { "micro", 0xb5 }, { "para", 0xb6 }, { "middot", 0xb7 },
    { "raquo", 0xbb }, { "frac14", 0xbc }, { "frac12", 0xbd }, { "frac34", 0xbe }, { "times", 0xd7 }, { "szlig", 0xdf },
    { "agrave", 0xe0 }, { "aacute", 0xe1 }, { "acirc", 0xe2 }, { "auml", 0xe4 }, { "aring", 0xe5 }, { "aelig", 0xe6 },
    { "ccedil", 0xe7 }, { "egrave", 0xe8 }, { "eacute", 0xe9 }, { "ecirc", 0xea }, { "euml", 0xeb }, { "iacute", 0xed },
    { "ntilde", 0xf1 }, { "oacute", 0xf3 }, { "ocirc", 0xf4 }, { "ouml", 0xf6 }, { "divide", 0xf7 }, { "oslash", 0xf8 },
    { "uacute", 0xfa }, { "ucirc", 0xfb }, { "uuml", 0xfc }, { "ndash", 0x2013 }, { "mdash", 0x2014 }, { "lsquo", 0x2018 },
    { "rsquo", 0x2019 }, { "ldquo", 0x201c }, { "rdquo", 0x201d }, { "bull", 0x2022 }, { "hellip", 0x2026 },
    { "euro", 0x20ac }, { "trade", 0x2122 }, { "larr", 0x2190 }, { "rarr", 0x2192 },
};

// What ftfy replaces by default; ligatures of Latin letters, quotes.
static const struct plain {
    uint32_t    code;
    const char *text;
} plains[] = {
    { 0x2018, "'" }, { 0x2019, "'" }, { 0x201a, "'" }, { 0x201b, "'" }, { 0x02bc, "'" }, { 0x201c, "\"" }, { 0x201d, "\"" },
    { 0x201e, "\"" }, { 0x201f, "\"" }, { 0xfb00, "ff" }, { 0xfb01, "fi" }, { 0xfb02, "fl" }, { 0xfb03, "ffi" },
    { 0xfb04, "ffl" }, { 0xfb05, "st" }, { 0xfb06, "st" }, { 0x0132, "IJ" }, { 0x0133, "ij" }, { 0x0149, "'n" },
    { 0x01f1, "DZ" }, { 0x01f2, "Dz" }, { 0x01f3, "dz" }, { 0x01c4, "D\xc5\xbd" }, { 0x01c5, "D\xc5\xbe" },
    { 0x01c6, "d\xc5\xbe" }, { 0x01c7, "LJ" }, { 0x01c8, "Lj" }, { 0x01c9, "lj" }, { 0x01ca, "NJ" }, { 0x01cb, "Nj" },
    { 0x01cc, "nj" },
};

typedef struct writer {
    char  *out;
    size_t n, room;
    bool   full;
} writer;

static void put(writer *w, const char *text, size_t n)
{
    if (w->room - w->n <= n) {                  // and a final 0
        w->full = true;
        return;
    }
    memcpy(w->out + w->n, text, n);
    w->n += n;
}

static void put_code(writer *w, uint32_t c)
{
    char s[4];
    const size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        s[i] = (char)(0x80 | (c & 0x3f));
    s[0] = (char)(n == 1 ? c : (n == 2 ? 0xc0u : n == 3 ? 0xe0u : 0xf0u) | c);
    put(w, s, n);
}

// Of valid UTF-8
static uint32_t code_at(const char *s, int n)
{
    uint32_t c = (unsigned char)*s & (n == 1 ? 0x7f : n == 2 ? 0x1f : n == 3 ? 0x0f : 0x07);
    for (int i = 1; i < n; i++)
        c = c << 6 | ((unsigned char)s[i] & 0x3f);
    return c;
}

// An entity at s: its code, and its length in *n; 0 when it is none.
static uint32_t entity(const char *s, size_t *n)
{
    const char *const end = memchr(s, ';', strnlen(s, 12));
    if (!end || s[0] != '&')
        return 0;
    *n = (size_t)(end - s) + 1;
    if (s[1] == '#') {
        const bool hex = s[2] == 'x' || s[2] == 'X';
        const char *const digits = s + 2 + hex;
        if (digits == end || strspn(digits, hex ? "0123456789abcdefABCDEF" : "0123456789") != (size_t)(end - digits))
            return 0;
        const unsigned long c = strtoul(digits, NULL, hex ? 16 : 10);
        return c > 0x10ffff || (c >= 0xd800 && c < 0xe000) || c == 0 ? 0xfffd : (uint32_t)c;
    }
    for (size_t i = 0; i < ZT_LEN(entities); i++) {
        if (strlen(entities[i].name) == *n - 2 && memcmp(entities[i].name, s + 1, *n - 2) == 0)
            return entities[i].code;
    }
    return 0;
}

static void decode_entities(const char *s, writer *w)
{
    while (*s) {
        size_t n;
        const uint32_t c = *s == '&' ? entity(s, &n) : 0;
        if (c) {
            put_code(w, c);
            s += n;
        } else {
            put(w, s++, 1);
        }
    }
}

static bool is_space(uint32_t c)
{
    return c == ' ' || c == 9 || c == 10 || c == 12 || c == 13 || c == 0x85 || c == 0xa0 || c == 0x1680
        || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

static bool is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x206a && c <= 0x206f) || c == 0xfeff || (c >= 0xfff9 && c <= 0xfffc);
}

// ESC [ numbers letter, as terminals have it.
static size_t escape(const char *s)
{
    if (s[0] != 0x1b || s[1] != '[')
        return 0;
    const size_t n = 2 + strspn(s + 2, "0123456789;");
    return (s[n] >= 'A' && s[n] <= 'Z') || (s[n] >= 'a' && s[n] <= 'z') ? n + 1 : 0;
}

static void put_plain(writer *w, uint32_t c)
{
    for (size_t i = 0; i < ZT_LEN(plains); i++) {
        if (plains[i].code == c) {
            put(w, plains[i].text, strlen(plains[i].text));
            return;
        }
    }
    put_code(w, c >= 0xff01 && c <= 0xff5e ? c - 0xff01 + '!' : c);
}

static int simplify(const char *s, writer *w)
{
    bool gap = false;
    while (*s) {
        const size_t skip = escape(s);
        const int n = zt_utf8_length(s, 4);
        if (!n)
            return -EINVAL;
        const uint32_t c = code_at(s, n);
        s += skip ? skip : (size_t)n;
        if (skip || (is_control(c) && !is_space(c)))
            continue;
        if (is_space(c)) {
            gap = true;
            continue;
        }
        if (gap && w->n > 0)
            put(w, " ", 1);
        gap = false;
        put_plain(w, c);
    }
    return 0;
}

int zt_prompt_clean(const char *text, char *out, size_t bytes)
{
    const size_t room = strlen(text) + 8;       // entities are longer than what they stand for
    char *const once = malloc(2 * room);
    if (!once)
        return -ENOMEM;
    writer first = { .out = once, .room = room }, second = { .out = once + room, .room = room };
    writer last = { .out = out, .room = bytes };
    decode_entities(text, &first);
    once[first.n] = 0;
    decode_entities(once, &second);
    second.out[second.n] = 0;
    int err = bytes > 0 ? simplify(second.out, &last) : -ENOSPC;
    if (!err && (last.full || first.full || second.full))
        err = -ENOSPC;
    if (bytes > 0)
        out[err ? 0 : last.n] = 0;
    free(once);
    return err;
}
