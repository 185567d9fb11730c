// SPDX-License-Identifier: Apache-2.0
// Joins encoded files: packets are read from each and written anew, with the times that their place gives them.
#include <errno.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>

#include "base/clock.h"
#include "base/log.h"
#include "stream/join.h"
#include "stream/transport.h"

typedef struct join {
    const zt_join_params *p;
    zt_transport *out;
    AVPacket     *packet;
    int64_t       frames;       // written so far
} join;

static int broken(const char *path, int err)
{
    zt_error("%s: %s", path, av_err2str(err));
    return err == AVERROR(ENOMEM) ? -ENOMEM : err == AVERROR(EIO) || err == AVERROR(ENOENT) ? err : -EBADMSG;
}

static int open_out(join *j, const AVStream *from)
{
    const AVCodecParameters *par = from->codecpar;
    const zt_transport_params t = {
        .url = j->p->url, .overwrite = j->p->overwrite, .title = j->p->title, .comment = j->p->comment,
        .w = par->width, .h = par->height, .fps = j->p->fps, .codec = avcodec_get_name(par->codec_id), .par = par,
    };
    return zt_transport_file.open(&j->out, &t);
}

static int64_t tick_of(const join *j, const AVStream *s, int64_t time)
{
    return av_rescale_q(time, s->time_base, (AVRational){ 1, j->p->fps });
}

// `start`: the earliest time in the file, which is its first picture's.
static int write_packet(join *j, const AVStream *s, int64_t start, int64_t first)
{
    const AVPacket *from = j->packet;
    const int64_t pts = tick_of(j, s, from->pts) - start;
    const int64_t dts = from->dts == AV_NOPTS_VALUE ? pts : tick_of(j, s, from->dts) - start;
    zt_packet p = {
        .data = from->data, .bytes = (size_t)from->size, .pts = pts * ZT_S / j->p->fps, .dts = dts * ZT_S / j->p->fps,
        .index = (uint64_t)(first + pts), .key = from->flags & AV_PKT_FLAG_KEY, .refs = 1,
    };
    return j->out->type->packet(j->out, &p);
}

static int copy(join *j, AVFormatContext *in)
{
    const AVStream *s = in->streams[0];
    const int64_t first = j->frames, start = s->start_time == AV_NOPTS_VALUE ? 0 : tick_of(j, s, s->start_time);
    int err = 0;
    while (!err && (err = av_read_frame(in, j->packet)) >= 0) {
        err = write_packet(j, s, start, first);
        j->frames++;
        av_packet_unref(j->packet);
    }
    return err == AVERROR_EOF ? 0 : err;
}

static int add(join *j, const char *path)
{
    AVFormatContext *in = NULL;
    int err = avformat_open_input(&in, path, NULL, NULL);
    if (err < 0)
        return broken(path, err);
    err = avformat_find_stream_info(in, NULL);
    if (err < 0 || in->nb_streams != 1)
        err = broken(path, err < 0 ? err : AVERROR_INVALIDDATA);
    if (err >= 0)
        err = j->out ? 0 : open_out(j, in->streams[0]);
    if (!err)
        err = copy(j, in);
    avformat_close_input(&in);
    return err;
}

int zt_join_av(const zt_join_params *p, int64_t *frames)
{
    join j = { .p = p, .packet = av_packet_alloc() };
    int err = j.packet ? 0 : -ENOMEM;
    for (int i = 0; i < p->n && !err; i++)
        err = add(&j, p->part[i]);
    if (!err)
        err = j.out->type->finish(j.out);
    zt_transport_close(&j.out);
    av_packet_free(&j.packet);
    if (!err)
        *frames = j.frames;
    return err;
}
