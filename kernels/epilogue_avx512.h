// SPDX-License-Identifier: Apache-2.0
// The end of linear and moe on AVX-512: activation, gate, addition.
#pragma once

#include "kernels/exp_avx512.h"
#include "kernels/kernels.h"

static inline __m512 zt_act512(enum zt_act act, __m512 y)
{
    switch (act) {
    case ZT_ACT_NONE: break;
    case ZT_ACT_RELU: return _mm512_max_ps(y, _mm512_setzero_ps());
    case ZT_ACT_SILU: return zt_silu512(y);
    case ZT_ACT_GELU: return zt_gelu512(y);
    }
    return y;
}

// Columns [n, n + columns) of row m, out and y pointing at the first: out = what the epilogue makes of y.
static inline void zt_epilogue512(const zt_epilogue *e, int m, int n, int columns, float *out, const float *y)
{
    const float *gate = e->gate ? e->gate + (e->row ? e->row[m] : 0) * e->gate_step + n : NULL;
    for (int c = 0; c < columns; c += 16) {
        const __mmask16 k = (__mmask16)(columns - c >= 16 ? 0xffff : (1u << (columns - c)) - 1);
        __m512 v = zt_act512(e->act, _mm512_maskz_loadu_ps(k, y + c));
        if (gate)
            v = _mm512_mul_ps(v, _mm512_maskz_loadu_ps(k, gate + c));
        if (gate || e->add)
            v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(k, out + c));
        _mm512_mask_storeu_ps(out + c, k, v);
    }
}
