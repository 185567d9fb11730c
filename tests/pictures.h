// SPDX-License-Identifier: Apache-2.0
// A pattern that moves: a gradient that slides, and the picture's number as 16 black or white squares.
#pragma once

#include <string.h>

#include "base/clock.h"
#include "base/frame.h"

// Fills f as picture k at fps. Sizes from 64x48.
static inline void picture_draw(zt_frame *f, int k, int fps)
{
    f->index = (uint64_t)k;
    f->model_frame = (uint64_t)k;
    f->pts = k * ZT_S / fps;
    for (int y = 0; y < f->h; y++)
        for (int x = 0; x < f->w; x++)
            f->plane[0][y * f->pitch[0] + x] = (uint8_t)(32 + (2 * x + y + 3 * k) % 180);
    for (int i = 1; i < 3; i++)
        for (int y = 0; y < f->h / 2; y++)
            memset(f->plane[i] + y * f->pitch[i], 96 + (k * (i + 1)) % 64, (size_t)(f->w / 2));
    const int side = f->w / 16;
    for (int bit = 0; bit < 16; bit++)
        for (int y = 0; y < side; y++)
            memset(f->plane[0] + y * f->pitch[0] + bit * side, k >> bit & 1 ? 235 : 16, (size_t)side);
}

// The number drawn into a luma plane of any size.
static inline int picture_number(const uint8_t *luma, int pitch, int w)
{
    const int side = w / 16;
    int k = 0;
    for (int bit = 0; bit < 16; bit++)
        k |= (luma[side / 2 * pitch + bit * side + side / 2] > 125) << bit;
    return k;
}
