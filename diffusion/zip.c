// SPDX-License-Identifier: Apache-2.0
// Zip directories, read strictly: stored records, one disk, every range inside the file, no name twice.
#include "diffusion/zip.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"

enum {
    END_BYTES = 22, END64_BYTES = 56, LOCATOR_BYTES = 20, CENTRAL_BYTES = 46, LOCAL_BYTES = 30,
    COMMENT_MAX = 65535, NAME_MAX_BYTES = 1024,
};

typedef struct reader {
    const uint8_t *p;
    size_t         n;
    const char    *label;
    uint64_t       count, at, end;      // of the central directory: entries, next byte to read, byte after the last
    uint64_t       first;               // byte of the directory: records lie before it
} reader;

static uint64_t number(const uint8_t *p, int bytes)
{
    uint64_t v = 0;
    for (int i = 0; i < bytes; i++)
        v |= (uint64_t)p[i] << 8 * i;
    return v;
}

static int refuse(const reader *r, const char *why)
{
    zt_error("%s: zip: %s", r->label, why);
    return -EINVAL;
}

// The end record of large files, at `end`'s place in the file.
static int find_end64(reader *r, size_t end)
{
    const uint8_t *const locator = end >= LOCATOR_BYTES ? r->p + end - LOCATOR_BYTES : NULL;
    if (!locator || memcmp(locator, "PK\6\7", 4) != 0)
        return refuse(r, "no end record for a large file");
    const uint64_t at = number(locator + 8, 8);
    if (at > end - LOCATOR_BYTES || end - LOCATOR_BYTES - at < END64_BYTES || memcmp(r->p + at, "PK\6\6", 4) != 0)
        return refuse(r, "its end record lies elsewhere");
    if (number(r->p + at + 16, 4) != 0 || number(r->p + at + 20, 4) != 0)
        return refuse(r, "several disks");
    r->count = number(r->p + at + 32, 8);
    r->at = number(r->p + at + 48, 8);
    const uint64_t bytes = number(r->p + at + 40, 8);
    if (r->at > at || bytes > at - r->at)
        return refuse(r, "its directory lies beyond the file");
    r->end = r->at + bytes;
    return 0;
}

static int find_end(reader *r)
{
    if (r->n < END_BYTES)
        return refuse(r, "no end record");
    const size_t most = ZT_MIN(r->n - END_BYTES, (size_t)COMMENT_MAX);
    for (size_t back = 0; back <= most; back++) {
        const size_t end = r->n - END_BYTES - back;
        const uint8_t *const e = r->p + end;
        if (memcmp(e, "PK\5\6", 4) != 0 || number(e + 20, 2) != back)
            continue;
        if (number(e + 4, 2) != 0 && number(e + 4, 2) != 0xffff)
            return refuse(r, "several disks");
        r->count = number(e + 10, 2);
        r->at = number(e + 16, 4);
        if (r->count == 0xffff || r->at == 0xffffffff || number(e + 12, 4) == 0xffffffff)
            return find_end64(r, end);
        if (r->at > end || number(e + 12, 4) > end - r->at)
            return refuse(r, "its directory lies beyond the file");
        r->end = r->at + number(e + 12, 4);
        return 0;
    }
    return refuse(r, "no end record");
}

// Sizes and place of an entry; 64-bit ones stand in an extra field, in this order, where the short one is all ones.
static int read_sizes(const reader *r, const uint8_t *e, const uint8_t *extra, size_t n, uint64_t size[3])
{
    size[0] = number(e + 24, 4);
    size[1] = number(e + 20, 4);
    size[2] = number(e + 42, 4);
    for (size_t i = 0; n - i >= 4;) {
        const uint64_t kind = number(extra + i, 2), bytes = number(extra + i + 2, 2);
        if (bytes > n - i - 4)
            return refuse(r, "an extra field beyond its entry");
        size_t at = i + 4;
        for (int k = 0; k < 3 && kind == 1; k++) {
            if (size[k] != 0xffffffff)
                continue;
            if (i + 4 + bytes - at < 8)
                return refuse(r, "a 64-bit size that is not there");
            size[k] = number(extra + at, 8);
            at += 8;
        }
        i += 4 + (size_t)bytes;
    }
    return 0;
}

