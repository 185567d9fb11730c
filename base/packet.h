// SPDX-License-Identifier: Apache-2.0
// What encoders make of pictures; crosses threads, reference counted.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// One encoded access unit.
typedef struct zt_packet {
    uint8_t *data;
    size_t   bytes;
    int64_t  pts;               // ns, as in the frame
    int64_t  dts;               // ns: pts less the encoder's reordering
    int64_t  duration;          // ns
    uint64_t index;             // the frame's
    int64_t  due, sampled;      // the frame's
    bool     key;
    void   (*release)(struct zt_packet *p);     // called when the last reference goes
    void    *cookie;            // release's
    int      refs;              // atomic; zt_packet_ref/unref only
} zt_packet;

zt_packet *zt_packet_ref(zt_packet *p);     // from any thread
void       zt_packet_unref(zt_packet **p);  // from any thread

#ifdef __cplusplus
}
#endif
