// SPDX-License-Identifier: Apache-2.0
// WHEP's mounts: a stream's packets go to every viewer that is connected, as one buffer.
#include <errno.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "stream/transport.h"
#include "stream/whep_internal.h"

#define WAITING  8              // access units before a viewer's blocked pipeline is fed no more
#define ADAPT    (2 * ZT_S)     // between looks at the ways to the viewers

typedef struct whep {
    zt_transport base;
    zt_mount    *m;
    // The stream's thread
    int64_t      looked;        // monotonic ns
    int64_t      bits, most;    // asked of the encoder; 0: nothing yet
} whep;

zt_mount *zt_mount_ref(zt_mount *m)
{
    g_atomic_ref_count_inc(&m->refs);
    return m;
}

void zt_mount_unref(zt_mount *m)
{
    if (!m || !g_atomic_ref_count_dec(&m->refs))
        return;
    g_mutex_clear(&m->lock);
    g_ptr_array_free(m->viewer, TRUE);
    g_free(m->name);
    zt_free(m);
}

zt_mount *zt_mount_find(zt_whep_server *s, const char *name)
{
    g_mutex_lock(&s->lock);
    zt_mount *m = g_hash_table_lookup(s->mount, name);
    if (m)
        zt_mount_ref(m);
    g_mutex_unlock(&s->lock);
    return m;
}

void zt_mount_add(zt_mount *m, zt_viewer *v)
{
    g_mutex_lock(&m->lock);
    g_ptr_array_add(m->viewer, v);
    g_mutex_unlock(&m->lock);
}

void zt_mount_remove(zt_mount *m, zt_viewer *v)
{
    g_mutex_lock(&m->lock);
    g_ptr_array_remove_fast(m->viewer, v);
    v->feeding = false;
    GstAppSrc *src = g_steal_pointer(&v->src);      // whose pad's probe holds the viewer
    g_mutex_unlock(&m->lock);
    g_clear_object(&src);
}

void zt_mount_want_key(zt_mount *m)
{
    g_mutex_lock(&m->lock);
    if (m->stream)
        zt_stream_want_key(m->stream);
    g_mutex_unlock(&m->lock);
}

static int whep_open(zt_transport **out, const zt_transport_params *p)
{
    const char *name = p->url + strlen("whep:");
    if (name[0] != '/' || !name[1] || !p->whep) {
        zt_error("cannot serve %s: %s", p->url, p->whep ? "a mount is whep:/NAME" : "no WHEP server");
        return -EINVAL;
    }
    whep *t = zt_alloc(sizeof(*t));
    zt_mount *m = zt_alloc(sizeof(*m));
    if (!t || !m) {
        zt_free(t);
        zt_free(m);
        return -ENOMEM;
    }
    g_atomic_ref_count_init(&m->refs);
    g_mutex_init(&m->lock);
    m->viewer = g_ptr_array_new();
    m->name = g_strdup(name);
    m->vp8 = !strcmp(p->codec, "vp8");
    m->w = p->w, m->h = p->h, m->fps = p->fps;
    m->stream = p->stream;
    m->server = p->whep;
    t->base.type = &zt_transport_whep;
    t->m = m;
    t->most = t->bits = p->bitrate;

    g_mutex_lock(&p->whep->lock);
    const bool there = g_hash_table_lookup(p->whep->mount, name) != NULL;
    if (!there)
        g_hash_table_insert(p->whep->mount, m->name, zt_mount_ref(m));
    g_mutex_unlock(&p->whep->lock);
    if (there) {
        zt_error("cannot mount whep:%s: it is mounted already", name);
        zt_mount_unref(m);
        zt_free(t);
        return -EEXIST;
    }
    *out = &t->base;
    return 0;
}

static void whep_close(zt_transport **out)
{
    whep *t = (whep *)*out;
    zt_mount *m = t->m;
    g_mutex_lock(&m->server->lock);
    g_hash_table_remove(m->server->mount, m->name);     // its reference goes
    g_mutex_unlock(&m->server->lock);

    g_mutex_lock(&m->lock);
    m->stream = NULL;
    for (guint i = 0; i < m->viewer->len; i++) {
        zt_viewer *v = g_ptr_array_index(m->viewer, i);
        v->feeding = false;
        zt_viewer_post(v, ZT_NEWS_GONE, g_strdup("the stream has ended"));
    }
    g_mutex_unlock(&m->lock);
    zt_mount_unref(m);
    zt_free(t);
    *out = NULL;
}

