// SPDX-License-Identifier: Apache-2.0
// Viewers over WebRTC: each is a peer connection that is fed with the packets of one stream (url "whep:/NAME").
// Signalling is the program's: it hands in offers and sends out answers. Everything here runs on the thread of one GLib
// main context, the control thread, functions and callbacks alike, unless it says otherwise.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stream/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

struct _GMainContext;
typedef struct zt_viewer zt_viewer;

#define ZT_MESSAGE_BYTES 4096           // a data channel message has at most so many
#define ZT_MESSAGE_RATE  60             // and at most so many come a second; more: the viewer is ended

// Zero means the default in parentheses.
typedef struct zt_whep_params {
    struct _GMainContext *context;      // the control thread's; a reference is taken; required
    const char        *local;           // the only address to use (every interface); copied
    const char        *public_address;  // what peers see instead (none); copied
    const char *const *ice_server;      // "stun:HOST:PORT", "turn:USER:SECRET@HOST:PORT", NULL ends them (none); copied
    int                udp_min, udp_max;    // ports (any)
    int64_t            setup;           // ns a viewer may take to connect (15 s)
    int64_t            silence;         // ns without a report before it counts as dead (8 s)
    int                loss_percent;    // of outgoing packets that are thrown away: tests (0)
} zt_whep_params;

// To be called by main() before there are threads; `argv` is its own. GLib before 2.76 keeps most of what it once needed
// for pieces: after 500 viewers have left 57 MB, of which 9 are in use. Only its environment tells it to use malloc
// instead, and only as it is loaded, so the program starts itself anew, once.
void zt_whep_prepare(char **argv);
// From any thread. 0, -ENOSYS (plugin missing: logged with its package, or not built in), -ENOMEM.
int  zt_whep_server_open(zt_whep_server **out, const zt_whep_params *p);
// After its streams and viewers are closed; takes NULL inside. Waits some seconds for pipelines to end.
void zt_whep_server_close(zt_whep_server **s);
// The codec that an offer gets: "h264", "vp8" or NULL (see zt_viewer_create).
const char *zt_whep_codec(const char *offer, size_t bytes);

// status 201: `sdp` is the answer. 4xx, 5xx: there will be none, sdp is NULL; close the viewer.
typedef void zt_answer_fn(void *cookie, int status, const char *sdp);
typedef void zt_message_fn(void *cookie, const char *text);     // UTF-8, at most ZT_MESSAGE_BYTES
typedef void zt_gone_fn(void *cookie, const char *why);         // it is no more; close it. At most once

typedef struct zt_viewer_params {
    const char    *mount;       // "/NAME"
    const char    *offer;       // copied; NULL: this side offers, and answer_fn gets the offer with status 200
    size_t         bytes;
    bool           local_peer;  // it is on this machine: loopback candidates are fine
    bool           any_address; // of this machine, whatever zt_whep_params.local says
    zt_answer_fn  *answer;      // required; once
    void         (*connected)(void *cookie);    // or NULL; pictures flow from here on
    zt_message_fn *message;     // or NULL
    zt_gone_fn    *gone;        // required
    void          *cookie;
} zt_viewer_params;

// 0; -EINVAL (no offer at all: 400), -ENOTSUP (nothing in common: 422), -ENOENT (no such mount), -ENOMEM.
// No callback is called before it returns.
int  zt_viewer_create(zt_viewer **out, zt_whep_server *s, const zt_viewer_params *p);
// No callback is called once it returns; takes NULL inside.
void zt_viewer_close(zt_viewer **v);
int  zt_viewer_accept(zt_viewer *v, const char *sdp, size_t bytes);     // the answer to this side's offer: 0, -EINVAL
// Trickled candidates: 0, -EINVAL (malformed), -ESTALE (an ICE restart: not supported, offer anew).
int  zt_viewer_candidates(zt_viewer *v, const char *fragment, size_t bytes);
// False when it has no data channel, or one that cannot keep up.
bool zt_viewer_send(zt_viewer *v, const char *text);
// The RTP timestamp under which this viewer gets slot `index`. False when that is too long ago.
bool zt_viewer_rtp(zt_viewer *v, uint64_t index, uint32_t *rtp);

// What a viewer reports (RTCP). From any thread.
typedef struct zt_viewer_stats {
    bool   connected;
    double loss;                // share of packets lost lately
    double round_trip;          // s; 0: not known
} zt_viewer_stats;
void zt_viewer_get_stats(zt_viewer *v, zt_viewer_stats *out);

#ifdef __cplusplus
}
#endif
