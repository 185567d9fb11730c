// SPDX-License-Identifier: Apache-2.0
// The way past a stage in Wan 2.2's autoencoder: without parameters, one value to many or the mean of many.
//
// With T frames (1 or 2) and 2x2 pixels of C channels becoming one of the other side, value ((c T + t) 2 + y) 2 + x is pixel
// (x, y) of frame t and channel c of the larger side; consecutive ones share a channel of the smaller.
#include "base/base.h"
#include "diffusion/vae_wan.h"

#include <string.h>

static int frames_of(const zt_vae_state *s, int i)
{
    return i < ZT_VAE_STAGES - 1 && s->half->resample[i].time.N ? 2 : 1;
}

void zt_vae_keep(zt_vae_state *s, int i, int64_t n)
{
    if (!s->kept[i])
        return;
    const bool down = s->half == &s->v->encoder;
    const int level = down ? ZT_VAE_STAGES - 1 - i : i;
    const size_t floats = (size_t)(((int64_t)s->h * s->w) << 2 * level) * (size_t)s->half->res[i][0].in;
    const bool pairs = down && frames_of(s, i) == 2;
    if (pairs && n == 0)                // the first frame's partner
        memset(s->kept[i], 0, floats * sizeof(float));
    memcpy(s->kept[i] + (pairs && n % 2 == 0 ? floats : 0), s->x[i], floats * sizeof(float));
}

void zt_vae_add_up(zt_vae_state *s, int i, int half)
{
    if (!s->kept[i])
        return;
    const int in = s->half->res[i][0].in, out = s->half->channels[i], T = frames_of(s, i);
    const int h = s->h << i, w = s->w << i, repeats = out * T * 4 / in;
    for (int y = 0; y < 2 * h; y++) {
        for (int x = 0; x < 2 * w; x++) {
            const float *const from = s->kept[i] + ((int64_t)(y / 2) * w + x / 2) * in;
            float *const to = s->x[i + 1] + ((int64_t)y * 2 * w + x) * out;
            const int at = 4 * half + y % 2 * 2 + x % 2;
            for (int c = 0; c < out; c++)
                to[c] += from[(4 * T * c + at) / repeats];
        }
    }
}

void zt_vae_add_down(zt_vae_state *s, int i)
{
    if (!s->kept[i])
        return;
    const int last = ZT_VAE_STAGES - 1, level = last - i, in = s->half->res[i][0].in, out = s->half->channels[i];
    const int T = frames_of(s, i), size = i < last ? 2 : 1, h = (s->h << level) / size, w = (s->w << level) / size;
    const int each = T * size * size, group = in * each / out;
    float *const stage = s->x[i < last ? i + 1 : i];
    for (int y = 0; y < h; y++) {
        for (int x = 0; x < w; x++) {
            float *const to = stage + ((int64_t)y * w + x) * out;
            for (int c = 0; c < out; c++) {
                float sum = 0;
                for (int k = c * group; k < (c + 1) * group; k++) {
                    const int t = k / (size * size) % T, dy = k / size % size, dx = k % size;
                    const int64_t row = ((int64_t)t * h * size + y * size + dy) * w * size + x * size + dx;
                    sum += s->kept[i][row * in + k / each];
                }
                to[c] += sum / (float)group;
            }
        }
    }
}
