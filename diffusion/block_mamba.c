// SPDX-License-Identifier: Apache-2.0
// Mamba-2 by its recurrence: one pass over the tokens per head.
//
// A token and head cost 6 head * state operations; at 1536 wide (48 heads of 64, state 128) that is 2.4 MFLOP a token
// against 28 in the two projections. Heads are shared out among the threads; sums run in a fixed order.
#include "diffusion/block_mamba.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"

static int check(const zt_mamba_shape *s, const char *label)
{
    const int wide = 1 << 16;
    if (s->dim > 0 && s->dim <= wide && s->inner > 0 && s->inner <= wide && s->head > 0 && s->inner % s->head == 0
        && s->state > 0 && s->state <= 4096 && s->conv >= 2 && s->conv <= 16 && s->inner % 2 == 0)
        return 0;
    zt_error("%s: the shape of the Mamba-2 block is not reasonable", label);
    return -EINVAL;
}

int zt_mamba_load(zt_loader *l, zt_mamba *m, const zt_mamba_shape *s, const char *prefix)
{
    *m = (zt_mamba){ .s = *s };
    int err = check(s, zt_weights_label(l->w));
    if (err)
        return err;
    m->heads = s->inner / s->head;
    m->channels = s->inner + 2 * s->state;
    const struct {
        const char   *name;
        const float **to;
        int           n;
    } list[] = {
        { "conv1d.bias", &m->conv_b, m->channels }, { "dt_bias", &m->dt_bias, m->heads }, { "A_log", &m->A_log, m->heads },
        { "D", &m->D, m->heads }, { "norm.weight", &m->norm, s->inner },
    };
    char name[160], out[160];
    for (size_t i = 0; i < ZT_LEN(list) && !err; i++) {
        snprintf(name, sizeof(name), "%s%s", prefix, list[i].name);
        err = zt_load_vector(l, list[i].to, name, list[i].n);
    }
    snprintf(name, sizeof(name), "%sconv1d.weight", prefix);
    if (!err)
        err = zt_load_floats(l, &m->conv_w, name, 3, (const int64_t[]){ m->channels, 1, s->conv });
    snprintf(name, sizeof(name), "%sin_proj", prefix);
    snprintf(out, sizeof(out), "%sout_proj", prefix);
    const int N = s->inner + m->channels + m->heads;
    if (!err)
        err = zt_load_matrix(l, &m->in, l->block, N, s->dim, s->dim, &(zt_part){ .name = name, .rows = N }, 1);
    return err ? err
               : zt_load_matrix(l, &m->out, l->block, s->dim, s->inner, s->inner, &(zt_part){ .name = out, .rows = s->dim }, 1);
}

size_t zt_mamba_state_floats(const zt_mamba *m)
{
    return (size_t)m->s.inner * (size_t)m->s.state + (size_t)m->channels * (size_t)(m->s.conv - 1);
}

size_t zt_mamba_work(const zt_mamba *m, int M)
{
    const size_t in = (size_t)(m->s.inner + m->channels + m->heads);
    return (size_t)M * (in + (size_t)m->channels + (size_t)m->s.inner) + (size_t)m->s.inner * (size_t)m->s.state;
}

// A run in work.
typedef struct run {
    const zt_mamba *m;
    int             M;
    const float    *in;                 // [M][inner + channels + heads]: z, xBC, dt
    float          *xbc, *y, *h;        // [M][channels], [M][inner], [heads][head][state]
} run;

static float silu(float x)
{
    return x / (1 + expf(-x));
}

// The convolution's input of channel c, `back` tokens before token t; before the first one from the tail.
static float input(const run *r, const zt_mamba_state *s, int c, int t)
{
    const int wide = r->m->s.inner + r->m->channels + r->m->heads, keep = r->m->s.conv - 1;
    return t >= 0 ? r->in[(size_t)t * (size_t)wide + (size_t)(r->m->s.inner + c)] : s->tail[c * keep + keep + t];
}

