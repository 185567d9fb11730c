// SPDX-License-Identifier: Apache-2.0
// Reference of moe.
#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/base.h"
#include "kernels/reference.h"

enum { EXPERTS_MAX = 1024 };

static void scores(const zt_moe *w, const float *x, int C, double *s)
{
    double max = -INFINITY, total = 0;
    for (int e = 0; e < w->E; e++) {
        s[e] = 0;
        for (int c = 0; c < C; c++)
            s[e] += (double)x[c] * w->gate_w[(int64_t)e * C + c];
        max = fmax(max, s[e]);
    }
    for (int e = 0; e < w->E; e++) {
        s[e] = w->score == ZT_SIGMOID ? 1 / (1 + exp(-s[e])) : exp(s[e] - max);
        total += s[e];
    }
    for (int e = 0; e < w->E && w->score == ZT_SOFTMAX; e++)
        s[e] /= total;
}

// The index of the largest; the lowest of equals.
static int best(const double *v, int n)
{
    int b = 0;
    for (int i = 1; i < n; i++) {
        if (v[i] > v[b])
            b = i;
    }
    return b;
}

// -inf to the scores of all but the `limited` best groups. A group's score is the sum of its two best
// when there is a selection bias, its best when there is none.
static void limit_groups(const zt_moe *w, double *s)
{
    const int size = w->E / w->groups;
    double score[EXPERTS_MAX];
    bool keep[EXPERTS_MAX] = { false };
    for (int g = 0; g < w->groups; g++) {
        double v[EXPERTS_MAX];
        memcpy(v, s + g * size, (size_t)size * sizeof(*v));
        const int first = best(v, size);
        score[g] = v[first];
        v[first] = -INFINITY;
        if (w->gate_b && size > 1)
            score[g] += v[best(v, size)];
    }
    for (int i = 0; i < w->limited; i++) {
        const int g = best(score, w->groups);
        keep[g] = true;
        score[g] = -INFINITY;
    }
    for (int e = 0; e < w->E; e++) {
        if (!keep[e / size])
            s[e] = -INFINITY;
    }
}

static void route(const zt_moe *w, const float *x, int C, int *expert, double *gate)
{
    double s[EXPERTS_MAX], biased[EXPERTS_MAX], total = 0;
    scores(w, x, C, s);
    for (int e = 0; e < w->E; e++)
        biased[e] = s[e] + (w->gate_b ? w->gate_b[e] : 0);
    if (w->groups > 1)
        limit_groups(w, biased);

    for (int i = 0; i < w->k; i++) {
        expert[i] = best(biased, w->E);
        biased[expert[i]] = -INFINITY;
        gate[i] = s[expert[i]];
        total += gate[i];
    }
    for (int i = 0; i < w->k; i++)
        gate[i] *= w->route_scale / (w->score == ZT_SIGMOID ? total : 1);
}

// y[C] += gate * down(SiLU(w1 x) * (w3 x)); u [2 * I16], q and hidden [max(C, I16)], t [C16] are scratch
static void add_expert(const zt_matrix *up, const zt_matrix *down, const float *x, double gate,
                       double *y, double *u, double *t, float *q, float *hidden)
{
    zt_product_ref(up, q, zt_row_ref(up->type, x, up->K, q), u);
    for (int i = 0; i < down->K; i++) {
        const int at = i / 16 * 32 + i % 16;        // panels of 16 alternate w1, w3
        hidden[i] = (float)(zt_act_ref(ZT_ACT_SILU, u[at]) * u[at + 16]);
    }
    zt_product_ref(down, q, zt_row_ref(down->type, hidden, down->K, q), t);
    for (int c = 0; c < down->N; c++)
        y[c] += gate * t[c];
}

static void check(const zt_moe *w, int C)
{
    (void)w, (void)C;
    assert(w->k >= 1 && w->k <= 16 && w->k <= w->E && w->E <= EXPERTS_MAX);
    assert(w->groups <= 1 || (w->E % w->groups == 0 && w->limited >= 1
                              && w->k <= w->E / w->groups * w->limited));
    for (int e = 0; e < w->E; e++) {
        assert(w->up[e].K == C && w->down[e].N == C);
        assert(w->up[e].N == 2 * w->down[e].K && w->down[e].K % 16 == 0);
    }
    assert(!w->shared_up == !w->shared_down);
}

void zt_moe_c(struct zt_device *d, zt_tensor out, zt_tensor x, const zt_moe *w, const zt_epilogue *e)
{
    const int M = x.n[2], C = x.n[3], C16 = (int)zt_round_up(C, 16);
    assert(out.n[2] == M && out.n[3] == C);
    check(w, C);

    int I = w->shared_down ? w->shared_down->K : 0;
    for (int i = 0; i < w->E; i++)
        I = ZT_MAX(I, w->down[i].K);
    const size_t wide = (size_t)ZT_MAX(C16, I);
    double *u = zt_scratch(d, (2 * (size_t)I + 2 * (size_t)C16) * sizeof(*u) + 2 * wide * sizeof(float));
    if (!u)
        return;
    double *y = u + 2 * I, *t = y + C16;
    float *q = (float *)(t + C16), *hidden = q + wide;

    for (int m = 0; m < M; m++) {
        const float *xm = zt_f32(x) + m * x.step[2];
        int expert[16];
        double gate[16];
        route(w, xm, C, expert, gate);

        memset(y, 0, (size_t)C16 * sizeof(*y));
        if (w->shared_up)
            add_expert(w->shared_up, w->shared_down, xm, 1, y, u, t, q, hidden);
        for (int i = 0; i < w->k; i++) {
            add_expert(&w->up[expert[i]], &w->down[expert[i]], xm, gate[i], y, u, t, q, hidden);
            if (w->topk)
                w->topk[(int64_t)m * w->k + i] = expert[i];
            if (w->gates)
                w->gates[(int64_t)m * w->k + i] = (float)gate[i];
        }
        zt_epilogue_ref(e, m, y, C, zt_f32(out) + m * out.step[2]);
    }
}
