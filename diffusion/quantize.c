// SPDX-License-Identifier: Apache-2.0
// Symmetric quantisation per output channel.
#include "diffusion/quantize.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "base/base.h"

float zt_quantize_row(const float *x, int64_t n, int8_t *q)
{
    float max = 0;
    for (int64_t i = 0; i < n; i++)
        max = fmaxf(max, fabsf(x[i]));
    const float scale = max / 127;
    for (int64_t i = 0; i < n; i++)
        q[i] = scale > 0 ? (int8_t)lrintf(x[i] / scale) : 0;
    return scale;
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
