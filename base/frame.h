// SPDX-License-Identifier: Apache-2.0
// Pictures: with packets the only objects that cross threads. Pooled, reference counted.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

// Frames of one size, used again and again.
typedef struct zt_frame_pool zt_frame_pool;

// One picture: planar 4:2:0 (I420), BT.709 limited range, chroma sited left.
typedef struct zt_frame {
    int       w, h;             // pixels, even
    uint8_t  *plane[3];         // Y [h][w], U and V [h/2][w/2]; 64-byte aligned
    ptrdiff_t pitch[3];         // bytes between rows
    uint64_t  index;            // display slot, from 0 per session; a gap means slots were dropped
    uint64_t  model_frame;      // what the model made: dense
    int64_t   pts;              // ns since slot 0: index * period
    int64_t   due;              // monotonic ns by which its packet should be handed over; 0 offline
    int64_t   sampled;          // monotonic ns at which prompt and controls were read
    int64_t   made;             // monotonic ns at which the picture was complete
    int       steps;            // denoising steps spent on it
    bool      repeated;         // the picture of an earlier slot, shown again
    bool      key;              // ask the encoder for a key frame here
} zt_frame;

// `n` frames of w x h (even, > 0). Allocates everything here. From one thread.
int  zt_frame_pool_create(zt_frame_pool **out, int w, int h, int n);
// Frames still referenced keep the pool's memory alive until the last is released.
void zt_frame_pool_destroy(zt_frame_pool **p);

// From any thread. NULL when all are in use. The caller owns one reference.
zt_frame *zt_frame_get(zt_frame_pool *p);
zt_frame *zt_frame_ref(zt_frame *f);        // returns f; from any thread
void      zt_frame_unref(zt_frame **f);     // from any thread; takes NULL inside

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