static bool plain_name(const char *name, size_t n)
{
    for (size_t i = 0; i + 1 < n; i++) {
        if (name[i] == '.' && name[i + 1] == '.' && (i == 0 || name[i - 1] == '/') && (i + 2 == n || name[i + 2] == '/'))
            return false;
    }
    return n > 0 && n <= NAME_MAX_BYTES && name[0] != '/' && !memchr(name, 0, n) && !memchr(name, '\\', n);
}

// The record itself, by way of the local header, which must agree on the name.
static int find_record(const reader *r, zt_zip_entry *to, const uint64_t size[3])
{
    const uint64_t at = size[2];
    if (at > r->first || r->first - at < LOCAL_BYTES || memcmp(r->p + at, "PK\3\4", 4) != 0)
        return refuse(r, "an entry without its record");
    const uint8_t *const h = r->p + at;
    const uint64_t name = number(h + 26, 2), before = LOCAL_BYTES + name + number(h + 28, 2);
    if (before > r->first - at || name != to->name_bytes || memcmp(h + LOCAL_BYTES, to->name, to->name_bytes) != 0)
        return refuse(r, "a record that does not bear its entry's name");
    if (size[0] > r->first - at - before)
        return refuse(r, "a record beyond the file");
    to->data = h + before;
    to->bytes = (size_t)size[0];
    return 0;
}

static int read_entry(reader *r, zt_zip_entry *to)
{
    const uint8_t *const e = r->p + r->at;
    uint64_t size[3];
    if (r->end - r->at < CENTRAL_BYTES || memcmp(e, "PK\1\2", 4) != 0)
        return refuse(r, "its directory ends early");
    const uint64_t name = number(e + 28, 2), extra = number(e + 30, 2), comment = number(e + 32, 2);
    if (name + extra + comment > r->end - r->at - CENTRAL_BYTES)
        return refuse(r, "its directory ends early");
    to->name = (const char *)e + CENTRAL_BYTES;
    to->name_bytes = (size_t)name;
    if (!plain_name(to->name, to->name_bytes))
        return refuse(r, "a record's name that cannot be");
    if (number(e + 8, 2) & 1)
        return refuse(r, "an encrypted record");
    const int err = read_sizes(r, e, e + CENTRAL_BYTES + name, (size_t)extra, size);
    if (err)
        return err;
    if (number(e + 10, 2) != 0 || size[0] != size[1])
        return refuse(r, "a compressed record: torch.save writes none");
    r->at += CENTRAL_BYTES + name + extra + comment;
    return find_record(r, to, size);
}

static int by_name(const void *a, const void *b)
{
    const zt_zip_entry *const x = a, *const y = b;
    const int order = memcmp(x->name, y->name, ZT_MIN(x->name_bytes, y->name_bytes));
    return order ? order : (x->name_bytes > y->name_bytes) - (x->name_bytes < y->name_bytes);
}

int zt_zip_read(zt_zip *z, const void *bytes, size_t n, const char *label)
{
    reader r = { .p = bytes, .n = n, .label = label };
    int err = find_end(&r);
    if (err)
        return err;
    r.first = r.at;
    if (r.count > (r.end - r.at) / CENTRAL_BYTES)
        return refuse(&r, "its directory ends early");
    const int count = (int)ZT_MIN(r.count, (uint64_t)1 << 24);
    zt_zip_entry *const e = calloc((size_t)ZT_MAX(count, 1), sizeof(*e));
    if (!e)
        return -ENOMEM;
    for (int i = 0; i < count && !err; i++)
        err = read_entry(&r, &e[i]);
    if (!err && (count != (int64_t)r.count || r.at != r.end))
        err = refuse(&r, "its directory is longer than its entries");
    if (!err)
        qsort(e, (size_t)count, sizeof(*e), by_name);
    for (int i = 1; i < count && !err; i++) {
        if (by_name(&e[i - 1], &e[i]) == 0)
            err = refuse(&r, "two records of one name");
    }
    if (err)
        free(e);
    else
        *z = (zt_zip){ e, count };
    return err;
}

void zt_zip_finish(zt_zip *z)
{
    free(z->entry);
    *z = (zt_zip){ 0 };
}

const zt_zip_entry *zt_zip_find(const zt_zip *z, const char *name, size_t name_bytes)
{
    const zt_zip_entry key = { .name = name, .name_bytes = name_bytes };
    return z->n ? bsearch(&key, z->entry, (size_t)z->n, sizeof(key), by_name) : NULL;
}
