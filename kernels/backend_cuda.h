// SPDX-License-Identifier: Apache-2.0
// The functions of a CUDA queue, as zt_backend has them.
#pragma once

#include "base/log.h"
#include "kernels/device.h"

#ifdef __cplusplus
extern "C" {
#endif

extern void (*zt_cuda_log)(enum zt_level level, const char *fmt, ...);

int   zt_cuda_count(char *why, size_t room);
int   zt_cuda_open(void **queue, int ordinal, uint32_t *have, char *why, size_t room);
void  zt_cuda_close(void *queue);
void *zt_cuda_alloc(void *queue, size_t bytes);
void  zt_cuda_free(void *queue, void *p);
void *zt_cuda_alloc_host(void *queue, size_t bytes);
void  zt_cuda_free_host(void *queue, void *p);
int   zt_cuda_copy(void *queue, void *to, const void *from, size_t bytes);
int   zt_cuda_copy_rows(void *queue, void *to, size_t to_step, const void *from, size_t from_step, size_t bytes, size_t rows);
void *zt_cuda_stream_of(void *queue);
int   zt_cuda_clear(void *queue, void *p, size_t bytes);
int   zt_cuda_sync(void *queue);
void  zt_cuda_memory(void *queue, size_t *left, size_t *all);
const char *zt_cuda_name(void *queue);

#ifdef __cplusplus
}
#endif
