// SPDX-License-Identifier: Apache-2.0
// Reads a picture with libavformat and libavcodec, scales it with libswscale.
#include <errno.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/imgutils.h>
#include <libswscale/swscale.h>
#include <stdbool.h>
#include <unistd.h>

#include "base/base.h"
#include "base/log.h"
#include "stream/picture.h"

enum { MAX_SIDE = 16384 };

typedef struct reader {
    AVFormatContext *file;
    AVCodecContext  *codec;
    AVPacket        *packet;
    AVFrame         *frame;
    int              stream;
} reader;

static int open_file(reader *r, const char *path)
{
    const AVCodec *codec = NULL;
    if (avformat_open_input(&r->file, path, NULL, NULL) < 0 || avformat_find_stream_info(r->file, NULL) < 0)
        return -EINVAL;
    r->stream = av_find_best_stream(r->file, AVMEDIA_TYPE_VIDEO, -1, -1, &codec, 0);
    if (r->stream < 0 || !codec)
        return -EINVAL;
    r->codec = avcodec_alloc_context3(codec);
    r->packet = av_packet_alloc();
    r->frame = av_frame_alloc();
    if (!r->codec || !r->packet || !r->frame)
        return -ENOMEM;
    r->codec->thread_count = 1;
    r->codec->max_pixels = (int64_t)MAX_SIDE * MAX_SIDE / 4;
    const int err = avcodec_parameters_to_context(r->codec, r->file->streams[r->stream]->codecpar);
    return err < 0 || avcodec_open2(r->codec, codec, NULL) < 0 ? -EINVAL : 0;
}

// The first picture that comes out.
static int decode(reader *r)
{
    bool end = false;
    for (;;) {
        const int got = avcodec_receive_frame(r->codec, r->frame);
        if (got == 0)
            return 0;
        if (got != AVERROR(EAGAIN) || end)
            return -EINVAL;
        int err = av_read_frame(r->file, r->packet);
        end = err < 0;
        if (!end && r->packet->stream_index == r->stream)
            err = avcodec_send_packet(r->codec, r->packet);
        else
            err = end ? avcodec_send_packet(r->codec, NULL) : 0;
        av_packet_unref(r->packet);
        if (err < 0)
            return -EINVAL;
    }
}

// Scaled to cover w x h, the middle of it.
static int scale(const AVFrame *f, int w, int h, float *rgb)
{
    const bool wide = (int64_t)f->width * h > (int64_t)f->height * w;
    const int W = wide ? (int)ZT_MAX(((int64_t)f->width * h + f->height / 2) / f->height, w) : w;
    const int H = wide ? h : (int)ZT_MAX(((int64_t)f->height * w + f->width / 2) / f->width, h);
    if (W > MAX_SIDE || H > MAX_SIDE)
        return -EINVAL;
    uint8_t *to[4] = { NULL };
    int pitch[4];
    struct SwsContext *sws = sws_getContext(f->width, f->height, (enum AVPixelFormat)f->format, W, H, AV_PIX_FMT_RGB24,
                                            SWS_LANCZOS | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT, NULL, NULL, NULL);
    int err = !sws ? -EINVAL : av_image_alloc(to, pitch, W, H, AV_PIX_FMT_RGB24, 32) < 0 ? -ENOMEM : 0;
    if (!err) {
        sws_scale(sws, (const uint8_t *const *)f->data, f->linesize, 0, f->height, to, pitch);
        for (int y = 0; y < h; y++) {
            const uint8_t *p = to[0] + (ptrdiff_t)(y + (H - h) / 2) * pitch[0] + (W - w) / 2 * 3;
            for (int x = 0; x < w; x++)
                for (int c = 0; c < 3; c++)
                    rgb[((int64_t)c * h + y) * w + x] = (float)p[3 * x + c] / 127.5f - 1;
        }
    }
    av_freep(&to[0]);
    sws_freeContext(sws);
    return err;
}

int zt_picture_read(const char *path, int w, int h, float *rgb)
{
    reader r = { .stream = -1 };
    if (access(path, R_OK) < 0) {
        zt_error("%s: cannot be read", path);
        return -ENOENT;
    }
    const int level = av_log_get_level();
    av_log_set_level(AV_LOG_QUIET);     // one line of our own says it
    int err = open_file(&r, path);
    if (!err)
        err = decode(&r);
    av_log_set_level(level);
    if (!err)
        err = scale(r.frame, w, h, rgb);
    if (err < 0)
        zt_error("%s: %s", path, err == -ENOMEM ? "not enough memory" : "not a picture that can be read");
    av_frame_free(&r.frame);
    av_packet_free(&r.packet);
    avcodec_free_context(&r.codec);
    avformat_close_input(&r.file);
    return err;
}
