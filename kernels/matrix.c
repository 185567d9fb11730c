// SPDX-License-Identifier: Apache-2.0
// Packs weight matrices into the one layout that every level reads.
#include <assert.h>
#include <string.h>

#include "base/base.h"
#include "kernels/kernels.h"

// Elements of a column that lie together in 4 bytes
static int type_unit(enum zt_type type)
{
    assert(type == ZT_F32 || type == ZT_BF16 || type == ZT_I8 || type == ZT_I4);
    return type == ZT_I4 ? 8 : 4 / (int)zt_type_bytes(type);
}

size_t zt_matrix_bytes(enum zt_type type, int N, int K)
{
    const int P = type_unit(type);
    return (size_t)zt_round_up(N, 16) * (size_t)(zt_round_up(K, P) / P) * 4;
}

void zt_matrix_clear(void *data, enum zt_type type, int N, int K)
{
    memset(data, type == ZT_I8 ? 128 : type == ZT_I4 ? 0x88 : 0, zt_matrix_bytes(type, N, K));
}

// Which row of the matrix row r of a part is
static int place(int r, int row0, int stride16)
{
    return stride16 == 1 ? row0 + r : row0 + r / 16 * 32 + r % 16;
}

static void pack_nibble(uint8_t *data, int64_t blocks, int n, int k, int w)
{
    uint8_t *const to = data + ((n / 16 * blocks + k / 8) * 16 + n % 16) * 4 + k % 4;
    const int shift = k % 8 < 4 ? 0 : 4;
    assert(w >= -8 && w <= 7);
    *to = (uint8_t)((*to & ~(0xf << shift)) | (w + 8) << shift);
}

// A row into every 16th word of four bytes, w + 128; what is beyond K stays.
static void pack_bytes(uint32_t *to, const int8_t *w, int K)
{
    uint32_t four;
    for (int k = 0; k < K / 4; k++) {
        memcpy(&four, w + 4 * k, 4);
        to[16 * k] = four ^ 0x80808080u;
    }
    for (int k = K / 4 * 4; k < K; k++)
        ((uint8_t *)(to + k / 4 * 16))[k % 4] = (uint8_t)(w[k] + 128);
}

static void pack_halves(uint32_t *to, const float *w, int K)
{
    for (int k = 0; k < K / 2; k++) {
        const uint16_t two[2] = { zt_f32_to_bf16(w[2 * k]), zt_f32_to_bf16(w[2 * k + 1]) };
        memcpy(to + 16 * k, two, 4);
    }
    if (K % 2)
        ((uint16_t *)(to + K / 2 * 16))[0] = zt_f32_to_bf16(w[K - 1]);
}

void zt_matrix_pack(void *data, enum zt_type type, int N, int K, const void *src,
                    enum zt_type from, int rows, int row0, int stride16)
{
    assert(from == (type == ZT_I8 || type == ZT_I4 ? ZT_I8 : ZT_F32));
    assert(stride16 == 1 || (stride16 == 2 && row0 % 16 == 0));

    const int P = type_unit(type);
    const int64_t blocks = zt_round_up(K, P) / P;
    for (int r = 0; r < rows; r++) {
        const int n = place(r, row0, stride16);
        assert(n < zt_round_up(N, 16));
        const int64_t at = n / 16 * blocks * 16 + n % 16, i = (int64_t)r * K;      // units of 4 bytes; elements
        if (type == ZT_I4) {
            for (int k = 0; k < K; k++)
                pack_nibble(data, blocks, n, k, ((const int8_t *)src)[i + k]);
        } else if (type == ZT_F32) {
            for (int k = 0; k < K; k++)
                ((float *)data)[at + 16 * k] = ((const float *)src)[i + k];
        } else if (type == ZT_BF16) {
            pack_halves((uint32_t *)data + at, (const float *)src + i, K);
        } else {
            pack_bytes((uint32_t *)data + at, (const int8_t *)src + i, K);
        }
    }
}

size_t zt_factor_bytes(int N, int K)
{
    return (size_t)zt_round_up(N, 16) * (size_t)((K + ZT_GROUP - 1) / ZT_GROUP);
}

void zt_factor_pack(uint8_t *factor, int N, int K, const uint8_t *src, int rows, int row0, int stride16)
{
    const int G = (K + ZT_GROUP - 1) / ZT_GROUP;
    for (int r = 0; r < rows; r++) {
        const int n = place(r, row0, stride16);
        assert(n < zt_round_up(N, 16));
        for (int g = 0; g < G; g++)
            factor[(n / 16 * (int64_t)G + g) * 16 + n % 16] = src[(int64_t)r * G + g];
    }
}
