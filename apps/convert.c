// SPDX-License-Identifier: Apache-2.0
// Quantises or shortens the weights of a model directory.
#include "apps/convert.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps/exits.h"
#include "base/base.h"
#include "base/log.h"
#include "diffusion/internal.h"
#include "diffusion/quantize.h"

struct list {
    zt_weight *w;               // data of those with `made` is owned
    char     **name;
    bool      *made;
    int        n;
};

static bool ends_with(const char *s, const char *end)
{
    const size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

// What is beside an I8 or U8 tensor: nothing beside any other. -EINVAL when it is missing.
static int find_rows(const zt_weights *w, const zt_weight *t, zt_quantised *q)
{
    char name[1024];
    *q = (zt_quantised){ .w = t };
    if (t->type != ZT_I8 && t->type != ZT_U8)
        return 0;
    const int64_t rows = t->shape[0], k = t->elements / rows * 2;       // of U8
    snprintf(name, sizeof(name), "%s_scale", t->name);
    q->scale = zt_weights_find(w, name);
    bool good = q->scale && q->scale->usable && q->scale->elements == rows;
    if (good && t->type == ZT_U8) {
        snprintf(name, sizeof(name), "%s_factor", t->name);
        q->factor = zt_weights_find(w, name);
        good = t->rank == 2 && q->factor && q->factor->type == ZT_U8 && q->factor->usable
            && q->factor->elements == rows * ((k + ZT_GROUP - 1) / ZT_GROUP);
    }
    if (good)
        return 0;
    zt_error("%s: tensor '%s' is %s without a '%s' of its rows", zt_weights_label(w), t->name, t->dtype, name);
    return -EINVAL;
}

static zt_weight *add(struct list *l, const zt_weight *like, const char *dtype, size_t bytes)
{
    zt_weight *const w = &l->w[l->n];
    *w = *like;
    if (dtype) {
        w->dtype = dtype;
        w->bytes = bytes;
        w->data = malloc(ZT_MAX(bytes, (size_t)1));
        l->made[l->n] = true;
    }
    l->n++;
    return w->data ? w : NULL;
}

// NAME + end, [rows] or [rows][n]
static void *add_beside(struct list *l, const zt_weight *t, const char *end, const char *dtype, int64_t rows, int64_t n)
{
    char *const name = malloc(strlen(t->name) + strlen(end) + 1);
    if (!name)
        return NULL;
    strcpy(name, t->name);
    strcat(name, end);
    l->name[l->n] = name;
    const zt_weight like = { .name = name, .rank = n ? 2 : 1, .shape = { rows, n }, .elements = n ? rows * n : rows };
    zt_weight *const made = add(l, &like, dtype, (size_t)like.elements * (strcmp(dtype, "F32") ? 1 : sizeof(float)));
    return made ? (void *)made->data : NULL;
}

// Elements of a row
static int64_t width(const zt_quantised *m)
{
    return m->w->elements / m->w->shape[0] * (m->factor ? 2 : 1);
}

static int to_integers(struct list *l, const zt_quantised *m, bool four_bits)
{
    const int64_t rows = m->w->shape[0], n = width(m), G = (n + ZT_GROUP - 1) / ZT_GROUP;
    zt_weight like = *m->w;
    like.shape[like.rank - 1] = four_bits ? n / 2 : n;
    like.elements = rows * like.shape[like.rank - 1];
    zt_weight *const q = add(l, &like, four_bits ? "U8" : "I8", (size_t)like.elements);
    float *const scale = q ? add_beside(l, m->w, "_scale", "F32", rows, 0) : NULL;
    uint8_t *const factor = scale && four_bits ? add_beside(l, m->w, "_factor", "U8", rows, G) : NULL;
    float *const row = malloc((size_t)n * sizeof(*row));
    int8_t *const values = malloc((size_t)n);
    const bool ok = row && values && scale && (factor || !four_bits);
    for (int64_t r = 0; ok && r < rows; r++) {
        zt_quantised_read(m, r, n, row);
        scale[r] = four_bits ? zt_quantize_row4(row, n, values, factor + r * G) : zt_quantize_row(row, n, values);
        if (four_bits)
            zt_pack_row4(values, n, (uint8_t *)q->data + r * (n / 2));
        else
            memcpy((int8_t *)q->data + r * n, values, (size_t)n);
    }
    free(row);
    free(values);
    return ok ? 0 : -ENOMEM;
}

static int to_bf16(struct list *l, const zt_quantised *m)
{
    const int64_t rows = m->w->shape[0], n = width(m);
    zt_weight like = *m->w;
    if (m->factor)
        like.shape[1] = n;
    like.elements = rows * n;
    zt_weight *const b = add(l, &like, "BF16", (size_t)like.elements * 2);
    float *const row = malloc((size_t)n * sizeof(*row));
    for (int64_t r = 0; b && row && r < rows; r++) {
        zt_quantised_read(m, r, n, row);
        for (int64_t i = 0; i < n; i++)
            ((uint16_t *)b->data)[r * n + i] = zt_f32_to_bf16(row[i]);
    }
    free(row);
    return b && row ? 0 : -ENOMEM;
}

// Routers and modulations stay as they are: the model reads them in f32.
static bool is_matrix(const zt_weight *t)
{
    return t->rank >= 2 && t->usable && t->type != ZT_I32 && t->elements > 0 && !ends_with(t->name, "gate.weight")
        && !ends_with(t->name, "modulation") && !ends_with(t->name, "scale_shift_table");
}

// An odd width does not become 4 bits: such a tensor stays as it is.
static bool becomes_integers(const zt_weight *t, enum zt_type type)
{
    const enum zt_type stored = type == ZT_I4 ? ZT_U8 : ZT_I8;
    return type != ZT_BF16 && is_matrix(t) && t->rank == 2 && t->type != stored && zt_quantize_wanted(t->name)
        && (type == ZT_I8 || t->shape[1] % 2 == 0);
}

// What stands beside a matrix of integers goes with it.
static bool is_beside(const zt_weights *w, const zt_weight *t, enum zt_type type)
{
    char name[1024];
    const size_t n = strlen(t->name);
    for (const char *const *end = (const char *const[]){ "_scale", "_factor", NULL }; *end; end++) {
        if (!ends_with(t->name, *end) || n >= sizeof(name))
            continue;
        snprintf(name, sizeof(name), "%.*s", (int)(n - strlen(*end)), t->name);
        const zt_weight *const of = zt_weights_find(w, name);
        return of && ((type == ZT_BF16 && is_matrix(of)) || becomes_integers(of, type));
    }
    return false;
}

static int convert(struct list *l, const zt_weights *w, enum zt_type type)
{
    for (int i = 0; i < zt_weights_count(w); i++) {
        const zt_weight *const t = zt_weights_at(w, i);
        const bool integers = becomes_integers(t, type);
        const bool shorter = type == ZT_BF16 && is_matrix(t) && t->type != ZT_BF16 && t->type != ZT_F16;
        zt_quantised m;
        int err = 0;
        if (is_beside(w, t, type))
            continue;
        if (integers || shorter)
            err = find_rows(w, t, &m);
        if (!err && integers)
            err = to_integers(l, &m, type == ZT_I4);
        else if (!err && shorter)
            err = to_bf16(l, &m);
        else if (!err)
            err = add(l, t, NULL, 0) ? 0 : -ENOMEM;
        if (err < 0)
            return err;
    }
    return 0;
}

// By way of OUT.part: the folder may be the one that is read.
static int copy_config(const char *from, const char *folder)
{
    char to[4096], part[4096 + 8];
    if (snprintf(to, sizeof(to), "%s/config.json", folder) >= (int)sizeof(to)) {
        zt_error("%s: %s", folder, strerror(ENAMETOOLONG));
        return -ENAMETOOLONG;
    }
    snprintf(part, sizeof(part), "%s.part", to);
    FILE *const in = fopen(from, "rbe"), *const out = fopen(part, "wbe");
    int err = in && out ? 0 : errno;
    char block[4096];
    for (size_t n; !err && (n = fread(block, 1, sizeof(block), in)) > 0;)
        err = fwrite(block, 1, n, out) == n ? 0 : EIO;
    if (in && ferror(in) && !err)
        err = EIO;
    if (in)
        fclose(in);
    if (out && fclose(out) != 0 && !err)
        err = errno;
    if (!err && rename(part, to) < 0)
        err = errno;
    if (err)
        zt_error("%s: %s", to, strerror(err));
    return -err;
}

static int write_model(const struct list *l, const char *config, const zt_config *c, const char *out, int overwrite)
{
    char path[4096];
    if (mkdir(out, 0777) < 0 && (errno != EEXIST || !overwrite)) {
        zt_error("%s: %s", out, strerror(errno));
        return ZT_EXIT_NO_OUTPUT;
    }
    snprintf(path, sizeof(path), "%s/%s", out, c->weights[0] ? c->weights : "diffusion_pytorch_model.safetensors");
    int err = zt_weights_write(path, l->w, l->n);
    if (!err)
        err = copy_config(config, out);
    return zt_exit_output(err);
}

static void finish(struct list *l, int room)
{
    for (int i = 0; l->made && i < l->n; i++) {
        if (l->made[i])
            free((void *)l->w[i].data);
    }
    for (int i = 0; l->name && i < room; i++)
        free(l->name[i]);
    free(l->w);
    free(l->name);
    free(l->made);
}

int zt_convert(const char *in, const char *out, enum zt_type type, int overwrite)
{
    char config[4096], file[4096];
    zt_config c = { 0 };
    zt_weights *w = NULL;
    int err = zt_model_find_files(in, &c, config, file, sizeof(config));
    if (!err)
        err = zt_weights_open(&w, file);
    if (err < 0) {
        zt_config_finish(&c);
        return zt_exit_input(err);
    }
    const int room = 3 * zt_weights_count(w) + 1;
    struct list l = { .w = calloc((size_t)room, sizeof(*l.w)), .name = calloc((size_t)room, sizeof(*l.name)),
                      .made = calloc((size_t)room, sizeof(*l.made)) };
    err = l.w && l.name && l.made ? convert(&l, w, type) : -ENOMEM;
    if (err == -ENOMEM)
        zt_error("%s: not enough memory", in);
    const int code = err ? zt_exit_input(err) : write_model(&l, config, &c, out, overwrite);
    finish(&l, room);
    zt_weights_close(&w);
    zt_config_finish(&c);
    return code;
}
