// SPDX-License-Identifier: Apache-2.0
// Reads torch.save files (.pt, .pth): the state dict that data.pkl describes, tensors in the records of the zip.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "diffusion/pickle.h"
#include "diffusion/weights_file.h"
#include "diffusion/zip.h"

enum { NAME_BYTES = 512, ROOT_BYTES = 256 };

static const struct storage_type {
    const char    *dtype;
    size_t         bytes;
    bool           usable;
    enum zt_type   type;
    enum zt_coding coding;
} storage_types[ZT_STORAGES] = {
    [ZT_STORAGE_FLOAT] = { "F32", 4, true, ZT_F32 }, [ZT_STORAGE_HALF] = { "F16", 2, true, ZT_F16 },
    [ZT_STORAGE_BFLOAT16] = { "BF16", 2, true, ZT_BF16 }, [ZT_STORAGE_CHAR] = { "I8", 1, true, ZT_I8 },
    [ZT_STORAGE_INT] = { "I32", 4, true, ZT_I32 }, [ZT_STORAGE_DOUBLE] = { "F64", 8, true, ZT_F32, ZT_F64 },
    [ZT_STORAGE_LONG] = { "I64", 8 }, [ZT_STORAGE_SHORT] = { "I16", 2 }, [ZT_STORAGE_BYTE] = { "U8", 1 },
    [ZT_STORAGE_BOOL] = { "BOOL", 1 },
};

typedef struct reader {
    const char *label;
    size_t      file_bytes;
    zt_zip      zip;
    zt_pickle   pickle;
    char        root[ROOT_BYTES];       // folder of all records, with its final /
    struct zt_weights_part part;
    size_t      names_used;
} reader;

static int refuse(const reader *r, const char *name, const char *why)
{
    zt_error("%s: tensor '%.200s': %s", r->label, name, why);
    return -EINVAL;
}

// NAME/data.pkl, of which there must be one.
static const zt_zip_entry *find_pickle(reader *r)
{
    static const char tail[] = "/data.pkl";
    const zt_zip_entry *found = NULL;
    for (int i = 0; i < r->zip.n; i++) {
        const zt_zip_entry *const e = &r->zip.entry[i];
        const size_t n = sizeof(tail) - 1;
        if (e->name_bytes <= n || e->name_bytes - n >= ROOT_BYTES - 1 || memcmp(e->name + e->name_bytes - n, tail, n) != 0
            || memchr(e->name, '/', e->name_bytes - n))
            continue;
        if (found) {
            zt_error("%s: several data.pkl", r->label);
            return NULL;
        }
        found = e;
        snprintf(r->root, sizeof(r->root), "%.*s/", (int)(e->name_bytes - n), e->name);
    }
    if (!found)
        zt_error("%s: a zip file without data.pkl: not from torch.save", r->label);
    return found;
}

static int check_byte_order(const reader *r)
{
    char name[ROOT_BYTES + 16];
    const int n = snprintf(name, sizeof(name), "%sbyteorder", r->root);
    const zt_zip_entry *const e = zt_zip_find(&r->zip, name, (size_t)n);
    if (!e || (e->bytes >= 6 && memcmp(e->data, "little", 6) == 0))
        return 0;
    zt_error("%s: its numbers are not little-endian", r->label);
    return -EINVAL;
}

static const zt_zip_entry *find_record(const reader *r, const zt_pickle_storage *s)
{
    char name[ROOT_BYTES + 128];
    if (s->key.n > 100)
        return NULL;
    const int n = snprintf(name, sizeof(name), "%sdata/%.*s", r->root, (int)s->key.n,
                           (const char *)r->pickle.bytes + s->key.i);
    return zt_zip_find(&r->zip, name, (size_t)n);
}

// Extents and steps of the view; elements beyond its first in `last`. False when a number does not fit.
static bool measure(zt_weight *w, const zt_pickle_tensor *t, int64_t *last)
{
    int64_t dense = 1;
    *last = 0;
    w->elements = 1;
    w->rank = t->rank;
    for (int i = t->rank - 1; i >= 0; i--) {
        int64_t span;
        w->shape[i] = t->shape[i];
        w->step[i] = t->step[i];
        if (__builtin_mul_overflow(w->elements, t->shape[i], &w->elements))
            return false;
        if (t->shape[i] <= 1)
            continue;
        if (t->step[i] < 0 || __builtin_mul_overflow(t->shape[i] - 1, t->step[i], &span)
            || __builtin_add_overflow(*last, span, last))
            return false;
        w->strided |= t->step[i] != dense;
        dense *= t->shape[i];                   // cannot overflow where elements did not
    }
    return true;
}

