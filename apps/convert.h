// SPDX-License-Identifier: Apache-2.0
// Writes a model in another precision.
#pragma once

#include "kernels/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

// Model IN (folder or file) to folder OUT, which must not exist yet unless `overwrite`: matrices of the blocks as I8
// with scales, or all matrices as BF16. Everything else is copied. Returns the program's exit code.
int zt_convert(const char *in, const char *out, enum zt_type type, int overwrite);

#ifdef __cplusplus
}
#endif
