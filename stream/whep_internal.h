// SPDX-License-Identifier: Apache-2.0
// What the files of WHEP share: mounts (a stream's end) and viewers (a peer's end).
#pragma once

#include <gst/app/gstappsrc.h>
#include <gst/gst.h>
#include <gst/rtp/rtp.h>

#include "stream/path.h"
#include "stream/place.h"
#include "stream/whep.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ZT_PLAYOUT_DELAY "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
#define ZT_SENT          64         // slots whose time is remembered

// Shared by its transport and its viewers, which may outlive it.
typedef struct zt_mount {
    char         *name;             // only changed by open, as the next four
    bool          vp8;
    int           w, h, fps;
    zt_whep_server *server;
    gatomicrefcount refs;
    GMutex        lock;             // held for moments only
    // Protected by lock
    zt_stream    *stream;           // NULL once the transport is closed
    GPtrArray    *viewer;           // zt_viewer, borrowed
    zt_place      place;
    struct { uint64_t index; int64_t at; } sent[ZT_SENT];
} zt_mount;

struct zt_whep_server {
    // Only changed by open
    GMainContext *context;
    char         *local, *public_address;
    char        **ice_server;
    int           udp_min, udp_max, loss_percent;
    int64_t       setup, silence;
    GstClock     *clock;
    GstClockTime  base;             // every pipeline's base time: one buffer fits all
    uint32_t      ssrc;             // every viewer's: each is a session of its own
    // Protected by lock
    GMutex        lock;
    GHashTable   *mount;            // name -> zt_mount
    // Any thread
    gint          reaping;          // atomic: pipelines being ended
    gint          pipelines;        // atomic: viewers', those being ended too
};

struct zt_viewer {
    // Only changed by create
    zt_whep_server *server;
    zt_mount       *mount;
    uint32_t        rtp_offset;
    bool            local_peer, offers;
    char           *offer;          // what set-remote-description gets
    char            ufrag[257];
    int64_t         created;
    gatomicrefcount refs;

    // webrtcbin's thread
    GString        *sources;        // lines of the answer that webrtcbin does not need

    // The thread that the peer's reports come on
    zt_path         path;

    // Control thread
    zt_viewer_params p;             // callbacks
    GstElement     *pipe, *rtc;     // NULL once closed
    bool            closed, answered, gone;
    GSource        *tick;

    // Protected by mount->lock
    GstAppSrc      *src;
    bool            feeding, need_key;

    // Protected by lock
    GMutex          lock;
    GObject        *channel;        // GstWebRTCDataChannel, or NULL
    int64_t         second;         // monotonic ns at which `messages` began to count
    int             messages;

    // Any thread
    gint            connected, loss, round_trip, room;      // atomic; loss of 256, round trip in us, zt_path_room()
    gint64          heard;          // atomic: monotonic ns of the last report
};

// zt_mount_find() gives a reference.
zt_mount *zt_mount_find(zt_whep_server *s, const char *name);
zt_mount *zt_mount_ref(zt_mount *m);
void      zt_mount_unref(zt_mount *m);
void      zt_mount_add(zt_mount *m, zt_viewer *v);      // under no lock
void      zt_mount_remove(zt_mount *m, zt_viewer *v);   // not fed any more once it returns
void      zt_mount_want_key(zt_mount *m);

GstRTPHeaderExtension *zt_playout_delay_create(int id);

// Builds v->pipe: everything but signalling. 0, -ENOMEM.
int  zt_peer_build(zt_viewer *v, int payload, int playout_delay);
void zt_peer_start(zt_viewer *v);       // PLAYING, and the first step of signalling
void zt_peer_accept(zt_viewer *v, const char *sdp);
void zt_peer_candidate(zt_viewer *v, const char *candidate);
// Loads plugins and makes the DTLS key, on a thread of its own: the first viewer does not wait for them.
void zt_peer_warm_up(zt_whep_server *s);
void zt_peer_end(zt_viewer *v);         // hands the pipeline to a thread of its own that ends it

zt_viewer *zt_viewer_ref(zt_viewer *v);
void       zt_viewer_unref(gpointer v);

// What a peer has to say; from any thread, arrives on the control thread. Takes text (g_malloc), may be NULL.
enum zt_news { ZT_NEWS_ANSWER, ZT_NEWS_REFUSED, ZT_NEWS_CONNECTED, ZT_NEWS_MESSAGE, ZT_NEWS_GONE };
void zt_viewer_post(zt_viewer *v, enum zt_news news, char *text);

#ifdef __cplusplus
}
#endif
