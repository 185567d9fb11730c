// SPDX-License-Identifier: Apache-2.0
// Finds, checks, converts and packs tensors.
#include "diffusion/load.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "diffusion/models.h"
#include "diffusion/quantize.h"

enum { BLOCK = 4 << 20 };       // small pieces share blocks of this size, of large pages

void *zt_memory_take(zt_memory *m, size_t bytes)
{
    void *const p = zt_memory_take_raw(m, bytes);
    if (p && (!m->d || m->d->space == ZT_HOST))     // a GPU's is zero
        memset(p, 0, bytes);
    return p;
}

void *zt_memory_take_raw(zt_memory *m, size_t bytes)
{
    bytes = (size_t)zt_round_up((int64_t)ZT_MAX(bytes, 1), 64);
    if (bytes > m->left) {
        if (m->n == m->room) {
            const int room = m->room ? 2 * m->room : 64;
            void **const grown = realloc(m->block, (size_t)room * sizeof(*grown));
            if (!grown)
                return NULL;
            m->block = grown;
            m->room = room;
        }
        // as much again as there is, up to 128 MiB, so that few large pages are cut; what is not written is not there
        const size_t more = (size_t)ZT_MIN(m->bytes, (int64_t)128 << 20);
        const size_t size = ZT_MAX(ZT_MAX(bytes, (size_t)BLOCK), more);
        char *const p = m->d ? zt_device_alloc_raw(m->d, size) : zt_alloc_raw(size);
        if (!p)
            return NULL;
        m->block[m->n++] = p;
        if (size - bytes >= m->left) {          // keep the block with more room
            m->at = p + bytes;
            m->left = size - bytes;
        }
        m->bytes += (int64_t)bytes;
        return p;
    }
    void *const p = m->at;
    m->at += bytes;
    m->left -= bytes;
    m->bytes += (int64_t)bytes;
    return p;
}

void zt_memory_finish(zt_memory *m)
{
    for (int i = 0; i < m->n; i++) {
        if (m->d)
            zt_device_free(m->d, m->block[i]);
        else
            zt_free(m->block[i]);
    }
    free(m->block);
    *m = (zt_memory){ .d = m->d };
}

static bool is_far(const zt_loader *l)
{
    return l->memory->d->space != ZT_HOST;
}

// Where the loader writes.
static zt_memory *near_memory(zt_loader *l)
{
    return is_far(l) ? &l->staged : l->memory;
}

static void move(zt_loader *l, const void **p, size_t bytes, int *err)
{
    void *const to = *p && !*err ? zt_memory_take_raw(l->memory, bytes) : NULL;
    if (to)
        zt_device_copy(l->memory->d, to, *p, bytes);
    else if (*p)
        *err = -ENOMEM;
    *p = to;
}

static int settle(zt_loader *l, zt_matrix *m)
{
    const size_t floats = (size_t)zt_round_up(m->N, 16) * sizeof(float);
    int err = 0;
    move(l, &m->data, zt_matrix_bytes(m->type, m->N, m->K), &err);
    move(l, (const void **)&m->scale, floats, &err);
    move(l, (const void **)&m->bias, floats, &err);
    move(l, (const void **)&m->factor, zt_factor_bytes(m->N, m->K), &err);
    return err;
}

int zt_load_settle(zt_loader *l, zt_matrix *m)
{
    const int err = is_far(l) ? settle(l, m) : 0;
    zt_memory_finish(&l->staged);
    return err;
}

int zt_load_settle_conv(zt_loader *l, zt_conv *c)
{
    int err = 0;
    if (is_far(l) && !c->up)
        err = settle(l, &c->w);
    for (int i = 0; i < 4 && is_far(l) && c->up && !err; i++)
        err = settle(l, &c->phase[i]);
    zt_memory_finish(&l->staged);
    return err;
}

void zt_loader_init(zt_loader *l, const zt_weights *w, zt_memory *memory)
{
    *l = (zt_loader){ .w = w, .memory = memory, .diffusers = zt_names_are_diffusers(w) };
    memory->files += zt_weights_bytes(w);
}

