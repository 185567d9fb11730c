// SPDX-License-Identifier: Apache-2.0
// Gaussian noise from a counter: the same bits on every machine, in any order.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Philox 4x32-10 (Salmon et al., 2011).
void zt_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

// out[i] = the i-th normal deviate of (seed, frame, step), i < n <= 2^34. Key: seed; counter: i / 4, step, frame.
void zt_noise_fill(float *out, size_t n, uint64_t seed, uint64_t frame, uint32_t step);

#ifdef __cplusplus
}
#endif
