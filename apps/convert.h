// SPDX-License-Identifier: Apache-2.0
// Writes a model in another precision.
#pragma once

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

enum zt_convert_to { ZT_CONVERT_INT8, ZT_CONVERT_INT4, ZT_CONVERT_BF16, ZT_CONVERT_FP8 };

// Model IN (folder or file of any format) to folder OUT, which must not exist yet unless `overwrite`: one safetensors file and
// config.json; of two transformers one each, in low_noise_model and high_noise_model. Matrices of the blocks become integers or F8_E4M3 with scales, or all matrices BF16; everything else is copied,
// as F32 where safetensors cannot hold it. One row at a time is in memory. Shows a bar on a terminal unless `quiet`. Returns the
// program's exit code.
int zt_convert(const char *in, const char *out, enum zt_convert_to to, bool overwrite, bool quiet);

#ifdef __cplusplus
}
#endif
