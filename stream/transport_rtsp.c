// SPDX-License-Identifier: Apache-2.0
// RTSP through gst-rtsp-server: a mount is a shared pipeline, appsrc ! rtph264pay, that exists while somebody watches.
#include <errno.h>
#include <gst/app/gstappsrc.h>
#include <gst/gst.h>
#include <gst/rtsp-server/rtsp-server.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "stream/place.h"
#include "stream/plugins.h"
#include "stream/transport.h"

#define WAITING     8               // access units before a blocked pipeline is fed no more
#define STALLED     (10 * ZT_S)     // a client that takes nothing for so long is disconnected
#define CLEANUP     5               // s between looks for sessions that timed out
#define ROLE        "viewer"        // of everybody who knows the password
#define CLOSE_WAIT  (2 * ZT_S)      // for clients to go when the server closes

struct zt_rtsp_server {
    GstRTSPServer      *gst;
    GstRTSPMountPoints *mounts;
    GMainContext       *context;
    GMainLoop          *loop;
    GThread            *thread;
    int                 seconds;    // server's thread only
};

// A path. Shared by its transport and by GStreamer's objects, which may outlive it.
typedef struct mount {
    int           w, h, fps;        // only changed by open
    gatomicrefcount refs;
    GMutex        lock;             // held for moments only: nothing below blocks
    // Protected by lock
    zt_stream    *stream;           // NULL once the transport is closed
    GstRTSPMedia *media;            // borrowed; NULL while nobody watches
    GstAppSrc    *src;              // a reference; NULL with media
    bool          need_key;         // drop until a key frame
    zt_place      place;
} mount;

typedef struct rtsp {
    zt_transport    base;
    zt_rtsp_server *server;
    mount          *m;
    char           *path;
} rtsp;

// What the server's thread remembers of a client.
typedef struct watched {
    GSocket *socket;
    uint64_t acked;                 // bytes
    int64_t  moved;                 // monotonic ns at which acked last grew, or nothing was waiting
} watched;

static mount *mount_ref(mount *m)
{
    g_atomic_ref_count_inc(&m->refs);
    return m;
}

static void mount_unref(void *cookie)
{
    mount *m = cookie;
    if (!g_atomic_ref_count_dec(&m->refs))
        return;
    g_mutex_clear(&m->lock);
    zt_free(m);
}

static void mount_unref_closure(void *cookie, GClosure *closure)
{
    mount_unref(cookie);
}

static void on_unprepared(GstRTSPMedia *media, mount *m)
{
    g_mutex_lock(&m->lock);
    if (m->media == media) {
        m->media = NULL;
        g_clear_object(&m->src);
    }
    g_mutex_unlock(&m->lock);
}

// The first viewer came: a pipeline was made for the mount.
static void on_media(GstRTSPMediaFactory *factory, GstRTSPMedia *media, mount *m)
{
    GstElement *bin = gst_rtsp_media_get_element(media);
    GstElement *src = gst_bin_get_by_name_recurse_up(GST_BIN(bin), "src");
    gst_object_unref(bin);

    GstCaps *caps = gst_caps_new_simple("video/x-h264", "stream-format", G_TYPE_STRING, "byte-stream", "alignment",
                                        G_TYPE_STRING, "au", "profile", G_TYPE_STRING, "constrained-baseline", "width",
                                        G_TYPE_INT, m->w, "height", G_TYPE_INT, m->h, "framerate", GST_TYPE_FRACTION,
                                        m->fps, 1, NULL);
    gst_app_src_set_caps(GST_APP_SRC(src), caps);
    gst_caps_unref(caps);
    g_object_set_data_full(G_OBJECT(media), "zt-mount", mount_ref(m), mount_unref);
    g_signal_connect_data(media, "unprepared", G_CALLBACK(on_unprepared), mount_ref(m), mount_unref_closure, 0);

    g_mutex_lock(&m->lock);
    g_clear_object(&m->src);
    m->media = media;
    m->src = GST_APP_SRC(src);
    m->need_key = true;
    m->place.placed = false;
    if (m->stream)
        zt_stream_want_key(m->stream);
    else
        gst_app_src_end_of_stream(m->src);
    g_mutex_unlock(&m->lock);
}

// A viewer who joins a pipeline that runs sees nothing before the next key frame.
static void on_play(GstRTSPClient *client, GstRTSPContext *context, void *cookie)
{
    mount *m = context->media ? g_object_get_data(G_OBJECT(context->media), "zt-mount") : NULL;
    if (!m)
        return;

    g_mutex_lock(&m->lock);
    if (m->stream)
        zt_stream_want_key(m->stream);
    g_mutex_unlock(&m->lock);
}

static void watched_free(void *cookie)
{
    watched *w = cookie;
    g_clear_object(&w->socket);
    zt_free(w);
}

