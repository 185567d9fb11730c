// SPDX-License-Identifier: Apache-2.0
// Burns numbers into pictures and reads them back.
#include "apps/serve/marks.h"

#include <string.h>
#include <time.h>

static void burn_row(zt_frame *f, int row, unsigned bits)
{
    const int side = f->w / 16;
    for (int y = row * side; y < (row + 1) * side && y < f->h; y++)
        for (int bit = 0; bit < 16; bit++)
            memset(f->plane[0] + y * f->pitch[0] + bit * side, bits >> bit & 1 ? 235 : 16, (size_t)side);
}

void zt_marks_burn(zt_frame *f, zt_marks m)
{
    burn_row(f, 0, m.index);
    burn_row(f, 1, m.seq);
    burn_row(f, 2, m.time & 0xffff);
    burn_row(f, 3, m.time >> 16);
    const int w = f->w / 16 * 16 / 2, h = ZT_MARK_ROWS * (f->w / 16) / 2;
    for (int i = 1; i < 3; i++)
        for (int y = 0; y < h && y < f->h / 2; y++)
            memset(f->plane[i] + y * f->pitch[i], 128, (size_t)w);
}

static unsigned read_row(const uint8_t *luma, int pitch, int w, int row)
{
    const uint8_t *at = luma + (row * w / 16 + w / 32) * pitch + w / 32;
    unsigned bits = 0;
    for (int bit = 0; bit < 16; bit++)
        bits |= (unsigned)(at[bit * w / 16] > 125) << bit;
    return bits;
}

zt_marks zt_marks_read(const uint8_t *luma, int pitch, int w)
{
    return (zt_marks){
        read_row(luma, pitch, w, 0),
        read_row(luma, pitch, w, 1),
        read_row(luma, pitch, w, 2) | read_row(luma, pitch, w, 3) << 16,
    };
}

unsigned zt_marks_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (unsigned)((uint64_t)now.tv_sec * 10000 + (uint64_t)now.tv_nsec / 100000);
}
