// SPDX-License-Identifier: Apache-2.0
// GStreamer's webrtcbin by name alone (properties, signals, nicks of enums), so that a build needs no gst/webrtc, whose
// development files bring OpenCV's along. The element itself must be there when the program runs. From any thread.
#pragma once

#include <gst/gst.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

// What an enum property says, by its nick in GStreamer's documentation: "connection-state" may be "failed". Static.
const char *zt_webrtc_state(gpointer object, const char *property);

// "local-description" as SDP: g_free it. NULL: there is none yet.
char *zt_webrtc_local(GstElement *rtc);
// Makes what create-`kind` replied the local description. `kind`: "offer" or "answer". False: there is none in it.
// `sources`, unless NULL: gets its lines a=ssrc and a=ssrc-group, which only the peer needs. GStreamer would make a name
// of each source in them that it never forgets.
bool zt_webrtc_set_local(GstElement *rtc, GstPromise *created, const char *kind, GString *sources);
// `local` with those lines in the section that sends: g_free it.
char *zt_webrtc_with_sources(const char *local, const GString *sources);
// Makes an SDP text the remote description; `done` hears how that went. False: no SDP, and `done` hears nothing.
bool zt_webrtc_set_remote(GstElement *rtc, const char *kind, const char *text, GstPromise *done);

// A text message on a data channel. False: it is not open, or 64 KiB wait in it already.
bool zt_webrtc_send(GObject *channel, const char *text);

// Once the pipeline is in state NULL, before its last unref. GStreamer 1.22: sctpenc may have started its task again while
// it was ended, and that unref would wait for ever.
void zt_webrtc_stop_sctp(GstElement *pipe);

#ifdef __cplusplus
}
#endif