static void on_client(GstRTSPServer *gst, GstRTSPClient *client, void *cookie)
{
    g_signal_connect(client, "play-request", G_CALLBACK(on_play), NULL);
    GstRTSPConnection *c = gst_rtsp_client_get_connection(client);
    GSocket *socket = c ? gst_rtsp_connection_get_write_socket(c) : NULL;
    watched *w = socket ? zt_alloc(sizeof(*w)) : NULL;
    if (!w)
        return;

    w->socket = g_object_ref(socket);
    w->moved = zt_now();
    g_object_set_data_full(G_OBJECT(client), "zt-watched", w, watched_free);
}

// As if the peer had hung up: the client's own thread cleans up.
static void hang_up(GstRTSPClient *client)
{
    const watched *w = g_object_get_data(G_OBJECT(client), "zt-watched");
    if (w)
        g_socket_shutdown(w->socket, TRUE, TRUE, NULL);
}

static GstRTSPFilterResult check_stall(GstRTSPServer *gst, GstRTSPClient *client, void *cookie)
{
    watched *w = g_object_get_data(G_OBJECT(client), "zt-watched");
    if (!w)
        return GST_RTSP_FILTER_KEEP;

    const int fd = g_socket_get_fd(w->socket);
    struct tcp_info info = { 0 };
    socklen_t bytes = sizeof(info);
    int waiting = 0;
    const int64_t now = zt_now();
    if (ioctl(fd, SIOCOUTQ, &waiting) < 0 || getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &bytes) < 0)
        return GST_RTSP_FILTER_KEEP;
    if (!waiting || info.tcpi_bytes_acked != w->acked)
        w->moved = now;
    w->acked = info.tcpi_bytes_acked;
    if (now - w->moved > STALLED) {
        zt_warn("an RTSP client has read nothing for %d s: disconnected", (int)(STALLED / ZT_S));
        hang_up(client);
        w->moved = now;
    }
    return GST_RTSP_FILTER_KEEP;
}

static gboolean on_second(void *cookie)
{
    zt_rtsp_server *s = cookie;
    gst_rtsp_server_client_filter(s->gst, check_stall, NULL);
    if (++s->seconds % CLEANUP == 0) {
        GstRTSPSessionPool *pool = gst_rtsp_server_get_session_pool(s->gst);
        gst_rtsp_session_pool_cleanup(pool);
        g_object_unref(pool);
    }
    return G_SOURCE_CONTINUE;
}

static void *server_run(void *cookie)
{
    zt_rtsp_server *s = cookie;
    g_main_context_push_thread_default(s->context);
    g_main_loop_run(s->loop);
    g_main_context_pop_thread_default(s->context);
    return NULL;
}

static void attach(zt_rtsp_server *s, GSource *source)
{
    g_source_attach(source, s->context);
    g_source_unref(source);
}

static int bind_port(zt_rtsp_server *s, const char *host, int port)
{
    char service[16];
    GError *error = NULL;
    g_snprintf(service, sizeof(service), "%d", port);
    gst_rtsp_server_set_address(s->gst, host);
    gst_rtsp_server_set_service(s->gst, service);
    GSource *source = gst_rtsp_server_create_source(s->gst, NULL, &error);
    if (source) {
        attach(s, source);
        return 0;
    }
    const int err = g_error_matches(error, G_IO_ERROR, G_IO_ERROR_ADDRESS_IN_USE)      ? -EADDRINUSE
                    : g_error_matches(error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED) ? -EACCES
                                                                                       : -EINVAL;
    zt_error("cannot serve RTSP on %s port %d: %s", host, port, error ? error->message : "no reason given");
    g_clear_error(&error);
    return err;
}

