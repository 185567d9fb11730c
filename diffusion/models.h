// SPDX-License-Identifier: Apache-2.0
// Names by which publishers call the same tensors.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "diffusion/weights.h"

#ifdef __cplusplus
extern "C" {
#endif

// Takes away, in place, what training and packaging put before and between: "model.", "model.diffusion_model.",
// "_fsdp_wrapped_module." and the like.
void zt_name_strip(char *name);

bool zt_names_are_diffusers(const zt_weights *w);
// An original Wan name as the diffusers library calls it.
void zt_name_for_diffusers(char *out, size_t bytes, const char *name);

#ifdef __cplusplus
}
#endif