void zt_loader_finish(zt_loader *l)
{
    free(l->stage);
    l->stage = NULL;
    zt_memory_finish(&l->staged);
}

static void shape_text(char *out, size_t bytes, int rank, const int64_t *shape)
{
    size_t n = (size_t)snprintf(out, bytes, "[");
    for (int i = 0; i < rank && n < bytes; i++)
        n += (size_t)snprintf(out + n, bytes - n, "%s%lld", i ? ", " : "", (long long)shape[i]);
    if (n < bytes)
        snprintf(out + n, bytes - n, "]");
}

int zt_load_find(zt_loader *l, const zt_weight **out, const char *name, int rank, const int64_t *shape)
{
    char theirs[256], is[128], wanted[128];
    if (l->diffusers) {
        zt_name_for_diffusers(theirs, sizeof(theirs), name);
        name = theirs;
    }
    const zt_weight *const w = zt_weights_find(l->w, name);
    if (!w) {
        zt_error("%s: tensor '%s' is missing", zt_weights_label(l->w), name);
        return -EINVAL;
    }
    if (w->rank != rank || memcmp(w->shape, shape, (size_t)rank * sizeof(*shape)) != 0) {
        shape_text(is, sizeof(is), w->rank, w->shape);
        shape_text(wanted, sizeof(wanted), rank, shape);
        zt_error("%s: tensor '%s' has shape %s, but the configuration says %s", zt_weights_label(l->w), name, is,
                 wanted);
        return -EINVAL;
    }
    if (!w->usable) {
        zt_error("%s: tensor '%s' has dtype %s, which cannot be used", zt_weights_label(l->w), name, w->dtype);
        return -EINVAL;
    }
    l->parameters += w->elements;
    *out = w;
    return 0;
}

int zt_load_floats(zt_loader *l, const float **out, const char *name, int rank, const int64_t *shape)
{
    const zt_weight *w;
    const int err = zt_load_find(l, &w, name, rank, shape);
    if (err < 0)
        return err;
    float *const p = zt_memory_take(near_memory(l), (size_t)w->elements * sizeof(*p));
    if (!p)
        return -ENOMEM;
    zt_weight_read(w, 0, w->elements, p);
    *out = p;
    int moved = 0;
    if (is_far(l))
        move(l, (const void **)out, (size_t)w->elements * sizeof(*p), &moved);
    zt_memory_finish(&l->staged);
    return moved;
}

int zt_load_vector(zt_loader *l, const float **out, const char *name, int n)
{
    return zt_load_floats(l, out, name, 1, (const int64_t[]){ n });
}

static int reserve_stage(zt_loader *l, size_t bytes)
{
    if (bytes <= l->stage_bytes)
        return 0;
    void *const p = realloc(l->stage, bytes);
    if (!p)
        return -ENOMEM;
    l->stage = p;
    l->stage_bytes = bytes;
    return 0;
}

// NAME.part in the file, or NULL
static const zt_weight *peek(const zt_loader *l, const char *name, const char *part)
{
    char theirs[256], text[256];
    snprintf(text, sizeof(text), "%s.%s", name, part);
    if (l->diffusers)
        zt_name_for_diffusers(theirs, sizeof(theirs), text);
    return zt_weights_find(l->w, l->diffusers ? theirs : text);
}

// The scales of an I8, 4-bit or scaled F8 tensor: w = q * scale[row].
static int find_scale(zt_loader *l, const char *name, int rows, const zt_weight **scale)
{
    char text[256];
    snprintf(text, sizeof(text), "%s.weight_scale", name);
    const int64_t before = l->parameters;
    const int err = zt_load_find(l, scale, text, 1, (const int64_t[]){ rows });
    l->parameters = before;
    return err;
}

