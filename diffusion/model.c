// SPDX-License-Identifier: Apache-2.0
// Opens a model: checks everything, converts the weights to the precision asked for.
#include "diffusion/model.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "diffusion/internal.h"
#include "diffusion/quantize.h"
#include "diffusion/sampler.h"

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

// What the host computes in the middle of a pass is nothing for a GPU yet.
static int check_device(const zt_model *m, const char *path)
{
    const zt_config *const c = &m->c;
    const char *const what = m->d->space == ZT_HOST ? NULL
        : c->ground.hidden ? "the ground's noise" : c->position_embedding ? "embedded positions" : c->warp || c->previous_shifts
        ? "latents that are moved" : c->n_kinds ? "blocks of latent attention or Mamba-2"
        : c->dim / c->heads % 16 ? "heads of no multiple of 16" : NULL;
    if (!what)
        return 0;
    zt_error("%s has %s, which run on the CPU only in this version", path, what);
    return -ENOTSUP;
}

// Text is encoded by the CPU.
static int open_host(zt_model *m)
{
    m->host = m->d;
    if (m->d->space == ZT_HOST)
        return 0;
    m->host = NULL;
    return zt_device_open(&m->host, &(zt_device_params){ .device = "cpu", .threads = m->d->threads });
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

static void init_loader(zt_loader *l, const zt_weights *w, zt_memory *memory, enum zt_precision precision)
{
    zt_loader_init(l, w, memory);
    l->other = precision == ZT_PRECISION_F32 ? ZT_F32 : ZT_BF16;
    l->block = precision == ZT_PRECISION_INT8 ? ZT_I8 : precision == ZT_PRECISION_INT4 ? ZT_I4 : l->other;
}

// The transformer of the steps from the boundary on, like the other one.
static int load_high(zt_model *m, const char *file, enum zt_precision precision, uint64_t *hash)
{
    zt_weights *w = NULL;
    zt_loader l;
    int err = zt_weights_open(&w, file);
    if (err < 0)
        return err;
    init_loader(&l, w, &m->memory, precision);
    err = zt_dit_load(&m->high, m->d, &m->c, &l, m->info.kv, l.other);
    if (!err)
        err = zt_dit_reserve_text(&m->high, m->max_text + 1);
    m->info.parameters += l.parameters;
    zt_loader_finish(&l);
    const uint64_t own = err ? 0 : zt_weights_hash(w);
    if (!err)
        err = zt_weights_check(w);
    *hash = zt_hash(*hash, &own, sizeof(own));
    m->nets = 2;
    zt_weights_close(&w);
    return err;
}

static int load(zt_model *m, const zt_weights *w, const char *folder, enum zt_precision precision)
{
    const zt_config *const c = &m->c;
    zt_loader l, words;
    m->words.d = m->host;
    init_loader(&l, w, &m->memory, precision);
    init_loader(&words, w, &m->words, precision);
    int err = zt_dit_load(&m->dit, m->d, c, &l, m->info.kv, l.other);
    if (!err)
        err = zt_text_open(&m->text, &(zt_text_source){ m->host, c, m->host == m->d ? &l : &words, NULL, folder });
    if (!err && m->text.kind && m->text.width != m->dit.text_dim) {
        zt_error("%s: the text encoder makes rows of %d, the model takes %d", folder, m->text.width, m->dit.text_dim);
        err = -EINVAL;
    }
    if (!err)
        err = zt_decoder_open(&m->decoder, &(zt_decoder_source){ m->d, c, &l, l.other, NULL }, folder);
    if (!err && m->decoder.kind && m->d->space != ZT_HOST && strcmp(m->decoder.kind->name, "wan") == 0) {
        zt_error("%s has the Wan autoencoder for its pictures, which runs on the CPU only in this version; TAEHV does not", folder);
        err = -ENOTSUP;
    }
    if (!err) {
        m->scale = m->decoder.kind ? m->decoder.scale : 8;
        m->padded_text = strcmp(c->text.encoder, "words") == 0 ? 0 : c->text_len;
        m->max_text = m->padded_text ? c->text_len : m->text.max;
        const size_t rows = (size_t)m->max_text + 1;
        m->text_rows = zt_memory_take(m->host == m->d ? &m->memory : &m->words, rows * (size_t)m->dit.text_dim * sizeof(float));
        err = m->text_rows ? zt_dit_reserve_text(&m->dit, (int)rows) : -ENOMEM;
    }
    m->info.parameters = l.parameters + words.parameters;
    zt_loader_finish(&words);
    zt_loader_finish(&l);
    return err;
}

// What a pass costs at the native size: matrices per token, and queries against a full window.
static void count_operations(zt_model_info *i, const zt_config *c)
{
    const int64_t d = c->dim, M = (int64_t)(i->w / i->unit) * (i->h / i->unit) * c->chunk_frames;
    const int64_t ffn = c->ffn_dim ? 2 * d * c->ffn_dim : 3 * d * c->inter * (c->top_k + c->shared_experts);
    const int sides = c->guidance > 1 || c->guidance_high > 1 ? ZT_SIDES : 1;
    i->linear_ops = sides * 2 * M * (c->layers * (6 * d * d + ffn) + 4 * d * (c->in_dim + c->out_dim));
    i->attention_ops = sides * 4 * M * c->layers * d * (c->window_frames * M / c->chunk_frames);
}

// Operations of a block's parts, per token. Attention counts twice: it has at most half of an 8-bit product's speed.
static void share_parts(zt_model_info *i, const zt_config *c)
{
    const double d = c->dim, keys = c->window_frames * (double)(i->w / i->unit * (i->h / i->unit));
    const double ffn = c->ffn_dim ? 2 * d * c->ffn_dim : 3 * d * c->inter * (c->top_k + c->shared_experts);
    const double part[ZT_PARTS] = { 3 * d * d, 4 * d * keys, 3 * d * d, ffn };
    for (int p = 0; p < ZT_PARTS; p++)
        i->part[p] = (float)(part[p] / (part[0] + part[1] + part[2] + part[3]));
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
        .weight_bytes = m->memory.bytes + m->words.bytes + m->decoder.bytes + m->text.bytes + m->dit.ground.bytes, .precision = precision, .kv = kv,
        .file_bytes = m->memory.files + m->decoder.files + m->text.files,
        .hash = zt_hash(c->hash, &weights_hash, sizeof(weights_hash)),
    };
    if (kv == ZT_I8)
        m->info.hash = zt_hash(m->info.hash, "kv8", 3);
    count_operations(&m->info, c);
    share_parts(&m->info, c);
    m->info.n_windows = smaller(m->info.window, c->trained_window, c->n_trained_windows, c->window_frames);
    m->info.n_top_k = smaller(m->info.fewer_k, c->trained_top_k, c->n_trained_top_k, c->top_k);
    for (int i = 0; i < c->n_controls; i++)
        m->info.control[i] = c->control[i];
    if (m->decoder.kind)
        m->info.state_bytes = zt_state_bytes(m, m->info.w, m->info.h);
}

