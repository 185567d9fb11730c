// SPDX-License-Identifier: Apache-2.0
// webrtcbin as a viewer: webrtcbin ! depayloader ! (decoder) ! appsink.
#include "tests/whep_client.h"

#include <gst/app/gstappsink.h>
#include <gst/rtp/rtp.h>
#include <gst/gst.h>
#include <gst/video/video.h>
#include <string.h>

#include "stream/webrtc.h"

struct whep_client {
    whep_client_params p;
    GstElement *pipe, *rtc;
    GObject    *channel;
    GMutex      lock;
    GCond       change;
    char       *offer;          // under lock
    gint        pictures;       // atomic
    guint32     rtp;            // of the packet that went into the depayloader last; streaming thread
};

static GstFlowReturn on_sample(GstAppSink *sink, gpointer cookie)
{
    whep_client *c = cookie;
    GstSample *sample = gst_app_sink_pull_sample(sink);
    GstBuffer *b = sample ? gst_sample_get_buffer(sample) : NULL;
    g_atomic_int_inc(&c->pictures);
    GstVideoInfo info;
    GstVideoFrame frame;
    if (b && c->p.picture && !c->p.decode)
        c->p.picture(c->p.cookie, NULL, 0, 0, 0, c->rtp);
    if (b && c->p.picture && c->p.decode && gst_video_info_from_caps(&info, gst_sample_get_caps(sample)) &&
        gst_video_frame_map(&frame, &info, b, GST_MAP_READ)) {
        c->p.picture(c->p.cookie, GST_VIDEO_FRAME_PLANE_DATA(&frame, 0), GST_VIDEO_FRAME_PLANE_STRIDE(&frame, 0),
                     GST_VIDEO_FRAME_WIDTH(&frame), GST_VIDEO_FRAME_HEIGHT(&frame), c->rtp);
        gst_video_frame_unmap(&frame);
    }
    if (sample)
        gst_sample_unref(sample);
    return GST_FLOW_OK;
}

static GstPadProbeReturn on_packet(GstPad *pad, GstPadProbeInfo *info, gpointer cookie)
{
    whep_client *c = cookie;
    GstRTPBuffer rtp = GST_RTP_BUFFER_INIT;
    if (gst_rtp_buffer_map(GST_PAD_PROBE_INFO_BUFFER(info), GST_MAP_READ, &rtp)) {
        c->rtp = gst_rtp_buffer_get_timestamp(&rtp);
        gst_rtp_buffer_unmap(&rtp);
    }
    return GST_PAD_PROBE_OK;
}

// A peer may ask once per reporting interval for what it has lost: often, for a test.
static void report_often(GstElement *rtc)
{
    GObject *session = NULL;
    GstElement *rtpbin = gst_bin_get_by_name(GST_BIN(rtc), "rtpbin");
    g_signal_emit_by_name(rtpbin, "get-internal-session", 0, &session);
    g_object_set(session, "rtcp-min-interval", (guint64)(20 * GST_MSECOND), "bandwidth", 4e6, "rtcp-fraction", 2e5,
                 NULL);
    g_object_unref(session);
    gst_object_unref(rtpbin);
}

static void on_pad(GstElement *rtc, GstPad *pad, whep_client *c)
{
    if (GST_PAD_DIRECTION(pad) != GST_PAD_SRC)
        return;
    if (c->p.latency)
        report_often(rtc);
    const bool vp8 = !strcmp(c->p.codec, "vp8");
    char *text = g_strdup_printf("%s name=depay wait-for-keyframe=true request-keyframe=true%s ! %s ! "
                                 "appsink name=sink sync=false max-buffers=64 drop=false",
                                 vp8 ? "rtpvp8depay" : "rtph264depay",
                                 vp8 ? "" : " ! video/x-h264,stream-format=byte-stream,alignment=au",
                                 !c->p.decode ? "identity" : vp8 ? "vp8dec" : "avdec_h264 max-threads=1");
    GstElement *bin = gst_parse_bin_from_description(text, TRUE, NULL);
    g_free(text);
    GstElement *sink = gst_bin_get_by_name(GST_BIN(bin), "sink");
    GstAppSinkCallbacks calls = { .new_sample = on_sample };
    gst_app_sink_set_callbacks(GST_APP_SINK(sink), &calls, c, NULL);
    gst_object_unref(sink);
    GstElement *depay = gst_bin_get_by_name(GST_BIN(bin), "depay");
    GstPad *in = gst_element_get_static_pad(depay, "sink");
    gst_pad_add_probe(in, GST_PAD_PROBE_TYPE_BUFFER, on_packet, c, NULL);
    gst_object_unref(in);
    gst_object_unref(depay);
    gst_bin_add(GST_BIN(c->pipe), bin);
    gst_element_sync_state_with_parent(bin);
    GstPad *to = gst_element_get_static_pad(bin, "sink");
    gst_pad_link(pad, to);
    gst_object_unref(to);
}

static void on_offer(GstPromise *promise, gpointer cookie)
{
    whep_client *c = cookie;
    if (gst_promise_wait(promise) == GST_PROMISE_RESULT_REPLIED)
        zt_webrtc_set_local(c->rtc, promise, "offer", NULL);
    gst_promise_unref(promise);
}