// The factors of a 4-bit tensor, which is not as wide as what it stands for.
static int find_four_bits(zt_loader *l, zt_quantised *q, int k, const zt_part *p)
{
    char text[256];
    const int64_t before = l->parameters, G = (k + ZT_GROUP - 1) / ZT_GROUP;
    snprintf(text, sizeof(text), "%s.weight", p->name);
    int err = zt_load_find(l, &q->w, text, 2, (const int64_t[]){ p->rows, (k + 1) / 2 });
    snprintf(text, sizeof(text), "%s.weight_factor", p->name);
    if (!err)
        err = zt_load_find(l, &q->factor, text, 2, (const int64_t[]){ p->rows, G });
    l->parameters = before + (int64_t)p->rows * k;
    if (!err && (k % 2 || q->w->type != ZT_U8 || q->w->strided || q->factor->type != ZT_U8 || q->factor->strided)) {
        zt_error("%s: tensor '%s' is not of 4 bits", zt_weights_label(l->w), text);
        err = -EINVAL;
    }
    return err ? err : find_scale(l, p->name, p->rows, &q->scale);
}

// `whole`: every element will be written, so that nothing need be cleared.
static int make_matrix(zt_loader *l, zt_matrix *m, enum zt_type type, int N, int K, bool whole)
{
    const size_t N16 = (size_t)zt_round_up(N, 16);
    zt_memory *const near = near_memory(l);
    void *const data = zt_memory_take_raw(near, zt_matrix_bytes(type, N, K));
    const bool integer = type == ZT_I8 || type == ZT_I4;
    float *const scale = integer ? zt_memory_take(near, N16 * sizeof(float)) : NULL;
    float *const bias = zt_memory_take(near, N16 * sizeof(float));
    uint8_t *const factor = type == ZT_I4 ? zt_memory_take(near, zt_factor_bytes(N, K)) : NULL;
    if (!data || !bias || (integer && !scale) || (type == ZT_I4 && !factor))
        return -ENOMEM;
    if (!whole || type == ZT_I4)                // halves of bytes are put one by one
        zt_matrix_clear(data, type, N, K);
    *m = (zt_matrix){ .type = type, .N = N, .K = K, .data = data, .scale = scale, .bias = bias, .factor = factor };
    return 0;
}

// Where a row of a part lands.
static int place(const zt_part *p, int r)
{
    return p->stride16 == 2 ? p->row0 + r / 16 * 32 + r % 16 : p->row0 + r;
}

// What the file has for a part; bias may be NULL.
struct found {
    zt_quantised     q;
    const zt_weight *bias;
};

static int find_part(zt_loader *l, struct found *f, int k, const zt_part *p)
{
    char name[256];
    const int64_t shape[2][5] = { { p->rows, k }, { p->rows, k / 4, 1, 2, 2 } };
    const int rank = p->rank ? p->rank : 2;
    *f = (struct found){ 0 };
    snprintf(name, sizeof(name), "%s.weight", p->name);
    const bool four_bits = rank == 2 && peek(l, p->name, "weight_factor");
    int err = four_bits ? find_four_bits(l, &f->q, k, p) : zt_load_find(l, &f->q.w, name, rank, shape[rank == 5]);
    if (!err && (f->q.w->type == ZT_I8 || (f->q.w->coding == ZT_F8_E4M3 && peek(l, p->name, "weight_scale"))))
        err = find_scale(l, p->name, p->rows, &f->q.scale);
    snprintf(name, sizeof(name), "%s.bias", p->name);
    if (!err && p->bias)
        err = zt_load_find(l, &f->bias, name, 1, shape[0]);
    return err;
}

// Row r as floats: in the file's own bytes where they are such, else in row [k].
static const float *floats(const zt_quantised *q, int64_t r, int k, float *row)
{
    const zt_weight *const w = q->w;
    if (w->type == ZT_F32 && w->coding == ZT_PLAIN && !w->strided && !q->scale && (uintptr_t)w->data % sizeof(*row) == 0)
        return (const float *)w->data + r * k;
    zt_quantised_read(q, r, k, row);
    return row;
}

