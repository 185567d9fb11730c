// SPDX-License-Identifier: Apache-2.0
// References of kv_append and attention.
#include <assert.h>
#include <math.h>

#include "kernels/device.h"

size_t zt_kv_slot_bytes(const zt_kv *kv)
{
    return (size_t)kv->H * (size_t)kv->keys * (size_t)kv->D * zt_type_bytes(kv->type);
}

// k [slot][H][keys/16][D/P][16][P]
static int64_t k_at(const zt_kv *kv, int slot, int h, int key, int i)
{
    const int P = 4 / (int)zt_type_bytes(kv->type);
    const int64_t block = ((int64_t)slot * kv->H + h) * (kv->keys / 16) + key / 16;
    return ((block * (kv->D / P) + i / P) * 16 + key % 16) * P + i % P;
}

// v [slot][H][keys/P][D][P]
static int64_t v_at(const zt_kv *kv, int slot, int h, int key, int i)
{
    const int P = 4 / (int)zt_type_bytes(kv->type);
    const int64_t block = ((int64_t)slot * kv->H + h) * (kv->keys / P) + key / P;
    return (block * kv->D + i) * P + key % P;
}

static float load(const zt_kv *kv, const void *data, int64_t at)
{
    return kv->type == ZT_F32 ? ((const float *)data)[at]
                              : zt_bf16_to_f32(((const uint16_t *)data)[at]);
}

static void store(const zt_kv *kv, void *data, int64_t at, float value)
{
    if (kv->type == ZT_F32)
        ((float *)data)[at] = value;
    else
        ((uint16_t *)data)[at] = zt_f32_to_bf16(value);
}

static float rounded(const zt_kv *kv, double x)
{
    return kv->type == ZT_F32 ? (float)x : zt_bf16_to_f32(zt_f32_to_bf16((float)x));
}

static void check(const zt_kv *kv)
{
    (void)kv;
    assert(kv->type == ZT_F32 || kv->type == ZT_BF16);
    assert(kv->keys % 16 == 0 && kv->valid >= 1 && kv->valid <= kv->keys && kv->D % 2 == 0);
}

void zt_kv_append_c(struct zt_device *d, const zt_kv *kv, int slot, zt_tensor k, zt_tensor v)
{
    check(kv);
    assert(k.n[2] == kv->valid && v.n[2] == kv->valid);
    assert(k.n[3] == kv->H * kv->D && v.n[3] == kv->H * kv->D);

    for (int key = 0; key < kv->valid; key++) {
        for (int h = 0; h < kv->H; h++) {
            const float *kr = zt_f32(k) + key * k.step[2] + h * kv->D;
            const float *vr = zt_f32(v) + key * v.step[2] + h * kv->D;
            for (int i = 0; i < kv->D; i++) {
                store(kv, kv->k, k_at(kv, slot, h, key, i), kr[i]);
                store(kv, kv->v, v_at(kv, slot, h, key, i), vr[i]);
            }
        }
    }
}

// logit[j] = q . k[j] + bias[j] over all keys of the span; returns the largest
static double logits(const zt_span *s, int h, const float *q, double *logit)
{
    const zt_kv *kv = s->kv;
    double max = -INFINITY;
    for (int j = 0; j < s->n * kv->valid; j++) {
        const int64_t k0 = k_at(kv, s->slot[j / kv->valid], h, j % kv->valid, 0);
        const int P = 4 / (int)zt_type_bytes(kv->type);
        double sum = 0;
        for (int i = 0; i < kv->D; i++)
            sum += (double)q[i] * load(kv, kv->k, k0 + i / P * 16 * P + i % P);
        logit[j] = sum + (s->bias ? s->bias[j] : 0);
        max = fmax(max, logit[j]);
    }
    return max;
}

// One head of one query. logit [n * valid], sum [D] and q [D] are scratch.
static void attend(const zt_span *s, int h, const float *query, float *out, double *logit,
                   double *sum, float *q)
{
    const zt_kv *kv = s->kv;
    for (int i = 0; i < kv->D; i++) {
        q[i] = rounded(kv, query[i] / sqrt(kv->D));
        sum[i] = 0;
    }
    const double max = logits(s, h, q, logit);

    double total = 0;
    for (int j = 0; j < s->n * kv->valid; j++) {
        const double p = exp(logit[j] - max);
        const float weight = rounded(kv, p);
        const int64_t v0 = v_at(kv, s->slot[j / kv->valid], h, j % kv->valid, 0);
        const int P = 4 / (int)zt_type_bytes(kv->type);
        for (int i = 0; i < kv->D; i++)
            sum[i] += (double)weight * load(kv, kv->v, v0 + i * P);
        total += p;
    }
    for (int i = 0; i < kv->D; i++)
        out[i] = (float)(sum[i] / total);
}

void zt_attention_c(struct zt_device *d, zt_tensor out, zt_tensor q, const zt_span *span, int n)
{
    for (int s = 0; s < n; s++) {
        const zt_kv *kv = span[s].kv;
        check(kv);
        assert(span[s].n >= 1 && q.n[3] == kv->H * kv->D && out.n[3] == q.n[3]);
        assert(span[s].row0 >= 0 && span[s].row0 + span[s].rows <= q.n[2] && out.n[2] == q.n[2]);

        const size_t keys = (size_t)span[s].n * (size_t)kv->valid, D = (size_t)kv->D;
        double *logit = zt_scratch(d, (keys + D) * sizeof(double) + D * sizeof(float));
        if (!logit)
            return;
        double *sum = logit + keys;

        for (int r = span[s].row0; r < span[s].row0 + span[s].rows; r++) {
            for (int h = 0; h < kv->H; h++)
                attend(&span[s], h, zt_f32(q) + r * q.step[2] + h * kv->D,
                       zt_f32(out) + r * out.step[2] + h * kv->D, logit, sum, (float *)(sum + D));
        }
    }
}
