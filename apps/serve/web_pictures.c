// SPDX-License-Identifier: Apache-2.0
// JPEG pictures over HTTP, for those whose UDP is blocked: one, or a stream of them. One encode for all; who is slow
// gets fewer, always the latest.
#include <stdio.h>
#include <string.h>

#include "apps/serve/web.h"
#include "base/base.h"
#include "base/clock.h"

#define BOUNDARY "zoetrope-picture"

// Somebody who waits for pictures.
typedef struct watcher {
    zt_http           *http;
    zt_show           *show;        // a reference
    SoupServerMessage *msg;         // a reference
    bool               stream, busy;    // busy: the one before is not written yet
} watcher;

static void watcher_free(watcher *w)
{
    g_signal_handlers_disconnect_by_data(w->msg, w);
    zt_show_unref(&w->show);
    g_object_unref(w->msg);
    g_free(w);
}

static void on_wrote(SoupServerMessage *msg, watcher *w)
{
    (void)msg;
    w->busy = false;
}

static void on_finished(SoupServerMessage *msg, watcher *w)
{
    (void)msg;
    if (g_ptr_array_remove_fast(w->http->watcher, w))
        watcher_free(w);
}

static void add_part(watcher *w, const zt_packet *p, const zt_shown *what)
{
    char head[256];
    const int n = snprintf(head, sizeof(head),
                           "--" BOUNDARY "\r\nContent-Type: image/jpeg\r\nContent-Length: %zu\r\nX-Index: %llu\r\n"
                           "X-T: %.3f\r\nX-Seq: %.0f\r\nX-Outcome: %s\r\n\r\n",
                           p->bytes, (unsigned long long)what->index, what->t, what->seq,
                           zt_outcome_name[what->outcome]);
    GByteArray *part = g_byte_array_sized_new((guint)(p->bytes + (size_t)n + 2));
    g_byte_array_append(part, (const guint8 *)head, (guint)n);
    g_byte_array_append(part, p->data, (guint)p->bytes);
    g_byte_array_append(part, (const guint8 *)"\r\n", 2);
    GBytes *bytes = g_byte_array_free_to_bytes(part);
    soup_message_body_append_bytes(soup_server_message_get_response_body(w->msg), bytes);
    g_bytes_unref(bytes);
    w->busy = true;
    soup_server_message_unpause(w->msg);
}

// Takes it out of no list.
static void end(watcher *w, unsigned status, const char *why)
{
    if (w->stream)
        soup_message_body_complete(soup_server_message_get_response_body(w->msg));
    else
        zt_web_error(w->msg, status, "%s", why);
    soup_server_message_unpause(w->msg);
    watcher_free(w);
}

static void end_all(zt_http *h, const zt_show *show)
{
    for (guint i = h->watcher->len; i-- > 0;) {
        watcher *w = g_ptr_array_index(h->watcher, i);
        if (w->show != show)
            continue;
        g_ptr_array_remove_index_fast(h->watcher, i);
        end(w, 404, "the session has ended");
    }
}

void zt_web_pictures(zt_http *h, zt_show *show)
{
    zt_shown what;
    if (zt_show_closed(show)) {
        end_all(h, show);
        return;
    }
    zt_packet *p = zt_show_jpeg(show, &what);
    for (guint i = h->watcher->len; p && i-- > 0;) {
        watcher *w = g_ptr_array_index(h->watcher, i);
        if (w->show != show || w->busy)
            continue;
        if (w->stream) {
            zt_show_want_jpeg(show);
            add_part(w, p, &what);
            continue;
        }
        zt_web_answer(w->msg, 200, "image/jpeg", (const char *)p->data, p->bytes);
        soup_server_message_unpause(w->msg);
        g_ptr_array_remove_index_fast(h->watcher, i);
        watcher_free(w);
    }
    if (p)
        zt_packet_unref(&p);
}

void zt_web_pictures_stop(zt_http *h)
{
    for (guint i = 0; i < h->watcher->len; i++)
        end(g_ptr_array_index(h->watcher, i), 503, "the server is stopping");
    g_ptr_array_set_size(h->watcher, 0);
}

// "ID.jpg" or "ID.mjpeg"
void zt_web_picture(const zt_request *r)
{
    char id[ZT_ID_BYTES];
    const char *dot = strrchr(r->id, '.');
    const bool stream = dot && !strcmp(dot, ".mjpeg"), single = dot && !strcmp(dot, ".jpg");
    g_strlcpy(id, r->id, dot ? ZT_MIN(sizeof(id), (size_t)(dot - r->id) + 1) : sizeof(id));
    zt_show *show = stream || single ? zt_serve_find(r->http->serve, id) : NULL;
    if (!show || r->http->watcher->len >= (guint)r->http->serve->max_viewers) {
        if (show)
            zt_web_busy(r->msg, 503, 5, "all places for viewers are taken");
        else
            zt_web_error(r->msg, 404, "no such session");
        zt_show_unref(&show);
        return;
    }
    if (!zt_web_wake(r, show) || zt_show_want_jpeg(show) < 0) {
        if (!soup_server_message_get_status(r->msg))
            zt_web_error(r->msg, 503, "there is no JPEG encoder in this build");
        zt_show_unref(&show);
        return;
    }
    watcher *w = g_new0(watcher, 1);
    *w = (watcher){ .http = r->http, .show = show, .msg = g_object_ref(r->msg), .stream = stream };
    if (stream) {
        SoupMessageHeaders *headers = soup_server_message_get_response_headers(r->msg);
        soup_server_message_set_status(r->msg, 200, NULL);
        soup_message_headers_set_encoding(headers, SOUP_ENCODING_CHUNKED);
        soup_message_headers_replace(headers, "Content-Type", "multipart/x-mixed-replace; boundary=" BOUNDARY);
        soup_message_body_set_accumulate(soup_server_message_get_response_body(r->msg), FALSE);
        g_signal_connect(r->msg, "wrote-chunk", G_CALLBACK(on_wrote), w);
    }
    g_signal_connect(r->msg, "finished", G_CALLBACK(on_finished), w);
    g_ptr_array_add(r->http->watcher, w);
    soup_server_message_pause(r->msg);
}
