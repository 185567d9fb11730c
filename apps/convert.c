// SPDX-License-Identifier: Apache-2.0
// Quantises or shortens the weights of a model directory.
#include "apps/convert.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "apps/exits.h"
#include "base/base.h"
#include "base/log.h"
#include "diffusion/internal.h"
#include "diffusion/quantize.h"

// What becomes of a tensor.
enum how { COPY, FLOATS, SHORT, EIGHT, FOUR, FLOAT8, SCALES, FACTORS };

struct item {
    enum how     how;
    zt_quantised from;
};

// What is wanted.
struct task {
    enum zt_convert_to to;
    bool               overwrite, quiet;
};

// The output, planned before anything is read; tensors are made one row at a time while they are written.
struct list {
    zt_weight   *w;
    struct item *item;
    char       **name;          // of those that the source does not have
    int          n, room;

    const zt_weights *source;
    float       *scale, *row;   // of the tensor in work: scales of its rows; a row
    uint8_t     *factor;
    int8_t      *values;
    size_t       rows_room, row_room, factor_room;
    int64_t      bytes, done;   // of the output
    bool         show;          // progress on the terminal
    int          percent;
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

// NULL dtype: as the source has it.
static void add(struct list *l, enum how how, const zt_quantised *from, const zt_weight *like, const char *dtype,
                size_t bytes)
{
    zt_weight *const w = &l->w[l->n];
    *w = *like;
    if (dtype) {
        w->dtype = dtype;
        w->bytes = bytes;
    }
    l->bytes += (int64_t)w->bytes;
    l->item[l->n++] = (struct item){ how, *from };
}

// NAME + end, [rows] or [rows][n]
static int add_beside(struct list *l, enum how how, const zt_quantised *m, const char *end, int64_t rows, int64_t n)
{
    const zt_weight *const t = m->w;
    char *const name = malloc(strlen(t->name) + strlen(end) + 1);
    if (!name)
        return -ENOMEM;
    strcpy(name, t->name);
    strcat(name, end);
    l->name[l->n] = name;
    const zt_weight like = { .name = name, .rank = n ? 2 : 1, .shape = { rows, n }, .elements = n ? rows * n : rows };
    add(l, how, m, &like, how == SCALES ? "F32" : "U8", (size_t)like.elements * (how == SCALES ? sizeof(float) : 1));
    return 0;
}

// Elements of a row
static int64_t width(const zt_quantised *m)
{
    return m->w->elements / m->w->shape[0] * (m->factor ? 2 : 1);
}

// Rows of integers or of short floats, with what stands beside them.
static int add_rows(struct list *l, enum how how, const zt_quantised *m)
{
    static const char *const dtypes[] = { [SHORT] = "BF16", [EIGHT] = "I8", [FOUR] = "U8", [FLOAT8] = "F8_E4M3" };
    const int64_t rows = m->w->shape[0], n = width(m), stored = how == FOUR ? n / 2 : n;
    zt_weight like = *m->w;
    if (m->factor || how == FOUR)
        like.shape[like.rank - 1] = stored;
    like.elements = rows * stored;
    add(l, how, m, &like, dtypes[how], (size_t)like.elements * (how == SHORT ? 2 : 1));
    int err = how == SHORT ? 0 : add_beside(l, SCALES, m, "_scale", rows, 0);
    if (!err && how == FOUR)
        err = add_beside(l, FACTORS, m, "_factor", rows, (n + ZT_GROUP - 1) / ZT_GROUP);
    return err;
}

// Routers and modulations stay as they are: the model reads them in f32.
static bool is_matrix(const zt_weight *t)
{
    return t->rank >= 2 && t->usable && t->type != ZT_I32 && t->elements > 0 && !ends_with(t->name, "gate.weight")
        && !ends_with(t->name, "modulation") && !ends_with(t->name, "scale_shift_table");
}

// An odd width does not become 4 bits: such a tensor stays as it is.
static bool becomes_integers(const zt_weight *t, enum zt_convert_to to)
{
    const bool already = to == ZT_CONVERT_INT4 ? t->type == ZT_U8 : to == ZT_CONVERT_INT8 ? t->type == ZT_I8
                                                                  : t->coding == ZT_F8_E4M3;
    return to != ZT_CONVERT_BF16 && is_matrix(t) && t->rank == 2 && !already && zt_quantize_wanted(t->name)
        && (to != ZT_CONVERT_INT4 || t->shape[1] % 2 == 0);
}

// What stands beside a matrix of integers goes with it.
static bool is_beside(const zt_weights *w, const zt_weight *t, enum zt_convert_to to)
{
    char name[1024];
    const size_t n = strlen(t->name);
    for (const char *const *end = (const char *const[]){ "_scale", "_factor", NULL }; *end; end++) {
        if (!ends_with(t->name, *end) || n >= sizeof(name))
            continue;
        snprintf(name, sizeof(name), "%.*s", (int)(n - strlen(*end)), t->name);
        const zt_weight *const of = zt_weights_find(w, name);
        return of && ((to == ZT_CONVERT_BF16 && is_matrix(of)) || becomes_integers(of, to));
    }
    return false;
}

static int plan_one(struct list *l, const zt_weight *t, enum zt_convert_to to)
{
    static const enum how hows[] = { [ZT_CONVERT_INT8] = EIGHT, [ZT_CONVERT_INT4] = FOUR, [ZT_CONVERT_FP8] = FLOAT8 };
    const bool integers = becomes_integers(t, to);
    const bool short_already = !t->coding && (t->type == ZT_BF16 || t->type == ZT_F16);
    const bool shorter = to == ZT_CONVERT_BF16 && is_matrix(t) && !short_already;
    zt_quantised m = { .w = t };
    const int err = integers || shorter ? find_rows(l->source, t, &m) : 0;
    if (err)
        return err;
    if (integers || shorter)
        return add_rows(l, integers ? hows[to] : SHORT, &m);
    // what safetensors cannot hold, or not in this order, becomes F32
    const bool foreign = (t->coding && t->coding != ZT_F8_E4M3 && t->coding != ZT_F8_E5M2) || t->strided;
    if (foreign && t->usable)
        add(l, FLOATS, &m, t, "F32", (size_t)t->elements * sizeof(float));
    else
        add(l, COPY, &m, t, NULL, 0);
    return 0;
}

static int plan(struct list *l, enum zt_convert_to to)
{
    for (int i = 0; i < zt_weights_count(l->source); i++) {
        const zt_weight *const t = zt_weights_at(l->source, i);
        const int err = is_beside(l->source, t, to) ? 0 : plan_one(l, t, to);
        if (err)
            return err;
    }
    return 0;
}

// ---- writing

static bool grow(void *array, size_t *room, size_t bytes)
{
    void **const a = array;
    if (bytes <= *room)
        return true;
    void *const p = realloc(*a, bytes);
    if (p) {
        *a = p;
        *room = bytes;
    }
    return p != NULL;
}

static bool make_room(struct list *l, int64_t rows, int64_t n)
{
    size_t values = l->row_room / sizeof(float);
    return grow(&l->scale, &l->rows_room, (size_t)rows * sizeof(float))
        && grow(&l->factor, &l->factor_room, (size_t)(rows * ((n + ZT_GROUP - 1) / ZT_GROUP)))
        && grow(&l->values, &values, (size_t)n * 2) && grow(&l->row, &l->row_room, (size_t)n * sizeof(float));
}

static void tell(struct list *l, size_t bytes)
{
    l->done += (int64_t)bytes;
    const int percent = (int)(100 * l->done / ZT_MAX(l->bytes, 1));
    if (!l->show || percent == l->percent)
        return;
    l->percent = percent;
    fprintf(stderr, "\r[%-40.*s] %3d %% of %lld MB%s", percent * 40 / 100, "########################################",
            percent, (long long)(l->bytes / 1000000), percent == 100 ? "\n" : "");
}

static void write_row(struct list *l, enum how how, int64_t r, int64_t n, FILE *f)
{
    const int64_t G = (n + ZT_GROUP - 1) / ZT_GROUP;
    size_t bytes = (size_t)n;
    if (how == SHORT) {
        for (int64_t i = 0; i < n; i++)
            ((uint16_t *)l->values)[i] = zt_f32_to_bf16(l->row[i]);
        bytes *= 2;
    } else if (how == EIGHT) {
        l->scale[r] = zt_quantize_row(l->row, n, l->values);
    } else if (how == FLOAT8) {
        l->scale[r] = zt_quantize_row8f(l->row, n, (uint8_t *)l->values);
    } else {
        l->scale[r] = zt_quantize_row4(l->row, n, l->values, l->factor + r * G);
        zt_pack_row4(l->values, n, (uint8_t *)l->values + n);
        bytes /= 2;
    }
    fwrite(how == FOUR ? l->values + n : l->values, 1, bytes, f);
    tell(l, bytes);
}

static int write_rows(struct list *l, const struct item *it, FILE *f)
{
    const int64_t rows = it->from.w->shape[0], n = width(&it->from);
    if (!make_room(l, rows, n))
        return -ENOMEM;
    for (int64_t r = 0; r < rows; r++) {
        zt_quantised_read(&it->from, r, n, l->row);
        write_row(l, it->how, r, n, f);
    }
    return 0;
}

static void write_floats(struct list *l, const zt_weight *t, FILE *f)
{
    float x[4096];
    for (int64_t at = 0; at < t->elements; at += (int64_t)ZT_LEN(x)) {
        const int64_t n = ZT_MIN((int64_t)ZT_LEN(x), t->elements - at);
        zt_weight_read(t, at, n, x);
        fwrite(x, sizeof(*x), (size_t)n, f);
        tell(l, (size_t)n * sizeof(*x));
    }
}

static int fill(void *cookie, int i, FILE *f)
{
    struct list *const l = cookie;
    const struct item *const it = &l->item[i];
    const size_t bytes = l->w[i].bytes;
    int err = 0;
    if (it->how == FLOATS) {
        write_floats(l, it->from.w, f);
    } else if (it->how == COPY || it->how == SCALES || it->how == FACTORS) {
        fwrite(it->how == COPY ? l->w[i].data : it->how == SCALES ? (const void *)l->scale : l->factor, 1, bytes, f);
        tell(l, bytes);
    } else {
        err = write_rows(l, it, f);
    }
    zt_weights_drop(l->source, it->from.w);
    return !err && i == l->n - 1 ? zt_weights_check(l->source) : err;
}

// By way of TO.part: the folder may be the one that is read.
static int copy_file(const char *from, const char *to)
{
    char part[4096 + 8];
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

// The configuration, with the weights' new name where it names others.
static int write_config(const char *from, const zt_config *c, const char *file, const char *folder)
{
    void *text;
    size_t n;
    char to[4096], part[4096 + 8];
    if (snprintf(to, sizeof(to), "%s/config.json", folder) >= (int)sizeof(to)) {
        zt_error("%s: %s", folder, strerror(ENAMETOOLONG));
        return -ENAMETOOLONG;
    }
    if (!c->weights[0] || strcmp(c->weights, file) == 0)
        return copy_file(from, to);
    snprintf(part, sizeof(part), "%s.part", to);
    int err = zt_file_read(&text, &n, from, ZT_CONFIG_MAX);
    if (err)
        return err;
    cJSON *const json = cJSON_ParseWithLength(text, n);
    cJSON_ReplaceItemInObjectCaseSensitive(json, "weights", cJSON_CreateString(file));
    char *const out = cJSON_Print(json);
    FILE *const f = out ? fopen(part, "wbe") : NULL;
    if (!out || !f || fputs(out, f) < 0)
        err = out ? -errno : -ENOMEM;
    if (f && fclose(f) != 0 && !err)
        err = -errno;
    if (!err && rename(part, to) < 0)
        err = -errno;
    if (err)
        zt_error("%s: %s", to, strerror(-err));
    cJSON_free(out);
    cJSON_Delete(json);
    free(text);
    return err;
}

static int write_model(struct list *l, const char *config, const zt_config *c, const char *out, int overwrite)
{
    char path[4096];
    const char *const file = ends_with(c->weights, ".safetensors") ? c->weights : "diffusion_pytorch_model.safetensors";
    if (mkdir(out, 0777) < 0 && (errno != EEXIST || !overwrite)) {
        zt_error("%s: %s", out, strerror(errno));
        return ZT_EXIT_NO_OUTPUT;
    }
    if (snprintf(path, sizeof(path), "%s/%s", out, file) >= (int)sizeof(path)) {
        zt_error("%s: %s", out, strerror(ENAMETOOLONG));
        return ZT_EXIT_NO_OUTPUT;
    }
    int err = zt_weights_write_by(path, l->w, l->n, fill, l);
    if (err == -EINVAL)
        return ZT_EXIT_DATA;                    // the source changed meanwhile
    if (!err)
        err = write_config(config, c, file, out);
    return zt_exit_output(err);
}

static void finish(struct list *l)
{
    for (int i = 0; l->name && i < l->room; i++)
        free(l->name[i]);
    free(l->w);
    free(l->item);
    free(l->name);
    free(l->scale);
    free(l->row);
    free(l->factor);
    free(l->values);
}

// One transformer: `weights` and `config` are its files, `out` the folder that it gets.
static int convert_one(const char *weights, const char *config, const zt_config *c, const char *out, const struct task *t)
{
    zt_weights *w = NULL;
    int err = zt_weights_open(&w, weights);
    if (err < 0)
        return zt_exit_input(err);
    const int room = 3 * zt_weights_count(w) + 1;
    struct list l = { .w = calloc((size_t)room, sizeof(*l.w)), .name = calloc((size_t)room, sizeof(*l.name)),
                      .item = calloc((size_t)room, sizeof(*l.item)), .room = room, .source = w,
                      .show = !t->quiet && isatty(STDERR_FILENO) };
    err = l.w && l.name && l.item ? plan(&l, t->to) : -ENOMEM;
    if (err == -ENOMEM)
        zt_error("%s: not enough memory", weights);
    const int code = err ? zt_exit_input(err) : write_model(&l, config, c, out, t->overwrite);
    finish(&l);
    zt_weights_close(&w);
    return code;
}

// What a pair has in common: where the noise is high.
static int copy_index(const char *in, const char *out)
{
    char from[4096], to[4096];
    if (snprintf(from, sizeof(from), "%s/model_index.json", in) >= (int)sizeof(from) || access(from, F_OK) < 0)
        return ZT_EXIT_OK;
    if (snprintf(to, sizeof(to), "%s/model_index.json", out) >= (int)sizeof(to))
        return ZT_EXIT_NO_OUTPUT;
    return zt_exit_output(copy_file(from, to));
}

// Two transformers, in folders of the names that their publisher uses.
static int convert_pair(const char *in, const zt_model_files *f, const zt_config *c, const char *out, const struct task *t)
{
    static const zt_config none;
    char low[4096], high[4096], config[4096];
    const int folder = (int)(strrchr(f->high, '/') - f->high);
    if (snprintf(low, sizeof(low), "%s/low_noise_model", out) >= (int)sizeof(low)
        || snprintf(high, sizeof(high), "%s/high_noise_model", out) >= (int)sizeof(high)
        || snprintf(config, sizeof(config), "%.*s/config.json", folder, f->high) >= (int)sizeof(config)) {
        zt_error("%s: %s", out, strerror(ENAMETOOLONG));
        return ZT_EXIT_NO_OUTPUT;
    }
    if (mkdir(out, 0777) < 0 && (errno != EEXIST || !t->overwrite)) {
        zt_error("%s: %s", out, strerror(errno));
        return ZT_EXIT_NO_OUTPUT;
    }
    int code = copy_index(in, out);
    if (code == ZT_EXIT_OK)
        code = convert_one(f->weights, f->config, c, low, t);
    if (code == ZT_EXIT_OK)
        code = convert_one(f->high, access(config, F_OK) == 0 ? config : f->config, &none, high, t);
    return code;
}

int zt_convert(const char *in, const char *out, enum zt_convert_to to, bool overwrite, bool quiet)
{
    const struct task t = { to, overwrite, quiet };
    zt_config c = { 0 };
    zt_model_files f;
    const int err = zt_model_find_all(in, &c, &f);
    const int code = err ? zt_exit_input(err) : f.high[0] ? convert_pair(in, &f, &c, out, &t)
                                                          : convert_one(f.weights, f.config, &c, out, &t);
    zt_config_finish(&c);
    return code;
}
