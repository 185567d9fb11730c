// SPDX-License-Identifier: Apache-2.0
// Containers through libavformat: mp4, mkv, webm, mov. The muxer is named: the file is called .part while it grows.
#include <errno.h>
#include <libavcodec/avcodec.h>
#include <libavcodec/bsf.h>
#include <libavformat/avformat.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "stream/part.h"
#include "stream/transport.h"

#define BUFFER (256 << 10)

static const struct {
    const char *suffix, *muxer;
    bool        seeks;      // goes back to write what it knows at the end only
} muxers[] = {
    { ".mp4", "mp4", true },
    { ".mkv", "matroska" },
    { ".webm", "webm" },
    { ".mov", "mov", true },
};

typedef struct file {
    zt_transport     base;
    zt_part          part;
    AVFormatContext *mux;
    AVPacket        *packet;
    int              fps;
    bool             seeks;
    bool             started;
    uint64_t         first;     // index of the first packet: time 0
} file;

static int on_write(void *opaque, uint8_t *data, int bytes)
{
    file *t = opaque;
    const int err = zt_part_write(&t->part, data, (size_t)bytes);
    return err ? AVERROR(-err) : bytes;
}

static int64_t on_seek(void *opaque, int64_t to, int whence)
{
    file *t = opaque;
    struct stat st;
    if (whence == AVSEEK_SIZE)
        return fstat(t->part.fd, &st) < 0 ? AVERROR(errno) : st.st_size;
    const off_t at = lseek(t->part.fd, to, whence & ~AVSEEK_FORCE);
    return at < 0 ? AVERROR(errno) : at;
}

static void file_close(zt_transport **out)
{
    file *t = (file *)*out;
    if (!t)
        return;

    if (t->mux && t->mux->pb) {
        av_freep(&t->mux->pb->buffer);
        avio_context_free(&t->mux->pb);
    }
    avformat_free_context(t->mux);
    av_packet_free(&t->packet);
    zt_part_close(&t->part);
    zt_free(t);
    *out = NULL;
}

static int refused(const file *t, const char *url, const char *codec, int err)
{
    zt_error("cannot write %s into %s: the %s container refuses (%s)", codec, url, t->mux ? t->mux->oformat->name : "",
             av_err2str(err));
    return err == AVERROR(ENOMEM) ? -ENOMEM : -EINVAL;
}

static int open_mux(file *t, const zt_transport_params *p)
{
    const char *muxer = NULL;
    const size_t length = strlen(p->url);
    for (size_t i = 0; i < ZT_LEN(muxers) && !muxer; i++) {
        const size_t n = strlen(muxers[i].suffix);
        if (length >= n && !strcasecmp(p->url + length - n, muxers[i].suffix))
            muxer = muxers[i].muxer;
        t->seeks = muxer && muxers[i].seeks;
    }
    int err = avformat_alloc_output_context2(&t->mux, NULL, muxer, NULL);
    if (err < 0)
        return refused(t, p->url, p->codec, err);
    AVStream *s = avformat_new_stream(t->mux, NULL);
    t->packet = av_packet_alloc();
    if (!s || !t->packet)
        return -ENOMEM;
    err = avcodec_parameters_copy(s->codecpar, p->par);
    if (err < 0)
        return refused(t, p->url, p->codec, err);
    if (avformat_query_codec(t->mux->oformat, s->codecpar->codec_id, FF_COMPLIANCE_NORMAL) != 1)
        return refused(t, p->url, p->codec, AVERROR(EINVAL));

    s->time_base = (AVRational){ 1, p->fps };
    s->avg_frame_rate = (AVRational){ p->fps, 1 };
    s->r_frame_rate = s->avg_frame_rate;
    s->sample_aspect_ratio = s->codecpar->sample_aspect_ratio;
    t->mux->flags |= AVFMT_FLAG_BITEXACT | AVFMT_FLAG_CUSTOM_IO;    // no random identifiers: same frames, same file
    if (p->title)
        av_dict_set(&t->mux->metadata, "title", p->title, 0);
    if (p->comment)
        av_dict_set(&t->mux->metadata, "comment", p->comment, 0);
    return 0;
}

static int open_io(file *t)
{
    const bool seekable = lseek(t->part.fd, 0, SEEK_CUR) >= 0;
    if (t->seeks && !seekable) {
        zt_error("cannot write %s: a pipe cannot hold %s, use .mkv or .y4m", t->part.name, t->mux->oformat->name);
        return -EINVAL;
    }
    uint8_t *buffer = av_malloc(BUFFER);
    if (!buffer)
        return -ENOMEM;
    t->mux->pb = avio_alloc_context(buffer, BUFFER, 1, t, NULL, on_write, seekable ? on_seek : NULL);
    if (!t->mux->pb) {
        av_free(buffer);
        return -ENOMEM;
    }
    return 0;
}