static void on_gathering(GstElement *rtc, GParamSpec *spec, whep_client *c)
{
    char *mine = strcmp(zt_webrtc_state(rtc, "ice-gathering-state"), "complete") ? NULL : zt_webrtc_local(rtc);
    if (!mine)
        return;
    g_mutex_lock(&c->lock);
    g_free(c->offer);
    c->offer = mine;
    g_cond_signal(&c->change);
    g_mutex_unlock(&c->lock);
}

static void on_message(GObject *channel, const char *text, whep_client *c)
{
    if (c->p.message)
        c->p.message(c->p.cookie, text);
}

static GstBusSyncReply drop(GstBus *bus, GstMessage *m, gpointer cookie)
{
    gst_message_unref(m);
    return GST_BUS_DROP;
}

static void add_video(whep_client *c)
{
    const bool vp8 = !strcmp(c->p.codec, "vp8");
    GstCaps *caps = gst_caps_new_simple("application/x-rtp", "media", G_TYPE_STRING, "video", "encoding-name",
                                        G_TYPE_STRING, vp8 ? "VP8" : "H264", "clock-rate", G_TYPE_INT, 90000, "payload",
                                        G_TYPE_INT, 102, "rtcp-fb-nack-pli", G_TYPE_BOOLEAN, TRUE, NULL);
    if (!vp8)
        gst_caps_set_simple(caps, "packetization-mode", G_TYPE_STRING, "1", NULL);
    GEnumClass *direction = g_type_class_ref(g_type_from_name("GstWebRTCRTPTransceiverDirection"));
    GObject *t = NULL;
    g_signal_emit_by_name(c->rtc, "add-transceiver", g_enum_get_value_by_nick(direction, "recvonly")->value, caps, &t);
    g_type_class_unref(direction);
    g_object_set(t, "do-nack", TRUE, NULL);
    g_object_unref(t);
    gst_caps_unref(caps);
}

whep_client *whep_client_create(const whep_client_params *p)
{
    gst_init(NULL, NULL);
    whep_client *c = g_new0(whep_client, 1);
    c->p = *p;
    g_mutex_init(&c->lock);
    g_cond_init(&c->change);
    c->pipe = gst_pipeline_new(NULL);
    c->rtc = gst_element_factory_make("webrtcbin", NULL);
    gst_util_set_object_arg(G_OBJECT(c->rtc), "bundle-policy", "max-bundle");
    g_object_set(c->rtc, "latency", c->p.latency ? c->p.latency : 20, NULL);
    gst_bin_add(GST_BIN(c->pipe), c->rtc);
    GstBus *bus = gst_element_get_bus(c->pipe);
    gst_bus_set_sync_handler(bus, drop, NULL, NULL);
    gst_object_unref(bus);
    g_signal_connect(c->rtc, "pad-added", G_CALLBACK(on_pad), c);
    g_signal_connect(c->rtc, "notify::ice-gathering-state", G_CALLBACK(on_gathering), c);
    GObject *ice = NULL, *agent = NULL;
    gboolean added;
    g_object_get(c->rtc, "ice-agent", &ice, NULL);
    g_object_get(ice, "agent", &agent, NULL);
    g_object_set(agent, "ice-tcp", FALSE, "upnp", FALSE, NULL);
    g_signal_emit_by_name(ice, "add-local-ip-address", "127.0.0.1", &added);
    g_object_unref(agent);
    g_object_unref(ice);
    gst_element_set_state(c->pipe, GST_STATE_READY);
    add_video(c);
    if (c->p.channel) {
        g_signal_emit_by_name(c->rtc, "create-data-channel", "control", NULL, &c->channel);
        g_signal_connect(c->channel, "on-message-string", G_CALLBACK(on_message), c);
    }
    gst_element_set_state(c->pipe, GST_STATE_PLAYING);
    g_signal_emit_by_name(c->rtc, "create-offer", NULL, gst_promise_new_with_change_func(on_offer, c, NULL));
    return c;
}

const char *whep_client_offer(whep_client *c)
{
    const gint64 until = g_get_monotonic_time() + 5 * G_TIME_SPAN_SECOND;
    g_mutex_lock(&c->lock);
    while (!c->offer && g_cond_wait_until(&c->change, &c->lock, until))
        ;
    g_mutex_unlock(&c->lock);
    return c->offer;
}

void whep_client_answer(whep_client *c, const char *text)
{
    GstPromise *set = gst_promise_new();
    zt_webrtc_set_remote(c->rtc, "answer", text, set);
    gst_promise_unref(set);
}

int whep_client_pictures(whep_client *c)
{
    return g_atomic_int_get(&c->pictures);
}

bool whep_client_send(whep_client *c, const char *text)
{
    return c->channel && zt_webrtc_send(c->channel, text);
}

void whep_client_destroy(whep_client *c)
{
    if (!c)
        return;
    if (c->channel)
        g_signal_handlers_disconnect_by_data(c->channel, c);
    g_signal_handlers_disconnect_by_data(c->rtc, c);
    gst_element_set_state(c->pipe, GST_STATE_NULL);
    zt_webrtc_stop_sctp(c->pipe);
    g_clear_object(&c->channel);
    gst_object_unref(c->pipe);
    g_free(c->offer);
    g_cond_clear(&c->change);
    g_mutex_clear(&c->lock);
    g_free(c);
}
