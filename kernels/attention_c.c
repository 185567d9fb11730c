// SPDX-License-Identifier: Apache-2.0
// References of kv_append, qkv_append and attention.
#include <assert.h>
#include <math.h>

#include "kernels/device.h"

size_t zt_kv_slot_bytes(const zt_kv *kv)
{
    return (size_t)kv->H * (size_t)kv->keys * (size_t)kv->D * zt_type_bytes(kv->type);
}

size_t zt_kv_scales(const zt_kv *kv)
{
    return kv->type == ZT_I8 ? 2 * (size_t)kv->D + 16 : 0;
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

// The scales of a slot and head.
static float *scales(const zt_kv *kv, int slot, int h)
{
    return kv->scale + ((size_t)slot * (size_t)kv->H + (size_t)h) * zt_kv_scales(kv);
}

static float load(const zt_kv *kv, const void *data, int64_t at)
{
    return kv->type == ZT_F32 ? ((const float *)data)[at]
                              : zt_bf16_to_f32(((const uint16_t *)data)[at]);
}

static float load_k(const zt_kv *kv, int slot, int h, int key, int i)
{
    const int64_t at = k_at(kv, slot, h, key, i);
    if (kv->type != ZT_I8)
        return load(kv, kv->k, at);
    return (float)(((const uint8_t *)kv->k)[at] - 128) * scales(kv, slot, h)[2 * kv->D];
}

static float load_v(const zt_kv *kv, int slot, int h, int key, int i)
{
    const int64_t at = v_at(kv, slot, h, key, i);
    if (kv->type != ZT_I8)
        return load(kv, kv->v, at);
    return (float)((const int8_t *)kv->v)[at] * scales(kv, slot, h)[kv->D + i];
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
    assert(kv->type == ZT_F32 || kv->type == ZT_BF16 || (kv->type == ZT_I8 && kv->scale && kv->D % 4 == 0));
    assert(kv->keys % 16 == 0 && kv->valid >= 1 && kv->valid <= kv->keys && kv->D % 2 == 0);
}

// 127 / a, and its scale a / 127
static float quantiser(float a, float *scale)
{
    const bool zero = a < 0x1p-100f;
    *scale = zero ? 0 : a / 127;
    return zero ? 0 : 127 / a;
}

// One head of a slot: k and v point at its first key's.
static void append_i8(const zt_kv *kv, int slot, int h, const float *k, int64_t k_step, const float *v, int64_t v_step)
{
    const int D = kv->D;
    float *const mean = scales(kv, slot, h), *const v_scale = mean + D;
    float largest = 0;
    for (int i = 0; i < D; i++) {
        float sum = 0, v_largest = 0;
        for (int key = 0; key < kv->valid; key++) {
            sum += k[key * k_step + i];
            v_largest = fmaxf(v_largest, fabsf(v[key * v_step + i]));
        }
        mean[i] = sum / (float)kv->valid;
        for (int key = 0; key < kv->valid; key++)
            largest = fmaxf(largest, fabsf(k[key * k_step + i] - mean[i]));
        const float inverse = quantiser(v_largest, &v_scale[i]);
        for (int key = 0; key < kv->valid; key++)
            ((int8_t *)kv->v)[v_at(kv, slot, h, key, i)] = (int8_t)nearbyintf(v[key * v_step + i] * inverse);
    }
    const float inverse = quantiser(largest, &mean[2 * D]);
    for (int key = 0; key < kv->valid; key++) {
        for (int i = 0; i < D; i++) {
            const float q = nearbyintf((k[key * k_step + i] - mean[i]) * inverse);
            ((uint8_t *)kv->k)[k_at(kv, slot, h, key, i)] = (uint8_t)(128 + (int)q);
        }
    }
}

void zt_kv_append_c(struct zt_device *d, const zt_kv *kv, int slot, zt_tensor k, zt_tensor v)
{
    check(kv);
    assert(k.n[2] == kv->valid && v.n[2] == kv->valid);
    assert(k.n[3] == kv->H * kv->D && v.n[3] == kv->H * kv->D);

    for (int h = 0; h < kv->H && kv->type == ZT_I8; h++)
        append_i8(kv, slot, h, zt_f32(k) + h * kv->D, k.step[2], zt_f32(v) + h * kv->D, v.step[2]);
    for (int key = 0; key < kv->valid && kv->type != ZT_I8; key++) {
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

void zt_qkv_append_c(struct zt_device *d, const zt_kv *kv, int slot, zt_tensor qkv, const float *weight_q,
                     const float *weight_k, const float *angle, float eps)
{
    const int C = kv->H * kv->D;
    const zt_tensor k = zt_tensor_columns(qkv, C, C);
    assert(qkv.n[3] == 3 * C);
    zt_rms_rope_c(d, zt_tensor_columns(qkv, 0, C), weight_q, angle, kv->D, eps);
    zt_rms_rope_c(d, k, weight_k, angle, kv->D, eps);
    zt_kv_append_c(d, kv, slot, k, zt_tensor_columns(qkv, 2 * C, C));
}

// q / sqrt(D) as the cache's type has it
static void load_query(const zt_kv *kv, const float *query, float *q)
{
    float largest = 0, scale = 1;
    for (int i = 0; i < kv->D; i++)
        largest = fmaxf(largest, fabsf(query[i]));
    const float inverse = quantiser(largest, &scale);
    for (int i = 0; i < kv->D; i++)
        q[i] = kv->type == ZT_I8 ? (float)(nearbyintf(query[i] * inverse) * scale / sqrt(kv->D))
                                 : rounded(kv, query[i] / sqrt(kv->D));
}

// logit[j] = q . k[j] + bias[j] over all keys of the span; returns the largest. query is q before it was rounded.
static double logits(const zt_span *s, int h, const float *query, const float *q, double *logit)
{
    const zt_kv *kv = s->kv;
    double max = -INFINITY;
    for (int j = 0; j < s->n * kv->valid; j++) {
        const int slot = s->slot[j / kv->valid], key = j % kv->valid;
        double sum = s->bias ? s->bias[j] : 0;
        for (int i = 0; i < kv->D; i++) {
            sum += (double)q[i] * load_k(kv, slot, h, key, i);
            if (kv->type == ZT_I8)
                sum += query[i] / sqrt(kv->D) * scales(kv, slot, h)[i];
        }
        logit[j] = sum;
        max = fmax(max, sum);
    }
    return max;
}

// One head of one query. logit [n * valid], sum [D] and q [D] are scratch.
static void attend(const zt_span *s, int h, const float *query, float *out, double *logit,
                   double *sum, float *q)
{
    const zt_kv *kv = s->kv;
    load_query(kv, query, q);
    for (int i = 0; i < kv->D; i++)
        sum[i] = 0;
    const double max = logits(s, h, query, q, logit);

    double total = 0;
    for (int j = 0; j < s->n * kv->valid; j++) {
        double p = exp(logit[j] - max);
        if (kv->type == ZT_I8)
            p = nearbyint(255 * p);
        const float weight = kv->type == ZT_I8 ? (float)p : rounded(kv, p);
        for (int i = 0; i < kv->D; i++)
            sum[i] += (double)weight * load_v(kv, s->slot[j / kv->valid], h, j % kv->valid, i);
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
