// SPDX-License-Identifier: Apache-2.0
// Reads safetensors files as if an enemy had written them.
//
// A file is: u64 header length, a JSON object {name: {dtype, shape, data_offsets: [begin, end]}}, the data. Refused
// is whatever the format forbids: holes, overlaps, duplicate names, sizes that do not multiply out, bytes that nobody
// owns.
#include "diffusion/weights.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "diffusion/json.h"
#include "diffusion/weights_file.h"

enum { HEADER_MAX = 16 << 20, NAME_MAX_BYTES = 512 };

static const struct dtype {
    const char    *name;
    int            bits;
    bool           usable;
    enum zt_type   type;
    enum zt_coding coding;
} dtypes[] = {
    { "F32", 32, true, ZT_F32 }, { "BF16", 16, true, ZT_BF16 }, { "F16", 16, true, ZT_F16 }, { "I8", 8, true, ZT_I8 },
    { "I32", 32, true, ZT_I32 }, { "BOOL", 8 }, { "U8", 8, true, ZT_U8 },
    { "F8_E5M2", 8, true, ZT_F32, ZT_F8_E5M2 }, { "F8_E4M3", 8, true, ZT_F32, ZT_F8_E4M3 }, { "I16", 16 },
    { "U16", 16 }, { "U32", 32 }, { "F64", 64, true, ZT_F32, ZT_F64 }, { "I64", 64 }, { "U64", 64 },
};

typedef struct entry {
    zt_weight w;
    uint64_t  begin, end;       // in the data
} entry;

typedef struct reader {
    const char *label;
    zt_json     j;
    entry      *e;
    int         n, room;
    char       *names;
    size_t      names_used, names_bytes;
} reader;

static int refuse(const reader *r, const char *name, const char *why)
{
    if (name)
        zt_error("%s: tensor '%.200s': %s", r->label, name, why);
    else
        zt_error("%s: header: %s", r->label, why);
    return -EINVAL;
}

static int bad_json(const reader *r)
{
    zt_error("%s: header: %s at byte %zu", r->label, r->j.error ? r->j.error : "not as expected",
             zt_json_offset(&r->j) + 8);
    return -EINVAL;
}

static const struct dtype *find_dtype(const char *name)
{
    for (size_t i = 0; i < ZT_LEN(dtypes); i++) {
        if (strcmp(dtypes[i].name, name) == 0)
            return &dtypes[i];
    }
    return NULL;
}

static int read_shape(reader *r, const char *name, zt_weight *w)
{
    w->elements = 1;
    if (!zt_json_enter(&r->j, '['))
        return bad_json(r);
    while (zt_json_item(&r->j)) {
        uint64_t n;
        if (w->rank == ZT_MAX_RANK)
            return refuse(r, name, "more than 8 dimensions");
        if (!zt_json_u64(&r->j, &n))
            return bad_json(r);
        if (n > INT64_MAX || __builtin_mul_overflow(w->elements, (int64_t)n, &w->elements))
            return refuse(r, name, "its shape has too many elements");
        w->shape[w->rank++] = (int64_t)n;
    }
    return r->j.error ? bad_json(r) : 0;
}

static int read_offsets(reader *r, entry *e)
{
    uint64_t *const to[2] = { &e->begin, &e->end };
    if (!zt_json_enter(&r->j, '['))
        return bad_json(r);
    for (int i = 0; i < 2; i++) {
        if (!zt_json_item(&r->j) || !zt_json_u64(&r->j, to[i]))
            return bad_json(r);
    }
    return zt_json_item(&r->j) || r->j.error ? bad_json(r) : 0;
}

// Size against type and shape; what the offsets mean is known once all are read.
static int check_entry(const reader *r, const char *name, const entry *e, const struct dtype *t)
{
    uint64_t bits;
    if (e->begin > e->end)
        return refuse(r, name, "its data ends before it begins");
    if (__builtin_mul_overflow((uint64_t)e->w.elements, (uint64_t)t->bits, &bits) || e->end - e->begin != bits / 8) {
        zt_error("%s: tensor '%.200s': %llu bytes of data, but %lld elements of %s", r->label, name,
                 (unsigned long long)(e->end - e->begin), (long long)e->w.elements, t->name);
        return -EINVAL;
    }
    return 0;
}

static int read_tensor(reader *r, const char *name, entry *e)
{
    enum { DTYPE = 1, SHAPE = 2, OFFSETS = 4 };
    char key[32], dtype[32];
    int seen = 0, err = 0;
    const struct dtype *t = NULL;
    if (!zt_json_enter(&r->j, '{'))
        return bad_json(r);
    while (!err && zt_json_key(&r->j, key, sizeof(key))) {
        const int what = strcmp(key, "dtype") == 0 ? DTYPE : strcmp(key, "shape") == 0 ? SHAPE
                       : strcmp(key, "data_offsets") == 0 ? OFFSETS : 0;
        if (!what || seen & what)
            return refuse(r, name, "must have dtype, shape and data_offsets once each");
        seen |= what;
        if (what == DTYPE) {
            if (!zt_json_string(&r->j, dtype, sizeof(dtype)))
                return bad_json(r);
            t = find_dtype(dtype);
            if (!t)
                return refuse(r, name, "its dtype is unknown");
        } else {
            err = what == SHAPE ? read_shape(r, name, &e->w) : read_offsets(r, e);
        }
    }
    if (err || r->j.error)
        return err ? err : bad_json(r);
    if (seen != (DTYPE | SHAPE | OFFSETS))
        return refuse(r, name, "must have dtype, shape and data_offsets once each");
    e->w.dtype = t->name;
    e->w.usable = t->usable;
    e->w.type = t->type;
    e->w.coding = t->coding;
    return check_entry(r, name, e, t);
}