// Row r, k wide, as integers of 8 bits; returns its scale. row [k] is scratch.
static float integer_row(const zt_quantised *q, int64_t r, int k, int8_t *to, float *row)
{
    float s = 1;
    if (q->factor || q->w->type == ZT_I8)
        zt_weight_read(q->scale, r, 1, &s);
    if (q->factor) {                    // at most 8 * 15
        zt_unpack_row4((const uint8_t *)q->w->data + r * (k / 2), k, to);
        const uint8_t *const factor = (const uint8_t *)q->factor->data + r * ((k + ZT_GROUP - 1) / ZT_GROUP);
        for (int i = 0; i < k; i++)
            to[i] = (int8_t)(to[i] * (factor[i / ZT_GROUP] & 15));
        return s;
    }
    if (q->w->type == ZT_I8) {
        memcpy(to, (const int8_t *)q->w->data + r * k, (size_t)k);
        return s;
    }
    return zt_quantize_row(floats(q, r, k, row), k, to);
}

// The same of 4 bits, with factors [k / 64 rounded up].
static float small_row(const zt_quantised *q, int64_t r, int k, int8_t *to, uint8_t *factor, float *row)
{
    float s;
    const int G = (k + ZT_GROUP - 1) / ZT_GROUP;
    if (!q->factor)
        return zt_quantize_row4(floats(q, r, k, row), k, to, factor);
    zt_weight_read(q->scale, r, 1, &s);
    zt_unpack_row4((const uint8_t *)q->w->data + r * (k / 2), k, to);
    for (int g = 0; g < G; g++)
        factor[g] = ((const uint8_t *)q->factor->data)[r * G + g] & 15;
    return s;
}

// A matrix on its way from the file, by groups of 16 rows on all threads.
struct passage {
    zt_loader         *l;
    zt_matrix         *m;
    const zt_part     *part;
    const struct found *found;
    int                k;
    size_t             stage_bytes;     // of each thread
    uint64_t          *hash;            // of each group, or NULL: the groups are not those of the hash
};

static int groups(const zt_part *p)
{
    return (p->rows + ZT_HASH_ROWS - 1) / ZT_HASH_ROWS;
}

// Rows [r, r + n) of a part, k wide, into the stage, K wide, as floats or as integers with their scales and factors.
static void stage_rows(const struct passage *c, void *stage, int r, int n)
{
    const zt_matrix *const m = c->m;
    const zt_part *const p = c->part;
    const zt_quantised *const q = &c->found->q;
    const int k = c->k;
    const size_t K = (size_t)m->K, element = m->scale ? 1 : sizeof(float);
    float *const row = (float *)((char *)stage + 16 * K * element);                 // [k]
    uint8_t *const factor = (uint8_t *)(row + k);
    if (k < m->K || m->factor)
        memset(stage, 0, 16 * K * element + (size_t)k * sizeof(float) + (m->factor ? zt_factor_bytes(1, m->K) / 16 : 0));
    for (int i = 0; i < n; i++) {
        int8_t *const to = (int8_t *)stage + (size_t)i * K;
        float *const scale = m->scale ? (float *)m->scale + place(p, r + i) : NULL;
        if (m->type == ZT_I8) {
            *scale = integer_row(q, r + i, k, to, row);
        } else if (m->type == ZT_I4) {
            *scale = small_row(q, r + i, k, to, factor, row);
            zt_factor_pack((uint8_t *)m->factor, m->N, m->K, factor, 1, place(p, r + i), 1);
        } else {
            zt_quantised_read(q, r + i, k, (float *)stage + (size_t)i * K);
        }
    }
}