static void convolve(const run *r, const zt_mamba_state *s)
{
    const zt_mamba *const m = r->m;
    const int taps = m->s.conv;
    for (int t = 0; t < r->M; t++) {
        for (int c = 0; c < m->channels; c++) {
            double sum = m->conv_b[c];
            for (int k = 0; k < taps; k++)
                sum += (double)m->conv_w[c * taps + k] * input(r, s, c, t - taps + 1 + k);
            r->xbc[(size_t)t * (size_t)m->channels + (size_t)c] = silu((float)sum);
        }
    }
}

// The inputs that the next token's convolution will look back to.
static void keep_tail(const run *r, zt_mamba_state *s)
{
    const int keep = r->m->s.conv - 1;
    for (int c = 0; c < r->m->channels; c++) {
        float last[16];
        for (int k = 0; k < keep; k++)
            last[k] = input(r, s, c, r->M - keep + k);
        memcpy(s->tail + c * keep, last, (size_t)keep * sizeof(float));
    }
}

// All tokens of one head.
static void scan(void *cookie, int h, int thread)
{
    const run *const r = cookie;
    const zt_mamba *const m = r->m;
    const int P = m->s.head, N = m->s.state, inner = m->s.inner, wide = inner + m->channels + m->heads;
    const double A = -exp((double)m->A_log[h]);
    (void)thread;
    for (int t = 0; t < r->M; t++) {
        const float *const x = r->xbc + (size_t)t * (size_t)m->channels + h * P;
        const float *const B = r->xbc + (size_t)t * (size_t)m->channels + inner, *const C = B + N;
        const double raw = r->in[(size_t)t * (size_t)wide + (size_t)(wide - m->heads + h)] + (double)m->dt_bias[h];
        const double delta = raw > 20 ? raw : log1p(exp(raw));
        const float decay = (float)exp(delta * A);
        for (int p = 0; p < P; p++) {
            float *const state = r->h + ((size_t)h * (size_t)P + (size_t)p) * (size_t)N;
            const float in = (float)(delta * x[p]);
            double sum = 0;
            for (int n = 0; n < N; n++)
                state[n] = decay * state[n] + in * B[n];
            for (int n = 0; n < N; n++)
                sum += (double)state[n] * C[n];
            r->y[(size_t)t * (size_t)inner + (size_t)(h * P + p)] = (float)(sum + (double)m->D[h] * x[p]);
        }
    }
}

void zt_mamba_run(const zt_mamba *m, zt_device *d, zt_tensor out, zt_tensor x, zt_mamba_state *s, bool commit,
                  const zt_epilogue *e, float *work)
{
    const int M = x.n[2], inner = m->s.inner, wide = inner + m->channels + m->heads;
    const size_t h = (size_t)inner * (size_t)m->s.state * sizeof(float);
    run r = { .m = m, .M = M, .in = work, .xbc = work + (size_t)M * (size_t)wide };
    r.y = r.xbc + (size_t)M * (size_t)m->channels;
    r.h = r.y + (size_t)M * (size_t)inner;

    d->k.linear(d, zt_tensor_2d(work, ZT_F32, M, wide), x, &m->in, &(zt_epilogue){ 0 });
    convolve(&r, s);
    memcpy(r.h, s->h, h);
    zt_parallel_for(d, m->heads, scan, &r);
    if (commit) {
        keep_tail(&r, s);
        memcpy(s->h, r.h, h);
    }
    if (!out.data)
        return;
    for (int t = 0; t < M; t++)
        for (int i = 0; i < inner; i++)
            r.y[(size_t)t * (size_t)inner + (size_t)i] *= silu(r.in[(size_t)t * (size_t)wide + (size_t)i]);
    const zt_tensor y = zt_tensor_2d(r.y, ZT_F32, M, inner);
    d->k.rms_rope(d, y, m->norm, NULL, inner, m->s.eps);
    d->k.linear(d, out, y, &m->out, e);
}
