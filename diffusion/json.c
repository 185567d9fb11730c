// SPDX-License-Identifier: Apache-2.0
// The bounded JSON reader.
#include "diffusion/json.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

static bool fail(zt_json *j, const char *why)
{
    if (!j->error)
        j->error = why;
    return false;
}

void zt_json_init(zt_json *j, const void *text, size_t bytes)
{
    *j = (zt_json){ .begin = text, .at = text, .end = (const char *)text + bytes };
}

size_t zt_json_offset(const zt_json *j)
{
    return (size_t)(j->at - j->begin);
}

static void skip_blanks(zt_json *j)
{
    while (j->at < j->end && (*j->at == ' ' || *j->at == '\n' || *j->at == '\r' || *j->at == '\t'))
        j->at++;
}

bool zt_json_done(zt_json *j)
{
    skip_blanks(j);
    if (!j->error && (j->depth || j->at != j->end))
        return fail(j, "text after the end");
    return !j->error;
}

char zt_json_peek(zt_json *j)
{
    skip_blanks(j);
    if (j->error || j->at == j->end)
        return 0;
    return *j->at == '-' || (*j->at >= '0' && *j->at <= '9') ? '0' : *j->at;
}

bool zt_json_enter(zt_json *j, char open)
{
    if (zt_json_peek(j) != open)
        return fail(j, open == '{' ? "an object was expected" : "an array was expected");
    if (j->depth == ZT_JSON_DEPTH)
        return fail(j, "nested too deeply");
    j->at++;
    j->first[j->depth++] = true;
    return true;
}

// Between members: true when another one follows, false after `close` or an error.
static bool next(zt_json *j, char close)
{
    if (j->error)
        return false;
    if (j->depth == 0)
        return fail(j, "nothing is open");
    const char c = zt_json_peek(j);
    if (c == close) {
        j->at++;
        j->depth--;
        return false;
    }
    if (j->first[j->depth - 1]) {
        j->first[j->depth - 1] = false;
        return c ? true : fail(j, "ends early");
    }
    if (c != ',')
        return fail(j, c ? "a comma was expected" : "ends early");
    j->at++;
    return true;
}

bool zt_json_item(zt_json *j)
{
    return next(j, ']');
}

bool zt_json_key(zt_json *j, char *key, size_t bytes)
{
    if (!next(j, '}') || !zt_json_string(j, key, bytes))
        return false;
    if (zt_json_peek(j) != ':')
        return fail(j, "a colon was expected");
    j->at++;
    return true;
}

static int put_utf8(uint32_t c, char *out)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    const int n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (int i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)((n == 2 ? 0xc0 : n == 3 ? 0xe0 : 0xf0) | c);
    return n;
}

static bool hex4(zt_json *j, uint32_t *out)
{
    if (j->end - j->at < 4)
        return false;
    *out = 0;
    for (int i = 0; i < 4; i++, j->at++) {
        const char c = *j->at;
        const int v = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (v < 0)
            return false;
        *out = *out << 4 | (uint32_t)v;
    }
    return true;
}

// What follows a backslash, as UTF-8: its length, 0 when invalid.
static int escape(zt_json *j, char *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (j->at == j->end)
        return 0;
    const char c = *j->at++;
    const char *const known = memchr(from, c, sizeof(from) - 1);
    if (known) {
        out[0] = to[known - from];
        return 1;
    }
    uint32_t high, low;
    if (c != 'u' || !hex4(j, &high) || high == 0 || (high >= 0xdc00 && high < 0xe000))
        return 0;
    if (high < 0xd800 || high >= 0xe000)
        return put_utf8(high, out);
    if (j->end - j->at < 6 || j->at[0] != '\\' || j->at[1] != 'u')
        return 0;
    j->at += 2;
    if (!hex4(j, &low) || low < 0xdc00 || low >= 0xe000)
        return 0;
    return put_utf8(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00), out);
}

// The string that comes next; `out` NULL: only checked.
static bool read_string(zt_json *j, char *out, size_t bytes)
{
    if (zt_json_peek(j) != '"')
        return fail(j, "a string was expected");
    j->at++;
    for (size_t used = 0;;) {
        char piece[4];
        int n;
        if (j->at == j->end)
            return fail(j, "a string does not end");
        const unsigned char c = (unsigned char)*j->at;
        if (c == '"')
            break;
        if (c < 0x20)
            return fail(j, "a control character in a string");
        if (c == '\\') {
            j->at++;
            n = escape(j, piece);
            if (!n)
                return fail(j, "an invalid escape");
        } else {
            n = zt_utf8_length(j->at, (size_t)(j->end - j->at));
            if (!n)
                return fail(j, "not UTF-8");
            memcpy(piece, j->at, (size_t)n);
            j->at += n;
        }
        if (out && used + (size_t)n >= bytes)
            return fail(j, "a string is too long");
        if (out)
            memcpy(out + used, piece, (size_t)n);
        used += (size_t)n;
        if (out)
            out[used] = 0;
    }
    j->at++;
    return true;
}