static void load_group(void *cookie, int i, int thread)
{
    const struct passage *const c = cookie;
    const zt_matrix *const m = c->m;
    const zt_part *const p = c->part;
    const int r = i * ZT_HASH_ROWS, n = ZT_MIN(ZT_HASH_ROWS, p->rows - r);
    void *const stage = (char *)c->l->stage + (size_t)thread * c->stage_bytes;
    stage_rows(c, stage, r, n);
    zt_matrix_pack((void *)m->data, m->type, m->N, m->K, stage, m->scale ? ZT_I8 : ZT_F32, n, place(p, r),
                   p->stride16 ? p->stride16 : 1);
    if (c->hash)
        c->hash[i] = zt_weight_hash_block(c->found->q.w, i);      // while its bytes are near
}

static void load_part(struct passage *c)
{
    const zt_part *const p = c->part;
    const struct found *const f = c->found;
    const int n = groups(p);
    c->hash = zt_weight_blocks(f->q.w) == n ? malloc((size_t)n * sizeof(*c->hash)) : NULL;
    zt_parallel_for(c->l->memory->d, n, load_group, c);
    if (c->hash)
        zt_weights_set_hash(c->l->w, f->q.w, c->hash);
    free(c->hash);
    zt_weights_drop(c->l->w, f->q.w);
    for (int r = 0; f->bias && r < p->rows; r++)
        zt_weight_read(f->bias, r, 1, (float *)c->m->bias + place(p, r));
}

int zt_load_matrix(zt_loader *l, zt_matrix *out, enum zt_type type, int N, int K, int k, const zt_part *part, int n)
{
    struct found found[ZT_MAX_PARTS];
    struct passage c = { .l = l, .m = out, .k = k };
    bool bias = false;
    int err = 0, rows = 0;
    assert(n <= ZT_MAX_PARTS);
    for (int i = 0; i < n && !err; i++) {
        bias |= part[i].bias;
        rows += part[i].rows;
        err = find_part(l, &found[i], k, &part[i]);
    }
    if (!err)
        err = make_matrix(l, out, type, N, K, rows == N && N % 16 == 0 && k == K && K % 8 == 0);
    c.stage_bytes = (size_t)zt_round_up((16 * (int64_t)K + k + K / ZT_GROUP + 16) * (int64_t)sizeof(float), 64);
    if (!err)
        err = reserve_stage(l, c.stage_bytes * (size_t)l->memory->d->threads);
    if (err < 0)
        return err;
    for (int i = 0; i < n; i++) {
        c.part = &part[i];
        c.found = &found[i];
        load_part(&c);
    }
    if (!bias)
        out->bias = NULL;
    return zt_load_settle(l, out);
}

int zt_load_linear(zt_loader *l, zt_matrix *out, enum zt_type type, int N, int K, const char *name)
{
    return zt_load_matrix(l, out, type, N, K, K, &(zt_part){ .name = name, .rows = N, .bias = true }, 1);
}

// Row n of the file's tensor, [channel][t][tap] there, in the order of zt_load_kernel().
static void reorder(const zt_kernel_shape *s, const float *from, float *to)
{
    const int T = ZT_MAX(s->T, 1), taps = s->h * s->w;
    for (int c = 0; c < s->C; c++)
        for (int t = 0; t < T; t++)
            for (int i = 0; i < taps; i++)
                to[(i * T + T - 1 - t) * s->C + c] = from[(c * T + t) * taps + i];
}

static int check_kernel(const zt_loader *l, const zt_weight *w, const char *name)
{
    if (w->type != ZT_I8 && w->type != ZT_U8)
        return 0;
    zt_error("%s: tensor '%s.weight' has dtype %s, which convolutions cannot use", zt_weights_label(l->w), name, w->dtype);
    return -EINVAL;
}

