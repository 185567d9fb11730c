// SPDX-License-Identifier: Apache-2.0
// Products of rows with packed weights: what linear and moe share on AVX-512.
#pragma once

#include "kernels/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { ZT_TILE_ROWS = 12, ZT_TILE_COLUMNS = 32 };       // what one call of zt_tile_multiply() makes at most

// Rows as the products read them: in quads of four. A unit of 4 bytes holds P = 4 / element bytes values of one row.
typedef struct zt_rows {
    enum zt_type type;      // that of the weights
    int          K;
    int          units;     // of K
    int          quad;      // units from one quad to the next; quads are [quad / 4][4 rows]
    int32_t     *a;
    float       *scale;     // of each row; I8 only
    int32_t     *start;     // of each row's sums: -128 * (sum of its values), since weights are stored + 128; I8 only
} zt_rows;

// Bytes of memory for `rows` rows; a multiple of 64.
size_t  zt_rows_bytes(enum zt_type type, int K, int rows);
// Lays them out in that memory (64-byte aligned).
zt_rows zt_rows_at(void *memory, enum zt_type type, int K, int rows);
// Rounds or quantises n rows and packs them from row 0 on; the last quad is filled up with copies of row n - 1.
void    zt_rows_pack(const zt_rows *r, const float *const *x, int n);

// y[0..4 * quads)[0..16 * panels) = x w + bias, quads 1..3 from `quad` on, panels 1..2 from `panel` on.
void zt_tile_multiply(float *y, int64_t step, const zt_rows *r, int quad, int quads, const zt_matrix *w, int panel,
                      int panels);

// How many of n quads the next tile should take: 3, but 2 and 2 rather than 3 and 1.
static inline int zt_tile_quads(int n)
{
    return n == 4 ? 2 : n < 3 ? n : 3;
}

#ifdef __cplusplus
}
#endif
