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

enum { WORDS = 2 * ZT_EXACT_LANES };

// Two deviates from each two uniform words; u in (0, 1), so the logarithm is finite. sqrt is exact by IEEE 754.
static void box_muller(const uint32_t r[WORDS], float out[WORDS])
{
    double u[ZT_EXACT_LANES], turn[ZT_EXACT_LANES], s[ZT_EXACT_LANES], c[ZT_EXACT_LANES];
    for (int j = 0; j < ZT_EXACT_LANES; j++) {
        u[j] = ((double)r[2 * j] + 0.5) * 0x1p-32;
        turn[j] = ((double)r[2 * j + 1] + 0.5) * 0x1p-32 * 6.28318530717958647693;
    }
    zt_exact_logs(u);
    zt_exact_sincoses(turn, s, c);
    for (int j = 0; j < ZT_EXACT_LANES; j++) {
        const double radius = sqrt(-2 * u[j]);
        out[2 * j] = (float)(radius * c[j]);
        out[2 * j + 1] = (float)(radius * s[j]);
    }
}

void zt_noise_fill(float *out, size_t n, uint64_t seed, uint64_t frame, uint32_t step)
{
    const uint32_t key[2] = { (uint32_t)seed, (uint32_t)(seed >> 32) };
    for (size_t i = 0; i < n; i += WORDS) {
        uint32_t r[WORDS];
        float g[WORDS];
        for (int j = 0; j < WORDS; j += 4) {
            const uint32_t counter[4] = { (uint32_t)(i / 4) + (uint32_t)j / 4, step, (uint32_t)frame, (uint32_t)(frame >> 32) };
            zt_philox(counter, key, r + j);
        }
        box_muller(r, g);
        memcpy(out + i, g, (n - i < WORDS ? n - i : WORDS) * sizeof(*out));
    }
}
