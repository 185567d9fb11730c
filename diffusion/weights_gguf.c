// SPDX-License-Identifier: Apache-2.0
// Reads GGUF files (versions 2 and 3) as if an enemy had written them.
//
// A file is: "GGUF", version, counts of tensors and of metadata; metadata {name, type, value}; tensors {name, extents
// innermost first, type, offset}; padding; data. Counts and lengths are checked against what is left of the file
// before anything is made of them.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "diffusion/weights_file.h"

enum { NAME_MAX_BYTES = 512, ARRAY_DEPTH = 4, ALIGNMENT_MAX = 1 << 20, TENSOR_BYTES = 8 + 4 + 4 + 8, META_BYTES = 8 + 4 + 1,
       COUNT_MAX = 1 << 20 };

static const struct gguf_type {
    uint32_t       id;
    const char    *dtype;
    size_t         bytes;       // of an element where there are no blocks
    bool           usable;
    enum zt_type   type;
    enum zt_coding coding;
} types[] = {
    { 0, "F32", 4, true, ZT_F32 }, { 1, "F16", 2, true, ZT_F16 }, { 30, "BF16", 2, true, ZT_BF16 },
    { 24, "I8", 1, false, ZT_I8 }, { 26, "I32", 4, true, ZT_I32 }, { 27, "I64", 8 }, { 25, "I16", 2 },
    { 28, "F64", 8, true, ZT_F32, ZT_F64 },
    { 2, "Q4_0", 0, true, ZT_F32, ZT_Q4_0 }, { 3, "Q4_1", 0, true, ZT_F32, ZT_Q4_1 },
    { 6, "Q5_0", 0, true, ZT_F32, ZT_Q5_0 }, { 7, "Q5_1", 0, true, ZT_F32, ZT_Q5_1 },
    { 8, "Q8_0", 0, true, ZT_F32, ZT_Q8_0 }, { 12, "Q4_K", 0, true, ZT_F32, ZT_Q4_K },
    { 13, "Q5_K", 0, true, ZT_F32, ZT_Q5_K }, { 14, "Q6_K", 0, true, ZT_F32, ZT_Q6_K },
};

typedef struct text {
    const char *s;
    size_t      n;
} text;

typedef struct reader {
    const uint8_t *p;
    size_t         n, at;
    const char    *label;
    uint64_t       tensors, metas;
    uint64_t       alignment;
    struct zt_weights_part part;
    uint64_t      *offset;              // of each tensor, in the data
    size_t         names_used;
} reader;

static int refuse(const reader *r, const char *why)
{
    zt_error("%s: GGUF: %s at byte %zu", r->label, why, r->at);
    return -EINVAL;
}

static int refuse_tensor(const reader *r, const char *name, const char *why)
{
    zt_error("%s: tensor '%.200s': %s", r->label, name, why);
    return -EINVAL;
}

static int get(reader *r, size_t bytes, uint64_t *out)
{
    if (r->n - r->at < bytes)
        return refuse(r, "the file ends early");
    *out = 0;
    for (size_t i = 0; i < bytes; i++)
        *out |= (uint64_t)r->p[r->at + i] << 8 * i;
    r->at += bytes;
    return 0;
}

static int get_text(reader *r, text *t)
{
    uint64_t n;
    const int err = get(r, 8, &n);
    if (err)
        return err;
    if (n > r->n - r->at)
        return refuse(r, "a string beyond the file");
    *t = (text){ (const char *)r->p + r->at, (size_t)n };
    r->at += (size_t)n;
    return 0;
}

// Bytes of a metadata value by type; 0: string or array.
static int value_bytes(uint64_t type)
{
    static const int bytes[] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };
    return type < ZT_LEN(bytes) ? bytes[type] : -1;
}

enum { STRING = 8, ARRAY = 9, UINT32 = 4 };

static int skip_value(reader *r, uint64_t type, int depth);

static int skip_array(reader *r, int depth)
{
    uint64_t type, n;
    int err = get(r, 4, &type);
    if (!err)
        err = get(r, 8, &n);
    if (err)
        return err;
    const int bytes = value_bytes(type);
    if (bytes < 0 || depth == ARRAY_DEPTH)
        return refuse(r, "an array of unknown type");
    if (n > (r->n - r->at) / (bytes ? (size_t)bytes : type == STRING ? 8 : 12))
        return refuse(r, "an array beyond the file");
    if (bytes) {
        r->at += (size_t)n * (size_t)bytes;
        return 0;
    }
    for (uint64_t i = 0; i < n && !err; i++)
        err = skip_value(r, type, depth + 1);
    return err;
}

