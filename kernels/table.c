// SPDX-License-Identifier: Apache-2.0
// Which function serves which operation at which level.
#include <string.h>

#include "config.h"
#include "kernels/device.h"
#include "kernels/gemm.h"

static const zt_kernels level_c = {             // complete: a missing one fails to link
#define X(op) .op = zt_##op##_c,
    ZT_OPS(X)
#undef X
};

#if HAVE_AVX2
// Every operation has a prototype; those in the table below exist.
#define X(op) zt_##op##_fn zt_##op##_avx2;
ZT_OPS(X)
#undef X

static const zt_kernels level_avx2 = {          // NULL elsewhere: not provided at this level
    .attention = zt_attention_avx2,
    .conv = zt_conv_avx2,
    .kv_append = zt_kv_append_avx2,
    .layer_norm = zt_layer_norm_avx2,
    .linear = zt_linear_avx2,
    .moe = zt_moe_avx2,
    .pixel_shuffle = zt_pixel_shuffle_avx2,
    .qkv_append = zt_qkv_append_avx2,
    .rgb_to_i420 = zt_rgb_to_i420_avx2,
    .rms_rope = zt_rms_rope_avx2,
};
#endif

#if HAVE_VNNI
// The same of 256 bits in two encodings: a CPU that has neither stays at avx2.
static const zt_kernels level_avxvnni = { .linear = zt_linear_avxvnni, .moe = zt_moe_avxvnni };
static const zt_kernels level_avx512vl = { .linear = zt_linear_avx512vl, .moe = zt_moe_avx512vl };
#endif

#if HAVE_AVX512
#define X(op) zt_##op##_fn zt_##op##_avx512;
ZT_OPS(X)
#undef X

static const zt_kernels level_avx512 = {
    .linear = zt_linear_avx512,
    .moe = zt_moe_avx512,
    .attention = zt_attention_avx512,
    .conv = zt_conv_avx512,
    .history = zt_history_avx512,
    .kv_append = zt_kv_append_avx512,
    .latents_in = zt_latents_in_avx512,
    .layer_norm = zt_layer_norm_avx512,
    .modulation = zt_modulation_avx512,
    .qkv_append = zt_qkv_append_avx512,
    .rgb_to_i420 = zt_rgb_to_i420_avx512,
    .rms_rope = zt_rms_rope_avx512,
};
#endif

const struct zt_kernel_level zt_levels[] = {
    { "c",      ZT_HOST, 0,              &level_c },
#if HAVE_AVX2
    { "avx2",   ZT_HOST, ZT_NEED_AVX2,   &level_avx2 },
#endif
#if HAVE_VNNI
    { "vnni",   ZT_HOST, ZT_NEED_AVX2 | ZT_NEED_AVX512VL, &level_avx512vl },
    { "vnni",   ZT_HOST, ZT_NEED_AVX2 | ZT_NEED_AVXVNNI, &level_avxvnni },
#endif
#if HAVE_AVX512
    { "avx512", ZT_HOST, ZT_NEED_AVX2 | ZT_NEED_AVX512, &level_avx512 },
#endif
    { NULL, ZT_HOST, 0, NULL },
};

bool zt_level_is_last(const struct zt_kernel_level *l, const char *last)
{
    return last && !strcmp(l->name, last) && !(l[1].name && !strcmp(l[1].name, last));
}

void zt_kernels_select(zt_kernels *out, const struct zt_kernel_level *levels, enum zt_space space,
                       uint32_t have, const char *last)
{
    memset(out, 0, sizeof(*out));
    for (const struct zt_kernel_level *l = levels; l->name; l++) {
        if (l->space == space && !(l->need & ~have)) {
#define X(op) if (l->k->op) out->op = l->k->op;
            ZT_OPS(X)
#undef X
        }
        if (zt_level_is_last(l, last))
            break;
    }
}

const zt_gemm *zt_gemm_find(const char *level)
{
#if HAVE_AVX512
    if (!strcmp(level, "avx512"))
        return &zt_gemm_avx512;
#endif
#if HAVE_AVX2
    if (!strcmp(level, "avx2"))
        return &zt_gemm_avx2;
#endif
    return NULL;
}
