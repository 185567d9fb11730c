// SPDX-License-Identifier: Apache-2.0
// Devices that compute together: each is a rank, with a thread or a process of its own.
#pragma once

#include "kernels/device.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { ZT_RANKS_MAX = 16 };

// All ranks call the same operations in the same order. Memory is the device's; work goes in the order of its queue, and a
// failure is the device's (zt_device_sync()). Rank's thread only.
typedef struct zt_comm {
    int  rank, size;
    // to [size][n]: block q is block `rank` of what q sends; from [size][n]
    void (*all_to_all)(struct zt_comm *c, zt_device *d, float *to, const float *from, size_t n);
    // to [size][n]: block q is q's from [n]
    void (*all_gather)(struct zt_comm *c, zt_device *d, float *to, const float *from, size_t n);
    // n floats to the next rank, from the one before; a send may wait until it is received.
    void (*send)(struct zt_comm *c, zt_device *d, const float *from, size_t n);
    void (*receive)(struct zt_comm *c, zt_device *d, float *to, size_t n);
    void (*close)(struct zt_comm *c);           // frees it
} zt_comm;

// The in-process double: out[0..size) for as many threads, whose devices' memory the host reaches. 0, -EINVAL, -ENOMEM.
// All must be closed.
int zt_comm_threads(zt_comm **out, int size);

// Ranks on GPUs, by libnccl.so.2, which is opened now. id: what rank 0 got from zt_comm_nccl_id(), brought to all.
// 0, -ENODEV (no library, no GPU: logged), -ENOMEM, -EIO (logged).
typedef struct zt_comm_id {
    char bytes[128];
} zt_comm_id;
int zt_comm_nccl_id(zt_comm_id *id);
int zt_comm_nccl(zt_comm **out, zt_device *d, int rank, int size, const zt_comm_id *id);

#ifdef __cplusplus
}
#endif
