// SPDX-License-Identifier: Apache-2.0
// The plain CUDA level as compiled for the CPU (cuda_on_host.h).
#pragma once

#include "kernels/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

extern const zt_kernels zt_cuda_on_host;

// In which order the threads of a block, and the blocks, run from now on: 0 .. zt_cuda_orders - 1.
enum { zt_cuda_orders = 3 };
void zt_cuda_set_order(int order);

// Does the product that a GPU makes of f32 words by shuffles give what the definition does?
int  zt_cuda_shuffles_hold(void);

#ifdef __cplusplus
}
#endif
