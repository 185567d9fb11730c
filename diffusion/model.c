// SPDX-License-Identifier: Apache-2.0
// Opens a model: finds its files, checks everything, converts the weights to the precision asked for.
#include "diffusion/model.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "base/log.h"
#include "diffusion/internal.h"
#include "diffusion/quantize.h"
#include "diffusion/sampler.h"

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool is_weights_name(const char *name)
{
    static const char *const ends[] = { ".safetensors", ".pt", ".pth", ".gguf" };
    for (size_t i = 0; i < ZT_LEN(ends); i++) {
        const size_t n = strlen(name), m = strlen(ends[i]);
        if (n > m && strcmp(name + n - m, ends[i]) == 0)
            return true;
    }
    return false;
}

// The weights of a folder: what config.json names, the usual names, or the only file that can be one.
static int find_weights(const char *folder, const zt_config *c, char *out, size_t bytes)
{
    const char *const usual[] = { c->weights, "diffusion_pytorch_model.safetensors",
                                  "diffusion_pytorch_model.safetensors.index.json", "model.safetensors",
                                  "model.safetensors.index.json" };
    for (size_t i = c->weights[0] ? 0 : 1; i < ZT_LEN(usual); i++) {
        if (snprintf(out, bytes, "%s%s", folder, usual[i]) >= (int)bytes) {
            zt_error("%s: the name is too long", folder);
            return -EINVAL;
        }
        if (access(out, F_OK) == 0 || i == 0)
            return 0;
    }
    int found = 0;
    DIR *const dir = opendir(folder[0] ? folder : ".");
    for (struct dirent *e; dir && (e = readdir(dir)) != NULL;) {
        if (is_weights_name(e->d_name))
            found += snprintf(out, bytes, "%s%s", folder, e->d_name) < (int)bytes;
    }
    if (dir)
        closedir(dir);
    if (found != 1)
        zt_error("%s: %s", folder, found ? "several weight files, and config.json names none" : "no weight file");
    return found == 1 ? 0 : found ? -EINVAL : -ENOENT;
}

// The folder of `path`, with its slash, and the name of config.json in it; a file's own name is copied to `weights`.
static int find_folder(const char *path, char *folder, char *config, char *weights, size_t bytes, bool *dir)
{
    if (access(path, F_OK) < 0) {
        const int err = errno;
        zt_error("%s: %s", path, strerror(err));
        return -err;
    }
    const char *const slash = strrchr(path, '/');
    *dir = is_folder(path);
    const int n = *dir ? snprintf(folder, bytes, "%s%s", path, slash && !slash[1] ? "" : "/")
                       : snprintf(folder, bytes, "%.*s", slash ? (int)(slash - path) + 1 : 0, path);
    if (n < 0 || (size_t)n >= bytes || snprintf(config, bytes, "%sconfig.json", folder) >= (int)bytes
        || (!*dir && snprintf(weights, bytes, "%s", path) >= (int)bytes)) {
        zt_error("%s: the name is too long", path);
        return -EINVAL;
    }
    return 0;
}

int zt_model_find_files(const char *path, zt_config *c, char *config, char *weights, size_t bytes)
{
    char folder[4096];
    bool dir;
    int err = find_folder(path, folder, config, weights, ZT_MIN(bytes, sizeof(folder)), &dir);
    if (!err)
        err = zt_config_read(c, config);
    if (!err && dir) {
        err = find_weights(folder, c, weights, bytes);
        if (err < 0)
            zt_config_finish(c);
    }
    return err;
}

int zt_model_find_weights(const char *path, char *config, char *weights, size_t bytes)
{
    static const zt_config none;
    char folder[4096];
    bool dir;
    const int err = find_folder(path, folder, config, weights, ZT_MIN(bytes, sizeof(folder)), &dir);
    return err || !dir ? err : find_weights(folder, &none, weights, bytes);
}

static bool has_matrices(const zt_weights *w, enum zt_type type)
{
    for (int i = 0; i < zt_weights_count(w); i++) {
        const zt_weight *const t = zt_weights_at(w, i);
        if (t->type == type && t->usable && zt_quantize_wanted(t->name))
            return true;
    }
    return false;
}

static enum zt_precision choose(const zt_device *d, const zt_weights *w, enum zt_precision p)
{
    if (p != ZT_PRECISION_DEFAULT)
        return p;
    if (has_matrices(w, ZT_U8))
        return ZT_PRECISION_INT4;
    if (has_matrices(w, ZT_I8))
        return ZT_PRECISION_INT8;
    return strcmp(d->level, "c") == 0 ? ZT_PRECISION_F32 : ZT_PRECISION_BF16;
}

static int check_device(const zt_device *d)
{
    if (d->space != ZT_HOST) {
        zt_error("models run on the CPU only in this version");
        return -ENOTSUP;
    }
    return 0;
}

