// SPDX-License-Identifier: Apache-2.0
// An RTSP server that takes one H.264 stream on a port of this machine.
//   rtsp_record N     prints its address; ends when N access units have come, 0, or after a minute, 1
#include <gst/rtsp-server/rtsp-server.h>
#include <stdio.h>
#include <stdlib.h>

static gint wanted;
static GMainLoop *loop;

static void on_handoff(GstElement *sink, GstBuffer *b, GstPad *pad, gpointer cookie)
{
    (void)sink;
    (void)b;
    (void)pad;
    (void)cookie;
    if (g_atomic_int_dec_and_test(&wanted))
        g_main_loop_quit(loop);
}

static void on_media(GstRTSPMediaFactory *factory, GstRTSPMedia *media, gpointer cookie)
{
    (void)factory;
    (void)cookie;
    GstElement *bin = gst_rtsp_media_get_element(media), *sink = gst_bin_get_by_name(GST_BIN(bin), "sink");
    g_signal_connect(sink, "handoff", G_CALLBACK(on_handoff), NULL);
    gst_object_unref(sink);
    gst_object_unref(bin);
}

static gboolean give_up(gpointer cookie)
{
    (void)cookie;
    exit(1);
}

int main(int argc, char **argv)
{
    wanted = argc > 1 ? atoi(argv[1]) : 1;
    gst_init(NULL, NULL);
    loop = g_main_loop_new(NULL, FALSE);
    GstRTSPServer *server = gst_rtsp_server_new();
    gst_rtsp_server_set_address(server, "127.0.0.1");
    gst_rtsp_server_set_service(server, "0");
    GstRTSPMediaFactory *factory = gst_rtsp_media_factory_new();
    gst_rtsp_media_factory_set_transport_mode(factory, GST_RTSP_TRANSPORT_MODE_RECORD);
    gst_rtsp_media_factory_set_launch(factory, "( rtph264depay name=depay0 ! h264parse ! video/x-h264,alignment=au ! "
                                               "fakesink name=sink signal-handoffs=true sync=false async=false )");
    g_signal_connect(factory, "media-constructed", G_CALLBACK(on_media), NULL);
    GstRTSPMountPoints *mounts = gst_rtsp_server_get_mount_points(server);
    gst_rtsp_mount_points_add_factory(mounts, "/live", factory);
    g_object_unref(mounts);
    if (!gst_rtsp_server_attach(server, NULL))
        return 1;
    printf("rtsp://127.0.0.1:%d/live\n", gst_rtsp_server_get_bound_port(server));
    fflush(stdout);
    g_timeout_add_seconds(60, give_up, NULL);
    g_main_loop_run(loop);
    return 0;
}
