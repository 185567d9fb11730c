// SPDX-License-Identifier: Apache-2.0
// Encoders of libavcodec: one table of settings, one way to drive them. Pictures are passed without a copy.
#include <errno.h>
#include <libavcodec/avcodec.h>
#include <libavutil/cpu.h>
#include <libavutil/dict.h>
#include <libavutil/imgutils.h>
#include <libswscale/swscale.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "stream/encoder.h"

// Pictures that may be inside an encoder: above every lookahead used here (SVT-AV1's is the longest, about 100).
#define INSIDE 512

// SVT-AV1 1.4 keeps a list of its memory for the whole process: encoders that open or close at the same time destroy it.
static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;

// crf 0: the codec has none. Options are "key=value" with blanks between; live NULL: it cannot.
static const struct codec {
    const char        *name, *library;
    enum AVPixelFormat format;
    int                crf;
    const char        *file, *live;
} codecs[] = {
    { "h264", "libx264", AV_PIX_FMT_YUV420P, 20, "preset=veryfast",
      "preset=superfast tune=zerolatency profile=baseline forced-idr=1 sc_threshold=0" },
    { "h265", "libx265", AV_PIX_FMT_YUV420P, 24, "preset=fast x265-params=log-level=error:pools=none:frame-threads=1",
      "preset=superfast tune=zerolatency forced-idr=1 "
      "x265-params=log-level=error:pools=none:frame-threads=1:scenecut=0:repeat-headers=1" },
    { "vp9", "libvpx-vp9", AV_PIX_FMT_YUV420P, 30, "deadline=good cpu-used=4 lag-in-frames=16",
      "deadline=realtime cpu-used=8 lag-in-frames=0 error-resilient=default" },
    { "vp8", "libvpx", AV_PIX_FMT_YUV420P, 10, "deadline=good cpu-used=4 lag-in-frames=16",
      "deadline=realtime cpu-used=8 lag-in-frames=0 error-resilient=default" },
    { "av1", "libsvtav1", AV_PIX_FMT_YUV420P, 32, "preset=8", NULL },
    { "ffv1", "ffv1", AV_PIX_FMT_YUV420P, 0, "level=3 slicecrc=1 g=1", NULL },
    { "prores", "prores_ks", AV_PIX_FMT_YUV422P10, 0, "profile=standard vendor=apl0", NULL },
};

// What the encoder does not carry from a picture to its packet.
struct about {
    int64_t  tick, pts, due, sampled;
    uint64_t index;
};

typedef struct av_encoder {
    zt_encoder          base;
    AVCodecContext     *c;
    AVCodecParameters  *par;
    AVFrame            *frame;
    AVPacket           *packet;
    struct SwsContext  *convert;        // to formats other than 4:2:0, or NULL
    int                 fps;
    bool                started, flushed;
    uint64_t            first;          // index of the first picture: tick 0
    struct about        inside[INSIDE]; // by tick
    zt_encoded_fn      *on_packet;
    void               *cookie;
} av_encoder;

// A packet that owns libavcodec's.
struct av_zt_packet {
    zt_packet p;
    AVPacket *from;
};

static const struct codec *find(const char *name)
{
    for (size_t i = 0; i < ZT_LEN(codecs); i++)
        if (!strcmp(codecs[i].name, name))
            return &codecs[i];
    return NULL;
}

static bool av_has(const char *codec)
{
    return find(codec) != NULL;
}

// SVT-AV1 waits for ever in its end when it was not told that nothing comes any more, and for ever for its packets when
// it was told so and had no picture: then it is let be.
static void leave(av_encoder *e)
{
    if (!e->c || !avcodec_is_open(e->c) || e->flushed || strcmp(e->c->codec->name, "libsvtav1"))
        return;
    if (!e->started) {
        e->c = NULL;
        return;
    }
    int err = avcodec_send_frame(e->c, NULL);
    while (err >= 0) {
        err = avcodec_receive_packet(e->c, e->packet);
        av_packet_unref(e->packet);
    }
}

