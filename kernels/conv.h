// SPDX-License-Identifier: Apache-2.0
// Convolution as products of padded rows with packed weights: how every fast level goes about it.
#pragma once

#include "kernels/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

// A few pixels that lie `step[2]` of `out` apart in a row of it.
typedef struct zt_conv_tile {
    const char      *in[3];         // of each row of taps, what the first pixel's first tap reads
    int              taps;          // rows and columns of them: 3, or 2 for one pixel of four
    int              step;          // bytes from tap to tap, and from pixel to pixel: Ca + Cb channels
    const zt_matrix *w;
    float            scale;         // of what `in` holds; I8 only
    enum zt_act      act;
    zt_tensor        out, residual; // data: of the first pixel
    int              pixels;        // to store; the tile reads what follows them up to a whole tile
} zt_conv_tile;

// What a level provides.
typedef struct zt_conv_level {
    int    pixels;                  // of a tile at most; a tile reads up to `beyond` past the last one that it stores
    int    beyond;
    int    bytes[ZT_I8 + 1];        // of a channel in the padded rows, by the weights' type
    // The largest value of a row of n pixels, 0 at least.
    float (*largest)(zt_tensor t, int64_t at, int n);
    // n pixels of t from element `at` on, as the weights' type is multiplied (I8: round(x * inverse) in 0..255), each
    // `step` bytes after the one before.
    void  (*load)(char *to, size_t step, zt_tensor t, int64_t at, int n, enum zt_type type, float inverse);
    void  (*run)(const zt_conv_tile *t, enum zt_type type);
} zt_conv_level;

zt_conv_fn zt_conv_avx2, zt_conv_avx512;

void zt_conv_tiled(struct zt_device *d, zt_tensor out, zt_tensor a, zt_tensor b, zt_tensor residual, const zt_conv *c,
                   const zt_conv_level *level);

#ifdef __cplusplus
}
#endif