static int file_open(zt_transport **out, const zt_transport_params *p)
{
    file *t = zt_alloc(sizeof(*t));
    if (!t)
        return -ENOMEM;

    t->base.type = &zt_transport_file;
    t->fps = p->fps;
    int err = open_mux(t, p);
    if (!err)
        err = zt_part_open(&t->part, p->url, p->overwrite);
    if (!err)
        err = open_io(t);
    zt_transport *made = &t->base;
    if (err < 0) {
        file_close(&made);
        return err;
    }
    *out = made;
    return 0;
}

// An encoder that also feeds live transports has its parameter sets in front of key frames: take them from the first.
static int take_extradata(file *t, const zt_packet *p)
{
    AVCodecParameters *par = t->mux->streams[0]->codecpar;
    if (par->extradata_size || (par->codec_id != AV_CODEC_ID_H264 && par->codec_id != AV_CODEC_ID_HEVC))
        return 0;

    AVBSFContext *bsf = NULL;
    int err = av_bsf_alloc(av_bsf_get_by_name("extract_extradata"), &bsf);
    if (!err)
        err = avcodec_parameters_copy(bsf->par_in, par);
    if (!err)
        err = av_bsf_init(bsf);
    if (!err)
        err = av_new_packet(t->packet, (int)p->bytes);
    if (!err) {
        memcpy(t->packet->data, p->data, p->bytes);
        err = av_bsf_send_packet(bsf, t->packet);
    }
    if (!err)
        err = av_bsf_receive_packet(bsf, t->packet);
    size_t bytes = 0;
    const uint8_t *data = err ? NULL : av_packet_get_side_data(t->packet, AV_PKT_DATA_NEW_EXTRADATA, &bytes);
    if (data) {
        par->extradata = av_mallocz(bytes + AV_INPUT_BUFFER_PADDING_SIZE);
        if (par->extradata) {
            memcpy(par->extradata, data, bytes);
            par->extradata_size = (int)bytes;
        }
    }
    av_packet_unref(t->packet);
    av_bsf_free(&bsf);
    return err == AVERROR(ENOMEM) ? -ENOMEM : 0;
}

// The file's own error first: libavformat forgets some.
static int result(file *t, int err)
{
    if (t->part.err || err >= 0)
        return t->part.err;

    zt_error("cannot write %s: %s", t->part.name, av_err2str(err));
    return err == AVERROR(ENOMEM) ? -ENOMEM : -EIO;
}

static int file_packet(zt_transport *base, zt_packet *p)
{
    file *t = (file *)base;
    int err = 0;
    if (!t->started) {
        if (!p->key)
            return 0;           // joined a live encoder: nothing can be shown before a key frame
        t->first = p->index;
        err = take_extradata(t, p);
        if (!err)
            err = result(t, avformat_write_header(t->mux, NULL));
        if (err < 0)
            return err;
        t->started = true;
    }

    const int64_t tick = (int64_t)(p->index - t->first);
    const int64_t reorder = ((p->pts - p->dts) * t->fps + ZT_S / 2) / ZT_S;
    AVStream *s = t->mux->streams[0];
    t->packet->data = p->data;
    t->packet->size = (int)p->bytes;
    t->packet->pts = tick;
    t->packet->dts = tick - reorder;
    t->packet->duration = 1;
    t->packet->flags = p->key ? AV_PKT_FLAG_KEY : 0;
    t->packet->stream_index = 0;
    av_packet_rescale_ts(t->packet, (AVRational){ 1, t->fps }, s->time_base);
    err = av_write_frame(t->mux, t->packet);
    av_packet_unref(t->packet);
    return result(t, err);
}

static int file_finish(zt_transport *base)
{
    file *t = (file *)base;
    if (!t->started) {
        zt_error("cannot finish %s: no picture was written", t->part.name);
        return -ENODATA;
    }
    int err = result(t, av_write_trailer(t->mux));
    avio_flush(t->mux->pb);
    if (!err)
        err = zt_part_commit(&t->part);
    return err;
}

const zt_transport_type zt_transport_file = {
    .name = "file",
    .container = true,
    .open = file_open,
    .close = file_close,
    .packet = file_packet,
    .finish = file_finish,
};
