// SPDX-License-Identifier: Apache-2.0
// What this CPU and its system can run, by feature, never by vendor.
#include "kernels/device.h"

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>

enum { BIT_AVXVNNI = 1 << 4 };      // of 7.1 eax; old compilers have no name for it

static bool has(unsigned word, unsigned bits)
{
    return (word & bits) == bits;
}

// Register files that the system saves (XCR0).
static uint32_t saved_state(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

uint32_t zt_cpu_features(void)
{
    unsigned a, b, c, d, a1 = 0, unused;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !has(c, bit_OSXSAVE | bit_AVX | bit_FMA | bit_F16C))
        return 0;
    const uint32_t state = saved_state();
    if (!has(state, 0x06) || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !has(b, bit_AVX2))
        return 0;                       // 0x06: xmm, ymm

    if (a >= 1)
        __get_cpuid_count(7, 1, &a1, &unused, &unused, &d);
    const bool vnni512 = has(state, 0xe6)               // and the mask and zmm registers
        && has(b, bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL) && has(c, bit_AVX512VNNI);
    return ZT_NEED_AVX2 | (vnni512 ? ZT_NEED_AVX512VL : 0) | (vnni512 && has(a1, bit_AVX512BF16) ? ZT_NEED_AVX512 : 0)
        | (has(a1, BIT_AVXVNNI) ? ZT_NEED_AVXVNNI : 0);
}
#else
uint32_t zt_cpu_features(void)
{
    return 0;
}
#endif
