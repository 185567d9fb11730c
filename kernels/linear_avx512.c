// SPDX-License-Identifier: Apache-2.0
// linear and moe on AVX-512: the epilogue, and the parts put together.
#include <immintrin.h>

#include "kernels/exp_avx512.h"
#include "kernels/gemm_avx512.h"
#include "kernels/lanes_avx512.h"

static __m512 activate(enum zt_act act, __m512 y)
{
    switch (act) {
    case ZT_ACT_NONE: break;
    case ZT_ACT_RELU: return _mm512_max_ps(y, _mm512_setzero_ps());
    case ZT_ACT_SILU: return zt_silu512(y);
    case ZT_ACT_GELU: return zt_gelu512(y);
    }
    return y;
}

static void epilogue(const zt_epilogue *e, const zt_sums *s)
{
    for (int r = 0; r < s->rows; r++) {
        const float *const y = s->y + r * s->y_step;
        const float *const gate = e->gate ? e->gate + (e->row ? e->row[s->m + r] : 0) * e->gate_step + s->n : NULL;
        float *const out = s->out + r * s->out_step;
        for (int c = 0; c < s->columns; c += 16) {
            const __mmask16 k = zt_first(s->columns - c);
            __m512 v = activate(e->act, _mm512_maskz_loadu_ps(k, y + c));
            if (gate)
                v = _mm512_mul_ps(v, _mm512_maskz_loadu_ps(k, gate + c));
            if (gate || e->add)
                v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(k, out + c));
            if (s->columns - c >= 16)       // a masked store would be slow
                _mm512_storeu_ps(out + c, v);
            else
                _mm512_mask_storeu_ps(out + c, k, v);
        }
    }
}

const zt_gemm zt_gemm_avx512 = {
    .words = { [ZT_F32] = 1, [ZT_BF16] = 1, [ZT_I8] = 1 },
    .pack = zt_pack_avx512,
    .quantise = zt_quantise_avx512,
    .interleave = zt_interleave_avx512,
    .expand = zt_expand_avx512,
    .multiply = zt_multiply_avx512,
    .epilogue = epilogue,
    .route = zt_route_avx512,
    .swiglu = zt_swiglu_avx512,
    .gather = zt_gather_avx512,
};

void zt_linear_avx512(struct zt_device *d, zt_tensor out, zt_tensor x, const zt_matrix *w,
                      const zt_epilogue *e)
{
    zt_linear_tiled(d, out, x, w, e, &zt_gemm_avx512);
}

void zt_moe_avx512(struct zt_device *d, zt_tensor out, zt_tensor x, const zt_moe *w,
                   const zt_epilogue *e)
{
    zt_moe_tiled(d, out, x, w, e, &zt_gemm_avx512);
}
