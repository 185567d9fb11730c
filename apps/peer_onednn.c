// SPDX-License-Identifier: Apache-2.0
// oneDNN's matmul, and attention composed of two of them with its softmax between: weights, keys and values are reordered
// once into the layout it asks for, as an inference engine would.
#include <math.h>
#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "apps/peers.h"
#include "base/base.h"

extern const zt_peer zt_peer_onednn;
extern const zt_attention_peer zt_attention_peer_onednn;

enum { STAGES = 3, MEMORIES = 5 };

// What is computed: some primitives, one after the other.
typedef struct work {
    dnnl_engine_t    engine;
    dnnl_stream_t    stream;
    int              threads, stages;
    dnnl_primitive_t stage[STAGES];
    dnnl_exec_arg_t  arg[STAGES][4];
    int              args[STAGES];
    dnnl_memory_t    memory[MEMORIES];
    int              memories;
} work;

static const char *name(void)
{
    static char text[32];
    const dnnl_version_t *const v = dnnl_version();
    snprintf(text, sizeof(text), "onednn %d.%d.%d", v->major, v->minor, v->patch);
    return text;
}

static void destroy(void **made)
{
    work *const p = *made;
    if (!p)
        return;
    for (int i = 0; i < p->memories; i++)
        dnnl_memory_destroy(p->memory[i]);
    for (int i = 0; i < p->stages; i++)
        dnnl_primitive_destroy(p->stage[i]);
    dnnl_stream_destroy(p->stream);
    dnnl_engine_destroy(p->engine);
    free(p);
    *made = NULL;
}

static void run(void *made)
{
    work *const p = made;
    omp_set_num_threads(p->threads);
    for (int i = 0; i < p->stages; i++)
        dnnl_primitive_execute(p->stage[i], p->stream, p->args[i], p->arg[i]);
    dnnl_stream_wait(p->stream);
}

static work *begin(int threads)
{
    work *p = calloc(1, sizeof(*p));
    if (!p)
        return NULL;
    p->threads = threads;
    omp_set_num_threads(threads);       // primitives are made for so many
    if (dnnl_engine_create(&p->engine, dnnl_cpu, 0) ||
        dnnl_stream_create(&p->stream, p->engine, dnnl_stream_default_flags))
        destroy((void **)&p);
    return p;
}

static enum zt_type type_of(const dnnl_memory_desc_t *d)
{
    return d->data_type == dnnl_f32 ? ZT_F32 : d->data_type == dnnl_bf16 ? ZT_BF16 : ZT_I8;
}

// Memory of that layout with values in it, or NULL; the work owns it.
static dnnl_memory_t filled(work *p, const dnnl_memory_desc_t *d)
{
    void *data;
    size_t n = 1;
    for (int i = 0; i < d->ndims; i++)
        n *= (size_t)d->dims[i];
    dnnl_memory_t *const m = &p->memory[p->memories];
    if (dnnl_memory_create(m, d, p->engine, DNNL_MEMORY_ALLOCATE))
        return NULL;
    p->memories++;
    if (dnnl_memory_get_data_handle(*m, &data))
        return NULL;
    zt_peer_fill(data, type_of(d), n);
    return *m;
}

// The next stage. Its arguments are set by the caller.
static bool add_stage(work *p, const_dnnl_primitive_desc_t desc)
{
    if (dnnl_primitive_create(&p->stage[p->stages], desc))
        return false;
    p->stages++;
    return true;
}

static void set_argument(work *p, int which, dnnl_memory_t m)
{
    const int stage = p->stages - 1;
    p->arg[stage][p->args[stage]++] = (dnnl_exec_arg_t){ which, m };
}

// Memory of the layout `wanted` with what would lie in the layout `plain`.
static dnnl_memory_t reordered(work *p, const dnnl_memory_desc_t *plain, const dnnl_memory_desc_t *wanted)
{
    dnnl_primitive_desc_t desc = NULL;
    dnnl_primitive_t reorder = NULL;
    const dnnl_memory_t from = filled(p, plain);
    dnnl_memory_t to = NULL;
    bool ok = from && !dnnl_memory_create(&to, wanted, p->engine, DNNL_MEMORY_ALLOCATE)
        && !dnnl_reorder_primitive_desc_create(&desc, plain, p->engine, wanted, p->engine, NULL)
        && !dnnl_primitive_create(&reorder, desc);
    const dnnl_exec_arg_t arg[] = { { DNNL_ARG_FROM, from }, { DNNL_ARG_TO, to } };
    ok = ok && !dnnl_primitive_execute(reorder, p->stream, 2, arg) && !dnnl_stream_wait(p->stream);
    dnnl_primitive_destroy(reorder);
    dnnl_primitive_desc_destroy(desc);
    if (!ok) {
        dnnl_memory_destroy(to);
        return NULL;
    }
    dnnl_memory_destroy(from);
    p->memory[p->memories - 1] = to;
    return to;
}

