// SPDX-License-Identifier: Apache-2.0
// Stored elements become floats: plain types, 8-bit floats, the blocks of GGUF, strided views.
#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/base.h"
#include "diffusion/weights_file.h"

static float half(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, 2);
    return zt_f16_to_f32(h);
}

// ---- one block each; d, m: scale and minimum

static void q8_0(const uint8_t *p, float *y)
{
    const float d = half(p);
    for (int i = 0; i < 32; i++)
        y[i] = d * (float)(int8_t)p[2 + i];
}

static void q4_0(const uint8_t *p, float *y)
{
    const float d = half(p);
    for (int i = 0; i < 16; i++) {
        y[i] = d * (float)((p[2 + i] & 15) - 8);
        y[16 + i] = d * (float)((p[2 + i] >> 4) - 8);
    }
}

static void q4_1(const uint8_t *p, float *y)
{
    const float d = half(p), m = half(p + 2);
    for (int i = 0; i < 16; i++) {
        y[i] = d * (float)(p[4 + i] & 15) + m;
        y[16 + i] = d * (float)(p[4 + i] >> 4) + m;
    }
}

// The fifth bits of 32 values come first: bit i is value i's.
static void fives(const uint8_t *high, const uint8_t *low, int *q)
{
    uint32_t bits;
    memcpy(&bits, high, 4);
    for (int i = 0; i < 16; i++) {
        q[i] = (low[i] & 15) | (int)(bits >> i & 1) << 4;
        q[16 + i] = low[i] >> 4 | (int)(bits >> (16 + i) & 1) << 4;
    }
}

static void q5_0(const uint8_t *p, float *y)
{
    int q[32];
    const float d = half(p);
    fives(p + 2, p + 6, q);
    for (int i = 0; i < 32; i++)
        y[i] = d * (float)(q[i] - 16);
}

static void q5_1(const uint8_t *p, float *y)
{
    int q[32];
    const float d = half(p), m = half(p + 2);
    fives(p + 4, p + 8, q);
    for (int i = 0; i < 32; i++)
        y[i] = d * (float)q[i] + m;
}

// Six-bit scale and minimum j of the eight that twelve bytes hold.
static void scale_min(const uint8_t *s, int j, int *scale, int *min)
{
    *scale = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
    *min = j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | s[j] >> 6 << 4;
}

// Eight groups of 32; `high` NULL: four bits a value.
static void k_groups(const uint8_t *p, const uint8_t *high, const uint8_t *low, float *y)
{
    const float d = half(p), m = half(p + 2);
    for (int j = 0; j < 8; j++) {
        int scale, min;
        scale_min(p + 4, j, &scale, &min);
        const uint8_t *const q = low + j / 2 * 32;
        for (int i = 0; i < 32; i++) {
            const int four = j % 2 ? q[i] >> 4 : q[i] & 15;
            const int v = four + (high && high[i] >> j & 1 ? 16 : 0);
            y[32 * j + i] = d * (float)scale * (float)v - m * (float)min;
        }
    }
}

static void q4_k(const uint8_t *p, float *y)
{
    k_groups(p, NULL, p + 16, y);
}

static void q5_k(const uint8_t *p, float *y)
{
    k_groups(p, p + 16, p + 48, y);
}

static void q6_k(const uint8_t *p, float *y)
{
    const float d = half(p + 208);
    for (int i = 0; i < 256; i++) {             // two halves of four runs of 32
        const int run = i % 128 / 32, at = i % 32;
        const uint8_t four = p[i / 128 * 64 + run % 2 * 32 + at], two = p[128 + i / 128 * 32 + at];
        const int q = ((run < 2 ? four & 15 : four >> 4) | (two >> 2 * run & 3) << 4) - 32;
        y[i] = d * (float)(int8_t)p[192 + i / 16] * (float)q;
    }
}

// sign, `mantissa` bits, the rest exponent
static float f8(uint8_t b, int mantissa, int bias)
{
    const int e = (b & 127) >> mantissa, m = b & ((1 << mantissa) - 1);
    const float v = e ? ldexpf((float)(m + (1 << mantissa)), e - bias - mantissa) : ldexpf((float)m, 1 - bias - mantissa);
    return b & 128 ? -v : v;
}

static void e4m3(const uint8_t *p, float *y)
{
    *y = (*p & 127) == 127 ? NAN : f8(*p, 3, 7);        // it has no infinity
}

static void e5m2(const uint8_t *p, float *y)
{
    const int e = *p >> 2 & 31;
    *y = e < 31 ? f8(*p, 2, 15) : *p & 3 ? NAN : *p & 128 ? -INFINITY : INFINITY;
}

static void f64(const uint8_t *p, float *y)
{
    double v;
    memcpy(&v, p, sizeof(v));
    *y = (float)v;
}

static const struct {
    int    elements;
    size_t bytes;
    void (*decode)(const uint8_t *block, float *out);
} codings[ZT_CODINGS] = {
    [ZT_PLAIN] = { 1, 0, NULL }, [ZT_F8_E4M3] = { 1, 1, e4m3 }, [ZT_F8_E5M2] = { 1, 1, e5m2 }, [ZT_F64] = { 1, 8, f64 },
    [ZT_Q8_0] = { 32, 34, q8_0 }, [ZT_Q4_0] = { 32, 18, q4_0 }, [ZT_Q4_1] = { 32, 20, q4_1 },
    [ZT_Q5_0] = { 32, 22, q5_0 }, [ZT_Q5_1] = { 32, 24, q5_1 }, [ZT_Q4_K] = { 256, 144, q4_k },
    [ZT_Q5_K] = { 256, 176, q5_k }, [ZT_Q6_K] = { 256, 210, q6_k },
};

