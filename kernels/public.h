// SPDX-License-Identifier: Apache-2.0
// What a program needs to know of devices: how to open one. Installed as zoetrope/device.h.
#pragma once

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

// Of numbers. I4: of weight matrices only, two in a byte.
enum zt_type { ZT_F32, ZT_BF16, ZT_F16, ZT_I8, ZT_U8, ZT_I32, ZT_I4 };

// One place to compute: its memory, its threads, its kernels. Its functions and those of what is opened on it belong to
// one thread at a time, unless they say otherwise.
typedef struct zt_device zt_device;

// Zero means the default in parentheses.
typedef struct zt_device_params {
    // "cpu", "cuda", "auto" (ZOETROPE_DEVICE, else auto). auto takes a GPU once its kernels are known to be right on one;
    // until then, and without one, it takes the CPU and says why at level info.
    const char *device;
    const char *level;      // highest kernel level (ZOETROPE_KERNELS, else the best that runs here)
    int         threads;    // 1..256 (the CPUs this process may use)
    bool        keep;       // lock its memory if that is allowed: live work does not wait for pages
    bool        realtime;   // its threads before all others (SCHED_RR) if that is allowed, else it warns
} zt_device_params;

// 0, -EINVAL (a name is unknown: logged), -ENODEV (not available here: logged), -ENOMEM.
int  zt_device_open(zt_device **out, const zt_device_params *p);
// After the models opened on it. Takes NULL inside.
void zt_device_close(zt_device **d);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
