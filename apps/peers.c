// SPDX-License-Identifier: Apache-2.0
// Which libraries this build compares with.
#include "apps/peers.h"

#include "config.h"

extern const zt_peer zt_peer_onednn, zt_peer_openblas;
extern const zt_attention_peer zt_attention_peer_onednn;

const zt_peer *const zt_peers[] = {
#if HAVE_ONEDNN
    &zt_peer_onednn,
#endif
#if HAVE_OPENBLAS
    &zt_peer_openblas,
#endif
    NULL,
};

const zt_attention_peer *const zt_attention_peers[] = {
#if HAVE_ONEDNN
    &zt_attention_peer_onednn,
#endif
    NULL,
};

void zt_peer_fill(void *data, enum zt_type type, size_t n)
{
    uint32_t random = 1;
    for (size_t i = 0; i < n; i++) {
        random = random * 1664525u + 1013904223u;
        const float v = (float)(int32_t)random * (1.0f / 2147483648.0f);
        if (type == ZT_F32)
            ((float *)data)[i] = v;
        else if (type == ZT_BF16)
            ((uint16_t *)data)[i] = zt_f32_to_bf16(v);
        else
            ((int8_t *)data)[i] = (int8_t)(v * 100);
    }
}
