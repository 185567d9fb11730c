// SPDX-License-Identifier: Apache-2.0
// JPEG, every picture alone, for those who can receive nothing else. JFIF means BT.601 and full range: converted here.
#include <errno.h>
#include <libavcodec/avcodec.h>

#include "base/base.h"
#include "base/log.h"
#include "stream/encoder.h"

#define QUALITY 4       // of libavcodec's scale, 2 is best: about 40 kB a picture of 512x288

typedef struct jpeg {
    zt_encoder      base;
    AVCodecContext *c;
    AVFrame        *frame;
    AVPacket       *packet;
    zt_encoded_fn  *on_packet;
    void           *cookie;
} jpeg;

struct jpeg_packet {
    zt_packet p;
    AVPacket *from;
};

static bool jpeg_has(const char *codec)
{
    return codec[0] == 'j' && codec[1] == 'p';
}

static void jpeg_close(zt_encoder **out)
{
    jpeg *e = (jpeg *)*out;
    if (!e)
        return;
    avcodec_free_context(&e->c);
    av_frame_free(&e->frame);
    av_packet_free(&e->packet);
    zt_free(e);
    *out = NULL;
}

static int jpeg_open(zt_encoder **out, const zt_encoder_params *p)
{
    const AVCodec *codec = avcodec_find_encoder(AV_CODEC_ID_MJPEG);
    if (!codec) {
        zt_error("no encoder for jpeg: this libavcodec has no mjpeg (Debian: libavcodec59)");
        return -ENOSYS;
    }
    jpeg *e = zt_alloc(sizeof(*e));
    if (!e)
        return -ENOMEM;
    e->base.type = &zt_encoder_jpeg;
    e->on_packet = p->on_packet;
    e->cookie = p->cookie;
    e->c = avcodec_alloc_context3(codec);
    e->frame = av_frame_alloc();
    e->packet = av_packet_alloc();
    int err = e->c && e->frame && e->packet ? 0 : -ENOMEM;
    if (!err) {
        e->c->width = e->frame->width = p->w;
        e->c->height = e->frame->height = p->h;
        e->c->pix_fmt = e->frame->format = AV_PIX_FMT_YUVJ420P;
        e->c->time_base = (AVRational){ 1, p->fps };
        e->c->thread_count = 1;
        e->c->flags |= AV_CODEC_FLAG_QSCALE;
        e->c->global_quality = QUALITY * FF_QP2LAMBDA;
        e->frame->quality = e->c->global_quality;
        err = avcodec_open2(e->c, codec, NULL) < 0 || av_frame_get_buffer(e->frame, 0) < 0 ? -EINVAL : 0;
    }
    if (err < 0) {
        zt_encoder *base = &e->base;
        jpeg_close(&base);
        return err;
    }
    *out = &e->base;
    return 0;
}

static uint8_t clip(int v)
{
    return (uint8_t)ZT_MIN(ZT_MAX(v, 0), 255);
}

// BT.709 limited -> BT.601 full, in 1/65536: Y' = 255/219 (Y - 16) + 255/224 (0.1016 U + 0.1961 V),
// U' = 255/224 (0.9899 U - 0.1107 V), V' = 255/224 (-0.0725 U + 0.9834 V).
static void convert_rows(const AVFrame *to, const zt_frame *f, int y)
{
    const uint8_t *u = f->plane[1] + y * f->pitch[1], *v = f->plane[2] + y * f->pitch[2];
    uint8_t *to_u = to->data[1] + y * to->linesize[1], *to_v = to->data[2] + y * to->linesize[2];
    for (int x = 0; x < f->w / 2; x++) {
        const int cb = u[x] - 128, cr = v[x] - 128, shift = 7578 * cb + 14628 * cr + 32768;
        to_u[x] = clip(128 + ((73849 * cb - 8255 * cr + 32768) >> 16));
        to_v[x] = clip(128 + ((-5405 * cb + 73367 * cr + 32768) >> 16));
        for (int i = 0; i < 4; i++) {
            const int row = 2 * y + i / 2, column = 2 * x + i % 2;
            to->data[0][row * to->linesize[0] + column] =
                clip((76309 * (f->plane[0][row * f->pitch[0] + column] - 16) + shift) >> 16);
        }
    }
}

static void packet_release(zt_packet *p)
{
    struct jpeg_packet *mine = p->cookie;
    av_packet_free(&mine->from);
    zt_free(mine);
}

static int jpeg_encode(zt_encoder *base, zt_frame *f, bool key)
{
    (void)key;
    jpeg *e = (jpeg *)base;
    if (av_frame_make_writable(e->frame) < 0)
        return -ENOMEM;
    for (int y = 0; y < f->h / 2; y++)
        convert_rows(e->frame, f, y);
    e->frame->pts = (int64_t)f->index;
    int err = avcodec_send_frame(e->c, e->frame);
    if (err >= 0)
        err = avcodec_receive_packet(e->c, e->packet);
    if (err < 0) {
        zt_error("mjpeg failed: %s", av_err2str(err));
        return -EIO;
    }
    struct jpeg_packet *mine = zt_alloc(sizeof(*mine));
    AVPacket *from = av_packet_alloc();
    if (!mine || !from) {
        zt_free(mine);
        av_packet_free(&from);
        return -ENOMEM;
    }
    av_packet_move_ref(from, e->packet);
    mine->from = from;
    mine->p = (zt_packet){
        .data = from->data, .bytes = (size_t)from->size, .pts = f->pts, .dts = f->pts, .index = f->index, .due = f->due,
        .sampled = f->sampled, .key = true, .release = packet_release, .cookie = mine, .refs = 1,
    };
    zt_packet *p = &mine->p;
    e->on_packet(e->cookie, p);
    zt_packet_unref(&p);
    return 0;
}

static int jpeg_flush(zt_encoder *e)
{
    (void)e;
    return 0;
}

static int jpeg_bitrate(zt_encoder *e, int64_t bits)
{
    (void)e, (void)bits;        // its quality is fixed
    return 0;
}

const zt_encoder_type zt_encoder_jpeg = {
    .name = "mjpeg",
    .has = jpeg_has,
    .open = jpeg_open,
    .close = jpeg_close,
    .encode = jpeg_encode,
    .flush = jpeg_flush,
    .bitrate = jpeg_bitrate,
};
