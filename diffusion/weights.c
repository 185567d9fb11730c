// SPDX-License-Identifier: Apache-2.0
// Files and shards into one sorted table of tensors.
#include "diffusion/weights.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "diffusion/json.h"
#include "diffusion/models.h"
#include "diffusion/weights_file.h"
#include "diffusion/weights_map.h"

enum { FILES_MAX = 1024, INDEX_MAX = 16 << 20 };

struct zt_weights {
    char                   *label;
    struct zt_weights_file *file;
    int                     files;
    zt_weight              *w;          // of all files, by name
    uint64_t               *content;    // hashes of their bytes; 0: not known yet
    int                     n;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const zt_weight *)a)->name, ((const zt_weight *)b)->name);
}

static int join(zt_weights *w)
{
    for (int i = 0; i < w->files; i++)
        w->n += w->file[i].part.n;
    w->w = calloc((size_t)ZT_MAX(w->n, 1), sizeof(*w->w));
    w->content = calloc((size_t)ZT_MAX(w->n, 1), sizeof(*w->content));
    if (!w->w || !w->content)
        return -ENOMEM;
    int n = 0;
    for (int i = 0; i < w->files; i++) {
        memcpy(w->w + n, w->file[i].part.w, (size_t)w->file[i].part.n * sizeof(*w->w));
        n += w->file[i].part.n;
    }
    for (int i = 0; i < n; i++)
        zt_name_strip((char *)w->w[i].name);    // the part's own bytes
    qsort(w->w, (size_t)n, sizeof(*w->w), by_name);
    for (int i = 1; i < n; i++) {
        if (strcmp(w->w[i].name, w->w[i - 1].name) == 0) {
            zt_error("%s: tensor '%.200s' is there twice", w->label, w->w[i].name);
            return -EINVAL;
        }
    }
    return 0;
}

static int create(zt_weights **out, const char *label, int files)
{
    zt_weights *const w = calloc(1, sizeof(*w));
    if (w) {
        w->label = strdup(label);
        w->file = calloc((size_t)files, sizeof(*w->file));
    }
    *out = w;
    return w && w->label && w->file ? 0 : -ENOMEM;
}

static bool plain_name(const char *name)
{
    return name[0] && name[0] != '.' && !strchr(name, '/');
}

// The shards of an index, each once, into names[FILES_MAX].
static int read_index(const char *path, const char *text, size_t bytes, char **names, int *n)
{
    zt_json j;
    char key[512], name[256];
    zt_json_init(&j, text, bytes);
    zt_json_enter(&j, '{');
    while (zt_json_key(&j, key, sizeof(key))) {
        if (strcmp(key, "weight_map") != 0) {
            zt_json_skip(&j);
            continue;
        }
        zt_json_enter(&j, '{');
        while (zt_json_key(&j, key, sizeof(key)) && zt_json_string(&j, name, sizeof(name))) {
            int i = *n;
            while (i > 0 && strcmp(names[i - 1], name) != 0)
                i--;
            if (i > 0)
                continue;
            if (!plain_name(name) || *n == FILES_MAX) {
                zt_error("%s: '%s' cannot be a shard's name", path, name);
                return -EINVAL;
            }
            if (!(names[*n] = strdup(name)))
                return -ENOMEM;
            ++*n;
        }
    }
    if (!zt_json_done(&j) || *n == 0) {
        zt_error("%s: %s", path, j.error ? j.error : "names no shards");
        return -EINVAL;
    }
    return 0;
}

static int open_shards(zt_weights *w, const char *path, char **names, int n)
{
    const char *const slash = strrchr(path, '/');
    const int folder = slash ? (int)(slash - path) + 1 : 0;
    for (int i = 0; i < n; i++) {
        char shard[4096];
        if (snprintf(shard, sizeof(shard), "%.*s%s", folder, path, names[i]) >= (int)sizeof(shard)) {
            zt_error("%s: %s", path, strerror(ENAMETOOLONG));
            return -EINVAL;
        }
        w->files = i + 1;
        const int err = zt_weights_file_open(&w->file[i], shard);
        if (err < 0)
            return err;
    }
    return 0;
}

static int open_index(zt_weights **out, const char *path)
{
    void *text = NULL;
    size_t bytes;
    int n = 0, err = zt_file_read(&text, &bytes, path, INDEX_MAX);
    if (err < 0 && err != -ENOMEM) {
        zt_error("%s: %s", path, err == -EINVAL ? "not a file" : strerror(-err));
        return err;
    }
    char **const names = calloc(FILES_MAX, sizeof(*names));
    if (!err && !names)
        err = -ENOMEM;
    if (!err)
        err = read_index(path, text, bytes, names, &n);
    if (!err)
        err = create(out, path, n);
    if (!err)
        err = open_shards(*out, path, names, n);
    for (int i = 0; names && i < n; i++)
        free(names[i]);
    free(names);
    free(text);
    return err;
}