static int open_files(zt_model *m, const char *path, enum zt_precision precision, enum zt_kv_choice kv)
{
    zt_model_files files;
    zt_weights *w = NULL;
    int err = zt_model_find_all(path, &m->c, &files);
    if (!err)
        err = check_device(m, path);
    if (!err)
        err = open_host(m);
    if (!err)
        err = zt_weights_open(&w, files.weights);
    if (!err) {
        precision = choose(m->d, w, precision);
        err = choose_kv(m, kv, precision);
    }
    if (!err) {
        m->folder = strdup(files.folder);
        err = m->folder ? load(m, w, m->folder, precision) : -ENOMEM;
    }
    uint64_t hash = err ? 0 : zt_weights_hash(w);
    if (!err)
        err = zt_weights_check(w);
    zt_weights_close(&w);
    if (!err && files.high[0])
        err = load_high(m, files.high, precision, &hash);
    if (!err) {
        m->sides = m->c.guidance > 1 || (m->nets > 1 && m->c.guidance_high > 1) ? 2 : 1;
        describe(m, precision, hash);
        m->slice = m->dit;
        m->slice.work = (zt_work){ 0 };
        m->high_slice = m->high;
        m->high_slice.work = (zt_work){ 0 };
        err = zt_shares_open(m);
    }
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
    m->nets = 1;
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
    zt_dit *const slices[] = { &(*m)->slice, &(*m)->high_slice };
    for (int i = 0; i < ZT_MAX_NETS; i++) {
        if (slices[i]->d)
            zt_dit_release(slices[i]);
    }
    zt_shares_finish(*m);
    zt_dit_finish(&(*m)->dit);
    if ((*m)->nets > 1)
        zt_dit_finish(&(*m)->high);
    zt_decoder_close(&(*m)->decoder);
    zt_text_close(&(*m)->text);
    zt_memory_finish(&(*m)->memory);
    zt_memory_finish(&(*m)->words);
    if ((*m)->host != (*m)->d)
        zt_device_close(&(*m)->host);
    zt_config_finish(&(*m)->c);
    free((*m)->folder);
    free(*m);
    *m = NULL;
}

const zt_model_info *zt_model_get_info(const zt_model *m)
{
    return &m->info;
}

const char *zt_model_known_word(const zt_model *m, int n)
{
    const zt_text_config *const t = &m->c.text;
    return n >= 0 && n < t->n ? t->word[n].text : NULL;
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
    if (m->c.sampler == ZT_UNIPC)
        zt_unipc_times(n, m->c.shift, t);
    else
        zt_sampler_steps(1000, m->c.shift, n, t);
}

void zt_model_steps_from(const zt_model *m, float t_now, int n, float *t)
{
    if (m->c.sampler == ZT_UNIPC)
        zt_unipc_times_from(t_now, n, m->c.shift, t);
    else
        zt_sampler_steps(t_now, m->c.shift, n, t);
}

// The reference compares what it tells the network: whole numbers with UniPC.
int zt_model_net(const zt_model *m, float t)
{
    return m->nets > 1 && (m->c.sampler == ZT_UNIPC ? floorf(t) : t) >= 1000 * m->c.boundary ? 1 : 0;
}

zt_dit *zt_model_dit(zt_model *m, int net, bool slice)
{
    if (net)
        return slice ? &m->high_slice : &m->high;
    return slice ? &m->slice : &m->dit;
}

bool zt_model_remembers(const zt_model *m)
{
    return m->dit.others > 0 || m->c.window_frames > m->c.chunk_frames;
}
