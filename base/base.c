// SPDX-License-Identifier: Apache-2.0
// Aligned, zeroed memory.
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

void *zt_alloc(size_t bytes)
{
    if (bytes > (size_t)PTRDIFF_MAX - 64)
        return NULL;

    const size_t whole = (size_t)zt_round_up((int64_t)ZT_MAX(bytes, 1), 64);
    void *p = aligned_alloc(64, whole);
    if (p)
        memset(p, 0, whole);        // also brings the pages in: no faults later, in a frame's time
    return p;
}

void zt_free(void *p)
{
    free(p);
}
