// SPDX-License-Identifier: Apache-2.0
// The tensors of a safetensors file or of the shards that an index names: found by name, every byte range checked.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ZT_MAX_RANK 8

typedef struct zt_weight {
    const char   *name;
    const char   *dtype;        // as the file calls it: "F32", "BF16", …
    bool          usable;       // the type below can hold it
    enum zt_type  type;         // ZT_F32, ZT_BF16, ZT_F16, ZT_I8, ZT_I32
    int           rank;
    int64_t       shape[ZT_MAX_RANK];
    int64_t       elements;
    const void   *data;         // not aligned
    size_t        bytes;
} zt_weight;

typedef struct zt_weights zt_weights;

// Opens a file, or all shards of a *.index.json. 0, -ENOENT, -EINVAL (logged with file, tensor and numbers), -ENOMEM,
// -EIO. Files above 256 MiB are mapped: they must not be truncated while they are open.
int  zt_weights_open(zt_weights **out, const char *path);
// The same of bytes in memory, which are borrowed; `label` names them in messages.
int  zt_weights_parse(zt_weights **out, const void *bytes, size_t n, const char *label);
void zt_weights_close(zt_weights **w);

int  zt_weights_count(const zt_weights *w);
const zt_weight *zt_weights_at(const zt_weights *w, int i);     // in order of name
const zt_weight *zt_weights_find(const zt_weights *w, const char *name);       // or NULL
const char *zt_weights_label(const zt_weights *w);
// Hash of all headers and tensor bytes.
uint64_t zt_weights_hash(const zt_weights *w);
// h continues over n bytes: four interleaved FNV-1a sums of 64-bit words, folded.
uint64_t zt_hash(uint64_t h, const void *bytes, size_t n);

// Elements [from, from + n) as float. F32, BF16, F16, I8 and I32.
void zt_weight_read(const zt_weight *w, int64_t from, int64_t n, float *out);
static inline float zt_f16_to_f32(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = h & 0x7fffu;
    union { uint32_t u; float f; } v = { .u = rest << 13 };
    if (rest >= 0x7c00)
        v.u |= 0x7f800000;                      // infinity, NaN
    else
        v.f *= 0x1p112f;                        // exact, subnormal numbers too
    v.u |= sign;
    return v.f;
}

// Writes a file. Tensors in the order given; data borrowed. 0 or -errno (logged).
int  zt_weights_write(const char *path, const zt_weight *w, int n);

#ifdef __cplusplus
}
#endif
