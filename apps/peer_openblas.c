// SPDX-License-Identifier: Apache-2.0
// OpenBLAS: sgemm; weights packed anew in every call, since it keeps no packed ones.
#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>

#include "apps/peers.h"

extern const zt_peer zt_peer_openblas;

typedef struct product {
    int    M, N, K, threads;
    float *x, *w, *out;
} product;

static const char *name(void)
{
    static char text[64];
    if (sscanf(openblas_get_config(), "OpenBLAS %20s", text) != 1)
        return "openblas";
    char *const version = text + 40;
    snprintf(version, 24, "%.20s", text);
    snprintf(text, 40, "openblas %.20s", version);
    return text;
}

static void destroy(void **made)
{
    product *const p = *made;
    if (!p)
        return;
    free(p->x);
    free(p->w);
    free(p->out);
    free(p);
    *made = NULL;
}

static void run(void *made)
{
    product *const p = made;
    openblas_set_num_threads(p->threads);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, p->M, p->N, p->K, 1, p->x, p->K, p->w, p->K, 0, p->out, p->N);
}

static void *create(enum zt_type type, int M, int N, int K, int threads)
{
    product *p = type == ZT_F32 ? calloc(1, sizeof(*p)) : NULL;
    if (!p)
        return NULL;
    const size_t m = (size_t)M, n = (size_t)N, k = (size_t)K;
    *p = (product){ M, N, K, threads, malloc(m * k * 4), malloc(n * k * 4), malloc(m * n * 4) };
    if (!p->x || !p->w || !p->out) {
        destroy((void **)&p);
        return NULL;
    }
    zt_peer_fill(p->x, ZT_F32, m * k);
    zt_peer_fill(p->w, ZT_F32, n * k);
    return p;
}

const zt_peer zt_peer_openblas = { name, create, run, destroy };
