// SPDX-License-Identifier: Apache-2.0
// Products of rows with packed weights: how linear and moe go about them on every fast level.
#pragma once

#include <stdbool.h>

#include "kernels/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { ZT_TILE_ROWS = 12, ZT_TILE_COLUMNS = 32 };       // of one multiply() at most
enum { ZT_ROUTE_ROWS = 24 };

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

// Quantised rows that several matrices will want, as a level likes to keep them.
typedef struct zt_bytes {
    int8_t  *q;
    int64_t  step;          // from one row to the next: K rounded up to 64
    float   *scale;         // as in zt_rows
    int32_t *start;
} zt_bytes;

// Sums of rows [m, m + rows) and columns [n, n + columns), on their way out: both pointers are at the first.
typedef struct zt_sums {
    int          m, rows, n, columns;
    const float *y;
    int64_t      y_step;
    float       *out;
    int64_t      out_step;
} zt_sums;

// What a level provides.
typedef struct zt_gemm {
    int words[ZT_I8 + 1];   // of a unit, by type
    // Rounds or quantises n rows and packs them; copies of row n - 1 fill up the last quad.
    void (*pack)(const zt_rows *r, const float *const *x, int n);
    // The same of I8 in two parts: a row of K; n <= 96 of the rows, packed.
    void (*quantise)(const zt_bytes *b, int row, const float *x, int K);
    void (*interleave)(const zt_rows *r, const zt_bytes *b, const int32_t *row, int n);
    // A panel of I4 as one of I8: from [units][16][4 bytes of two], factor [groups][16], to [2 * units][16][4].
    void (*expand)(uint8_t *to, const uint8_t *from, const uint8_t *factor, int units);
    // y[0..rows)[0..16 * panels) = x w + bias; rows 1..12 from quad `quad` on, panels 1..2 at w. Memory at either
    // `ahead`, 64 bytes for each unit, is fetched meanwhile.
    void (*multiply)(float *y, int64_t step, const zt_rows *r, int quad, int rows, const zt_matrix *w, int panels,
                     const void *const ahead[2]);
    void (*epilogue)(const zt_epilogue *e, const zt_sums *s);

    // The experts and gates of n <= ZT_ROUTE_ROWS rows: [n][k]. x has a multiple of 4.
    void (*route)(const zt_moe *w, const float *const *x, int n, int C, int32_t *expert, float *gate);
    // h[r][0..16) = SiLU(u[r][0..16)) * u[r][16..32); u is [rows][32], aligned, and so is h.
    void (*swiglu)(float *h, int64_t step, const float *u, int rows);
    // f[width] += sum over i of gate[i] * y[i][width], in order; width is a multiple of 16.
    void (*gather)(float *f, int width, const float *const *y, const float *gate, int k);
} zt_gemm;

zt_linear_fn zt_linear_avx2, zt_linear_avxvnni, zt_linear_avx512vl, zt_linear_avx512;
zt_moe_fn    zt_moe_avx2, zt_moe_avxvnni, zt_moe_avx512vl, zt_moe_avx512;
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
// What a tile fetches: of the two panels after these, or of `then` (or NULL) when there are none, both if it is the
// only one of its rows, or else one if it starts at quad 0, the other if it is the second.
void zt_panels_ahead(const void *ahead[2], const zt_matrix *w, const zt_matrix *then, int panel, int quad, bool only);

// How many of n rows the next tile should take: a multiple of 4, or all.
static inline int zt_tile_rows(int n)
{
    const int tiles = (n + ZT_TILE_ROWS - 1) / ZT_TILE_ROWS;
    return tiles == 1 ? n : ((n + tiles - 1) / tiles + 3) / 4 * 4;
}

#ifdef __cplusplus
}
#endif
