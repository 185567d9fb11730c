// SPDX-License-Identifier: Apache-2.0
// Finds a file's tensors in a confined child; the parent believes nothing that it cannot check by itself.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "diffusion/apart.h"
#include "diffusion/weights_file.h"

enum { TENSORS_MAX = 1 << 22, NAMES_MAX = 1 << 28 };
static const int64_t patience = 120 * ZT_S;

struct head {
    int32_t  n;
    uint32_t names_bytes;
};

struct record {
    uint64_t name;              // where it begins among the names
    uint64_t offset, bytes;     // in the file
    int64_t  shape[ZT_MAX_RANK], step[ZT_MAX_RANK], elements;
    char     dtype[16];
    uint8_t  coding, type, usable, strided, rank;
};

struct task {
    const void *bytes;
    size_t      n;
    const char *label;
};

// ---- in the child

static uint32_t names_bytes(const struct zt_weights_part *p)
{
    size_t n = 0;
    for (int i = 0; i < p->n; i++)
        n += strlen(p->w[i].name) + 1;
    return n <= NAMES_MAX ? (uint32_t)n : 0;
}

static struct record describe(const struct task *t, const zt_weight *w, uint64_t name)
{
    struct record r = { .name = name, .bytes = w->bytes, .elements = w->elements, .coding = (uint8_t)w->coding,
                        .type = (uint8_t)w->type, .usable = w->usable, .strided = w->strided, .rank = (uint8_t)w->rank };
    r.offset = w->bytes ? (uint64_t)((const char *)w->data - (const char *)t->bytes) : 0;
    memcpy(r.shape, w->shape, sizeof(r.shape));
    memcpy(r.step, w->step, sizeof(r.step));
    memcpy(r.dtype, w->dtype, ZT_MIN(strlen(w->dtype), sizeof(r.dtype) - 1));
    return r;
}

static int answer(const struct task *t, const struct zt_weights_part *p, int fd)
{
    const struct head h = { p->n, names_bytes(p) };
    uint64_t name = 0;
    int err = zt_apart_put(fd, &h, sizeof(h));
    for (int i = 0; i < p->n && !err; i++) {
        const struct record r = describe(t, &p->w[i], name);
        name += strlen(p->w[i].name) + 1;
        err = zt_apart_put(fd, &r, sizeof(r));
    }
    for (int i = 0; i < p->n && !err; i++)
        err = zt_apart_put(fd, p->w[i].name, strlen(p->w[i].name) + 1);
    return err;
}

static int read_in_child(void *cookie, int fd)
{
    const struct task *const t = cookie;
    struct zt_weights_part p = { 0 };
    const int err = zt_weights_reader(t->bytes, t->n, t->label)(&p, t->bytes, t->n, t->label);
    return err ? err : answer(t, &p, fd);
}

// ---- in the parent

static int distrust(const struct task *t)
{
    zt_error("%s: what reads it gave an answer that cannot be: it is damaged or hostile", t->label);
    return -EINVAL;
}

static bool believe(const struct task *t, const struct record *r, const struct zt_weights_part *p, uint32_t names,
                    zt_weight *w)
{
    if (r->name >= names || r->offset > t->n || r->coding >= ZT_CODINGS || r->type > ZT_I32 || r->rank > ZT_MAX_RANK
        || r->dtype[sizeof(r->dtype) - 1])
        return false;
    *w = (zt_weight){ .name = p->names + r->name, .dtype = zt_dtype_name(r->dtype), .usable = r->usable != 0,
                      .coding = (enum zt_coding)r->coding, .type = (enum zt_type)r->type, .rank = r->rank,
                      .elements = r->elements, .strided = r->strided != 0,
                      .data = (const char *)t->bytes + r->offset, .bytes = (size_t)r->bytes };
    memcpy(w->shape, r->shape, sizeof(w->shape));
    memcpy(w->step, r->step, sizeof(w->step));
    return w->dtype && zt_weight_fits(w, t->bytes, t->n);
}

static int receive(const struct task *t, zt_apart *a, struct zt_weights_part *p)
{
    struct head h;
    int err = zt_apart_read(a, &h, sizeof(h), patience);
    if (err)
        return err;
    if (h.n < 0 || h.n > TENSORS_MAX || h.names_bytes > NAMES_MAX || (h.n > 0 && h.names_bytes == 0))
        return distrust(t);
    p->w = calloc((size_t)ZT_MAX(h.n, 1), sizeof(*p->w));
    p->names = malloc((size_t)h.names_bytes + 1);
    struct record *const r = calloc((size_t)ZT_MAX(h.n, 1), sizeof(*r));
    err = p->w && p->names && r ? zt_apart_read(a, r, (size_t)h.n * sizeof(*r), patience) : -ENOMEM;
    if (!err)
        err = zt_apart_read(a, p->names, h.names_bytes, patience);
    if (!err)
        p->names[h.names_bytes] = 0;
    for (; p->n < h.n && !err; p->n++)
        err = believe(t, &r[p->n], p, h.names_bytes, &p->w[p->n]) ? 0 : distrust(t);
    free(r);
    return err;
}

int zt_weights_read_apart(struct zt_weights_part *p, const void *bytes, size_t n, const char *label)
{
    struct task t = { bytes, n, label };
    struct zt_weights_part got = { 0 };
    zt_apart a;
    int err = zt_apart_start(&a, read_in_child, &t, label);
    if (err)
        return err;
    const int received = receive(&t, &a, &got);
    err = zt_apart_finish(&a, received ? ZT_S : patience);
    if (!err && received == -EPIPE)
        err = distrust(&t);
    if (!err)
        err = received;
    if (err) {
        free(got.w);
        free(got.names);
    } else {
        *p = got;
    }
    return err;
}
