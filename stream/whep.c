// SPDX-License-Identifier: Apache-2.0
// WHEP without HTTP: the server's settings, and viewers from offer to end as the control thread sees them.
#include "stream/whep.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "stream/offer.h"
#include "stream/plugins.h"
#include "stream/transport.h"
#include "stream/webrtc.h"
#include "stream/whep_internal.h"

#define GATHER     (8 * ZT_S)       // a STUN or TURN server that does not answer is not waited for any longer
#define CLOSE_WAIT (5 * ZT_S)

zt_viewer *zt_viewer_ref(zt_viewer *v)
{
    g_atomic_ref_count_inc(&v->refs);
    return v;
}

void zt_viewer_unref(gpointer cookie)
{
    zt_viewer *v = cookie;
    if (!g_atomic_ref_count_dec(&v->refs))
        return;
    zt_mount_unref(v->mount);
    g_mutex_clear(&v->lock);
    g_free(v->offer);
    g_string_free(v->sources, TRUE);
    zt_free(v);
}

// ---- news from other threads

struct news {
    zt_viewer    *v;
    enum zt_news  what;
    char         *text;
};

// Peers outside see the public address; ours would tell them nothing.
static char *with_public_address(const char *sdp, const char *public_address)
{
    GString *out = g_string_new(NULL);
    char **line = g_strsplit(sdp, "\r\n", -1);
    for (int i = 0; line[i]; i++) {
        char **field = g_str_has_prefix(line[i], "a=candidate:") ? g_strsplit(line[i], " ", -1) : NULL;
        if (field && g_strv_length(field) > 7 && !strcmp(field[7], "host")) {
            g_free(field[4]);
            field[4] = g_strdup(public_address);
            g_free(line[i]);
            line[i] = g_strjoinv(" ", field);
        }
        g_strfreev(field);
        if (*line[i])
            g_string_append_printf(out, "%s\r\n", line[i]);
    }
    g_strfreev(line);
    return g_string_free(out, FALSE);
}

static void answer(zt_viewer *v, int status, const char *sdp)
{
    if (v->answered)
        return;
    v->answered = true;
    char *public = sdp && v->server->public_address ? with_public_address(sdp, v->server->public_address) : NULL;
    v->p.answer(v->p.cookie, status, public ? public : sdp);
    g_free(public);
}

static void gone(zt_viewer *v, const char *why)
{
    if (!v->answered) {
        answer(v, 503, NULL);
        return;
    }
    if (v->gone)
        return;
    v->gone = true;
    v->p.gone(v->p.cookie, why);
}

static gboolean deliver(gpointer cookie)
{
    const struct news *n = cookie;
    zt_viewer *v = n->v;
    if (v->closed)
        return G_SOURCE_REMOVE;
    switch (n->what) {
    case ZT_NEWS_ANSWER:
        answer(v, v->offers ? 200 : 201, n->text);
        break;
    case ZT_NEWS_REFUSED:
        if (v->answered)
            gone(v, "its answer was refused");
        else
            answer(v, v->offers ? 500 : 422, NULL);
        break;
    case ZT_NEWS_CONNECTED:
        if (v->p.connected)
            v->p.connected(v->p.cookie);
        break;
    case ZT_NEWS_MESSAGE:
        if (v->p.message)
            v->p.message(v->p.cookie, n->text);
        break;
    case ZT_NEWS_GONE:
        gone(v, n->text);
        break;
    }
    return G_SOURCE_REMOVE;
}

static void news_free(gpointer cookie)
{
    struct news *n = cookie;
    zt_viewer_unref(n->v);
    g_free(n->text);
    g_free(n);
}

void zt_viewer_post(zt_viewer *v, enum zt_news what, char *text)
{
    struct news *n = g_new(struct news, 1);
    *n = (struct news){ zt_viewer_ref(v), what, text };
    GSource *source = g_idle_source_new();
    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    g_source_set_callback(source, deliver, n, news_free);
    g_source_attach(source, v->server->context);
    g_source_unref(source);
}

// ---- viewers