bool zt_json_string(zt_json *j, char *out, size_t bytes)
{
    if (bytes < 1)
        return fail(j, "a string is too long");
    out[0] = 0;
    return read_string(j, out, bytes);
}

static int digits(zt_json *j)
{
    int n = 0;
    for (; j->at < j->end && *j->at >= '0' && *j->at <= '9' && n < 400; j->at++)
        n++;
    return n;
}

// Moves past a number of the JSON grammar.
static bool scan_number(zt_json *j)
{
    if (zt_json_peek(j) != '0')
        return fail(j, "a number was expected");
    if (*j->at == '-')
        j->at++;
    const char *const start = j->at;
    const int n = digits(j);
    if (n == 0 || (n > 1 && *start == '0'))
        return fail(j, "not a number");
    if (j->at < j->end && *j->at == '.') {
        j->at++;
        if (digits(j) == 0)
            return fail(j, "not a number");
    }
    if (j->at < j->end && (*j->at == 'e' || *j->at == 'E')) {
        j->at++;
        if (j->at < j->end && (*j->at == '+' || *j->at == '-'))
            j->at++;
        if (digits(j) == 0)
            return fail(j, "not a number");
    }
    return true;
}

bool zt_json_u64(zt_json *j, uint64_t *out)
{
    zt_json_peek(j);
    const char *const start = j->at;
    if (!scan_number(j))
        return false;
    uint64_t v = 0;
    for (const char *p = start; p < j->at; p++) {
        if (*p < '0' || *p > '9')
            return fail(j, "a whole number >= 0 was expected");
        const uint64_t digit = (uint64_t)(*p - '0');
        if (v > (UINT64_MAX - digit) / 10)
            return fail(j, "a number is too large");
        v = v * 10 + digit;
    }
    *out = v;
    return true;
}

bool zt_json_number(zt_json *j, double *out)
{
    zt_json_peek(j);
    const char *const start = j->at;
    if (!scan_number(j))
        return false;
    char text[64];
    const size_t n = (size_t)(j->at - start);
    if (n >= sizeof(text))
        return fail(j, "a number is too long");
    memcpy(text, start, n);
    text[n] = 0;
    const locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);        // the program's may want a decimal comma
    if (!c)
        return fail(j, "no memory");
    const double v = strtod_l(text, NULL, c);
    freelocale(c);
    if (!isfinite(v))
        return fail(j, "a number is too large");
    *out = v;
    return true;
}

static bool literal(zt_json *j, const char *word)
{
    const size_t n = strlen(word);
    if ((size_t)(j->end - j->at) < n || memcmp(j->at, word, n) != 0)
        return fail(j, "not a value");
    j->at += n;
    return true;
}

bool zt_json_bool(zt_json *j, bool *out)
{
    const char c = zt_json_peek(j);
    if (c != 't' && c != 'f')
        return fail(j, "true or false was expected");
    if (!literal(j, c == 't' ? "true" : "false"))
        return false;
    *out = c == 't';
    return true;
}

bool zt_json_skip(zt_json *j)
{
    const char c = zt_json_peek(j);
    switch (c) {
    case '"': return read_string(j, NULL, 0);
    case '0': return scan_number(j);
    case 't': return literal(j, "true");
    case 'f': return literal(j, "false");
    case 'n': return literal(j, "null");
    case '[':
        if (!zt_json_enter(j, '['))
            return false;
        while (zt_json_item(j)) {               // the recursion ends at ZT_JSON_DEPTH
            if (!zt_json_skip(j))
                return false;
        }
        return !j->error;
    case '{':
        if (!zt_json_enter(j, '{'))
            return false;
        while (next(j, '}')) {
            if (!read_string(j, NULL, 0) || zt_json_peek(j) != ':')
                return fail(j, "a colon was expected");
            j->at++;
            if (!zt_json_skip(j))
                return false;
        }
        return !j->error;
    default:
        return fail(j, c ? "not a value" : "ends early");
    }
}
