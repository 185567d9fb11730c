// SPDX-License-Identifier: Apache-2.0
// Whatever a reader accepts lies inside the file and can be read from end to end.
#pragma once

#include <stdlib.h>

#include "base/base.h"
#include "diffusion/weights_file.h"

static inline void fuzz_read_all(const struct zt_weights_part *p, const void *file, size_t n)
{
    float x[64];
    for (int i = 0; i < p->n; i++) {
        const zt_weight *const t = &p->w[i];
        if (!zt_weight_fits(t, file, n))
            abort();
        if (!t->usable || t->elements == 0)
            continue;
        const int64_t take = ZT_MIN((int64_t)ZT_LEN(x), t->elements);
        zt_weight_read(t, 0, take, x);
        zt_weight_read(t, t->elements - take, take, x);
    }
}