static void av_close(zt_encoder **out)
{
    av_encoder *e = (av_encoder *)*out;
    if (!e)
        return;

    leave(e);
    pthread_mutex_lock(&opening);
    avcodec_free_context(&e->c);
    pthread_mutex_unlock(&opening);
    avcodec_parameters_free(&e->par);
    av_frame_free(&e->frame);
    av_packet_free(&e->packet);
    sws_freeContext(e->convert);
    zt_free(e);
    *out = NULL;
}

// Small enough that a key frame costs a viewer three frames' time at the most.
static void set_rate(AVCodecContext *c, int64_t bits, bool live)
{
    c->bit_rate = bits;
    if (!live)
        return;
    c->rc_max_rate = bits;
    c->rc_buffer_size = (int)ZT_MIN(3 * bits / c->framerate.num, (int64_t)INT_MAX);
}

static void describe(AVCodecContext *c, const zt_encoder_params *p, enum AVPixelFormat format)
{
    c->width = p->w;
    c->height = p->h;
    c->time_base = (AVRational){ 1, p->fps };
    c->framerate = (AVRational){ p->fps, 1 };
    c->sample_aspect_ratio = (AVRational){ 1, 1 };
    c->pix_fmt = format;
    c->color_primaries = AVCOL_PRI_BT709;
    c->color_trc = AVCOL_TRC_BT709;
    c->colorspace = AVCOL_SPC_BT709;
    c->color_range = AVCOL_RANGE_MPEG;
    c->chroma_sample_location = AVCHROMA_LOC_LEFT;
    c->field_order = AV_FIELD_PROGRESSIVE;
    c->thread_count = 1;        // the model needs the other cores; and the same bits everywhere
    c->gop_size = p->fps * (p->live ? 10 : 4);
    c->flags |= AV_CODEC_FLAG_BITEXACT;
    if (p->live)
        c->max_b_frames = 0;
    if (p->container)
        c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
}

static int set_quality(AVCodecContext *c, AVDictionary **options, const zt_encoder_params *p, const struct codec *k)
{
    const int crf = p->crf == INT_MAX ? k->crf : p->crf;
    if (p->bitrate)
        set_rate(c, p->bitrate, p->live);
    if (crf < 0 || !k->crf || (p->crf == INT_MAX && p->bitrate))
        return 0;
    if (!p->bitrate && !strcmp(k->name, "vp8"))     // its crf needs a ceiling: a quarter bit per sample
        c->bit_rate = (int64_t)p->w * p->h * p->fps / 4;
    if (p->bitrate && !strcmp(k->library, "libx264"))
        c->bit_rate = 0;                            // else x264 takes the rate and ignores crf; the VBV stays
    return av_dict_set_int(options, "crf", crf, 0);
}

// x264's MB-tree in AVX-512 (164 and before, at least) reads on where a row of macroblocks is no multiple of 8, and bits depend
// on what memory held: the kernels before it do not.
static int avoid_avx512(AVDictionary **options, const zt_encoder_params *p, const struct codec *k)
{
    const bool reads_on = (p->w + 15) / 16 % 8 != 0 && !p->live && !strcmp(k->library, "libx264");
    if (!reads_on || !(av_get_cpu_flags() & AV_CPU_FLAG_AVX512))
        return 0;
    return av_dict_set(options, "x264-params", "asm=MMX2,SSE2Fast,LZCNT,SSSE3,SSE4.2,AVX,FMA3,BMI2,AVX2", 0);
}

