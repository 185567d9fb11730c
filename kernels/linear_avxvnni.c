// SPDX-License-Identifier: Apache-2.0
// linear and moe with AVX-VNNI.
#include "kernels/tile_vnni.h"

ZT_INLINE __m256i dot_bytes(__m256i c, __m256i w, __m256i a)
{
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(c) : "x"(w), "x"(a));
    return c;
}

void zt_linear_avxvnni(struct zt_device *d, zt_tensor out, zt_tensor x, const zt_matrix *w, const zt_epilogue *e)
{
    zt_linear_tiled(d, out, x, w, e, &gemm);
}

void zt_moe_avxvnni(struct zt_device *d, zt_tensor out, zt_tensor x, const zt_moe *w, const zt_epilogue *e)
{
    zt_moe_tiled(d, out, x, w, e, &gemm);
}
