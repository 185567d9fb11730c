// SPDX-License-Identifier: Apache-2.0
// The kinds of encoders, and which one a model has.
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/base.h"
#include "base/log.h"
#include "diffusion/encoder.h"

extern const zt_encoder_kind zt_encoder_tiny, zt_encoder_wan;

static const zt_encoder_kind *const kinds[] = { &zt_encoder_tiny, &zt_encoder_wan };

int zt_encode_picture(zt_device *d, const char *folder, const float *rgb, int h, int w, int C, float *z)
{
    char path[4096];
    for (size_t k = 0; k < ZT_LEN(kinds); k++) {
        for (size_t i = 0; i < ZT_LEN(kinds[k]->files) && kinds[k]->files[i]; i++) {
            const int n = snprintf(path, sizeof(path), "%s%s", folder, kinds[k]->files[i]);
            if (n > 0 && n < (int)sizeof(path) && access(path, F_OK) == 0)
                return kinds[k]->encode(d, path, rgb, h, w, C, z);
        }
    }
    zt_error("%s: no encoder beside the model (encoder.safetensors, Wan2.1_VAE.pth, Wan2.2_VAE.pth or vae): it cannot start from a picture",
             folder[0] ? folder : ".");
    return -ENOENT;
}
