// SPDX-License-Identifier: Apache-2.0
// Pictures in, packets out: one encoder thread and any number of transports. Knows nothing of prompts.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/frame.h"
#include "base/packet.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_stream      zt_stream;
typedef struct zt_rtsp_server zt_rtsp_server;
typedef struct zt_whep_server zt_whep_server;       // stream/whep.h

// Called on the stream's thread when a picture's packet has been handed to every transport (files: written).
// Borrowed; gone after the call.
// Streams of pictures only (y4m, png, null:raw) have no encoder: their packet describes the picture, its data is NULL.
// encode_ns: scaling and encoding in the call that completed the packet.
typedef void zt_packet_fn(void *cookie, const zt_packet *p, int64_t now, int64_t encode_ns);
// Called once, on the stream's thread, when the stream has failed with -errno: no packet comes any more.
typedef void zt_failed_fn(void *cookie, int err);

// Zero means the default in parentheses. Strings are copied.
typedef struct zt_stream_params {
    const char     *url;        // where to: see below; required
    const char     *also[3];    // more places for the same encoding, or NULL
    int             w, h;       // of the frames pushed, even; required
    int             out_w, out_h;   // of the output, even, 16..8192 (w, h); scaled by swscale, Lanczos
    int             fps;        // 1..240; required
    const char     *codec;      // "h264" "h265" "vp9" "av1" "vp8" "ffv1" "prores" "jpeg" (the first that all places take)
    int             crf;        // constant quality (files: the codec's usual; live: none, bitrate rules); -1 is 0
    int64_t         bitrate;    // bits/s (live: 2 Mbit/s; files: none, crf rules)
    bool            live;       // zero latency, key frames on demand, never blocks the pusher
    bool            realtime;   // its thread before all others, the engine's too, if that is allowed
    bool            overwrite;  // replace an existing file
    int             queue;      // frames that may wait (live 2, else 8)
    const char     *title;      // metadata for containers, or NULL
    const char     *comment;    // the same
    zt_rtsp_server *rtsp;       // for rtsp urls: borrowed
    zt_whep_server *whep;       // for whep urls: borrowed
    zt_packet_fn   *on_packet;  // or NULL
    zt_failed_fn   *on_failed;  // or NULL
    void           *cookie;
    const int      *hurry;      // atomic, borrowed until close, or NULL: once not 0, a pipe whose reader takes nothing
                                // for 2 s fails with -EINTR
} zt_stream_params;

// url                  codecs, the default first
// "x.mp4"              h264 h265 vp9 av1
// "x.mkv"              h264 h265 vp9 av1 vp8 ffv1 prores
// "x.webm"             vp9 av1 vp8
// "x.mov"              h264 h265 prores
// "x.y4m", "-"         pictures; "-" is y4m on stdout
// "x%04d.png"          pictures; one %d, or %0Nd, in the name: the picture's number, from 0
// "null:", "null:raw"  any codec: encode, count, drop; or pictures: count, drop
// "rtsp:/live"         h264, live only: a mount on params.rtsp
// "whep:/live"         h264 or vp8, live only: a mount on params.whep
// Files are written as URL.part and renamed by zt_stream_finish(); pipes and devices are written directly.
// 0, -EINVAL (bad url, codec or size: logged), -EEXIST (and no overwrite; nothing was touched), -EBUSY (another
// process writes the same file), -EACCES/-ENOENT/… (cannot write), -ENOSYS (an encoder or plugin is missing: the log
// names the package), -ENOMEM.
int  zt_stream_open(zt_stream **out, const zt_stream_params *p);
// Encodes what waits, writes the trailer, renames. 0 or the first error (the .part file stays). Call once, then close.
int  zt_stream_finish(zt_stream *s);
// Without zt_stream_finish() first: drops what waits; a file stays URL.part. Takes a stream that is NULL inside.
void zt_stream_close(zt_stream **s);

// Takes its own reference on 0. One thread at a time; allocates nothing.
// Not live: waits for room till `until` (monotonic ns; 0 never waits); -EAGAIN when the queue stayed full (skipped).
// Live: never waits and is never full; the newest frame takes the place of the oldest waiting, which is skipped.
// Any other: the stream has failed (logged once): -ENOSPC, -EPIPE (the reader of a pipe left), …
// A frame whose index is not above the last one's is skipped.
int  zt_stream_push(zt_stream *s, zt_frame *f, int64_t until);

// Files of one kind one behind the other, without decoding: `url` is written as zt_stream_open() would.
typedef struct zt_join_params {
    const char *const *part;    // [n] files of our own with equal settings, each beginning with a key frame
    int         n;
    const char *url;            // .mp4 .mkv .webm .mov .y4m
    int         fps;
    bool        overwrite;
    const char *title, *comment;    // or NULL
} zt_join_params;

// *frames: how many it has. 0, -EBADMSG (a part is not what it should be: logged), else as zt_stream_open() and _finish().
int     zt_stream_join(const zt_join_params *p, int64_t *frames);

// From any thread.
void    zt_stream_want_key(zt_stream *s);               // obeyed at most once per 300 ms, never lost
void    zt_stream_bitrate(zt_stream *s, int64_t bits);  // > 0
double  zt_stream_bitrate_share(zt_stream *s);          // of what it was opened with; 1 where there is none
int     zt_stream_viewers(zt_stream *s);                // playing now; 0 for files
int64_t zt_stream_packets(zt_stream *s);                // handed over so far
int64_t zt_stream_skipped(zt_stream *s);                // frames pushed that were never encoded

// Serves RTSP (TCP and UDP) on threads of its own. host: an address or a name; port 0: any.
// -EADDRINUSE, -EACCES, -EINVAL (no such host), -ENOSYS (plugin missing: logged with its package, or not built in).
// A client that has read nothing for 10 s is disconnected; no client ever delays another.
int  zt_rtsp_server_open(zt_rtsp_server **out, const char *host, int port);
void zt_rtsp_server_close(zt_rtsp_server **s);          // after its streams are closed; takes NULL inside
// From here on only those who know it are served (digest). Before the first stream.
void zt_rtsp_server_password(zt_rtsp_server *s, const char *user, const char *password);
int  zt_rtsp_server_port(const zt_rtsp_server *s);      // the one bound

#ifdef __cplusplus
}
#endif