static int av_open_context(av_encoder *e, const zt_encoder_params *p, const struct codec *k, const AVCodec *codec)
{
    AVDictionary *options = NULL;
    describe(e->c, p, k->format);
    int err = av_dict_parse_string(&options, p->live ? k->live : k->file, "=", " ", 0);
    if (err >= 0)
        err = set_quality(e->c, &options, p, k);
    if (err >= 0)
        err = avoid_avx512(&options, p, k);
    if (err >= 0) {
        pthread_mutex_lock(&opening);
        err = avcodec_open2(e->c, codec, &options);
        pthread_mutex_unlock(&opening);
    }
    const AVDictionaryEntry *left = av_dict_get(options, "", NULL, AV_DICT_IGNORE_SUFFIX);
    if (err >= 0 && left)
        zt_debug("%s does not know %s", k->library, left->key);
    av_dict_free(&options);
    if (err >= 0)
        err = avcodec_parameters_from_context(e->par, e->c);
    if (err < 0)
        zt_error("%s refuses %dx%d at %d fps (crf %d, %lld bit/s): %s", k->library, p->w, p->h, p->fps, p->crf,
                 (long long)p->bitrate, av_err2str(err));
    return err < 0 ? (err == AVERROR(ENOMEM) ? -ENOMEM : -EINVAL) : 0;
}

static int open_convert(av_encoder *e, const zt_encoder_params *p, enum AVPixelFormat format)
{
    if (format == AV_PIX_FMT_YUV420P)
        return 0;

    e->convert = sws_getContext(p->w, p->h, AV_PIX_FMT_YUV420P, p->w, p->h, format,
                                SWS_LANCZOS | SWS_ACCURATE_RND, NULL, NULL, NULL);
    return e->convert ? 0 : -ENOMEM;
}

static int av_open(zt_encoder **out, const zt_encoder_params *p)
{
    const struct codec *k = find(p->codec);
    if (p->live && !k->live) {
        zt_error("%s cannot be encoded live: use h264, h265, vp8 or vp9", p->codec);
        return -EINVAL;
    }
    const AVCodec *codec = avcodec_find_encoder_by_name(k->library);
    if (!codec) {
        zt_error("no encoder for %s: this libavcodec has no %s (Debian: libavcodec59)", p->codec, k->library);
        return -ENOSYS;
    }
    if (av_log_get_level() == AV_LOG_INFO)      // the library's default: it would chat on stderr
        av_log_set_level(AV_LOG_FATAL);
    if (!strcmp(k->library, "libsvtav1"))       // so would this one, which asks nobody but its environment
        setenv("SVT_LOG", "1", 0);

    av_encoder *e = zt_alloc(sizeof(*e));
    if (!e)
        return -ENOMEM;
    e->base.type = &zt_encoder_av;
    e->fps = p->fps;
    e->on_packet = p->on_packet;
    e->cookie = p->cookie;
    e->c = avcodec_alloc_context3(codec);
    e->par = avcodec_parameters_alloc();
    e->frame = av_frame_alloc();
    e->packet = av_packet_alloc();
    int err = e->c && e->par && e->frame && e->packet ? open_convert(e, p, k->format) : -ENOMEM;
    if (!err)
        err = av_open_context(e, p, k, codec);
    zt_encoder *made = &e->base;
    if (err < 0) {
        av_close(&made);
        return err;
    }
    made->par = e->par;
    *out = made;
    return 0;
}

static void packet_release(zt_packet *p)
{
    struct av_zt_packet *mine = (struct av_zt_packet *)p;
    av_packet_free(&mine->from);
    zt_free(mine);
}

static int hand_over(av_encoder *e)
{
    struct av_zt_packet *mine = zt_alloc(sizeof(*mine));
    AVPacket *from = av_packet_alloc();
    if (!mine || !from) {
        zt_free(mine);
        av_packet_free(&from);
        return -ENOMEM;
    }
    av_packet_move_ref(from, e->packet);

    const struct about *a = &e->inside[from->pts & (INSIDE - 1)];
    mine->from = from;
    mine->p = (zt_packet){
        .data = from->data,
        .bytes = (size_t)from->size,
        .pts = a->pts,
        .dts = a->pts - (from->pts - from->dts) * ZT_S / e->fps,
        .duration = ZT_S / e->fps,
        .index = a->index,
        .due = a->due,
        .sampled = a->sampled,
        .key = from->flags & AV_PKT_FLAG_KEY,
        .release = packet_release,
        .refs = 1,
    };
    zt_packet *p = &mine->p;
    e->on_packet(e->cookie, p);
    zt_packet_unref(&p);
    return 0;
}