int zt_coding_elements(enum zt_coding c)
{
    return codings[c].elements;
}

size_t zt_coding_bytes(enum zt_coding c)
{
    return codings[c].bytes;
}

const char *zt_dtype_name(const char *name)
{
    static const char *const known[] = {
        "F32", "BF16", "F16", "I8", "I32", "BOOL", "U8", "F8_E5M2", "F8_E4M3", "I16", "U16", "U32", "F64", "I64", "U64",
        "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K",
    };
    for (size_t i = 0; i < ZT_LEN(known); i++) {
        if (strcmp(known[i], name) == 0)
            return known[i];
    }
    return NULL;
}

// Bytes from the first element to the last; false when a number does not fit.
static bool span(const zt_weight *w, uint64_t *bytes)
{
    const uint64_t block = w->coding ? codings[w->coding].bytes : zt_type_bytes(w->type);
    int64_t last = 0, along;
    if (!w->strided)
        return w->elements % codings[w->coding].elements == 0
            && !__builtin_mul_overflow((uint64_t)(w->elements / codings[w->coding].elements), block, bytes);
    for (int i = 0; i < w->rank; i++) {
        if (w->step[i] < 0 || __builtin_mul_overflow(ZT_MAX(w->shape[i], 1) - 1, w->step[i], &along)
            || __builtin_add_overflow(last, along, &last))
            return false;
    }
    return last < INT64_MAX && !__builtin_mul_overflow((uint64_t)last + 1, block, bytes);
}

bool zt_weight_fits(const zt_weight *w, const void *file, size_t n)
{
    int64_t elements = 1;
    uint64_t bytes;
    bool none = false;                          // then the other extents may be anything
    for (int i = 0; i < w->rank; i++)
        none |= w->shape[i] == 0;
    for (int i = 0; i < w->rank; i++) {
        if (w->shape[i] < 0 || (!none && __builtin_mul_overflow(elements, w->shape[i], &elements)))
            return false;
    }
    elements = none ? 0 : elements;
    const size_t at = (size_t)((const char *)w->data - (const char *)file);
    if (elements != w->elements || at > n || w->bytes > n - at)
        return false;
    if (!w->usable || elements == 0)
        return true;
    return !(w->strided && w->coding) && span(w, &bytes) && bytes == w->bytes;
}

static void read_coded(const zt_weight *w, int64_t from, int64_t n, float *out)
{
    float block[256];
    const int per = codings[w->coding].elements;
    for (int64_t i = from, end = from + n; i < end;) {
        const int at = (int)(i % per), take = (int)ZT_MIN((int64_t)per - at, end - i);
        const uint8_t *const p = (const uint8_t *)w->data + (size_t)(i / per) * codings[w->coding].bytes;
        codings[w->coding].decode(p, take == per ? out : block);
        if (take < per)
            memcpy(out, block + at, (size_t)take * sizeof(*out));
        out += take;
        i += take;
    }
}

static void read_plain(enum zt_type type, const char *p, int64_t n, float *out)
{
    uint16_t h;
    int32_t word;
    switch (type) {
    case ZT_F32:
        memcpy(out, p, (size_t)n * sizeof(*out));
        break;
    case ZT_BF16:
        for (int64_t i = 0; i < n; i++) {
            memcpy(&h, p + 2 * i, 2);
            out[i] = zt_bf16_to_f32(h);
        }
        break;
    case ZT_F16:
        for (int64_t i = 0; i < n; i++) {
            memcpy(&h, p + 2 * i, 2);
            out[i] = zt_f16_to_f32(h);
        }
        break;
    case ZT_I32:
        for (int64_t i = 0; i < n; i++) {
            memcpy(&word, p + 4 * i, 4);
            out[i] = (float)word;
        }
        break;
    case ZT_U8:
        for (int64_t i = 0; i < n; i++)
            out[i] = (float)((const uint8_t *)p)[i];
        break;
    default:
        for (int64_t i = 0; i < n; i++)
            out[i] = (float)((const int8_t *)p)[i];
        break;
    }
}

// One by one along the last axis: views are small or rare.
static void read_strided(const zt_weight *w, int64_t from, int64_t n, float *out)
{
    const size_t element = zt_type_bytes(w->type);
    for (int64_t i = from; i < from + n; i++) {
        int64_t left = i, at = 0;
        for (int a = w->rank - 1; a >= 0; a--) {
            at += left % w->shape[a] * w->step[a];
            left /= w->shape[a];
        }
        read_plain(w->type, (const char *)w->data + (size_t)at * element, 1, out++);
    }
}

void zt_weight_read(const zt_weight *w, int64_t from, int64_t n, float *out)
{
    assert(w->usable && from >= 0 && n >= 0 && from <= w->elements - n);
    if (w->coding != ZT_PLAIN)
        read_coded(w, from, n, out);
    else if (w->strided)
        read_strided(w, from, n, out);
    else
        read_plain(w->type, (const char *)w->data + (size_t)from * zt_type_bytes(w->type), n, out);
}
