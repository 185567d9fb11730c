// SPDX-License-Identifier: Apache-2.0
// Marks burnt into a picture, for tests that read what a viewer really sees: four rows of 16 squares, white is 1, the
// lowest bit left: the slot's index, the newest control's seq, and the wall clock in units of 0.1 ms (low word, high).
#pragma once

#include "base/frame.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_marks {
    unsigned index, seq;        // 16 bits count
    unsigned time;              // 0.1 ms since 1970, modulo 2^32
} zt_marks;

#define ZT_MARK_ROWS 4

// Squares of w/16 pixels from the upper left corner.
void     zt_marks_burn(zt_frame *f, zt_marks m);
zt_marks zt_marks_read(const uint8_t *luma, int pitch, int w);
unsigned zt_marks_clock(void);  // now, as `time`

#ifdef __cplusplus
}
#endif
