// SPDX-License-Identifier: Apache-2.0
// What stream/webrtc.h says, through GObject.
#include "stream/webrtc.h"

#include <gst/sdp/sdp.h>
#include <string.h>

#define WAITING 65536           // bytes

// What the boxed type GstWebRTCSessionDescription points to: public, and so part of the library's ABI.
typedef struct description {
    int            type;        // GstWebRTCSDPType: 1 offer, 2 pranswer, 3 answer, 4 rollback
    GstSDPMessage *sdp;
} description;

const char *zt_webrtc_state(gpointer object, const char *property)
{
    GValue value = G_VALUE_INIT;
    g_object_get_property(object, property, &value);
    GEnumClass *type = g_type_class_peek(G_VALUE_TYPE(&value));
    const GEnumValue *known = g_enum_get_value(type, g_value_get_enum(&value));
    g_value_unset(&value);
    return known ? known->value_nick : "";
}

char *zt_webrtc_local(GstElement *rtc)
{
    GValue value = G_VALUE_INIT;
    g_object_get_property(G_OBJECT(rtc), "local-description", &value);
    const description *d = g_value_get_boxed(&value);
    char *text = d ? gst_sdp_message_as_text(d->sdp) : NULL;
    g_value_unset(&value);
    return text;
}

bool zt_webrtc_set_local(GstElement *rtc, GstPromise *created, const char *kind)
{
    const GstStructure *reply = gst_promise_get_reply(created);
    const GValue *value = reply ? gst_structure_get_value(reply, kind) : NULL;
    if (!value)
        return false;
    GstPromise *set = gst_promise_new();
    g_signal_emit_by_name(rtc, "set-local-description", g_value_get_boxed(value), set);
    gst_promise_interrupt(set);             // nobody waits
    gst_promise_unref(set);
    return true;
}

bool zt_webrtc_set_remote(GstElement *rtc, const char *kind, const char *text, GstPromise *done)
{
    description theirs = { !strcmp(kind, "offer") ? 1 : 3, NULL };
    if (gst_sdp_message_new_from_text(text, &theirs.sdp) != GST_SDP_OK)
        return false;
    g_signal_emit_by_name(rtc, "set-remote-description", &theirs, done);    // copies it
    gst_sdp_message_free(theirs.sdp);
    return true;
}

bool zt_webrtc_send(GObject *channel, const char *text)
{
    guint64 waiting = 0;
    g_object_get(channel, "buffered-amount", &waiting, NULL);
    if (waiting >= WAITING || strcmp(zt_webrtc_state(channel, "ready-state"), "open"))
        return false;
    g_signal_emit_by_name(channel, "send-string", text);
    return true;
}

void zt_webrtc_stop_sctp(GstElement *pipe)
{
    GstIterator *all = gst_bin_iterate_all_by_element_factory_name(GST_BIN(pipe), "sctpenc");
    GValue item = G_VALUE_INIT;
    while (gst_iterator_next(all, &item) == GST_ITERATOR_OK) {
        GstElement *enc = g_value_get_object(&item);
        GstPad *pad = gst_element_get_static_pad(enc, "src");
        if (pad && gst_pad_get_task_state(pad) != GST_TASK_STOPPED) {
            GST_PAD_EVENTFUNC(pad)(pad, GST_OBJECT(enc), gst_event_new_flush_start());
            gst_pad_stop_task(pad);
        }
        g_clear_object(&pad);
        g_value_reset(&item);
    }
    g_value_unset(&item);
    gst_iterator_free(all);
}
