// SPDX-License-Identifier: Apache-2.0
// Reads JSON of unknown origin in one go: bounded depth, no allocation, strict grammar (no NaN, no comments).
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ZT_JSON_DEPTH 32

// After the first problem every call returns false and `error` says what it was.
typedef struct zt_json {
    const char *begin, *at, *end;
    int         depth;
    bool        first[ZT_JSON_DEPTH];
    const char *error;
} zt_json;

// Borrows the text, which need not end in 0.
void zt_json_init(zt_json *j, const void *text, size_t bytes);
// True when the text held exactly one value and no error occurred.
bool zt_json_done(zt_json *j);
// Bytes read so far: the place of an error.
size_t zt_json_offset(const zt_json *j);

// What comes next: one of { [ " 0 (a number) t f n, or 0 at the end.
char zt_json_peek(zt_json *j);

// Enters the object or array that comes next; `open` is '{' or '['.
bool zt_json_enter(zt_json *j, char open);
// Inside an object: the next member's key, decoded into `key`. False at the end, which is then left behind.
bool zt_json_key(zt_json *j, char *key, size_t bytes);
// Inside an array: is there another item? False at the end, which is then left behind.
bool zt_json_item(zt_json *j);

// Values. A string that does not fit, with its final 0, is an error, as is one that is not UTF-8 or holds a 0.
bool zt_json_string(zt_json *j, char *out, size_t bytes);
bool zt_json_u64(zt_json *j, uint64_t *out);        // digits only; no sign, fraction or exponent
bool zt_json_number(zt_json *j, double *out);
bool zt_json_bool(zt_json *j, bool *out);
bool zt_json_skip(zt_json *j);                      // any value, checked all the same

#ifdef __cplusplus
}
#endif