// out = x w (+ bias), w laid out as it likes; bias may be NULL. x and out exist.
static bool add_matmul(work *p, dnnl_memory_t x, const dnnl_memory_desc_t *w, dnnl_memory_t bias, dnnl_memory_t out,
                       dnnl_primitive_attr_t attr)
{
    const dnnl_memory_desc_t *x_desc, *out_desc, *bias_desc = NULL;
    dnnl_memory_desc_t any;
    dnnl_matmul_desc_t what;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_memory_t weights = NULL;
    bool ok = x && out && !dnnl_memory_get_memory_desc(x, &x_desc) && !dnnl_memory_get_memory_desc(out, &out_desc)
        && (!bias || !dnnl_memory_get_memory_desc(bias, &bias_desc))
        && !dnnl_memory_desc_init_by_tag(&any, w->ndims, w->dims, w->data_type, dnnl_format_tag_any)
        && !dnnl_matmul_desc_init(&what, x_desc, &any, bias_desc, out_desc)
        && !dnnl_primitive_desc_create(&desc, &what, attr, p->engine, NULL) && add_stage(p, desc)
        && (weights = reordered(p, w, dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0)));
    dnnl_primitive_desc_destroy(desc);
    if (!ok)
        return false;
    set_argument(p, DNNL_ARG_SRC, x);
    set_argument(p, DNNL_ARG_WEIGHTS, weights);
    set_argument(p, DNNL_ARG_DST, out);
    if (bias)
        set_argument(p, DNNL_ARG_BIAS, bias);
    return true;
}

static dnnl_data_type_t data_type(enum zt_type type)
{
    return type == ZT_F32 ? dnnl_f32 : type == ZT_BF16 ? dnnl_bf16 : dnnl_s8;
}

// ---- a product

static dnnl_memory_desc_t matrix(int rows, int columns, dnnl_data_type_t type, dnnl_format_tag_t tag)
{
    dnnl_memory_desc_t d = { 0 };
    dnnl_memory_desc_init_by_tag(&d, 2, (const dnnl_dims_t){ rows, columns }, type, tag);
    return d;
}

// A scale for each column of I8.
static bool set_scales(dnnl_primitive_attr_t attr, int N)
{
    float *const scale = calloc((size_t)N, sizeof(*scale));
    for (int i = 0; scale && i < N; i++)
        scale[i] = 0.001f;
    const bool ok = scale && !dnnl_primitive_attr_set_output_scales(attr, N, 1 << 1, scale);
    free(scale);
    return ok;
}

// Weights come as [N][K].
static void *create(enum zt_type type, int M, int N, int K, int threads)
{
    const dnnl_data_type_t t = data_type(type);
    const dnnl_memory_desc_t x = matrix(M, K, t, dnnl_ab), bias = matrix(1, N, dnnl_f32, dnnl_ab),
                             w = matrix(K, N, t, dnnl_ba), out = matrix(M, N, dnnl_f32, dnnl_ab);
    work *p = begin(threads);
    dnnl_primitive_attr_t attr = NULL;
    if (!p)
        return NULL;
    const dnnl_memory_t from = filled(p, &x), to = from ? filled(p, &out) : NULL, add = to ? filled(p, &bias) : NULL;
    if (!add || dnnl_primitive_attr_create(&attr) || (type == ZT_I8 && !set_scales(attr, N)) ||
        !add_matmul(p, from, &w, add, to, attr))
        destroy((void **)&p);
    dnnl_primitive_attr_destroy(attr);
    return p;
}

const zt_peer zt_peer_onednn = { name, create, run, destroy };

// ---- attention

// [H][rows][columns], of which rows are `step` apart and heads `head`.
static dnnl_memory_desc_t heads(int H, int rows, int columns, dnnl_data_type_t type, int head, int row, int column)
{
    dnnl_memory_desc_t d = { 0 };
    dnnl_memory_desc_init_by_strides(&d, 3, (const dnnl_dims_t){ H, rows, columns }, type,
                                     (const dnnl_dims_t){ head, row, column });
    return d;
}

static bool add_softmax(work *p, dnnl_memory_t m)
{
    const dnnl_memory_desc_t *d;
    dnnl_softmax_desc_t what;
    dnnl_primitive_desc_t desc = NULL;
    const bool ok = m && !dnnl_memory_get_memory_desc(m, &d)
        && !dnnl_softmax_forward_desc_init(&what, dnnl_forward_inference, d, 2)
        && !dnnl_primitive_desc_create(&desc, &what, NULL, p->engine, NULL) && add_stage(p, desc);
    dnnl_primitive_desc_destroy(desc);
    if (!ok)
        return false;
    set_argument(p, DNNL_ARG_SRC, m);
    set_argument(p, DNNL_ARG_DST, m);
    return true;
}

// Queries and outputs are rows of all heads. Keys and values come as [H][keys][D].
static void *create_attention(enum zt_type type, const zt_attention_shape *s, int threads)
{
    const dnnl_data_type_t t = data_type(type);
    const int C = s->H * s->D;
    const dnnl_memory_desc_t q = heads(s->H, s->M, s->D, t, s->D, C, 1), k = heads(s->H, s->D, s->keys, t, s->keys * s->D, 1, s->D),
                             logits = heads(s->H, s->M, s->keys, t, s->M * s->keys, s->keys, 1),
                             v = heads(s->H, s->keys, s->D, t, s->keys * s->D, s->D, 1),
                             out = heads(s->H, s->M, s->D, dnnl_f32, s->D, C, 1);
    const float scale = 1 / sqrtf((float)s->D);
    dnnl_primitive_attr_t attr = NULL;
    work *p = type == ZT_F32 || type == ZT_BF16 ? begin(threads) : NULL;
    if (!p)
        return NULL;
    const dnnl_memory_t from = filled(p, &q), between = from ? filled(p, &logits) : NULL,
                        to = between ? filled(p, &out) : NULL;
    if (!to || dnnl_primitive_attr_create(&attr) || dnnl_primitive_attr_set_output_scales(attr, 1, 0, &scale) ||
        !add_matmul(p, from, &k, NULL, between, attr) || !add_softmax(p, between) ||
        !add_matmul(p, between, &v, NULL, to, NULL))
        destroy((void **)&p);
    dnnl_primitive_attr_destroy(attr);
    return p;
}

const zt_attention_peer zt_attention_peer_onednn = { name, create_attention, run, destroy };
