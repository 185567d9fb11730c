// SPDX-License-Identifier: Apache-2.0
// What a file was made with, as containers and marks say it (doc/formats.md).
#pragma once

#include <stdint.h>

#include "diffusion/model.h"

#ifdef __cplusplus
extern "C" {
#endif

struct cJSON;

typedef struct zt_about {
    const zt_model_info *info;
    const char *id;             // or NULL: it has none
    const char *prompt;         // of its first frame
    uint64_t    seed;
    int         steps;
} zt_about;

// The caller owns it. NULL: no memory.
struct cJSON *zt_about_json(const zt_about *a);

#ifdef __cplusplus
}
#endif
