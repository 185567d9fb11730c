// SPDX-License-Identifier: Apache-2.0
// The list of encoders, and whether pictures can be scaled.
#include <errno.h>
#include <string.h>

#include "config.h"

#include "base/base.h"
#include "base/log.h"
#include "stream/encoder.h"

// The first that has a codec wins.
static const zt_encoder_type *const encoders[] = {
#if HAVE_FFMPEG
    &zt_encoder_av,
    &zt_encoder_jpeg,
#endif
    NULL,
};

int zt_encoder_open(zt_encoder **out, const zt_encoder_params *p)
{
    for (int i = 0; encoders[i]; i++)
        if (encoders[i]->has(p->codec))
            return encoders[i]->open(out, p);

    zt_error("no encoder for %s: built without libavcodec-dev", p->codec);
    return -ENOSYS;
}

void zt_encoder_close(zt_encoder **e)
{
    if (*e)
        (*e)->type->close(e);
}

int zt_scaler_open(zt_scaler **out, int w, int h, int out_w, int out_h)
{
#if HAVE_FFMPEG
    return zt_scaler_sws_open(out, w, h, out_w, out_h);
#else
    zt_error("cannot scale %dx%d to %dx%d: built without libswscale-dev", w, h, out_w, out_h);
    return -ENOSYS;
#endif
}

void zt_scaler_run(zt_scaler *s, zt_frame *out, const zt_frame *in)
{
#if HAVE_FFMPEG
    zt_scaler_sws_run(s, out, in);
#endif
}

void zt_scaler_close(zt_scaler **s)
{
#if HAVE_FFMPEG
    zt_scaler_sws_close(s);
#endif
}
