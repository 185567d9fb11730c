// SPDX-License-Identifier: Apache-2.0
// Checks the plain CUDA level on the CPU (cuda_on_host.h): every operation against its reference, on the cases of
// checkkernel, its threads in several orders.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "tests/checkcuda.h"
#include "tests/checkkernel.h"

static void (*const checks[])(ck *c) = {
    check_linear, check_moe, check_norm, check_attention, check_conv, check_history, check_pixel, check_sample,
};

int main(int argc, char **argv)
{
    static ck c = { .seed = 1, .level = "cuda-host", .most = 4e6 };
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--op"))
            c.only = argv[i + 1];
        else if (!strcmp(argv[i], "--seed"))
            c.seed = strtoull(argv[i + 1], NULL, 0);
        else if (!strcmp(argv[i], "--most"))
            c.most = strtod(argv[i + 1], NULL);
    }
    zt_kernels_select(&c.ref, zt_levels, ZT_HOST, 0, "c");
    c.before = c.ref;
    c.now = zt_cuda_on_host;
    if (zt_device_open(&c.dev, &(zt_device_params){ .device = "cpu", .level = "c", .threads = 2 }) < 0
        || zt_device_open(&c.one, &(zt_device_params){ .device = "cpu", .level = "c", .threads = 1 }) < 0)
        return 2;
    c.host = c.one;
    for (int order = 0; order < zt_cuda_orders; order++) {
        zt_cuda_set_order(order);
        for (size_t i = 0; i < ZT_LEN(checks); i++)
            checks[i](&c);
    }
    if (!zt_cuda_shuffles_hold()) {
        puts("FAIL cuda-host: products of f32 by shuffles");
        c.failed++;
    }
    zt_device_close(&c.one);
    zt_device_close(&c.dev);
    printf("%d passed, %d failed (seed %llu)\n", c.passed, c.failed, (unsigned long long)c.seed);
    return c.failed > 0 || !c.passed;
}
