// SPDX-License-Identifier: Apache-2.0
// Between the readers of one file and the table of all tensors.
#pragma once

#include "diffusion/weights.h"

#ifdef __cplusplus
extern "C" {
#endif

// One file's tensors. Owns w and names.
struct zt_weights_part {
    zt_weight *w;
    int        n;
    char      *names;
};

// Fills p from the bytes, to which the tensors point. 0, -EINVAL (logged), -ENOMEM; p is untouched on failure.
int zt_safetensors_read(struct zt_weights_part *p, const void *bytes, size_t n, const char *label);

#ifdef __cplusplus
}
#endif