// Twice a second: those that never connect, and those that went without a word.
static gboolean on_tick(gpointer cookie)
{
    zt_viewer *v = cookie;
    const int64_t now = zt_now();
    // Where no server is asked, what is late is never: webrtcbin does not gather for some offers that make no sense.
    if (!v->answered && now - v->created > GATHER)
        answer(v, v->offers || v->server->ice_server ? 504 : 422, NULL);
    else if (!g_atomic_int_get(&v->connected) && now - v->created > v->server->setup)
        gone(v, "it did not connect");
    else if (g_atomic_int_get(&v->connected) &&
             now - __atomic_load_n(&v->heard, __ATOMIC_RELAXED) > v->server->silence)
        gone(v, "nothing is heard from it");
    return G_SOURCE_CONTINUE;
}

static void start_tick(zt_viewer *v)
{
    v->tick = g_timeout_source_new(500);
    g_source_set_callback(v->tick, on_tick, v, NULL);
    g_source_attach(v->tick, v->server->context);
}

static enum zt_candidates candidates(const zt_viewer *v)
{
    bool turn = false;
    for (char **url = v->server->ice_server; url && *url; url++)
        turn = turn || g_str_has_prefix(*url, "turn:");
    return !turn ? ZT_CANDIDATES_NONE : v->local_peer ? ZT_CANDIDATES_ALL : ZT_CANDIDATES_PUBLIC;
}

const char *zt_whep_codec(const char *offer, size_t bytes)
{
    zt_offer o;
    const char *codec = zt_offer_read(&o, offer, bytes, NULL, ZT_CANDIDATES_NONE) < 0 ? NULL : o.codec;
    zt_offer_finish(&o);
    return codec;
}

static int read_offer(zt_viewer *v, const zt_viewer_params *p, int *payload, int *playout_delay)
{
    *payload = 96;
    *playout_delay = 0;
    v->offers = !p->offer;
    if (v->offers)
        return 0;
    zt_offer o;
    const int err = zt_offer_read(&o, p->offer, p->bytes, v->mount->vp8 ? "vp8" : "h264", candidates(v));
    if (err < 0)
        return err;
    *payload = o.payload;
    *playout_delay = o.playout_delay;
    v->offer = g_strdup(o.sdp);
    strcpy(v->ufrag, o.ufrag);
    zt_offer_finish(&o);
    return 0;
}

int zt_viewer_create(zt_viewer **out, zt_whep_server *s, const zt_viewer_params *p)
{
    zt_mount *m = zt_mount_find(s, p->mount);
    if (!m)
        return -ENOENT;
    zt_viewer *v = zt_alloc(sizeof(*v));
    if (!v) {
        zt_mount_unref(m);
        return -ENOMEM;
    }
    g_atomic_ref_count_init(&v->refs);
    g_mutex_init(&v->lock);
    v->server = s;
    v->mount = m;
    v->p = *p;
    v->local_peer = p->local_peer;
    v->sources = g_string_new(NULL);
    v->created = zt_now();
    int payload, playout_delay;
    int err = read_offer(v, p, &payload, &playout_delay);
    if (!err)
        err = zt_peer_build(v, payload, playout_delay);
    if (err < 0) {
        v->answered = true;
        zt_viewer_close(&v);
        return err;
    }
    zt_mount_add(m, v);
    start_tick(v);
    zt_peer_start(v);
    *out = v;
    return 0;
}

void zt_viewer_close(zt_viewer **viewer)
{
    zt_viewer *v = *viewer;
    if (!v)
        return;
    v->closed = true;
    zt_mount_remove(v->mount, v);
    if (v->tick) {
        g_source_destroy(v->tick);
        g_source_unref(v->tick);
        v->tick = NULL;
    }
    if (v->pipe)
        zt_peer_end(v);
    zt_viewer_unref(v);
    *viewer = NULL;
}

int zt_viewer_accept(zt_viewer *v, const char *sdp, size_t bytes)
{
    if (!bytes || bytes > ZT_OFFER_BYTES || !g_utf8_validate(sdp, (gssize)bytes, NULL))
        return -EINVAL;
    char *text = g_strndup(sdp, bytes);
    zt_peer_accept(v, text);
    g_free(text);
    return 0;
}

static void use_candidate(void *cookie, const char *candidate)
{
    zt_peer_candidate(cookie, candidate);
}

