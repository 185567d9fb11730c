// SPDX-License-Identifier: Apache-2.0
// What libzt_cuda.so gives: its levels and its queue.
#include "kernels/backend_cuda.h"

#include "kernels/backend.h"

#define X(op) zt_##op##_fn zt_##op##_cuda;
ZT_OPS(X)
#undef X

static const zt_kernels level_cuda = {          // complete: a missing one fails to link
#define X(op) .op = zt_##op##_cuda,
    ZT_OPS(X)
#undef X
};

static const struct zt_kernel_level levels[] = {
    { "cuda", ZT_CUDA, 0, &level_cuda },
    { NULL, ZT_CUDA, 0, NULL },
};

zt_backend_get_fn zt_backend_get;

__attribute__((visibility("default")))
const zt_backend *zt_backend_get(void (*log)(enum zt_level level, const char *fmt, ...))
{
    static const zt_backend backend = {
        .abi = ZT_BACKEND_ABI, .device_bytes = sizeof(zt_device), .kernels_bytes = sizeof(zt_kernels), .levels = levels,
        .count = zt_cuda_count, .open = zt_cuda_open, .close = zt_cuda_close, .alloc = zt_cuda_alloc, .free = zt_cuda_free,
        .alloc_host = zt_cuda_alloc_host, .free_host = zt_cuda_free_host, .copy = zt_cuda_copy, .sync = zt_cuda_sync, .clear = zt_cuda_clear,
        .copy_rows = zt_cuda_copy_rows, .stream = zt_cuda_stream_of,
        .memory = zt_cuda_memory, .name = zt_cuda_name,
    };
    zt_cuda_log = log;
    return &backend;
}
