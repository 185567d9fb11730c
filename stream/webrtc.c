// SPDX-License-Identifier: Apache-2.0
// What stream/webrtc.h says, through GObject.
#include "stream/webrtc.h"

#include <gst/sdp/sdp.h>
#include <string.h>
#include <unistd.h>

#define WAITING 65536           // bytes

// What the boxed type GstWebRTCSessionDescription points to: public, and so part of the library's ABI.
typedef struct description {
    int            type;        // GstWebRTCSDPType: 1 offer, 2 pranswer, 3 answer, 4 rollback
    GstSDPMessage *sdp;
} description;

// Random bytes for libnice, which finds this before GnuTLS' own (meson.build exports it): that one keeps 192 bytes for
// each thread that ever asked, and every viewer has threads of its own that ask. Pages with such a block never go back:
// 5 kB a viewer. As GnuTLS has it: 0, or negative.
int gnutls_rnd(int level, void *out, size_t bytes) __attribute__((visibility("default")));
int gnutls_rnd(int level, void *out, size_t bytes)
{
    (void)level;
    for (size_t at = 0; at < bytes; at += 256)
        if (getentropy((char *)out + at, MIN(bytes - at, 256)) < 0)
            return -1;
    return 0;
}

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

static void move_sources(GstSDPMedia *media, GString *to)
{
    for (guint i = 0; i < gst_sdp_media_attributes_len(media);) {
        const GstSDPAttribute *a = gst_sdp_media_get_attribute(media, i);
        if (g_str_has_prefix(a->key, "ssrc")) {
            g_string_append_printf(to, "a=%s:%s\r\n", a->key, a->value);
            gst_sdp_media_remove_attribute(media, i);
        } else {
            i++;
        }
    }
}

bool zt_webrtc_set_local(GstElement *rtc, GstPromise *created, const char *kind, GString *sources)
{
    const GstStructure *reply = gst_promise_get_reply(created);
    const GValue *value = reply ? gst_structure_get_value(reply, kind) : NULL;
    const description *made = value ? g_value_get_boxed(value) : NULL;
    if (!made)
        return false;
    description ours = { made->type, NULL };
    gst_sdp_message_copy(made->sdp, &ours.sdp);
    for (guint i = 0; sources && i < gst_sdp_message_medias_len(ours.sdp); i++)
        move_sources((GstSDPMedia *)gst_sdp_message_get_media(ours.sdp, i), sources);
    GstPromise *set = gst_promise_new();
    g_signal_emit_by_name(rtc, "set-local-description", &ours, set);        // copies it
    gst_promise_interrupt(set);             // nobody waits
    gst_promise_unref(set);
    gst_sdp_message_free(ours.sdp);
    return true;
}

char *zt_webrtc_with_sources(const char *local, const GString *sources)
{
    static const char sends[] = "a=sendonly\r\n";
    const char *at = strstr(local, sends);
    const int before = at ? (int)(at + strlen(sends) - local) : 0;
    return at ? g_strdup_printf("%.*s%s%s", before, local, sources->str, local + before) : g_strdup(local);
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
