// SPDX-License-Identifier: Apache-2.0
// Packs weight matrices into the one layout that every level reads.
#include <assert.h>
#include <string.h>

#include "base/base.h"
#include "kernels/kernels.h"

static int type_unit(enum zt_type type)
{
    assert(type == ZT_F32 || type == ZT_BF16 || type == ZT_I8);
    return 4 / (int)zt_type_bytes(type);
}

size_t zt_matrix_bytes(enum zt_type type, int N, int K)
{
    const int P = type_unit(type);
    return (size_t)zt_round_up(N, 16) * (size_t)zt_round_up(K, P) * zt_type_bytes(type);
}

void zt_matrix_clear(void *data, enum zt_type type, int N, int K)
{
    memset(data, type == ZT_I8 ? 128 : 0, zt_matrix_bytes(type, N, K));
}

void zt_matrix_pack(void *data, enum zt_type type, int N, int K, const void *src,
                    enum zt_type from, int rows, int row0, int stride16)
{
    assert(from == (type == ZT_I8 ? ZT_I8 : ZT_F32));
    assert(stride16 == 1 || (stride16 == 2 && row0 % 16 == 0));

    const int P = type_unit(type);
    const int64_t blocks = zt_round_up(K, P) / P;
    for (int r = 0; r < rows; r++) {
        const int n = stride16 == 1 ? row0 + r : row0 + r / 16 * 32 + r % 16;
        assert(n < zt_round_up(N, 16));
        for (int k = 0; k < K; k++) {
            const int64_t at = (((n / 16) * blocks + k / P) * 16 + n % 16) * P + k % P;
            const int64_t i = (int64_t)r * K + k;
            if (type == ZT_F32)
                ((float *)data)[at] = ((const float *)src)[i];
            else if (type == ZT_BF16)
                ((uint16_t *)data)[at] = zt_f32_to_bf16(((const float *)src)[i]);
            else
                ((uint8_t *)data)[at] = (uint8_t)(((const int8_t *)src)[i] + 128);
        }
    }
}
