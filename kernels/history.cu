// SPDX-License-Identifier: Apache-2.0
// history on any CUDA device of 8.0 or later: a warp a row, bound by memory. A lane reads the past of its columns before it
// overwrites them. First version.
#include "kernels/cuda.cuh"

enum { ROWS = 4 };              // of a block

static __global__ void history(zt_tensor out, void *past, zt_tensor x, const float *gamma, enum zt_act act)
{
    const int m = (int)(blockIdx.x * blockDim.x + threadIdx.x) / ZT_WARP, lane = (int)threadIdx.x % ZT_WARP, C = x.n[3];
    if (m >= x.n[2])
        return;
    const float *const row = (const float *)x.data + m * x.step[2];
    float squares = 0;
    for (int c = lane; c < C && gamma; c += ZT_WARP)
        squares += row[c] * row[c];
    const float scale = gamma ? sqrtf((float)C) / fmaxf(sqrtf(zt_warp_sum(squares)), 1e-12f) : 1;
    const int64_t to = (int64_t)m * (past ? 3 * C : C), old = (int64_t)m * 2 * C;
    for (int c = lane; c < C; c += ZT_WARP) {
        const float v = zt_activate(act, gamma ? row[c] * scale * gamma[c] : row[c]);
        zt_store(out.data, out.type, to + c, v);
        if (!past)
            continue;
        const float newer = zt_load(past, out.type, old + c), older = zt_load(past, out.type, old + C + c);
        zt_store(out.data, out.type, to + C + c, newer);
        zt_store(out.data, out.type, to + 2 * C + c, older);
        zt_store(past, out.type, old + c, v);
        zt_store(past, out.type, old + C + c, newer);
    }
}

extern "C" void zt_history_cuda(struct zt_device *d, zt_tensor out, void *past, zt_tensor x, const float *gamma, enum zt_act act)
{
    ZT_LAUNCH(d, history, zt_blocks(x.n[2], ROWS), ROWS * ZT_WARP, 0, out, past, x, gamma, act);
}
