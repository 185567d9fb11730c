// SPDX-License-Identifier: Apache-2.0
// One PNG per picture, through libavcodec: 8-bit RGB, full range.
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <libavcodec/avcodec.h>
#include <libavutil/opt.h>
#include <libswscale/swscale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "stream/part.h"
#include "stream/transport.h"

typedef struct png {
    zt_transport       base;
    char              *url;
    size_t             before, after;   // url's bytes in front of %d, and where the rest starts
    int                digits;          // at least
    bool               overwrite;
    int64_t            next;            // number of the next picture
    AVCodecContext    *c;
    AVFrame           *rgb;
    AVPacket          *packet;
    struct SwsContext *sws;
} png;

// Exactly one %d or %0Nd, in the file's own name.
static int parse_pattern(png *t)
{
    const char *percent = strchr(t->url, '%');
    const char *at = percent ? percent + 1 : "";
    if (*at == '0' && isdigit((unsigned char)at[1]) && at[1] != '0') {
        t->digits = at[1] - '0';
        at += 2;
    }
    if (!percent || *at != 'd' || strchr(at, '%') || strchr(at, '/')) {
        zt_error("cannot write %s: the name needs one %%d or %%0Nd for the picture's number", t->url);
        return -EINVAL;
    }
    t->before = (size_t)(percent - t->url);
    t->after = (size_t)(at + 1 - t->url);
    return 0;
}

// -EEXIST when any picture of the pattern is there.
static int check_folder(const png *t)
{
    const char *slash = strrchr(t->url, '/');
    const char *name = slash ? slash + 1 : t->url, *rest = t->url + t->after;
    const size_t front = t->before - (size_t)(name - t->url);
    char *folder = slash ? strndup(t->url, (size_t)ZT_MAX(slash - t->url, 1)) : strdup(".");
    DIR *d = folder ? opendir(folder) : NULL;
    int err = folder ? (d ? 0 : -errno) : -ENOMEM;
    for (const struct dirent *entry; !err && !t->overwrite && (entry = readdir(d));) {
        const char *digit = entry->d_name + front, *end = digit;
        if (strncmp(entry->d_name, name, front))
            continue;
        while (isdigit((unsigned char)*end))
            end++;
        if (end > digit && !strcmp(end, rest))
            err = -EEXIST;
    }
    if (err < 0)
        zt_error("cannot write %s: %s", t->url, strerror(-err));
    if (d)
        closedir(d);
    free(folder);
    return err;
}

static int open_encoder(png *t, const zt_transport_params *p)
{
    const AVCodec *codec = avcodec_find_encoder_by_name("png");
    if (!codec) {
        zt_error("cannot write %s: this libavcodec has no png (Debian: libavcodec59)", p->url);
        return -ENOSYS;
    }
    t->c = avcodec_alloc_context3(codec);
    t->rgb = av_frame_alloc();
    t->packet = av_packet_alloc();
    t->sws = sws_getContext(p->w, p->h, AV_PIX_FMT_YUV420P, p->w, p->h, AV_PIX_FMT_RGB24,
                            SWS_LANCZOS | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP, NULL, NULL, NULL);
    if (!t->c || !t->rgb || !t->packet || !t->sws)
        return -ENOMEM;

    const int *bt709 = sws_getCoefficients(SWS_CS_ITU709);
    sws_setColorspaceDetails(t->sws, bt709, 0, bt709, 1, 0, 1 << 16, 1 << 16);
    t->c->width = t->rgb->width = p->w;
    t->c->height = t->rgb->height = p->h;
    t->c->pix_fmt = AV_PIX_FMT_RGB24;
    t->rgb->format = AV_PIX_FMT_RGB24;
    t->c->time_base = (AVRational){ 1, p->fps };
    t->c->thread_count = 1;
    t->c->flags |= AV_CODEC_FLAG_BITEXACT;
    av_opt_set_int(t->c, "compression_level", 4, AV_OPT_SEARCH_CHILDREN);
    if (avcodec_open2(t->c, codec, NULL) < 0 || av_frame_get_buffer(t->rgb, 0) < 0) {
        zt_error("cannot write %s: libavcodec's png refuses %dx%d", p->url, p->w, p->h);
        return -EINVAL;
    }
    return 0;
}

static void png_close(zt_transport **out)
{
    png *t = (png *)*out;
    if (!t)
        return;

    avcodec_free_context(&t->c);
    av_frame_free(&t->rgb);
    av_packet_free(&t->packet);
    sws_freeContext(t->sws);
    free(t->url);
    zt_free(t);
    *out = NULL;
}

static int png_open(zt_transport **out, const zt_transport_params *p)
{
    png *t = zt_alloc(sizeof(*t));
    if (!t)
        return -ENOMEM;

    t->base.type = &zt_transport_png;
    t->overwrite = p->overwrite;
    t->url = strdup(p->url);
    int err = t->url ? parse_pattern(t) : -ENOMEM;
    if (!err)
        err = check_folder(t);
    if (!err)
        err = open_encoder(t, p);
    zt_transport *made = &t->base;
    if (err < 0) {
        png_close(&made);
        return err;
    }
    *out = made;
    return 0;
}

static int write_file(png *t)
{
    char *name = NULL;
    if (asprintf(&name, "%.*s%0*lld%s", (int)t->before, t->url, t->digits, (long long)t->next, t->url + t->after) < 0)
        return -ENOMEM;

    zt_part file = { 0 };
    int err = zt_part_open(&file, name, t->overwrite);
    if (!err)
        err = zt_part_write(&file, t->packet->data, (size_t)t->packet->size);
    if (!err)
        err = zt_part_commit(&file);
    zt_part_close(&file);
    free(name);
    t->next++;
    return err;
}

static int png_picture(zt_transport *base, const zt_frame *f)
{
    png *t = (png *)base;
    if (av_frame_make_writable(t->rgb) < 0)
        return -ENOMEM;

    const uint8_t *const src[4] = { f->plane[0], f->plane[1], f->plane[2] };
    const int pitch[4] = { (int)f->pitch[0], (int)f->pitch[1], (int)f->pitch[2] };
    sws_scale(t->sws, src, pitch, 0, f->h, t->rgb->data, t->rgb->linesize);
    t->rgb->pts = t->next;
    int err = avcodec_send_frame(t->c, t->rgb);
    if (err >= 0)
        err = avcodec_receive_packet(t->c, t->packet);
    if (err < 0) {
        zt_error("cannot write %s: libavcodec's png failed: %s", t->url, av_err2str(err));
        return -EIO;
    }
    err = write_file(t);
    av_packet_unref(t->packet);
    return err;
}

const zt_transport_type zt_transport_png = {
    .name = "png",
    .open = png_open,
    .close = png_close,
    .picture = png_picture,
};
