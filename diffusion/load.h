// SPDX-License-Identifier: Apache-2.0
// Tensors of a file become what the kernels read: vectors of floats, packed matrices.
#pragma once

#include "diffusion/weights.h"
#include "kernels/device.h"

#ifdef __cplusplus
extern "C" {
#endif

// Device memory that is taken piece by piece and given back all at once. Zeroed is empty; set d first.
typedef struct zt_memory {
    zt_device *d;
    void     **block;
    int        n, room;
    char      *at;
    size_t     left;
    int64_t    bytes;           // taken
    int64_t    files;           // bytes of the files that it is filled from
} zt_memory;

void *zt_memory_take(zt_memory *m, size_t bytes);       // 64-byte aligned, zeroed; NULL when there is none
void *zt_memory_take_raw(zt_memory *m, size_t bytes);   // the same with any content
void  zt_memory_finish(zt_memory *m);

typedef struct zt_loader {
    const zt_weights *w;
    zt_memory        *memory;
    zt_memory         staged;           // of the host: a matrix on its way to a GPU
    bool              diffusers;        // names are those of the diffusers library
    enum zt_type      block, other;     // matrices of the blocks; the larger ones outside them
    void             *stage;            // 16 rows
    size_t            stage_bytes;
    int64_t           parameters;       // read so far
} zt_loader;

// What the loader has written, to where the device reads it; where the host does, it is there. zt_load_empty_conv()'s
// is its caller's to move. 0, -ENOMEM.
int zt_load_settle(zt_loader *l, zt_matrix *m);
int zt_load_settle_conv(zt_loader *l, zt_conv *c);

// Counts the files to the memory.
void zt_loader_init(zt_loader *l, const zt_weights *w, zt_memory *memory);
void zt_loader_finish(zt_loader *l);

// All return 0, -EINVAL (missing, wrong shape: logged), -ENOMEM.
int zt_load_find(zt_loader *l, const zt_weight **out, const char *name, int rank, const int64_t *shape);
// f32 [n]; the file's tensor has this shape, whose product is n.
int zt_load_floats(zt_loader *l, const float **out, const char *name, int rank, const int64_t *shape);
int zt_load_vector(zt_loader *l, const float **out, const char *name, int n);

// Rows of a matrix that one tensor gives: NAME.weight [rows, k] and, if asked, NAME.bias [rows].
typedef struct zt_part {
    const char *name;
    int         rows, row0;
    int         stride16;       // as zt_matrix_pack() has it; 0 is 1
    bool        bias;
    int         rank;           // of the tensor: 2 (0 too), or 5 for [rows, k / 4, 1, 2, 2]
} zt_part;

enum { ZT_MAX_PARTS = 3 };

// N x K from n <= ZT_MAX_PARTS tensors of row width k <= K; columns k..K are zero. I8 is taken from the file as it is,
// or quantised here. Takes no memory before the file has been found to hold what the configuration says.
int zt_load_matrix(zt_loader *l, zt_matrix *out, enum zt_type type, int N, int K, int k, const zt_part *part, int n);
// The usual case: NAME.{weight,bias}.
int zt_load_linear(zt_loader *l, zt_matrix *out, enum zt_type type, int N, int K, const char *name);
// NAME.weight [N, C, 3, 3] and bias; out->up and out->act are set by the caller, before.
int zt_load_conv(zt_loader *l, zt_conv *out, enum zt_type type, int N, int C, const char *name);
// The same without data, for those who make rows themselves: then its channel n from w [3][3][C].
int  zt_load_empty_conv(zt_loader *l, zt_conv *out, enum zt_type type, int N, int C);
void zt_load_conv_row(zt_loader *l, zt_conv *out, int n, const float *w);

// A convolution's kernel as a matrix: NAME.weight [N, C, T, h, w] or, without T (0), [N, C, h, w] becomes rows of
// [h][w][t][channel], the latest frame first (for the input that zt_history_fn makes); NAME.bias when there is one.
typedef struct zt_kernel_shape {
    int N, C, T, h, w;
} zt_kernel_shape;
int zt_load_kernel(zt_loader *l, zt_matrix *out, enum zt_type type, const char *name, zt_kernel_shape s);

#ifdef __cplusplus
}
#endif