int zt_viewer_candidates(zt_viewer *v, const char *fragment, size_t bytes)
{
    return zt_fragment_read(fragment, bytes, v->ufrag, candidates(v), use_candidate, v);
}

bool zt_viewer_send(zt_viewer *v, const char *text)
{
    g_mutex_lock(&v->lock);
    GObject *channel = v->channel ? g_object_ref(v->channel) : NULL;
    g_mutex_unlock(&v->lock);
    const bool sent = channel && zt_webrtc_send(channel, text);
    g_clear_object(&channel);
    return sent;
}

bool zt_viewer_rtp(zt_viewer *v, uint64_t index, uint32_t *rtp)
{
    zt_mount *m = v->mount;
    g_mutex_lock(&m->lock);
    const bool known = m->sent[index % ZT_SENT].index == index;
    const int64_t at = m->sent[index % ZT_SENT].at;
    g_mutex_unlock(&m->lock);
    *rtp = v->rtp_offset + (uint32_t)gst_util_uint64_scale_int((guint64)at, 90000, GST_SECOND);
    return known;
}

void zt_viewer_get_stats(zt_viewer *v, zt_viewer_stats *out)
{
    out->connected = g_atomic_int_get(&v->connected);
    out->loss = g_atomic_int_get(&v->loss) / 256.0;
    out->round_trip = g_atomic_int_get(&v->round_trip) / 1e6;
}

// ---- the server

void zt_whep_prepare(char **argv)
{
    char self[4096];
    const ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (glib_check_version(2, 75, 1) && !g_getenv("G_SLICE") && n > 0) {
        self[n] = 0;
        g_setenv("G_SLICE", "always-malloc", TRUE);
        execv(self, argv);              // where that fails it goes on as it is
    }
}

int zt_whep_server_open(zt_whep_server **out, const zt_whep_params *p)
{
    static const zt_plugin needed[] = {
        { "appsrc", "gstreamer1.0-plugins-base" },  { "rtph264pay", "gstreamer1.0-plugins-good" },
        { "rtpbin", "gstreamer1.0-plugins-good" },  { "webrtcbin", "gstreamer1.0-plugins-bad" },
        { "dtlsdec", "gstreamer1.0-plugins-bad" },  { "srtpenc", "gstreamer1.0-plugins-bad" },
        { "sctpenc", "gstreamer1.0-plugins-bad" },  { "nicesink", "gstreamer1.0-nice" },
    };
    const int err = zt_plugins_open("cannot serve WebRTC", needed, ZT_LEN(needed));
    if (err < 0)
        return err;
    zt_whep_server *s = zt_alloc(sizeof(*s));
    if (!s)
        return -ENOMEM;
    g_mutex_init(&s->lock);
    s->context = g_main_context_ref(p->context);
    s->local = g_strdup(p->local);
    s->public_address = g_strdup(p->public_address);
    s->ice_server = g_strdupv((char **)p->ice_server);
    s->udp_min = p->udp_min;
    s->udp_max = p->udp_max ? p->udp_max : p->udp_min;
    s->loss_percent = p->loss_percent;
    s->setup = p->setup ? p->setup : 15 * ZT_S;
    s->silence = p->silence ? p->silence : 8 * ZT_S;
    s->clock = gst_system_clock_obtain();
    s->base = gst_clock_get_time(s->clock);
    s->ssrc = g_random_int() | 1;
    s->mount = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify)zt_mount_unref);
    zt_peer_warm_up(s);
    *out = s;
    return 0;
}

void zt_whep_server_close(zt_whep_server **server)
{
    zt_whep_server *s = *server;
    if (!s)
        return;
    const int64_t until = zt_now() + CLOSE_WAIT;
    while (g_atomic_int_get(&s->reaping) && zt_now() < until)
        zt_sleep_until(zt_now() + 5 * ZT_MS);
    *server = NULL;
    if (g_atomic_int_get(&s->reaping)) {
        zt_warn("whep: %d pipelines do not end", g_atomic_int_get(&s->reaping));
        return;                     // they still use it
    }
    g_hash_table_destroy(s->mount);
    g_object_unref(s->clock);
    g_strfreev(s->ice_server);
    g_free(s->public_address);
    g_free(s->local);
    g_main_context_unref(s->context);
    g_mutex_clear(&s->lock);
    zt_free(s);
}