int zt_load_kernel(zt_loader *l, zt_matrix *out, enum zt_type type, const char *name, zt_kernel_shape s)
{
    char text[256];
    const zt_weight *w, *bias = NULL;
    const int K = s.C * ZT_MAX(s.T, 1) * s.h * s.w;
    const int64_t shape[2][5] = { { s.N, s.C, s.h, s.w }, { s.N, s.C, s.T, s.h, s.w } };
    snprintf(text, sizeof(text), "%s.weight", name);
    int err = zt_load_find(l, &w, text, s.T ? 5 : 4, shape[s.T > 0]);
    snprintf(text, sizeof(text), "%s.bias", name);
    if (!err && zt_weights_find(l->w, text))
        err = zt_load_find(l, &bias, text, 1, (const int64_t[]){ s.N });
    if (!err)
        err = check_kernel(l, w, name);
    if (!err)
        err = make_matrix(l, out, type, s.N, K, false);
    if (!err)
        err = reserve_stage(l, 2 * (size_t)K * sizeof(float));
    if (err < 0)
        return err;

    float *const row = l->stage, *const to = row + K;
    for (int n = 0; n < s.N; n++) {
        zt_weight_read(w, (int64_t)n * K, K, row);
        reorder(&s, row, to);
        zt_matrix_pack((void *)out->data, type, s.N, K, to, ZT_F32, 1, n, 1);
    }
    if (bias)
        zt_weight_read(bias, 0, s.N, (float *)out->bias);
    return zt_load_settle(l, out);
}

static void pack_row(const zt_matrix *m, int n, const float *row, int8_t *q)
{
    if (m->type != ZT_I8) {
        zt_matrix_pack((void *)m->data, m->type, m->N, m->K, row, ZT_F32, 1, n, 1);
        return;
    }
    ((float *)m->scale)[n] = zt_quantize_row(row, m->K, q);
    zt_matrix_pack((void *)m->data, ZT_I8, m->N, m->K, q, ZT_I8, 1, n, 1);
}

int zt_load_empty_conv(zt_loader *l, zt_conv *out, enum zt_type type, int N, int C)
{
    out->w = (zt_matrix){ .type = type, .N = N, .K = 9 * C };
    int err = reserve_stage(l, 31 * (size_t)C * sizeof(float));     // two rows, four taps, a row of bytes
    if (!err && !out->up)
        err = make_matrix(l, &out->w, type, N, 9 * C, false);
    for (int i = 0; i < 4 && !err && out->up; i++)
        err = make_matrix(l, &out->phase[i], type, N, 4 * C, false);
    return err;
}

void zt_load_conv_row(zt_loader *l, zt_conv *out, int n, const float *w)
{
    const int C = out->w.K / 9;
    float *const row = (float *)l->stage + 18 * C;
    int8_t *const q = (int8_t *)(row + 4 * C);
    if (!out->up)
        pack_row(&out->w, n, w, q);
    for (int i = 0; i < 4 && out->up; i++) {
        zt_conv_phase(row, w, C, i / 2, i % 2);
        pack_row(&out->phase[i], n, row, q);
    }
}

int zt_load_conv(zt_loader *l, zt_conv *out, enum zt_type type, int N, int C, const char *name)
{
    char text[256];
    const zt_weight *w, *bias;
    const zt_kernel_shape s = { N, C, 0, 3, 3 };
    snprintf(text, sizeof(text), "%s.weight", name);
    int err = zt_load_find(l, &w, text, 4, (const int64_t[]){ N, C, 3, 3 });
    snprintf(text, sizeof(text), "%s.bias", name);
    if (!err)
        err = zt_load_find(l, &bias, text, 1, (const int64_t[]){ N });
    if (!err)
        err = check_kernel(l, w, name);
    if (!err)
        err = zt_load_empty_conv(l, out, type, N, C);
    if (err < 0)
        return err;

    float *const row = l->stage, *const to = row + 9 * C;
    for (int n = 0; n < N; n++) {
        zt_weight_read(w, (int64_t)n * 9 * C, 9 * C, row);
        reorder(&s, row, to);
        zt_load_conv_row(l, out, n, to);
    }
    for (int i = 0; i < (out->up ? 4 : 1); i++)
        zt_weight_read(bias, 0, N, (float *)(out->up ? out->phase[i].bias : out->w.bias));
    return zt_load_settle_conv(l, out);
}
