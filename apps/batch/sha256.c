// SPDX-License-Identifier: Apache-2.0
// SHA-256 as FIPS 180-4 has it, a block at a time.
#include "apps/batch/sha256.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"

static const uint32_t k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t turn(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

static void block(uint32_t h[8], const uint8_t *p)
{
    uint32_t w[64], v[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (int i = 16; i < 64; i++)
        w[i] = w[i - 16] + (turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 7] +
               (turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ w[i - 2] >> 10);
    memcpy(v, h, sizeof(v));
    for (int i = 0; i < 64; i++) {
        const uint32_t a = v[0], e = v[4];
        const uint32_t x = v[7] + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & v[5]) ^ (~e & v[6])) + k[i] + w[i];
        const uint32_t y = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof(*v));
        v[4] += x;
        v[0] = x + y;
    }
    for (int i = 0; i < 8; i++)
        h[i] += v[i];
}

void zt_sha256_init(zt_sha256 *s)
{
    *s = (zt_sha256){ .h = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab,
                             0x5be0cd19 } };
}

void zt_sha256_add(zt_sha256 *s, const void *data, size_t n)
{
    const uint8_t *p = data;
    while (n) {
        const size_t at = s->bytes % 64, some = ZT_MIN(64 - at, n);
        memcpy(s->block + at, p, some);
        s->bytes += some;
        p += some;
        n -= some;
        if (s->bytes % 64 == 0)
            block(s->h, s->block);
    }
}

void zt_sha256_end(zt_sha256 *s, char hex[65])
{
    const uint64_t bits = s->bytes * 8;
    uint8_t tail[72] = { 0x80 };
    const size_t zeros = (size_t)(119 - s->bytes % 64) % 64 + 1;    // 0x80 and zeros up to 56 of the last block
    for (int i = 0; i < 8; i++)
        tail[zeros + (size_t)i] = (uint8_t)(bits >> (56 - 8 * i));
    zt_sha256_add(s, tail, zeros + 8);
    for (int i = 0; i < 8; i++)
        sprintf(hex + 8 * i, "%08x", (unsigned)s->h[i]);
}

static int add_file(zt_sha256 *s, const char *path)
{
    uint8_t some[65536];
    FILE *f = fopen(path, "rbe");
    if (!f)
        return -errno;
    for (size_t n; (n = fread(some, 1, sizeof(some), f)) > 0;)
        zt_sha256_add(s, some, n);
    const int err = ferror(f) ? -EIO : 0;
    fclose(f);
    return err;
}

int zt_sha256_file(const char *path, char hex[65], int64_t *bytes)
{
    zt_sha256 s;
    zt_sha256_init(&s);
    const int err = add_file(&s, path);
    if (err < 0)
        return err;
    *bytes = (int64_t)s.bytes;
    zt_sha256_end(&s, hex);
    return 0;
}

int zt_sha256_pictures(const char *folder, char hex[65], int64_t *bytes)
{
    zt_sha256 s;
    zt_sha256_init(&s);
    int err = 0, n = 0;
    for (; !err; n++) {
        char path[4700];
        snprintf(path, sizeof(path), "%s/%06d.png", folder, n);
        err = add_file(&s, path);
    }
    if (err != -ENOENT || n == 1)
        return err;
    *bytes = (int64_t)s.bytes;
    zt_sha256_end(&s, hex);
    return 0;
}
