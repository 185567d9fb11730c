// SPDX-License-Identifier: Apache-2.0
// oneDNN's matmul: weights reordered once into the layout it asks for, as an inference engine would.
#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "apps/peers.h"
#include "base/base.h"

extern const zt_peer zt_peer_onednn;

enum { X, W, BIAS, OUT, MEMORIES };

typedef struct product {
    dnnl_engine_t    engine;
    dnnl_stream_t    stream;
    dnnl_primitive_t matmul;
    dnnl_memory_t    memory[MEMORIES];
    int              threads;
} product;

static const char *name(void)
{
    static char text[32];
    const dnnl_version_t *const v = dnnl_version();
    snprintf(text, sizeof(text), "onednn %d.%d.%d", v->major, v->minor, v->patch);
    return text;
}

static void destroy(void **made)
{
    product *const p = *made;
    if (!p)
        return;
    for (int i = 0; i < MEMORIES; i++)
        dnnl_memory_destroy(p->memory[i]);
    dnnl_primitive_destroy(p->matmul);
    dnnl_stream_destroy(p->stream);
    dnnl_engine_destroy(p->engine);
    free(p);
    *made = NULL;
}

static void run(void *made)
{
    product *const p = made;
    const dnnl_exec_arg_t arg[] = { { DNNL_ARG_SRC, p->memory[X] }, { DNNL_ARG_WEIGHTS, p->memory[W] },
                                    { DNNL_ARG_BIAS, p->memory[BIAS] }, { DNNL_ARG_DST, p->memory[OUT] } };
    omp_set_num_threads(p->threads);
    dnnl_primitive_execute(p->matmul, p->stream, ZT_LEN(arg), arg);
    dnnl_stream_wait(p->stream);
}

static bool filled(dnnl_memory_t m, enum zt_type type, size_t n)
{
    void *data;
    if (dnnl_memory_get_data_handle(m, &data))
        return false;
    zt_peer_fill(data, type, n);
    return true;
}

// Weights come as [N][K] and are reordered into `wanted`.
static bool make_weights(product *p, enum zt_type type, const dnnl_memory_desc_t *plain, const dnnl_memory_desc_t *wanted)
{
    dnnl_memory_t from = NULL;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_primitive_t reorder = NULL;
    const size_t n = (size_t)(plain->dims[0] * plain->dims[1]);
    bool ok = !dnnl_memory_create(&from, plain, p->engine, DNNL_MEMORY_ALLOCATE) && filled(from, type, n)
        && !dnnl_memory_create(&p->memory[W], wanted, p->engine, DNNL_MEMORY_ALLOCATE)
        && !dnnl_reorder_primitive_desc_create(&desc, plain, p->engine, wanted, p->engine, NULL)
        && !dnnl_primitive_create(&reorder, desc);
    const dnnl_exec_arg_t arg[] = { { DNNL_ARG_FROM, from }, { DNNL_ARG_TO, p->memory[W] } };
    ok = ok && !dnnl_primitive_execute(reorder, p->stream, 2, arg) && !dnnl_stream_wait(p->stream);
    dnnl_primitive_destroy(reorder);
    dnnl_primitive_desc_destroy(desc);
    dnnl_memory_destroy(from);
    return ok;
}

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

static bool make(product *p, enum zt_type type, int M, int N, int K)
{
    const dnnl_data_type_t t = type == ZT_F32 ? dnnl_f32 : type == ZT_BF16 ? dnnl_bf16 : dnnl_s8;
    const dnnl_memory_desc_t x = matrix(M, K, t, dnnl_ab), bias = matrix(1, N, dnnl_f32, dnnl_ab),
                             any = matrix(K, N, t, dnnl_format_tag_any), plain = matrix(K, N, t, dnnl_ba),
                             out = matrix(M, N, dnnl_f32, dnnl_ab);
    dnnl_matmul_desc_t what;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t desc = NULL;
    const bool ok = !dnnl_engine_create(&p->engine, dnnl_cpu, 0)
        && !dnnl_stream_create(&p->stream, p->engine, dnnl_stream_default_flags)
        && !dnnl_primitive_attr_create(&attr) && (type != ZT_I8 || set_scales(attr, N))
        && !dnnl_matmul_desc_init(&what, &x, &any, &bias, &out)
        && !dnnl_primitive_desc_create(&desc, &what, attr, p->engine, NULL)
        && !dnnl_primitive_create(&p->matmul, desc)
        && make_weights(p, type, &plain, dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0))
        && !dnnl_memory_create(&p->memory[X], &x, p->engine, DNNL_MEMORY_ALLOCATE)
        && !dnnl_memory_create(&p->memory[BIAS], &bias, p->engine, DNNL_MEMORY_ALLOCATE)
        && !dnnl_memory_create(&p->memory[OUT], &out, p->engine, DNNL_MEMORY_ALLOCATE)
        && filled(p->memory[X], type, (size_t)M * (size_t)K) && filled(p->memory[BIAS], ZT_F32, (size_t)N);
    dnnl_primitive_desc_destroy(desc);
    dnnl_primitive_attr_destroy(attr);
    return ok;
}

static void *create(enum zt_type type, int M, int N, int K, int threads)
{
    product *p = calloc(1, sizeof(*p));
    if (!p)
        return NULL;
    p->threads = threads;
    omp_set_num_threads(threads);       // the primitive is made for so many
    if (!make(p, type, M, N, K))
        destroy((void **)&p);
    return p;
}

const zt_peer zt_peer_onednn = { name, create, run, destroy };
