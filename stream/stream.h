// SPDX-License-Identifier: Apache-2.0
// Pictures in, packets out: one encoder thread and any number of transports. Knows nothing of prompts.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/frame.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_stream      zt_stream;
typedef struct zt_rtsp_server zt_rtsp_server;

// Called on the stream's thread when a picture's packet has been handed to every transport (files: written).
// encode_ns: scaling and encoding of this picture.
typedef void zt_packet_fn(void *cookie, const zt_packet *p, int64_t now, int64_t encode_ns);

// Zero means the default in parentheses.
typedef struct zt_stream_params {
    const char     *url;        // where to: see below; required
    int             w, h;       // of the frames pushed, even; required
    int             out_w, out_h;   // of the output, even, 16..8192 (w, h); scaled by swscale, Lanczos
    int             fps;        // required
    const char     *codec;      // "h264" "h265" "vp9" "av1" "vp8" "ffv1" "prores" (files: by extension; else h264)
    int             crf;        // constant quality (files: the codec's usual; live: none, bitrate rules); -1 is 0
    int64_t         bitrate;    // bits/s (live: 2 Mbit/s)
    bool            live;       // zero latency, key frames on demand, never blocks the pusher
    bool            overwrite;  // replace an existing file
    int             queue;      // frames that may wait (live 2, else 8)
    const char     *title;      // metadata for containers, or NULL
    zt_rtsp_server *rtsp;       // for rtsp urls: borrowed
    zt_packet_fn   *on_packet;  // or NULL
    void           *cookie;
} zt_stream_params;

// url: "x.mp4" ".mkv" ".webm" ".mov" ".y4m" ".png" with %d (e.g. "%04d.png"), "-" (y4m on stdout), "null:" (encode, count, drop),
//      "rtsp:/live" (a mount on params.rtsp). Files are written as URL.part and renamed by zt_stream_finish().
// 0, -EINVAL (bad url, codec or size: logged), -EEXIST (and no overwrite), -EACCES/-ENOENT/… (cannot write), -ENOSYS (an
// encoder or plugin is missing: the log names the package), -ENOMEM.
int  zt_stream_open(zt_stream **out, const zt_stream_params *p);
// Encodes what waits, writes the trailer, renames. 0 or the first error (the .part file stays). Call once, then close.
int  zt_stream_finish(zt_stream *s);
// Without zt_stream_finish() first: drops what waits; a file stays URL.part.
void zt_stream_close(zt_stream **s);

// Waits for room till `until` (monotonic ns); 0 never waits. Takes its own reference on 0; -EAGAIN when the queue stayed
// full (the frame is skipped); any other: the stream has failed (logged once).
int  zt_stream_push(zt_stream *s, zt_frame *f, int64_t until);

void    zt_stream_want_key(zt_stream *s);               // from any thread; rate-limited to one per 300 ms
void    zt_stream_bitrate(zt_stream *s, int64_t bits);  // from any thread
int     zt_stream_viewers(zt_stream *s);                // playing now; 0 for files
int64_t zt_stream_packets(zt_stream *s);                // handed over so far; from any thread

// Serves RTSP (TCP and UDP) on its own thread. -EADDRINUSE, -ENOSYS (plugin missing: logged with its package).
int  zt_rtsp_server_open(zt_rtsp_server **out, const char *host, int port);
void zt_rtsp_server_close(zt_rtsp_server **s);          // after its streams are closed
int  zt_rtsp_server_port(const zt_rtsp_server *s);      // the one bound (port 0 asks for any)

#ifdef __cplusplus
}
#endif
