// SPDX-License-Identifier: Apache-2.0
// linear and moe on AVX2: epilogue, SwiGLU, routing, and the parts put together.
#include <math.h>

#include "base/base.h"
#include "kernels/gemm_avx2.h"
#include "kernels/route.h"
#include "kernels/tile_avx2.h"

// x / (1 + exp(-t)). The exponential is 2^u = 2^n 2^f, |f| <= 1/2; its error (1e-7 + 4e-8 |t|,
// relative to 2^u) counts only where the result is small.
static __m256 times_sigmoid(__m256 x, __m256 t)
{
    const __m256 one = _mm256_set1_ps(1.0f);
    // 2^n must be a normal number. In this order NaN passes.
    __m256 u = _mm256_mul_ps(t, _mm256_set1_ps(-0x1.715476p+0f));
    u = _mm256_min_ps(_mm256_set1_ps(126.0f), _mm256_max_ps(_mm256_set1_ps(-126.0f), u));
    const __m256 n = _mm256_round_ps(u, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m256 f = _mm256_sub_ps(u, n);

    // 2^f minimax in relative error (1e-7)
    __m256 q = _mm256_set1_ps(0x1.5bba14p-10f);
    q = _mm256_fmadd_ps(q, f, _mm256_set1_ps(0x1.3cea88p-7f));
    q = _mm256_fmadd_ps(q, f, _mm256_set1_ps(0x1.c6b752p-5f));
    q = _mm256_fmadd_ps(q, f, _mm256_set1_ps(0x1.ebf9bcp-3f));
    q = _mm256_fmadd_ps(q, f, _mm256_set1_ps(0x1.62e42ap-1f));
    q = _mm256_fmadd_ps(q, f, one);
    const __m256i power = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
    const __m256 p = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(q), power));
    return _mm256_div_ps(x, _mm256_add_ps(p, one));
}

static __m256 activate(enum zt_act act, __m256 y)
{
    switch (act) {
    case ZT_ACT_NONE: break;
    case ZT_ACT_RELU: return _mm256_max_ps(y, _mm256_setzero_ps());
    case ZT_ACT_SILU: return times_sigmoid(y, y);
    case ZT_ACT_GELU: {
        // x sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3))
        const __m256 a = _mm256_mul_ps(_mm256_set1_ps(0.07135481627f), _mm256_mul_ps(y, y));
        const __m256 b = _mm256_add_ps(a, _mm256_set1_ps(1.5957691216f));
        return times_sigmoid(y, _mm256_mul_ps(y, b));
    }
    }
    return y;
}

void zt_epilogue_avx2(const zt_epilogue *e, const zt_sums *s)
{
    for (int r = 0; r < s->rows; r++) {
        const float *const y = s->y + r * s->y_step;
        const float *const gate = e->gate ? e->gate + (e->row ? e->row[s->m + r] : 0) * e->gate_step + s->n : NULL;
        float *const out = s->out + r * s->out_step;
        for (int c = 0; c < s->columns; c += 8) {
            const __m256i k = zt_first8(s->columns - c);
            __m256 v = activate(e->act, _mm256_maskload_ps(y + c, k));
            if (gate)
                v = _mm256_mul_ps(v, _mm256_maskload_ps(gate + c, k));
            if (gate || e->add)
                v = _mm256_add_ps(v, _mm256_maskload_ps(out + c, k));
            zt_store8(out + c, s->columns - c, v);
        }
    }
}

static float dot(const float *x, const float *w, int C)
{
    __m256 sum = _mm256_setzero_ps();
    for (int c = 0; c < C; c += 8) {
        const __m256i k = zt_first8(C - c);
        sum = _mm256_fmadd_ps(_mm256_maskload_ps(x + c, k), _mm256_maskload_ps(w + c, k), sum);
    }
    return zt_sum8(sum);
}

void zt_route_avx2(const zt_moe *w, const float *const *x, int n, int C, int32_t *expert, float *gate)
{
    for (int r = 0; r < n; r++) {
        float s[ZT_EXPERTS_MAX], total = 0;
        for (int e = 0; e < w->E; e++)
            s[e] = dot(x[r], w->gate_w + (int64_t)e * C, C);
        const float max = s[zt_route_best(s, w->E)];
        for (int e = 0; e < w->E; e++) {
            s[e] = w->score == ZT_SIGMOID ? 1 / (1 + expf(-s[e])) : expf(s[e] - max);
            total += s[e];
        }
        for (int e = 0; e < w->E && w->score == ZT_SOFTMAX; e++)
            s[e] /= total;
        zt_route_select(w, s, expert + r * w->k, gate + r * w->k);
    }
}

void zt_swiglu_avx2(float *h, int64_t step, const float *u, int rows)
{
    for (int r = 0; r < rows; r++, h += step, u += ZT_TILE_COLUMNS) {
        for (int c = 0; c < 16; c += 8) {
            const __m256 a = _mm256_load_ps(u + c);
            _mm256_store_ps(h + c, _mm256_mul_ps(times_sigmoid(a, a), _mm256_load_ps(u + 16 + c)));
        }
    }
}

void zt_gather_avx2(float *f, int width, const float *const *y, const float *gate, int k)
{
    for (int c = 0; c < width; c += 8) {
        __m256 v = _mm256_load_ps(f + c);
        for (int i = 0; i < k; i++)
            v = _mm256_fmadd_ps(_mm256_set1_ps(gate[i]), _mm256_load_ps(y[i] + c), v);
        _mm256_store_ps(f + c, v);
    }
}

const zt_gemm zt_gemm_avx2 = {
    .words = { [ZT_F32] = 1, [ZT_BF16] = 2, [ZT_I8] = 2 },
    .pack = zt_pack_avx2,
    .quantise = zt_quantise_avx2,
    .interleave = zt_interleave_avx2,
    .expand = zt_expand_avx2,
    .multiply = zt_multiply_avx2,
    .epilogue = zt_epilogue_avx2,
    .route = zt_route_avx2,
    .swiglu = zt_swiglu_avx2,
    .gather = zt_gather_avx2,
};

void zt_linear_avx2(struct zt_device *d, zt_tensor out, zt_tensor x, const zt_matrix *w,
                    const zt_epilogue *e)
{
    zt_linear_tiled(d, out, x, w, e, &zt_gemm_avx2);
}

void zt_moe_avx2(struct zt_device *d, zt_tensor out, zt_tensor x, const zt_moe *w,
                 const zt_epilogue *e)
{
    zt_moe_tiled(d, out, x, w, e, &zt_gemm_avx2);
}
