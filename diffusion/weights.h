// SPDX-License-Identifier: Apache-2.0
// The tensors of a weights file (safetensors, torch.save, GGUF) or of the shards that an index names: found by name,
// every byte range checked.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "kernels/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ZT_MAX_RANK 8

// How elements are stored. The blocks are GGUF's: 32 or 256 neighbours of a row share their scales.
enum zt_coding {
    ZT_PLAIN,                   // as `type` says
    ZT_F8_E4M3, ZT_F8_E5M2, ZT_F64,
    ZT_Q8_0, ZT_Q4_0, ZT_Q4_1, ZT_Q5_0, ZT_Q5_1, ZT_Q4_K, ZT_Q5_K, ZT_Q6_K,
    ZT_CODINGS,
};

typedef struct zt_weight {
    const char    *name;
    const char    *dtype;       // "F32", "BF16", "Q4_K", …
    bool           usable;      // zt_weight_read() can read it
    enum zt_coding coding;
    enum zt_type   type;        // ZT_F32, ZT_BF16, ZT_F16, ZT_I8, ZT_U8, ZT_I32; ZT_F32 when coded
    int            rank;
    int64_t        shape[ZT_MAX_RANK];
    int64_t        elements;
    bool           strided;     // plain, but neighbours along axis i are step[i] >= 0 elements apart
    int64_t        step[ZT_MAX_RANK];
    const void    *data;        // of the first element; not aligned
    size_t         bytes;       // that its elements occupy, first to last
} zt_weight;

typedef struct zt_weights zt_weights;

// Opens a file, or all shards of a *.index.json; the format is known by its first bytes. 0, -ENOENT, -EINVAL (logged
// with file, tensor and numbers), -ENOMEM, -EIO. Of a torch.save file the state dict "generator_ema", else
// "generator", "model" or "state_dict", else the top level is taken; what is not a tensor is ignored.
// Names lose what training and packaging put before them (zt_name_strip()).
int  zt_weights_open(zt_weights **out, const char *path);
// The same of bytes in memory, which are borrowed; `label` names them in messages.
int  zt_weights_parse(zt_weights **out, const void *bytes, size_t n, const char *label);
void zt_weights_close(zt_weights **w);
// Are the files still what was opened? 0, -EINVAL (logged): then what was read since is not to be used. A mapped file that
// is cut off reads as zeros beyond its end.
int  zt_weights_check(const zt_weights *w);
// Lets go of the pages of a tensor that has been read: a mapped file's memory is then no longer counted as ours.
void zt_weights_drop(const zt_weights *w, const zt_weight *t);

int  zt_weights_count(const zt_weights *w);
const zt_weight *zt_weights_at(const zt_weights *w, int i);     // in order of name
const zt_weight *zt_weights_find(const zt_weights *w, const char *name);       // or NULL
const char *zt_weights_label(const zt_weights *w);
int64_t zt_weights_bytes(const zt_weights *w);          // of its files
// Hash of all names, types, shapes and tensor bytes.
uint64_t zt_weights_hash(const zt_weights *w);
// The same without the bytes of one tensor: one that is too large to be read for it.
uint64_t zt_weights_hash_but(const zt_weights *w, const zt_weight *left_out);
// A tensor's bytes are hashed by blocks of 16 rows. Whoever reads a whole tensor anyway may hash it then and say so:
// zt_weight_hash_block() of every block, from any thread, and zt_weights_set_hash() from one.
enum { ZT_HASH_ROWS = 16 };
int64_t  zt_weight_blocks(const zt_weight *t);
uint64_t zt_weight_hash_block(const zt_weight *t, int64_t block);
void     zt_weights_set_hash(const zt_weights *w, const zt_weight *t, const uint64_t *block);
// h continues over n bytes: four interleaved FNV-1a sums of 64-bit words, folded.
uint64_t zt_hash(uint64_t h, const void *bytes, size_t n);

// Elements [from, from + n), row-major, as float. The tensor must be usable.
void zt_weight_read(const zt_weight *w, int64_t from, int64_t n, float *out);
// Elements and bytes of a block: 1 and an element's own for what has none.
int    zt_coding_elements(enum zt_coding c);
size_t zt_coding_bytes(enum zt_coding c);       // ZT_PLAIN: 0
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
// The same where nothing holds the data: fill() is called once for each tensor, in order, and writes its w[i].bytes to f.
// It returns 0 or -errno, which ends the writing.
typedef int zt_weights_fill_fn(void *cookie, int i, FILE *f);
int  zt_weights_write_by(const char *path, const zt_weight *w, int n, zt_weights_fill_fn *fill, void *cookie);

#ifdef __cplusplus
}
#endif