static int read_metadata(reader *r)
{
    char key[NAME_MAX_BYTES];
    if (!zt_json_enter(&r->j, '{'))
        return bad_json(r);
    while (zt_json_key(&r->j, key, sizeof(key))) {
        if (zt_json_peek(&r->j) != '"')
            return refuse(r, NULL, "__metadata__ may hold strings only");
        if (!zt_json_skip(&r->j))
            return bad_json(r);
    }
    return r->j.error ? bad_json(r) : 0;
}

static int add(reader *r, const char *name, const entry *e)
{
    const size_t bytes = strlen(name) + 1;
    if (r->n == r->room) {
        const int room = r->room ? 2 * r->room : 256;
        entry *const grown = realloc(r->e, (size_t)room * sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        r->e = grown;
        r->room = room;
    }
    if (r->names_bytes - r->names_used < bytes)
        return refuse(r, name, "names are longer than the header");     // cannot happen
    memcpy(r->names + r->names_used, name, bytes);
    r->e[r->n] = *e;
    r->e[r->n++].w.name = r->names + r->names_used;
    r->names_used += bytes;
    return 0;
}

static int read_header(reader *r)
{
    bool metadata = false;
    char name[NAME_MAX_BYTES];
    if (!zt_json_enter(&r->j, '{'))
        return bad_json(r);
    while (zt_json_key(&r->j, name, sizeof(name))) {
        int err;
        if (strcmp(name, "__metadata__") == 0) {
            err = metadata ? refuse(r, NULL, "__metadata__ twice") : read_metadata(r);
            metadata = true;
        } else {
            entry e = { 0 };
            err = read_tensor(r, name, &e);
            if (!err)
                err = add(r, name, &e);
        }
        if (err)
            return err;
    }
    return zt_json_done(&r->j) ? 0 : bad_json(r);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const entry *)a)->w.name, ((const entry *)b)->w.name);
}

static int check_names(reader *r)
{
    if (r->n > 0)
        qsort(r->e, (size_t)r->n, sizeof(*r->e), by_name);
    for (int i = 1; i < r->n; i++) {
        if (by_name(&r->e[i - 1], &r->e[i]) == 0)
            return refuse(r, r->e[i].w.name, "is there twice");
    }
    return 0;
}

static int by_offset(const void *a, const void *b)
{
    const entry *const x = a, *const y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

// One tensor begins where the one before ends, the last ends with the file.
static int check_layout(reader *r, uint64_t bytes)
{
    if (r->n > 0)
        qsort(r->e, (size_t)r->n, sizeof(*r->e), by_offset);
    uint64_t at = 0;
    for (int i = 0; i < r->n; i++) {
        const char *const name = r->e[i].w.name;
        if (r->e[i].end > bytes) {
            zt_error("%s: tensor '%.200s': ends at byte %llu, but the file has %llu bytes of data", r->label, name,
                     (unsigned long long)r->e[i].end, (unsigned long long)bytes);
            return -EINVAL;
        }
        if (r->e[i].begin != at)
            return refuse(r, name, r->e[i].begin < at ? "shares bytes with another tensor" : "a hole before its data");
        at = r->e[i].end;
    }
    if (at != bytes) {
        zt_error("%s: %llu bytes after the last tensor", r->label, (unsigned long long)(bytes - at));
        return -EINVAL;
    }
    return 0;
}

static int take(struct zt_weights_part *p, reader *r, const char *data)
{
    p->w = calloc((size_t)ZT_MAX(r->n, 1), sizeof(*p->w));
    if (!p->w)
        return -ENOMEM;
    for (int i = 0; i < r->n; i++) {
        p->w[i] = r->e[i].w;
        p->w[i].data = data + r->e[i].begin;
        p->w[i].bytes = (size_t)(r->e[i].end - r->e[i].begin);
    }
    p->n = r->n;
    p->names = r->names;
    r->names = NULL;
    return 0;
}

int zt_safetensors_read(struct zt_weights_part *p, const void *bytes, size_t n, const char *label)
{
    reader r = { .label = label };
    uint64_t header;
    if (n < 8)
        return refuse(&r, NULL, "the file is shorter than 8 bytes");
    memcpy(&header, bytes, sizeof(header));
    if (header > HEADER_MAX || header > n - 8) {
        zt_error("%s: header: %llu bytes long, but the file has %zu (and 16 MiB is the most)", label,
                 (unsigned long long)header, n - 8);
        return -EINVAL;
    }
    const char *const text = (const char *)bytes + 8;
    if (header == 0 || text[0] != '{')
        return refuse(&r, NULL, "not a JSON object: not a safetensors file");

    r.names_bytes = header;                     // every name stands in the header
    r.names = malloc(r.names_bytes);
    zt_json_init(&r.j, text, header);
    int err = r.names ? read_header(&r) : -ENOMEM;
    if (!err)
        err = check_names(&r);
    if (!err)
        err = check_layout(&r, n - 8 - header);
    if (!err)
        err = take(p, &r, text + header);
    free(r.names);
    free(r.e);
    return err;
}