static bool ends_with(const char *s, const char *end)
{
    const size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

int zt_weights_open(zt_weights **out, const char *path)
{
    zt_weights *w = NULL;
    int err;
    if (ends_with(path, ".index.json")) {
        err = open_index(&w, path);
    } else {
        err = create(&w, path, 1);
        if (!err) {
            w->files = 1;
            err = zt_weights_file_open(&w->file[0], path);
        }
    }
    if (!err)
        err = join(w);
    if (err)
        zt_weights_close(&w);
    else
        *out = w;
    return err;
}

int zt_weights_parse(zt_weights **out, const void *bytes, size_t n, const char *label)
{
    zt_weights *w = NULL;
    int err = create(&w, label, 1);
    if (!err) {
        w->files = 1;
        w->file[0].fd = -1;
        w->file[0].bytes = (void *)bytes;
        w->file[0].n = n;
        err = zt_weights_reader(bytes, n, label)(&w->file[0].part, bytes, n, label);
    }
    if (!err)
        err = join(w);
    if (err)
        zt_weights_close(&w);
    else
        *out = w;
    return err;
}

void zt_weights_close(zt_weights **w)
{
    if (!*w)
        return;
    for (int i = 0; i < (*w)->files; i++)
        zt_weights_file_close(&(*w)->file[i]);
    free((*w)->file);
    free((*w)->label);
    free((*w)->w);
    free((*w)->content);
    free(*w);
    *w = NULL;
}

int zt_weights_check(const zt_weights *w)
{
    for (int i = 0; i < w->files; i++) {
        const int err = zt_weights_file_check(&w->file[i]);
        if (err)
            return err;
    }
    return 0;
}

void zt_weights_drop(const zt_weights *w, const zt_weight *t)
{
    for (int i = 0; i < w->files; i++) {
        const char *const from = w->file[i].bytes, *const data = t->data;
        if (w->file[i].map && data >= from && data < from + w->file[i].n)
            zt_weights_map_drop(data, t->bytes);
    }
}

int zt_weights_count(const zt_weights *w)
{
    return w->n;
}

const zt_weight *zt_weights_at(const zt_weights *w, int i)
{
    return &w->w[i];
}

const char *zt_weights_label(const zt_weights *w)
{
    return w->label;
}

int64_t zt_weights_bytes(const zt_weights *w)
{
    int64_t n = 0;
    for (int i = 0; i < w->files; i++)
        n += (int64_t)w->file[i].n;
    return n;
}

const zt_weight *zt_weights_find(const zt_weights *w, const char *name)
{
    const zt_weight key = { .name = name };
    return bsearch(&key, w->w, (size_t)w->n, sizeof(*w->w), by_name);
}

static const uint64_t prime = 0x100000001b3;

// FNV moves bits up only; a whole word needs both ways.
static inline uint64_t stir(uint64_t lane, uint64_t word)
{
    lane = (lane ^ word) * prime;
    return lane ^ lane >> 29;
}

uint64_t zt_hash(uint64_t h, const void *bytes, size_t n)
{
    uint64_t a = h ^ 0xcbf29ce484222325, b = h + 1, c = h + 2, d = h + 3, word[4];
    const char *p = bytes;
    for (; n >= 32; n -= 32, p += 32) {
        memcpy(word, p, 32);
        a = stir(a, word[0]);
        b = stir(b, word[1]);
        c = stir(c, word[2]);
        d = stir(d, word[3]);
    }
    for (size_t i = 0; i < n; i++)
        a = (a ^ (unsigned char)p[i]) * prime;
    const uint64_t lane[3] = { b, c, d };
    for (int i = 0; i < 3; i++)
        a = ((a ^ lane[i]) * prime) ^ (lane[i] >> 32);
    return (a ^ n) * prime;
}

static uint64_t hash_view(uint64_t h, const zt_weight *t)
{
    float x[256];
    for (int64_t i = 0; i < t->elements && t->usable; i += (int64_t)ZT_LEN(x)) {
        const int64_t n = ZT_MIN((int64_t)ZT_LEN(x), t->elements - i);
        zt_weight_read(t, i, n, x);
        h = zt_hash(h, x, (size_t)n * sizeof(*x));
    }
    return h;
}

int64_t zt_weight_blocks(const zt_weight *t)
{
    if (t->strided || t->rank < 2 || t->elements == 0)
        return 1;
    return (t->shape[0] + ZT_HASH_ROWS - 1) / ZT_HASH_ROWS;
}

uint64_t zt_weight_hash_block(const zt_weight *t, int64_t block)
{
    const int64_t blocks = zt_weight_blocks(t);
    if (t->strided)
        return hash_view(0, t);
    if (blocks == 1)
        return zt_hash(0, t->data, t->bytes);
    const size_t row = t->bytes / (size_t)t->shape[0], at = (size_t)(block * ZT_HASH_ROWS) * row;
    return zt_hash(0, (const char *)t->data + at, ZT_MIN(ZT_HASH_ROWS * row, t->bytes - at));
}

void zt_weights_set_hash(const zt_weights *w, const zt_weight *t, const uint64_t *block)
{
    const uint64_t h = zt_hash(1, block, (size_t)zt_weight_blocks(t) * sizeof(*block));
    w->content[t - w->w] = h ? h : 1;
}

static uint64_t content(const zt_weights *w, const zt_weight *t)
{
    uint64_t h[64] = { 0 }, all = 0;
    if (w->content[t - w->w])
        return w->content[t - w->w];
    const int64_t n = zt_weight_blocks(t);
    uint64_t *const block = n <= (int64_t)ZT_LEN(h) ? h : malloc((size_t)n * sizeof(*block));
    for (int64_t i = 0; block && i < n; i++)
        block[i] = zt_weight_hash_block(t, i);
    if (block)
        zt_weights_set_hash(w, t, block);
    all = w->content[t - w->w];
    if (block != h)
        free(block);
    return all;
}

uint64_t zt_weights_hash(const zt_weights *w)
{
    return zt_weights_hash_but(w, NULL);
}

uint64_t zt_weights_hash_but(const zt_weights *w, const zt_weight *left_out)
{
    uint64_t h = 0;
    for (int i = 0; i < w->n; i++) {
        const zt_weight *const t = &w->w[i];
        const uint64_t bytes = t == left_out ? 0 : content(w, t);
        h = zt_hash(h, t->name, strlen(t->name));
        h = zt_hash(h, t->dtype, strlen(t->dtype));
        h = zt_hash(h, t->shape, sizeof(t->shape));
        h = zt_hash(h, &bytes, sizeof(bytes));
    }
    return h;
}
