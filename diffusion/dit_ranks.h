// SPDX-License-Identifier: Apache-2.0
// A transformer over several ranks: one stream by heads, several streams by blocks.
#pragma once

#include "diffusion/dit.h"
#include "kernels/comm.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_ranks {
    zt_dit  *t;                 // of this rank, with all weights; borrowed
    zt_comm *comm;              // borrowed
    void    *memory;            // out and in
    float   *out, *in;
    int      room, per;         // rows of a rank: that there is room for; of the pass in work
} zt_ranks;

// 0, -EINVAL: the heads cannot be shared by so many, or not all blocks are plain ones.
int  zt_ranks_open(zt_ranks *r, zt_dit *t, zt_comm *comm);
void zt_ranks_finish(zt_ranks *r);

// All blocks of the pass that zt_dit_begin() has begun on every rank with the same segments, whose caches have heads / ranks
// heads: those of this rank. zt_dit_end() may follow on any. 0, -ENOMEM.
int zt_ranks_blocks(zt_ranks *r);

// n passes of a segment each, of streams that do not see one another. A rank keeps the keys and values of its blocks, layers
// L rank / ranks to L (rank + 1) / ranks; velocities are the last rank's. 0, -ENOMEM.
int zt_ranks_pipeline(zt_ranks *r, const zt_segment *s, int n);

#ifdef __cplusplus
}
#endif