static int choose_kv(zt_model *m, enum zt_kv_choice kv, enum zt_precision precision)
{
    const int D = m->c.dim / m->c.heads;
    if (kv == ZT_KV_DEFAULT)
        kv = m->c.kv_int8 && precision != ZT_PRECISION_F32 ? ZT_KV_INT8 : ZT_KV_FLOAT;
    m->info.kv = kv == ZT_KV_INT8 ? ZT_I8 : precision == ZT_PRECISION_F32 ? ZT_F32 : ZT_BF16;
    if (m->info.kv == ZT_I8 && D % 16) {
        zt_error("keys of 8 bits want heads of a multiple of 16, not of %d", D);
        return -EINVAL;
    }
    return 0;
}

static int load(zt_model *m, const zt_weights *w, const char *folder, enum zt_precision precision)
{
    const zt_config *const c = &m->c;
    zt_loader l;
    zt_loader_init(&l, w, &m->memory);
    l.other = precision == ZT_PRECISION_F32 ? ZT_F32 : ZT_BF16;
    l.block = precision == ZT_PRECISION_INT8 ? ZT_I8 : precision == ZT_PRECISION_INT4 ? ZT_I4 : l.other;
    int err = zt_dit_load(&m->dit, m->d, c, &l, m->info.kv, l.other);
    if (!err)
        err = zt_text_open(&m->text, &(zt_text_source){ m->d, c, &l, NULL, folder });
    if (!err && m->text.kind && m->text.width != m->dit.text_dim) {
        zt_error("%s: the text encoder makes rows of %d, the model takes %d", folder, m->text.width, m->dit.text_dim);
        err = -EINVAL;
    }
    if (!err)
        err = zt_decoder_open(&m->decoder, &(zt_decoder_source){ m->d, c, &l, l.other, NULL }, folder);
    if (!err) {
        m->scale = m->decoder.kind ? m->decoder.scale : 8;
        m->padded_text = strcmp(c->text.encoder, "words") == 0 ? 0 : c->text_len;
        m->max_text = m->padded_text ? c->text_len : m->text.max;
        const size_t rows = (size_t)m->max_text + 1;
        m->text_rows = zt_memory_take(&m->memory, rows * (size_t)m->dit.text_dim * sizeof(float));
        err = m->text_rows ? zt_dit_reserve_text(&m->dit, (int)rows) : -ENOMEM;
    }
    m->info.parameters = l.parameters;
    zt_loader_finish(&l);
    return err;
}

// What a pass costs at the native size: matrices per token, and queries against a full window.
static void count_operations(zt_model_info *i, const zt_config *c)
{
    const int64_t d = c->dim, M = (int64_t)(i->w / i->unit) * (i->h / i->unit) * c->chunk_frames;
    const int64_t ffn = c->ffn_dim ? 2 * d * c->ffn_dim : 3 * d * c->inter * (c->top_k + c->shared_experts);
    i->linear_ops = 2 * M * (c->layers * (6 * d * d + ffn) + 4 * d * (c->in_dim + c->out_dim));
    i->attention_ops = 4 * M * c->layers * d * (c->window_frames * M / c->chunk_frames);
}

// Those below `own`, the largest first.
static int smaller(int *out, const int *list, int n, int own)
{
    int count = 0;
    for (int below = own, next; ; below = next) {
        next = 0;
        for (int i = 0; i < n; i++)
            next = list[i] < below ? ZT_MAX(next, list[i]) : next;
        if (!next)
            return count;
        out[count++] = next;
    }
}

static void describe(zt_model *m, enum zt_precision precision, uint64_t weights_hash)
{
    const zt_config *const c = &m->c;
    const int64_t parameters = m->info.parameters;
    // what the family is shown at, where the configuration does not say
    const int usual_w = m->scale == 16 ? 1280 : 832, usual_h = m->scale == 16 ? 704 : 480;
    const enum zt_type kv = m->info.kv;
    m->info = (zt_model_info){
        .name = c->name[0] ? c->name : "unnamed", .w = c->w ? c->w : usual_w, .h = c->h ? c->h : usual_h,
        .unit = 2 * m->scale, .pictures = c->chunk_frames * ZT_MAX(m->decoder.next, 1),
        .first_pictures = ZT_MAX(m->decoder.first, 1) + (c->chunk_frames - 1) * ZT_MAX(m->decoder.next, 1), .fps = c->fps, .chunk_frames = c->chunk_frames,
        .steps = c->steps, .first_frame_steps = c->first_frame_steps, .dim = c->dim, .heads = c->heads,
        .layers = c->layers, .experts = c->experts, .top_k = c->top_k, .window_frames = c->window_frames,
        .sink_frames = c->sink_frames,
        .n_controls = c->n_controls, .default_prompt = m->text.default_prompt, .parameters = parameters,
        .weight_bytes = m->memory.bytes + m->decoder.bytes + m->text.bytes + m->dit.ground.bytes, .precision = precision, .kv = kv,
        .file_bytes = m->memory.files + m->decoder.files + m->text.files,
        .hash = zt_hash(c->hash, &weights_hash, sizeof(weights_hash)),
    };
    if (kv == ZT_I8)
        m->info.hash = zt_hash(m->info.hash, "kv8", 3);
    count_operations(&m->info, c);
    m->info.n_windows = smaller(m->info.window, c->trained_window, c->n_trained_windows, c->window_frames);
    m->info.n_top_k = smaller(m->info.fewer_k, c->trained_top_k, c->n_trained_top_k, c->top_k);
    for (int i = 0; i < c->n_controls; i++)
        m->info.control[i] = c->control[i];
    if (m->decoder.kind)
        m->info.state_bytes = zt_state_bytes(m, m->info.w, m->info.h);
}

