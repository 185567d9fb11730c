// SPDX-License-Identifier: Apache-2.0
// What a chunk of a model costs here: measured, not looked up.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "diffusion/internal.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_estimate {
    int64_t cache_bytes, work_bytes;    // of one session; of a pass
    double  pass_ms, chunk_ms;          // chunk: its denoising passes and the one that commits it, window full, no decoder
} zt_estimate;

// At w x h pixels (multiples of 16). Runs one block of a pass of random latents and text and counts the others like it, or,
// when `whole`, all passes of a chunk. 0 or -ENOMEM.
int zt_estimate_chunk(zt_model *m, int w, int h, bool whole, zt_estimate *out);
// Bytes of the cache of a session of w x h pixels.
int64_t zt_estimate_cache(const zt_model *m, int w, int h);

#ifdef __cplusplus
}
#endif
