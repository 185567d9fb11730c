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

// The scale beside an I8 tensor: *scale is NULL for any other. -EINVAL when there is none.
static int find_scale(const zt_weights *w, const zt_weight *t, const zt_weight **scale)
{
    char name[1024];
    *scale = NULL;
    if (t->type != ZT_I8)
        return 0;
    snprintf(name, sizeof(name), "%s_scale", t->name);
    *scale = zt_weights_find(w, name);
    if (*scale && (*scale)->usable && (*scale)->elements == t->shape[0])
        return 0;
    zt_error("%s: tensor '%s' is I8 without a '%s' of its rows", zt_weights_label(w), t->name, name);
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

static int to_int8(struct list *l, const zt_weight *t)
{
    const int64_t rows = t->shape[0], n = t->elements / rows;
    zt_weight *const q = add(l, t, "I8", (size_t)t->elements);
    if (!q)
        return -ENOMEM;
    l->name[l->n] = malloc(strlen(t->name) + 8);
    const zt_weight like = { .name = l->name[l->n], .rank = 1, .shape = { rows }, .elements = rows };
    if (like.name)
        sprintf(l->name[l->n], "%s_scale", t->name);
    zt_weight *const s = like.name ? add(l, &like, "F32", (size_t)rows * sizeof(float)) : NULL;
    float *const row = malloc((size_t)n * sizeof(*row));
    for (int64_t r = 0; s && row && r < rows; r++) {
        zt_weight_read(t, r * n, n, row);
        ((float *)s->data)[r] = zt_quantize_row(row, n, (int8_t *)q->data + r * n);
    }
    free(row);
    return s && row ? 0 : -ENOMEM;
}

static int to_bf16(struct list *l, const zt_weight *t, const zt_weight *scale)
{
    const int64_t rows = t->shape[0], n = t->elements / rows;
    zt_weight *const b = add(l, t, "BF16", (size_t)t->elements * 2);
    float *const row = malloc((size_t)n * sizeof(*row));
    for (int64_t r = 0; b && row && r < rows; r++) {
        float s = 1;
        if (scale)
            zt_weight_read(scale, r, 1, &s);
        zt_weight_read(t, r * n, n, row);
        for (int64_t i = 0; i < n; i++)
            ((uint16_t *)b->data)[r * n + i] = zt_f32_to_bf16(row[i] * s);
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

static int convert(struct list *l, const zt_weights *w, enum zt_type type)
{
    for (int i = 0; i < zt_weights_count(w); i++) {
        const zt_weight *const t = zt_weights_at(w, i), *scale;
        int err = 0;
        if (type == ZT_I8 && is_matrix(t) && t->rank == 2 && t->type != ZT_I8 && zt_quantize_wanted(t->name))
            err = to_int8(l, t);
        else if (type == ZT_BF16 && is_matrix(t) && t->type != ZT_BF16 && t->type != ZT_F16)
            err = (err = find_scale(w, t, &scale)) < 0 ? err : to_bf16(l, t, scale);
        else if (type != ZT_BF16 || !ends_with(t->name, ".weight_scale"))
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
    const int room = 2 * zt_weights_count(w) + 1;
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