static void packet_done(void *cookie)
{
    zt_packet *p = cookie;
    zt_packet_unref(&p);
}

static GstBuffer *wrap(zt_packet *p, int64_t at)
{
    GstBuffer *b = gst_buffer_new_wrapped_full(GST_MEMORY_FLAG_READONLY, p->data, p->bytes, 0, p->bytes,
                                               zt_packet_ref(p), packet_done);
    GST_BUFFER_PTS(b) = (GstClockTime)at;
    GST_BUFFER_DURATION(b) = (GstClockTime)p->duration;
    if (!p->key)
        GST_BUFFER_FLAG_SET(b, GST_BUFFER_FLAG_DELTA_UNIT);
    return b;
}

// Under the mount's lock.
static void feed(zt_mount *m, zt_viewer *v, GstBuffer *b, bool key)
{
    if (!v->feeding)
        return;
    if (gst_app_src_get_current_level_buffers(v->src) >= WAITING)
        v->need_key = true;         // it stands still: what it holds would be stale, what follows needs a key frame
    else if (!v->need_key || key) {
        v->need_key = false;
        gst_app_src_push_buffer(v->src, gst_buffer_ref(b));     // never blocks
    } else
        zt_stream_want_key(m->stream);
}

static int by_value(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

// The room (zt_path_room) that three viewers of four have at least: one bad line does not spoil the picture of all.
// Under the mount's lock.
static int usual_room(const zt_mount *m)
{
    int room[256], n = 0;
    for (guint i = 0; i < m->viewer->len && n < (int)ZT_LEN(room); i++) {
        zt_viewer *v = g_ptr_array_index(m->viewer, i);
        if (v->feeding)
            room[n++] = g_atomic_int_get(&v->room);
    }
    if (!n)
        return 0;
    qsort(room, (size_t)n, sizeof(*room), by_value);
    return room[n - 1 - (n - 1) * 3 / 4];
}

// Less by a third where too much is lost or waits in queues, more by a twelfth where neither is. Who comes when nobody
// was there begins anew.
static void adapt(whep *t, int64_t now)
{
    if (!t->most || now - t->looked < ADAPT)
        return;
    t->looked = now;
    const int room = usual_room(t->m);
    int64_t bits = t->bits;
    if (!t->m->viewer->len)
        bits = t->most;
    else if (room < 0)
        bits = ZT_MAX(bits * 2 / 3, t->most / 8);
    else if (room > 0)
        bits = ZT_MIN(bits + t->most / 12, t->most);
    if (bits == t->bits)
        return;
    t->bits = bits;
    zt_debug("whep:%s: %s room, %lld bit/s", t->m->name, room < 0 ? "no" : "some", (long long)bits);
    zt_stream_bitrate(t->m->stream, bits);
}

static int whep_packet(zt_transport *base, zt_packet *p)
{
    whep *t = (whep *)base;
    zt_mount *m = t->m;
    g_mutex_lock(&m->lock);
    const int64_t now = (int64_t)(gst_clock_get_time(m->server->clock) - m->server->base);
    const int64_t at = zt_place_packet(&m->place, p->pts, now);
    m->sent[p->index % ZT_SENT].index = p->index;
    m->sent[p->index % ZT_SENT].at = at;
    if (m->viewer->len) {
        GstBuffer *b = wrap(p, at);
        for (guint i = 0; i < m->viewer->len; i++)
            feed(m, g_ptr_array_index(m->viewer, i), b, p->key);
        gst_buffer_unref(b);
    }
    adapt(t, zt_now());
    g_mutex_unlock(&m->lock);
    return 0;
}

static int whep_viewers(zt_transport *base)
{
    zt_mount *m = ((whep *)base)->m;
    g_mutex_lock(&m->lock);
    const int n = (int)m->viewer->len;      // one who is joining waits for a picture already
    g_mutex_unlock(&m->lock);
    return n;
}

const zt_transport_type zt_transport_whep = {
    .name = "whep",
    .live_only = true,
    .open = whep_open,
    .close = whep_close,
    .packet = whep_packet,
    .viewers = whep_viewers,
};