static int failed(const av_encoder *e, int err)
{
    zt_error("%s failed: %s", e->c->codec->name, av_err2str(err));
    return err == AVERROR(ENOMEM) ? -ENOMEM : -EIO;
}

// Sends e->frame, or the end when NULL; hands over what is ready.
static int drive(av_encoder *e, AVFrame *frame)
{
    int err = avcodec_send_frame(e->c, frame);
    while (err >= 0) {
        err = avcodec_receive_packet(e->c, e->packet);
        if (err >= 0 && hand_over(e) < 0)
            return -ENOMEM;
    }
    return err == AVERROR(EAGAIN) || err == AVERROR_EOF ? 0 : failed(e, err);
}

static void frame_let_go(void *opaque, uint8_t *data)
{
    zt_frame *f = opaque;
    zt_frame_unref(&f);
}

// e->frame shows f's pixels and holds a reference to it.
static int borrow(av_encoder *e, zt_frame *f)
{
    const size_t bytes = (size_t)(f->plane[2] + f->pitch[2] * (f->h / 2) - f->plane[0]);
    e->frame->buf[0] = av_buffer_create(f->plane[0], bytes, frame_let_go, f, AV_BUFFER_FLAG_READONLY);
    if (!e->frame->buf[0])
        return -ENOMEM;
    zt_frame_ref(f);
    for (int i = 0; i < 3; i++) {
        e->frame->data[i] = f->plane[i];
        e->frame->linesize[i] = (int)f->pitch[i];
    }
    return 0;
}

static int convert(av_encoder *e, const zt_frame *f)
{
    if (av_frame_get_buffer(e->frame, 0) < 0)
        return -ENOMEM;
    const uint8_t *const src[4] = { f->plane[0], f->plane[1], f->plane[2] };
    const int pitch[4] = { (int)f->pitch[0], (int)f->pitch[1], (int)f->pitch[2] };
    sws_scale(e->convert, src, pitch, 0, f->h, e->frame->data, e->frame->linesize);
    return 0;
}

static int av_encode(zt_encoder *base, zt_frame *f, bool key)
{
    av_encoder *e = (av_encoder *)base;
    if (!e->started)
        e->first = f->index;
    e->started = true;

    const int64_t tick = (int64_t)(f->index - e->first);
    e->inside[tick & (INSIDE - 1)] = (struct about){
        .tick = tick, .pts = f->pts, .due = f->due, .sampled = f->sampled, .index = f->index,
    };
    AVFrame *frame = e->frame;
    frame->width = f->w;
    frame->height = f->h;
    frame->format = e->c->pix_fmt;
    int err = e->convert ? convert(e, f) : borrow(e, f);
    if (!err) {
        frame->pts = tick;
        frame->pict_type = key ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE;
        frame->color_primaries = e->c->color_primaries;
        frame->color_trc = e->c->color_trc;
        frame->colorspace = e->c->colorspace;
        frame->color_range = e->c->color_range;
        frame->chroma_location = e->c->chroma_sample_location;
        err = drive(e, frame);
    }
    av_frame_unref(frame);
    return err;
}

static int av_flush(zt_encoder *base)
{
    av_encoder *e = (av_encoder *)base;
    if (!e->started)
        return 0;
    e->flushed = true;
    return drive(e, NULL);
}

// libx264, libx265 and libvpx look at these before each picture.
static int av_bitrate(zt_encoder *base, int64_t bits)
{
    av_encoder *e = (av_encoder *)base;
    set_rate(e->c, bits, e->c->rc_max_rate > 0);
    return 0;
}

const zt_encoder_type zt_encoder_av = {
    .name = "libavcodec",
    .has = av_has,
    .open = av_open,
    .close = av_close,
    .encode = av_encode,
    .flush = av_flush,
    .bitrate = av_bitrate,
};