static int skip_value(reader *r, uint64_t type, int depth)
{
    text unused;
    uint64_t number;
    const int bytes = value_bytes(type);
    if (bytes < 0)
        return refuse(r, "a value of unknown type");
    if (bytes)
        return get(r, (size_t)bytes, &number);
    return type == STRING ? get_text(r, &unused) : skip_array(r, depth);
}

static bool is(text t, const char *s)
{
    return t.n == strlen(s) && memcmp(t.s, s, t.n) == 0;
}

static int read_alignment(reader *r, uint64_t type)
{
    if (type != UINT32)
        return refuse(r, "an alignment of another type");
    const int err = get(r, 4, &r->alignment);
    if (err)
        return err;
    if (r->alignment < 1 || r->alignment > ALIGNMENT_MAX || r->alignment & (r->alignment - 1))
        return refuse(r, "an alignment that is no power of two up to 1 MiB");
    return 0;
}

static int by_text(const void *a, const void *b)
{
    const text *const x = a, *const y = b;
    const int order = memcmp(x->s, y->s, ZT_MIN(x->n, y->n));
    return order ? order : (x->n > y->n) - (x->n < y->n);
}

static int read_metadata(reader *r)
{
    if (r->metas > (r->n - r->at) / META_BYTES || r->metas > COUNT_MAX)
        return refuse(r, "more metadata than the file can hold");
    text *const keys = calloc((size_t)ZT_MAX(r->metas, (uint64_t)1), sizeof(*keys));
    int err = keys ? 0 : -ENOMEM;
    for (uint64_t i = 0; i < r->metas && !err; i++) {
        uint64_t type = 0;
        err = get_text(r, &keys[i]);
        if (!err)
            err = get(r, 4, &type);
        if (!err)
            err = is(keys[i], "general.alignment") ? read_alignment(r, type) : skip_value(r, type, 0);
    }
    if (!err)
        qsort(keys, (size_t)r->metas, sizeof(*keys), by_text);
    for (uint64_t i = 1; i < r->metas && !err; i++) {
        if (by_text(&keys[i - 1], &keys[i]) == 0)
            err = refuse(r, "a metadata key that is there twice");
    }
    free(keys);
    return err;
}

static const struct gguf_type *find_type(uint64_t id)
{
    for (size_t i = 0; i < ZT_LEN(types); i++) {
        if (types[i].id == id)
            return &types[i];
    }
    return NULL;
}

// Extents, innermost first in the file.
static int read_shape(reader *r, zt_weight *w)
{
    uint64_t rank, n;
    int err = get(r, 4, &rank);
    if (!err && rank > ZT_MAX_RANK)
        return refuse_tensor(r, w->name, "more than 8 dimensions");
    w->elements = 1;
    for (int i = err ? 0 : (int)rank; i > 0 && !err; i--) {
        err = get(r, 8, &n);
        if (!err && (n > INT64_MAX || __builtin_mul_overflow(w->elements, (int64_t)n, &w->elements)))
            return refuse_tensor(r, w->name, "its shape has too many elements");
        w->shape[i - 1] = err ? 0 : (int64_t)n;
    }
    w->rank = (int)rank;
    return err;
}

static int set_type(reader *r, zt_weight *w, const struct gguf_type *t)
{
    if (!t)
        return refuse_tensor(r, w->name, "its type is not supported (F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, "
                                         "Q4_K, Q5_K and Q6_K are)");
    const int per = zt_coding_elements(t->coding);
    const size_t block = t->coding ? zt_coding_bytes(t->coding) : t->bytes;
    if (per > 1 && (w->rank < 1 || w->shape[w->rank - 1] % per))
        return refuse_tensor(r, w->name, "its rows are not whole blocks");
    if (__builtin_mul_overflow((uint64_t)(w->elements / per), (uint64_t)block, &w->bytes))
        return refuse_tensor(r, w->name, "its shape has too many elements");
    w->dtype = t->dtype;
    w->usable = t->usable;
    w->type = t->type;
    w->coding = t->coding;
    return 0;
}

