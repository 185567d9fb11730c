// SPDX-License-Identifier: Apache-2.0
// What a module that computes elsewhere gives. libzt_cuda.so is opened at run time and has one symbol,
// zt_backend_get(); nothing of the machine's GPU is needed to build or to start the programs.
#pragma once

#include "base/log.h"
#include "kernels/device.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { ZT_BACKEND_ABI = 2 };

// A queue is one device's stream of work with its memory. Its functions are for the owner's thread, but where said.
typedef struct zt_backend {
    uint32_t abi, device_bytes, kernels_bytes;      // ZT_BACKEND_ABI; sizeof(zt_device), sizeof(zt_kernels)
    const struct zt_kernel_level *levels;           // of ZT_CUDA, from plain to best

    // How many devices there are; 0: `why` (of `room` bytes) gets one line. Opens none. From any thread.
    int   (*count)(char *why, size_t room);
    // have: the levels' needs that this device meets. 0, -ENODEV, -ENOMEM: `why` gets one line.
    int   (*open)(void **queue, int ordinal, uint32_t *have, char *why, size_t room);
    void  (*close)(void *queue);

    // 256-byte aligned, of the device, zeroed; NULL when there is no memory.
    void *(*alloc)(void *queue, size_t bytes);
    void  (*free)(void *queue, void *p);
    // The same of the host, pinned; both sides reach it at this address.
    void *(*alloc_host)(void *queue, size_t bytes);
    void  (*free_host)(void *queue, void *p);
    // Between any two of them and host memory, in the order of the queue; `from` may be changed when it returns.
    int   (*copy)(void *queue, void *to, const void *from, size_t bytes);
    // Rows of so many bytes, which lie apart on either side; within the device, in the order of the queue.
    int   (*copy_rows)(void *queue, void *to, size_t to_step, const void *from, size_t from_step, size_t bytes, size_t rows);
    void *(*stream)(void *queue);                           // the cudaStream_t, for libraries
    int   (*clear)(void *queue, void *p, size_t bytes);     // to zero, in the order of the queue
    int   (*sync)(void *queue);
    // Bytes of the device that are free, and all it has.
    void  (*memory)(void *queue, size_t *left, size_t *all);
    const char *(*name)(void *queue);               // of the device; borrowed
} zt_backend;

// log: where its lines go.
typedef const zt_backend *zt_backend_get_fn(void (*log)(enum zt_level level, const char *fmt, ...));

// Opens the module, once per process: from $ZOETROPE_MODULES, ../kernels beside the program (a build), the installed
// folder. NULL: `why` gets one line. From any thread.
const zt_backend *zt_backend_find(char *why, size_t room);

#ifdef __cplusplus
}
#endif
