// SPDX-License-Identifier: Apache-2.0
// Rows of text on disk, by the encoder's hash and the token ids: a prompt that was encoded once costs nothing again.
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// The folder: ZOETROPE_CACHE, else XDG_CACHE_HOME/zoetrope, else HOME/.cache/zoetrope; text/ inside it. A file is a
// safetensors file of `ids` I32 [n] and `rows` F32 [n][width], which is used only when its ids are the same. The 256
// that were asked for last stay.
// 0, -ENOENT (not there or not usable: nothing is logged).
int zt_text_cache_get(uint64_t encoder, const int32_t *id, int n, int width, float *rows);
// 0 or -errno. A cache that cannot be written is no error of the caller's.
int zt_text_cache_put(uint64_t encoder, const int32_t *id, int n, int width, const float *rows);

#ifdef __cplusplus
}
#endif
