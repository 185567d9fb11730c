// SPDX-License-Identifier: Apache-2.0
// Inside stream/: what a transport is, and how a url finds one. Its open and close run on the owner's thread, the rest
// on the stream's.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/frame.h"
#include "base/packet.h"
#include "stream/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

struct AVCodecParameters;
typedef struct zt_transport zt_transport;

// Strings and par are borrowed until close.
typedef struct zt_transport_params {
    const char     *url;
    bool            overwrite;
    const char     *title, *comment;    // or NULL
    int             w, h, fps;  // of what comes
    const char     *codec;      // NULL: pictures
    const struct AVCodecParameters *par;    // NULL: pictures
    int64_t         bitrate;    // what the encoder was asked for; 0: none
    const int      *hurry;      // as zt_stream_params has it
    zt_rtsp_server *rtsp;       // or NULL
    zt_whep_server *whep;       // or NULL
    zt_stream      *stream;     // zt_stream_want_key()'s
} zt_transport_params;

typedef struct zt_transport_type {
    const char *name;
    bool live_only;
    bool container;                         // wants parameter sets once, not in front of key frames
    // As zt_stream_open(); logs its own errors. Nothing is written yet, but the place is known to be writable.
    int  (*open)(zt_transport **out, const zt_transport_params *p);
    void (*close)(zt_transport **t);
    int  (*picture)(zt_transport *t, const zt_frame *f);    // borrowed. One of these two;
    int  (*packet)(zt_transport *t, zt_packet *p);          // borrowed; zt_packet_ref() to keep it
    int  (*finish)(zt_transport *t);        // or NULL
    int  (*viewers)(zt_transport *t);       // or NULL; from any thread
} zt_transport_type;

// Every transport starts with this.
struct zt_transport {
    const zt_transport_type *type;
};

// One kind of url.
typedef struct zt_outlet {
    const char              *match;     // a whole url, a "scheme:" in front or a ".suffix"
    const char              *codecs;    // the default first; NULL: pictures
    const zt_transport_type *type;      // NULL: not built in
    const char              *needs;     // what it is built with
} zt_outlet;

extern const zt_transport_type zt_transport_file, zt_transport_null, zt_transport_png, zt_transport_rtsp,
    zt_transport_whep, zt_transport_y4m;

// 0, -EINVAL (no such kind: logged), -ENOSYS (not built in: logged).
int  zt_outlet_find(const zt_outlet **out, const char *url);
bool zt_outlet_takes(const zt_outlet *o, const char *codec);
void zt_transport_close(zt_transport **t);  // takes NULL inside

// What zt_rtsp_server_… are when gst-rtsp-server is built in.
int  zt_rtsp_gst_open(zt_rtsp_server **out, const char *host, int port);
void zt_rtsp_gst_close(zt_rtsp_server **s);
void zt_rtsp_gst_password(zt_rtsp_server *s, const char *user, const char *password);
int  zt_rtsp_gst_port(const zt_rtsp_server *s);

#ifdef __cplusplus
}
#endif
