// SPDX-License-Identifier: Apache-2.0
// Philox 4x32-10 and Box-Muller.
#include "diffusion/noise.h"

#include <math.h>
#include <string.h>

#include "diffusion/exact.h"

void zt_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c[4] = { counter[0], counter[1], counter[2], counter[3] };
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        const uint64_t a = (uint64_t)0xD2511F53 * c[0], b = (uint64_t)0xCD9E8D57 * c[2];
        c[0] = (uint32_t)(b >> 32) ^ c[1] ^ k0;
        c[2] = (uint32_t)(a >> 32) ^ c[3] ^ k1;
        c[1] = (uint32_t)b;
        c[3] = (uint32_t)a;
        k0 += 0x9E3779B9;
        k1 += 0xBB67AE85;
    }
    memcpy(out, c, sizeof(c));
}

// Two deviates from two uniform words; u in (0, 1), so the logarithm is finite. sqrt is exact by IEEE 754.
static void box_muller(uint32_t a, uint32_t b, float out[2])
{
    const double u = ((double)a + 0.5) * 0x1p-32, turn = ((double)b + 0.5) * 0x1p-32;
    const double radius = sqrt(-2 * zt_exact_log(u));
    double s, c;
    zt_exact_sincos(turn * 6.28318530717958647693, &s, &c);
    out[0] = (float)(radius * c);
    out[1] = (float)(radius * s);
}

void zt_noise_fill(float *out, size_t n, uint64_t seed, uint64_t frame, uint32_t step)
{
    const uint32_t key[2] = { (uint32_t)seed, (uint32_t)(seed >> 32) };
    for (size_t i = 0; i < n; i += 4) {
        const uint32_t counter[4] = { (uint32_t)(i / 4), step, (uint32_t)frame, (uint32_t)(frame >> 32) };
        uint32_t r[4];
        float g[4];
        zt_philox(counter, key, r);
        box_muller(r[0], r[1], g);
        box_muller(r[2], r[3], g + 2);
        memcpy(out + i, g, (n - i < 4 ? n - i : 4) * sizeof(*out));
    }
}
