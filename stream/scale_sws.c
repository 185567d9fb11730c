// SPDX-License-Identifier: Apache-2.0
// Scales pictures with libswscale: Lanczos, rounded accurately, chroma kept where it is sited.
#include <errno.h>
#include <libavutil/opt.h>
#include <libavutil/pixfmt.h>
#include <libswscale/swscale.h>

#include "base/base.h"
#include "base/log.h"
#include "stream/encoder.h"

struct zt_scaler {
    struct SwsContext *sws;
};

int zt_scaler_sws_open(zt_scaler **out, int w, int h, int out_w, int out_h)
{
    struct SwsContext *c = sws_alloc_context();
    zt_scaler *s = zt_alloc(sizeof(*s));
    const struct {
        const char *name;
        int64_t     value;
    } options[] = {
        { "srcw", w },
        { "srch", h },
        { "dstw", out_w },
        { "dsth", out_h },
        { "src_format", AV_PIX_FMT_YUV420P },
        { "dst_format", AV_PIX_FMT_YUV420P },
        { "sws_flags", SWS_LANCZOS | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP },
        { "src_h_chr_pos", 0 },     // left, in 1/256 of a luma sample
        { "dst_h_chr_pos", 0 },
        { "src_v_chr_pos", 128 },   // between the rows
        { "dst_v_chr_pos", 128 },
    };
    int err = c && s ? 0 : -ENOMEM;
    for (size_t i = 0; i < ZT_LEN(options) && !err; i++)
        err = av_opt_set_int(c, options[i].name, options[i].value, 0);
    if (!err)
        err = sws_init_context(c, NULL, NULL);
    if (err < 0) {
        zt_error("cannot scale %dx%d to %dx%d", w, h, out_w, out_h);
        sws_freeContext(c);
        zt_free(s);
        return err == -ENOMEM ? err : -EINVAL;
    }
    s->sws = c;
    *out = s;
    return 0;
}

void zt_scaler_sws_run(zt_scaler *s, zt_frame *out, const zt_frame *in)
{
    const int from[4] = { (int)in->pitch[0], (int)in->pitch[1], (int)in->pitch[2] };
    const int to[4] = { (int)out->pitch[0], (int)out->pitch[1], (int)out->pitch[2] };
    const uint8_t *const src[4] = { in->plane[0], in->plane[1], in->plane[2] };
    uint8_t *const dst[4] = { out->plane[0], out->plane[1], out->plane[2] };
    sws_scale(s->sws, src, from, 0, in->h, dst, to);
}

void zt_scaler_sws_close(zt_scaler **s)
{
    if (!*s)
        return;

    sws_freeContext((*s)->sws);
    zt_free(*s);
    *s = NULL;
}