int zt_rtsp_gst_open(zt_rtsp_server **out, const char *host, int port)
{
    static const zt_plugin needed[] = {
        { "appsrc", "gstreamer1.0-plugins-base" },
        { "rtph264pay", "gstreamer1.0-plugins-good" },
        { "rtpbin", "gstreamer1.0-plugins-good" },
        { "multiudpsink", "gstreamer1.0-plugins-good" },
    };
    int err = zt_plugins_open("cannot serve RTSP", needed, ZT_LEN(needed));
    if (err < 0)
        return err;

    zt_rtsp_server *s = zt_alloc(sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->context = g_main_context_new();
    s->loop = g_main_loop_new(s->context, FALSE);
    s->gst = gst_rtsp_server_new();
    s->mounts = gst_rtsp_server_get_mount_points(s->gst);
    g_signal_connect(s->gst, "client-connected", G_CALLBACK(on_client), NULL);

    // A thread per client: one that waits for its first picture keeps nobody else waiting.
    GstRTSPThreadPool *threads = gst_rtsp_server_get_thread_pool(s->gst);
    gst_rtsp_thread_pool_set_max_threads(threads, -1);
    g_object_unref(threads);

    err = bind_port(s, host, port);
    if (err < 0) {
        zt_rtsp_gst_close(&s);
        return err;
    }
    GSource *second = g_timeout_source_new_seconds(1);
    g_source_set_callback(second, on_second, s, NULL);
    attach(s, second);
    s->thread = g_thread_new("zt-rtsp", server_run, s);
    *out = s;
    return 0;
}

static gboolean quit(void *loop)
{
    g_main_loop_quit(loop);
    return G_SOURCE_REMOVE;
}

static GstRTSPFilterResult hang_up_all(GstRTSPServer *gst, GstRTSPClient *client, void *count)
{
    hang_up(client);
    ++*(int *)count;
    return GST_RTSP_FILTER_KEEP;
}

void zt_rtsp_gst_close(zt_rtsp_server **out)
{
    zt_rtsp_server *s = *out;
    if (!s)
        return;

    const int64_t until = zt_now() + CLOSE_WAIT;
    for (int clients = 1; s->thread && clients && zt_now() < until; zt_sleep_until(zt_now() + 5 * ZT_MS)) {
        clients = 0;
        gst_rtsp_server_client_filter(s->gst, hang_up_all, &clients);
    }
    if (s->thread) {
        GSource *source = g_idle_source_new();      // inside the loop: it may not have been entered yet
        g_source_set_callback(source, quit, s->loop, NULL);
        attach(s, source);
        g_thread_join(s->thread);
    }
    g_object_unref(s->mounts);
    g_object_unref(s->gst);
    g_main_loop_unref(s->loop);
    g_main_context_unref(s->context);
    zt_free(s);
    *out = NULL;
}

void zt_rtsp_gst_password(zt_rtsp_server *s, const char *user, const char *password)
{
    GstRTSPAuth *auth = gst_rtsp_auth_new();
    GstRTSPToken *token = gst_rtsp_token_new(GST_RTSP_TOKEN_MEDIA_FACTORY_ROLE, G_TYPE_STRING, ROLE, NULL);
    gst_rtsp_auth_set_supported_methods(auth, GST_RTSP_AUTH_DIGEST);
    gst_rtsp_auth_add_digest(auth, user, password, token);
    gst_rtsp_server_set_auth(s->gst, auth);
    gst_rtsp_token_unref(token);
    g_object_unref(auth);
}

int zt_rtsp_gst_port(const zt_rtsp_server *s)
{
    return gst_rtsp_server_get_bound_port(s->gst);
}

static int add_mount(rtsp *t)
{
    GstRTSPMediaFactory *there = gst_rtsp_mount_points_match(t->server->mounts, t->path, NULL);
    if (there) {
        zt_error("cannot mount rtsp:%s: it is mounted already", t->path);
        g_object_unref(there);
        return -EEXIST;
    }
    GstRTSPMediaFactory *f = gst_rtsp_media_factory_new();
    gst_rtsp_media_factory_set_launch(f, "( appsrc name=src is-live=true format=time max-bytes=0 max-buffers=60 "
                                         "leaky-type=upstream ! "
                                         "rtph264pay name=pay0 pt=96 config-interval=-1 aggregate-mode=zero-latency )");
    gst_rtsp_media_factory_set_shared(f, TRUE);
    gst_rtsp_media_factory_set_latency(f, 0);
    gst_rtsp_media_factory_set_protocols(f, GST_RTSP_LOWER_TRANS_UDP | GST_RTSP_LOWER_TRANS_TCP);
    gst_rtsp_media_factory_add_role(f, ROLE, GST_RTSP_PERM_MEDIA_FACTORY_ACCESS, G_TYPE_BOOLEAN, TRUE,
                                    GST_RTSP_PERM_MEDIA_FACTORY_CONSTRUCT, G_TYPE_BOOLEAN, TRUE, NULL);
    g_signal_connect_data(f, "media-configure", G_CALLBACK(on_media), mount_ref(t->m), mount_unref_closure, 0);
    gst_rtsp_mount_points_add_factory(t->server->mounts, t->path, f);   // takes f
    return 0;
}

static int rtsp_open(zt_transport **out, const zt_transport_params *p)
{
    const char *path = p->url + strlen("rtsp:");
    if (path[0] != '/' || !path[1] || !p->rtsp) {
        zt_error("cannot serve %s: %s", p->url, p->rtsp ? "a mount is rtsp:/NAME" : "no RTSP server");
        return -EINVAL;
    }
    rtsp *t = zt_alloc(sizeof(*t));
    mount *m = zt_alloc(sizeof(*m));
    if (!t || !m) {
        zt_free(t);
        zt_free(m);
        return -ENOMEM;
    }
    g_atomic_ref_count_init(&m->refs);
    g_mutex_init(&m->lock);
    m->w = p->w;
    m->h = p->h;
    m->fps = p->fps;
    m->stream = p->stream;
    t->base.type = &zt_transport_rtsp;
    t->server = p->rtsp;
    t->m = m;
    t->path = g_strdup(path);
    const int err = add_mount(t);
    if (err < 0) {
        mount_unref(m);
        g_free(t->path);
        zt_free(t);
        return err;
    }
    *out = &t->base;
    return 0;
}

static GstRTSPFilterResult find_media(GstRTSPSession *session, GstRTSPSessionMedia *media, void *cookie)
{
    void **wanted = cookie;
    if (gst_rtsp_session_media_get_media(media) == wanted[0])
        wanted[1] = media;
    return GST_RTSP_FILTER_KEEP;
}

static GstRTSPFilterResult search_session(GstRTSPClient *client, GstRTSPSession *session, void *cookie)
{
    gst_rtsp_session_filter(session, find_media, cookie);
    return GST_RTSP_FILTER_KEEP;
}

static GstRTSPFilterResult hang_up_viewer(GstRTSPServer *gst, GstRTSPClient *client, void *media)
{
    void *wanted[2] = { media, NULL };
    gst_rtsp_client_session_filter(client, search_session, wanted);
    if (wanted[1])
        hang_up(client);
    return GST_RTSP_FILTER_KEEP;
}

static void rtsp_close(zt_transport **out)
{
    rtsp *t = (rtsp *)*out;
    mount *m = t->m;
    gst_rtsp_mount_points_remove_factory(t->server->mounts, t->path);

    g_mutex_lock(&m->lock);
    m->stream = NULL;
    GstRTSPMedia *media = m->media ? g_object_ref(m->media) : NULL;
    if (m->src)
        gst_app_src_end_of_stream(m->src);
    g_mutex_unlock(&m->lock);
    if (media) {
        gst_rtsp_server_client_filter(t->server->gst, hang_up_viewer, media);
        g_object_unref(media);
    }
    mount_unref(m);
    g_free(t->path);
    zt_free(t);
    *out = NULL;
}

// The pipeline's running time; -1 before it plays.
static int64_t running_time(GstAppSrc *src)
{
    GstClock *clock = gst_element_get_clock(GST_ELEMENT(src));
    if (!clock)
        return -1;
    const int64_t now = (int64_t)(gst_clock_get_time(clock) - gst_element_get_base_time(GST_ELEMENT(src)));
    gst_object_unref(clock);
    return now;
}

static void packet_done(void *cookie)
{
    zt_packet *p = cookie;
    zt_packet_unref(&p);
}

static int rtsp_packet(zt_transport *base, zt_packet *p)
{
    mount *m = ((rtsp *)base)->m;
    g_mutex_lock(&m->lock);
    if (!m->src)
        goto out;

    const int64_t now = running_time(m->src);
    if (now < 0 || gst_app_src_get_current_level_buffers(m->src) >= WAITING) {
        m->need_key = true;         // it stands still: what it holds would be stale, what follows needs a key frame
        goto out;
    }
    if (m->need_key && !p->key) {
        zt_stream_want_key(m->stream);
        goto out;
    }
    m->need_key = false;
    GstBuffer *b = gst_buffer_new_wrapped_full(GST_MEMORY_FLAG_READONLY, p->data, p->bytes, 0, p->bytes,
                                               zt_packet_ref(p), packet_done);
    GST_BUFFER_PTS(b) = (GstClockTime)zt_place_packet(&m->place, p->pts, now);
    GST_BUFFER_DURATION(b) = (GstClockTime)p->duration;
    if (!p->key)
        GST_BUFFER_FLAG_SET(b, GST_BUFFER_FLAG_DELTA_UNIT);
    gst_app_src_push_buffer(m->src, b);     // takes b; never blocks
out:
    g_mutex_unlock(&m->lock);
    return 0;
}

static int rtsp_viewers(zt_transport *base)
{
    mount *m = ((rtsp *)base)->m;
    g_mutex_lock(&m->lock);
    GstRTSPMedia *media = m->media ? g_object_ref(m->media) : NULL;
    g_mutex_unlock(&m->lock);
    if (!media)
        return 0;

    GstRTSPStream *s = gst_rtsp_media_n_streams(media) ? gst_rtsp_media_get_stream(media, 0) : NULL;
    GList *all = s ? gst_rtsp_stream_transport_filter(s, NULL, NULL) : NULL;
    const int n = (int)g_list_length(all);
    g_list_free_full(all, g_object_unref);
    g_object_unref(media);
    return ZT_MAX(n, 1);            // one who is joining waits for a picture already
}

const zt_transport_type zt_transport_rtsp = {
    .name = "rtsp",
    .live_only = true,
    .open = rtsp_open,
    .close = rtsp_close,
    .packet = rtsp_packet,
    .viewers = rtsp_viewers,
};
