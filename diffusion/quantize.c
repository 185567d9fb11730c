// SPDX-License-Identifier: Apache-2.0
// Symmetric quantisation per output channel; of 4 bits, by a factor for every 64 beside.
#include "diffusion/quantize.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "base/base.h"
#include "kernels/kernels.h"

// Sixteen at a time into arrays of known length: that is what a compiler turns into vectors.
enum { LANES = 16 };

static float largest(const float *x, int64_t n)
{
    float lane[LANES] = { 0 }, max = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        float v[LANES];
        memcpy(v, x + i, sizeof(v));
        for (int k = 0; k < LANES; k++) {
            const float a = fabsf(v[k]);
            lane[k] = a > lane[k] ? a : lane[k];
        }
    }
    for (; i < n; i++)
        max = fmaxf(max, fabsf(x[i]));
    for (int k = 0; k < LANES; k++)
        max = fmaxf(max, lane[k]);
    return max;
}

// To the nearest whole number, half to even: at 1.5 * 2^23 a float's last bit is 1. |x| <= 2^22.
static int nearest(float x)
{
    union { float f; int32_t i; } v = { x + 0x1.8p23f };
    return v.i - 0x4b400000;
}

float zt_quantize_row(const float *x, int64_t n, int8_t *q)
{
    const float scale = largest(x, n) / 127;
    int64_t i = 0;
    if (!(scale > 0)) {
        memset(q, 0, (size_t)n);
        return scale;
    }
    for (; i + LANES <= n; i += LANES) {
        float v[LANES];
        int8_t to[LANES];
        memcpy(v, x + i, sizeof(v));
        for (int k = 0; k < LANES; k++)
            to[k] = (int8_t)nearest(v[k] / scale);
        memcpy(q + i, to, sizeof(to));
    }
    for (; i < n; i++)
        q[i] = (int8_t)nearest(x[i] / scale);
    return scale;
}

// The error of n values with this step, and the values
static double round_group(const float *x, int64_t n, float step, int8_t *q)
{
    double error = 0;
    for (int64_t i = 0; i < n; i++) {
        const long v = lrintf(x[i] / step);
        q[i] = (int8_t)(v < -8 ? -8 : v > 7 ? 7 : v);
        const double e = x[i] - (double)((float)q[i] * step);
        error += e * e;
    }
    return error;
}

float zt_quantize_row4(const float *x, int64_t n, int8_t *q, uint8_t *factor)
{
    const float scale = largest(x, n) / (7 * 15);
    for (int64_t g = 0; g * ZT_GROUP < n; g++) {
        const int64_t at = g * ZT_GROUP, left = ZT_MIN(n - at, ZT_GROUP);
        const int most = scale > 0 ? (int)ceilf(largest(x + at, left) / 7 / scale) : 0;
        int8_t trial[ZT_GROUP];
        double least = INFINITY;
        factor[g] = 0;
        memset(q + at, 0, (size_t)left);
        for (int f = ZT_MAX(1, most * 3 / 4); f <= ZT_MIN(most, 15); f++) {      // less clips too much
            const double error = round_group(x + at, left, (float)f * scale, trial);
            if (error >= least)
                continue;
            least = error;
            factor[g] = (uint8_t)f;
            memcpy(q + at, trial, (size_t)left);
        }
    }
    return scale;
}

// Three bits behind the point and exponents from -6 on; below that the step stays 2^-9. |x| <= 448.
static uint8_t to_e4m3(float x)
{
    const float a = fabsf(x);
    int e = -6;
    if (a > 0)
        frexpf(a, &e);                          // a = m * 2^e, m in [1/2, 1)
    e = ZT_MAX(e - 1, -6);
    const int steps = nearest(ldexpf(a, 3 - e));        // 8..16 of them; fewer below 2^-6
    const int code = (e + 6) * 8 + steps;       // 16 steps carry into the exponent
    return (uint8_t)((signbit(x) ? 0x80 : 0) | ZT_MIN(code, 0x7e));
}

float zt_quantize_row8f(const float *x, int64_t n, uint8_t *q)
{
    const float scale = largest(x, n) / 448;
    for (int64_t i = 0; i < n; i++)
        q[i] = scale > 0 ? to_e4m3(x[i] / scale) : 0;
    return scale;
}

void zt_pack_row4(const int8_t *q, int64_t n, uint8_t *two)
{
    for (int64_t i = 0; i < n / 2; i++)
        two[i] = (uint8_t)((q[2 * i] + 8) | (q[2 * i + 1] + 8) << 4);
}

void zt_unpack_row4(const uint8_t *two, int64_t n, int8_t *q)
{
    for (int64_t i = 0; i < n; i++)
        q[i] = (int8_t)((i % 2 ? two[i / 2] >> 4 : two[i / 2] & 0xf) - 8);
}

void zt_quantised_read(const zt_quantised *m, int64_t r, int64_t k, float *out)
{
    float s = 1;
    if (m->scale)
        zt_weight_read(m->scale, r, 1, &s);
    if (!m->factor) {
        zt_weight_read(m->w, r * k, k, out);
        for (int64_t i = 0; i < k && m->scale; i++)
            out[i] *= s;
        return;
    }
    const uint8_t *const two = (const uint8_t *)m->w->data + r * (k / 2);
    const uint8_t *const factor = (const uint8_t *)m->factor->data + r * ((k + ZT_GROUP - 1) / ZT_GROUP);
    for (int64_t i = 0; i < k; i++) {
        const int q = (i % 2 ? two[i / 2] >> 4 : two[i / 2] & 0xf) - 8;
        out[i] = (float)(q * (factor[i / ZT_GROUP] & 15)) * s;
    }
}

static bool ends_with(const char *s, const char *end)
{
    const size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

bool zt_quantize_wanted(const char *name)
{
    static const char *const ends[] = {
        ".self_attn.q.weight", ".self_attn.k.weight", ".self_attn.v.weight", ".self_attn.o.weight",
        ".cross_attn.q.weight", ".cross_attn.k.weight", ".cross_attn.v.weight", ".cross_attn.o.weight",
        ".w1.weight", ".w2.weight", ".w3.weight", ".ffn.0.weight", ".ffn.2.weight",
        // as diffusers names them
        ".to_q.weight", ".to_k.weight", ".to_v.weight", ".to_out.0.weight", ".net.0.proj.weight", ".net.2.weight",
    };
    if (strncmp(name, "blocks.", 7) != 0)
        return false;
    for (size_t i = 0; i < ZT_LEN(ends); i++) {
        if (ends_with(name, ends[i]))
            return true;
    }
    return false;
}