static int read_tensor(reader *r, zt_weight *w, uint64_t *offset)
{
    text name;
    uint64_t type;
    int err = get_text(r, &name);
    if (err)
        return err;
    if (name.n == 0 || name.n > NAME_MAX_BYTES || memchr(name.s, 0, name.n))
        return refuse(r, "a tensor's name that cannot be");
    char *const to = r->part.names + r->names_used;
    memcpy(to, name.s, name.n);
    to[name.n] = 0;
    r->names_used += name.n + 1;
    w->name = to;
    err = read_shape(r, w);
    if (!err)
        err = get(r, 4, &type);
    if (!err)
        err = set_type(r, w, find_type(type));
    return err ? err : get(r, 8, offset);
}

// Each tensor inside the data, none over another.
static int place(reader *r)
{
    const size_t skip = (size_t)(-(uint64_t)r->at & (r->alignment - 1));
    if (skip > r->n - r->at)
        return refuse(r, "the file ends before its data");
    const char *const data = (const char *)r->p + r->at + skip;
    const size_t bytes = r->n - r->at - skip;
    for (int i = 0; i < r->part.n; i++) {
        zt_weight *const w = &r->part.w[i];
        if (r->offset[i] % r->alignment)
            return refuse_tensor(r, w->name, "its data is not aligned");
        if (r->offset[i] > bytes || w->bytes > bytes - r->offset[i])
            return refuse_tensor(r, w->name, "lies beyond the file");
        w->data = data + r->offset[i];
    }
    return 0;
}

static int by_place(const void *a, const void *b)
{
    const zt_weight *const x = a, *const y = b;
    return x->data != y->data ? (x->data < y->data ? -1 : 1) : (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static int check_overlap(reader *r)
{
    zt_weight *const w = r->part.w;
    qsort(w, (size_t)r->part.n, sizeof(*w), by_place);
    for (int i = 1; i < r->part.n; i++) {
        if ((const char *)w[i - 1].data + w[i - 1].bytes > (const char *)w[i].data)
            return refuse_tensor(r, w[i].name, "shares bytes with another tensor");
    }
    return 0;
}

static int read_tensors(reader *r)
{
    if (r->tensors > (r->n - r->at) / TENSOR_BYTES || r->tensors > COUNT_MAX)
        return refuse(r, "more tensors than the file can hold");
    r->part.w = calloc((size_t)ZT_MAX(r->tensors, (uint64_t)1), sizeof(*r->part.w));
    r->offset = calloc((size_t)ZT_MAX(r->tensors, (uint64_t)1), sizeof(*r->offset));
    // every name stands in the file, and its final 0 where its length was
    r->part.names = malloc(ZT_MIN(r->n - r->at, (size_t)r->tensors * (NAME_MAX_BYTES + 1)) + 1);
    int err = r->part.w && r->offset && r->part.names ? 0 : -ENOMEM;
    for (; r->part.n < (int)r->tensors && !err; r->part.n++)
        err = read_tensor(r, &r->part.w[r->part.n], &r->offset[r->part.n]);
    if (!err)
        err = place(r);
    return err ? err : check_overlap(r);
}

int zt_gguf_read(struct zt_weights_part *p, const void *bytes, size_t n, const char *label)
{
    reader r = { .p = bytes, .n = n, .label = label, .alignment = 32 };
    if (n < 4 || memcmp(bytes, "GGUF", 4) != 0) {
        zt_error("%s: not a GGUF file", label);
        return -EINVAL;
    }
    uint64_t magic, version = 0;
    int err = get(&r, 4, &magic);
    if (!err)
        err = get(&r, 4, &version);
    if (!err && version != 2 && version != 3) {
        zt_error("%s: GGUF: version %llu, but 2 and 3 are read", label, (unsigned long long)version);
        return -EINVAL;
    }
    if (!err)
        err = get(&r, 8, &r.tensors);
    if (!err)
        err = get(&r, 8, &r.metas);
    if (!err)
        err = read_metadata(&r);
    if (!err)
        err = read_tensors(&r);
    free(r.offset);
    if (err) {
        free(r.part.w);
        free(r.part.names);
    } else {
        *p = r.part;
    }
    return err;
}