static int open_files(zt_model *m, const char *path, enum zt_precision precision, enum zt_kv_choice kv)
{
    char config[4096], file[4096];
    zt_weights *w = NULL;
    int err = zt_model_find_files(path, &m->c, config, file, sizeof(config));
    if (!err)
        err = check_device(m->d);
    if (!err)
        err = zt_weights_open(&w, file);
    if (!err) {
        precision = choose(m->d, w, precision);
        err = choose_kv(m, kv, precision);
    }
    if (!err) {
        const char *const slash = strrchr(config, '/');         // its folder is the model's
        m->folder = strndup(config, slash ? (size_t)(slash - config) + 1 : 0);
        err = m->folder ? load(m, w, m->folder, precision) : -ENOMEM;
    }
    const uint64_t hash = err ? 0 : zt_weights_hash(w);
    if (!err)
        err = zt_weights_check(w);
    if (!err) {
        describe(m, precision, hash);
        m->slice = m->dit;
        m->slice.work = (zt_work){ 0 };
    }
    zt_weights_close(&w);
    return err;
}

int zt_model_open(zt_model **out, zt_device *d, const char *path, enum zt_precision precision)
{
    return zt_model_open_kv(out, d, path, precision, ZT_KV_DEFAULT);
}

int zt_model_open_kv(zt_model **out, zt_device *d, const char *path, enum zt_precision precision, enum zt_kv_choice kv)
{
    zt_model *m = calloc(1, sizeof(*m));
    if (!m)
        return -ENOMEM;
    m->d = d;
    m->memory.d = d;
    const int err = open_files(m, path, precision, kv);
    if (err == -ENOMEM)
        zt_error("%s: not enough memory", path);
    if (err)
        zt_model_close(&m);
    else
        *out = m;
    return err;
}

void zt_model_close(zt_model **m)
{
    if (!*m)
        return;
    zt_device_free((*m)->d, (*m)->slice.work.memory);
    zt_device_free((*m)->d, (*m)->slice.work.expanded);
    zt_dit_finish(&(*m)->dit);
    zt_decoder_close(&(*m)->decoder);
    zt_text_close(&(*m)->text);
    zt_memory_finish(&(*m)->memory);
    zt_config_finish(&(*m)->c);
    free((*m)->folder);
    free(*m);
    *m = NULL;
}

const zt_model_info *zt_model_get_info(const zt_model *m)
{
    return &m->info;
}

const char *zt_model_word(const zt_model *m, const char *group, int n)
{
    const zt_text_config *const t = &m->c.text;
    for (int i = 0; i < t->n_groups; i++) {
        if (strcmp(t->group[i].name, group) == 0)
            return n >= 0 && n <= t->group[i].last - t->group[i].first ? t->token[t->group[i].first + n] : NULL;
    }
    return NULL;
}

int zt_model_words(const zt_model *m, const char *text, char *ignored, size_t bytes)
{
    if (bytes)
        ignored[0] = 0;
    zt_text_encoder *const t = (zt_text_encoder *)&m->text;
    int *id = t->kind ? calloc((size_t)t->max + 1, sizeof(*id)) : NULL;
    const int n = id ? t->kind->parse(t, text, id, ignored, bytes) - t->least : 0;
    free(id);
    return n;
}

int zt_model_control(const zt_model *m, const char *name)
{
    for (int i = 0; i < m->c.n_controls; i++) {
        if (strcmp(m->c.control[i], name) == 0)
            return i;
    }
    return -1;
}

void zt_model_steps(const zt_model *m, int n, float *t)
{
    zt_sampler_steps(1000, m->c.shift, n, t);
}

void zt_model_steps_from(const zt_model *m, float t_now, int n, float *t)
{
    zt_sampler_steps(t_now, m->c.shift, n, t);
}