static int read_tensor(const reader *r, zt_weight *w, const zt_pickle_tensor *t)
{
    const zt_pickle_storage *const s = &r->pickle.storage[t->storage];
    const struct storage_type *const type = &storage_types[s->type];
    const zt_zip_entry *const e = find_record(r, s);
    int64_t last;
    if (!e)
        return refuse(r, w->name, "its storage has no record");
    if ((uint64_t)s->elements > e->bytes / type->bytes)
        return refuse(r, w->name, "its storage is longer than the record");
    if (!measure(w, t, &last) || (uint64_t)w->elements > r->file_bytes)
        return refuse(r, w->name, "its shape or steps are too large");
    if (t->offset < 0 || t->offset > s->elements || (w->elements > 0 && last >= s->elements - t->offset))
        return refuse(r, w->name, "lies beyond its storage");
    w->dtype = type->dtype;
    w->type = type->type;
    w->coding = type->coding;
    w->strided &= w->elements > 0;
    w->usable = type->usable && !(w->strided && (type->coding != ZT_PLAIN || type->type == ZT_I8));
    w->data = (const char *)e->data + (size_t)t->offset * type->bytes;
    w->bytes = w->elements > 0 ? (size_t)(last + 1) * type->bytes : 0;
    return 0;
}

static int add(reader *r, zt_pickle_value key, int tensor)
{
    struct zt_weights_part *const p = &r->part;
    char *const name = p->names + r->names_used;
    if (key.n == 0 || key.n >= NAME_BYTES || memchr(r->pickle.bytes + key.i, 0, key.n)) {
        zt_error("%s: a tensor's name of %u bytes", r->label, key.n);
        return -EINVAL;
    }
    memcpy(name, r->pickle.bytes + key.i, key.n);
    name[key.n] = 0;
    r->names_used += key.n + 1;
    p->w[p->n] = (zt_weight){ .name = name };
    return read_tensor(r, &p->w[p->n++], &r->pickle.tensor[tensor]);
}

// The dict that holds the network.
static const zt_pickle_value *find_state(const zt_pickle *p)
{
    static const char *const keys[] = { "generator_ema", "generator", "model", "state_dict" };
    for (size_t i = 0; i < ZT_LEN(keys); i++) {
        const zt_pickle_value *const v = zt_pickle_find(p, &p->top, keys[i]);
        if (v && v->kind == ZT_PICKLE_DICT)
            return v;
    }
    return p->top.kind == ZT_PICKLE_DICT ? &p->top : NULL;
}

static int read_state(reader *r)
{
    const zt_pickle *const p = &r->pickle;
    const zt_pickle_value *const state = find_state(p);
    if (!state) {
        zt_error("%s: holds no state dict", r->label);
        return -EINVAL;
    }
    size_t tensors = 0, names = 0;
    for (int c = p->list[state->i].first; c >= 0; c = p->cell[c].next) {
        tensors++;
        names += p->cell[c].key.n + (size_t)1;
    }
    if (names > 2 * p->n) {                     // one long name that the memo repeats
        zt_error("%s: data.pkl: its names are longer than itself", r->label);
        return -EINVAL;
    }
    r->part.w = calloc(ZT_MAX(tensors, (size_t)1), sizeof(*r->part.w));
    r->part.names = malloc(ZT_MAX(names, (size_t)1));
    int err = r->part.w && r->part.names ? 0 : -ENOMEM;
    for (int c = p->list[state->i].first; c >= 0 && !err; c = p->cell[c].next) {
        if (p->cell[c].value.kind == ZT_PICKLE_TENSOR && p->cell[c].key.kind == ZT_PICKLE_STRING)
            err = add(r, p->cell[c].key, (int)p->cell[c].value.i);
    }
    if (!err && r->part.n == 0) {
        zt_error("%s: its state dict holds no tensor", r->label);
        err = -EINVAL;
    }
    return err;
}

int zt_torch_read(struct zt_weights_part *p, const void *bytes, size_t n, const char *label)
{
    reader r = { .label = label, .file_bytes = n };
    if (n < 4 || memcmp(bytes, "PK", 2) != 0) {
        zt_error("%s: not a zip file: PyTorch before 1.6 wrote such; save it again, or as safetensors", label);
        return -EINVAL;
    }
    int err = zt_zip_read(&r.zip, bytes, n, label);
    if (err)
        return err;
    const zt_zip_entry *const e = find_pickle(&r);
    err = e ? check_byte_order(&r) : -EINVAL;
    if (!err)
        err = zt_pickle_read(&r.pickle, e->data, e->bytes, label);
    if (!err)
        err = read_state(&r);
    zt_pickle_finish(&r.pickle);
    zt_zip_finish(&r.zip);
    if (err) {
        free(r.part.w);
        free(r.part.names);
    } else {
        *p = r.part;
    }
    return err;
}
