// SPDX-License-Identifier: Apache-2.0
// The plain CUDA level for checkcuda: launches run at once, in the memory of the CPU's device.
#include "tests/cuda_on_host.h"

#include <stdio.h>

#include "kernels/product.cuh"
#include "tests/checkcuda.h"

extern "C" void *zt_cuda_scratch(struct zt_device *d, size_t bytes)
{
    void *const p = zt_scratch(d, bytes);
    if (p)
        memset(p, 0xff, bytes);             // what one call leaves is nothing that the next may count on
    return p;
}

extern "C" void zt_cuda_put(struct zt_device *, void *to, const void *from, size_t bytes)
{
    memcpy(to, from, bytes);
}

extern "C" void zt_cuda_refuse(struct zt_device *d, const char *what)
{
    fprintf(stderr, "cuda on host: not at this level: %s\n", what);
    d->error = -1;
}

extern "C" void zt_cuda_set_order(int order)
{
    zt_host_set_order((zt_host_order)order);
}

extern "C" const zt_kernels zt_cuda_on_host = {
#define X(op) zt_##op##_cuda,
    ZT_OPS(X)
#undef X
};

// Whole numbers, so that no order of adding matters.
static void compare_products(int *wrong)
{
    float one[4] = { 1, 2, 3, 4 }, two[4] = { 1, 2, 3, 4 };
    uint32_t a[4], b[2];
    for (int i = 0; i < 4; i++)
        a[i] = __float_as_uint((float)((zt_host_lane * 7 + i * 5) % 23 - 11));
    for (int i = 0; i < 2; i++)
        b[i] = __float_as_uint((float)((zt_host_lane * 3 + i * 11) % 19 - 9));
    zt_mma_f32(one, a, b);
    zt_mma_f32_shuffled(two, a, b);
    *wrong += memcmp(one, two, sizeof(one)) != 0;
}

extern "C" int zt_cuda_shuffles_hold()
{
    int wrong = 0, *const count = &wrong;
    ZT_LAUNCH(NULL, compare_products, 1, 32, 0, count);
    return wrong == 0;
}
