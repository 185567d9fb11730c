// SPDX-License-Identifier: Apache-2.0
// Products of rows with packed weights: how linear and moe go about them on every fast level.
#pragma once

#include <stdbool.h>

#include "kernels/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { ZT_TILE_ROWS = 12, ZT_TILE_COLUMNS = 32 };       // of one multiply() at most

// Rows as a level's products read them: quads of four. A unit of K is the P = 4 / element bytes
// values that lie together in a weight matrix; a row holds `words` 4-byte words for each.
typedef struct zt_rows {
    enum zt_type type;      // that of the weights; I8 for I4
    int          K;
    int          units;     // of K
    int          quad;      // words from one quad to the next; of a quad: [unit][words][4 rows]
    int32_t     *a;
    float       *scale;     // of each row; I8 only
    int32_t     *start;     // of each row's sums: -128 * (sum of its values), for the weights
                            // are stored + 128; I8 only
} zt_rows;

// What a level provides.
typedef struct zt_gemm {
    int words[ZT_I8 + 1];   // of a unit, by type
    // Rounds or quantises n rows and packs them; copies of row n - 1 fill up the last quad.
    void (*pack)(const zt_rows *r, const float *const *x, int n);
    // A panel of I4 as one of I8: from [units][16][4 bytes of two], factor [groups][16], to [2 * units][16][4].
    void (*expand)(uint8_t *to, const uint8_t *from, const uint8_t *factor, int units);
    // y[0..4 * quads)[0..16 * panels) = x w + bias, quads 1..3 from `quad` on, panels 1..2 at w. Memory at `ahead`, 64
    // bytes for each unit, is fetched meanwhile.
    void (*multiply)(float *y, int64_t step, const zt_rows *r, int quad, int quads, const zt_matrix *w, int panels,
                     const void *ahead);
    // Columns [n, n + columns) of row m; out and y point at the first.
    void (*epilogue)(const zt_epilogue *e, int m, int n, int columns, float *out, const float *y);

    // The experts and gates of 4 rows: [4][k].
    void (*route)(const zt_moe *w, const float *const x[4], int C, int32_t *expert, float *gate);
    // h[r][0..16) = SiLU(u[r][0..16)) * u[r][16..32); u is [rows][32], aligned, and so is h.
    void (*swiglu)(float *h, int64_t step, const float *u, int rows);
    // f[width] += sum over i of gate[i] * y[i][width], in order; width is a multiple of 16.
    void (*gather)(float *f, int width, const float *const *y, const float *gate, int k);
} zt_gemm;

zt_linear_fn zt_linear_avx2, zt_linear_avx512;
zt_moe_fn    zt_moe_avx2, zt_moe_avx512;
extern const zt_gemm zt_gemm_avx2, zt_gemm_avx512;
const zt_gemm *zt_gemm_find(const char *level);         // NULL: it has none

void zt_linear_tiled(struct zt_device *d, zt_tensor out, zt_tensor x, const zt_matrix *w,
                     const zt_epilogue *e, const zt_gemm *g);
void zt_moe_tiled(struct zt_device *d, zt_tensor out, zt_tensor x, const zt_moe *w,
                  const zt_epilogue *e, const zt_gemm *g);

// The two halves of linear: all rows of x into r, and r by w, whose room is of zt_panels_bytes() for each thread.
void zt_linear_pack(struct zt_device *d, const zt_rows *r, zt_tensor x, const zt_gemm *g);
void zt_linear_packed(struct zt_device *d, zt_tensor out, const zt_rows *r, const zt_matrix *w, const zt_epilogue *e,
                      const zt_gemm *g, void *room);

bool    zt_is_integer(enum zt_type type);       // rows are quantised: I8, I4
int     zt_row_units(enum zt_type type, int K);
// Bytes of packed rows; a multiple of 64.
size_t  zt_rows_bytes(const zt_gemm *g, enum zt_type type, int K, int rows);
// Lays them out in that memory (64-byte aligned).
zt_rows zt_rows_at(const zt_gemm *g, void *memory, enum zt_type type, int K, int rows);

// One or two panels of w as multiply() reads them: in place, or, of I4, expanded into `room` (64-byte aligned).
zt_matrix zt_panels(const zt_gemm *g, const zt_matrix *w, int panel, int panels, void *room);
size_t    zt_panels_bytes(const zt_matrix *w);      // of `room`; 0: none is needed
// What the tile that starts at quad `quad` of an item fetches for the next two panels.
const void *zt_panels_ahead(const zt_matrix *w, int panel, int quad);

// How many of n quads the next tile should take: 3, but 2 and 2 rather than 3 and 1.
static inline int zt_tile_quads(int n)
{
    return n == 4 ? 2 : n < 3 ? n : 3;
}

#ifdef __cplusplus
}
#endif
