// SPDX-License-Identifier: Apache-2.0
// A viewer that is another server: our offer is posted, its answer taken, what it forgets is offered anew.
#include "apps/serve/whip.h"

#include <errno.h>
#include <libsoup/soup.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "stream/whep.h"

#define FIRST_WAIT 1            // s before it is tried again, doubled each time
#define LAST_WAIT  60
#define LEAVE_WAIT 2000         // ms that the end of the program waits for the server to hear of it

struct zt_whip {
    zt_serve     *serve;
    GMainContext *context;
    char         *url, *token, *resource;   // resource: what a DELETE ends
    SoupSession  *http;
    GCancellable *cancel, *leave;           // of the POST; of the DELETEs, once nobody waits for them any longer
    int           leaving;                  // DELETEs without an answer yet
    zt_viewer    *viewer;
    GSource      *retry;
    int           wait;                     // s
    bool          loopback;                 // the server is on this machine
};

static void again(zt_whip *w, const char *why);

static SoupMessage *request(zt_whip *w, const char *method, const char *url)
{
    SoupMessage *msg = soup_message_new(method, url);
    if (msg && w->token) {
        char *bearer = g_strdup_printf("Bearer %s", w->token);
        soup_message_headers_replace(soup_message_get_request_headers(msg), "Authorization", bearer);
        g_free(bearer);
    }
    return msg;
}

static void on_deleted(GObject *http, GAsyncResult *result, gpointer cookie)
{
    GError *error = NULL;
    zt_whip *w = cookie;
    GBytes *reply = soup_session_send_and_read_finish(SOUP_SESSION(http), result, &error);
    if (!g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED))      // else w is gone
        w->leaving--;
    g_clear_error(&error);
    if (reply)
        g_bytes_unref(reply);
}

// An answer that is still on its way would be another viewer's.
static void forget(zt_whip *w)
{
    g_cancellable_cancel(w->cancel);
    g_object_unref(w->cancel);
    w->cancel = g_cancellable_new();
    SoupMessage *msg = w->resource ? request(w, "DELETE", w->resource) : NULL;
    if (msg) {
        soup_session_send_and_read_async(w->http, msg, G_PRIORITY_DEFAULT, w->leave, on_deleted, w);
        w->leaving++;
    }
    g_clear_object(&msg);
    g_clear_pointer(&w->resource, g_free);
    zt_viewer_close(&w->viewer);
}

// The Location may be relative to the url that was asked.
static char *resolve(const zt_whip *w, SoupMessage *msg)
{
    const char *place = soup_message_headers_get_one(soup_message_get_response_headers(msg), "Location");
    return place ? g_uri_resolve_relative(w->url, place, G_URI_FLAGS_NONE, NULL) : NULL;
}

static void on_reply(GObject *http, GAsyncResult *result, gpointer cookie)
{
    GError *error = NULL;
    SoupMessage *msg = soup_session_get_async_result_message(SOUP_SESSION(http), result);
    GBytes *reply = soup_session_send_and_read_finish(SOUP_SESSION(http), result, &error);
    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED)) {     // w is gone, or has begun anew
        g_error_free(error);
        return;
    }
    zt_whip *w = cookie;
    char why[160] = "";
    const unsigned status = reply ? soup_message_get_status(msg) : 0;
    if (error) {
        snprintf(why, sizeof(why), "%s", error->message);
    } else if (status != 201) {
        snprintf(why, sizeof(why), "HTTP %u", status);
    } else {
        gsize bytes;
        const char *sdp = g_bytes_get_data(reply, &bytes);
        w->resource = resolve(w, msg);
        if (!w->viewer || zt_viewer_accept(w->viewer, sdp, bytes) < 0)
            snprintf(why, sizeof(why), "its answer is no SDP");
    }
    g_clear_error(&error);
    if (reply)
        g_bytes_unref(reply);
    if (*why)
        again(w, why);
}

static void on_offer(void *cookie, int status, const char *sdp)
{
    zt_whip *w = cookie;
    SoupMessage *msg = status == 200 ? request(w, "POST", w->url) : NULL;
    if (!msg) {
        again(w, status == 200 ? "not a url" : "no offer could be made");
        return;
    }
    GBytes *body = g_bytes_new(sdp, strlen(sdp));
    soup_message_set_request_body_from_bytes(msg, "application/sdp", body);
    soup_session_send_and_read_async(w->http, msg, G_PRIORITY_DEFAULT, w->cancel, on_reply, w);
    g_bytes_unref(body);
    g_object_unref(msg);
}

static void on_connected(void *cookie)
{
    zt_whip *w = cookie;
    w->wait = FIRST_WAIT;
    zt_info("whip: pushing to %s", w->url);
}

static void on_gone(void *cookie, const char *why)
{
    again(cookie, why);
}

static gboolean start(gpointer cookie)
{
    zt_whip *w = cookie;
    g_clear_pointer(&w->retry, g_source_unref);
    if (!w->http)
        w->http = soup_session_new_with_options("timeout", 10, "user-agent", "zoetrope", NULL);
    const zt_viewer_params p = {
        .mount = "/live", .local_peer = true, .any_address = !w->loopback, .answer = on_offer,
        .connected = on_connected, .gone = on_gone, .cookie = w,
    };
    const int err = zt_viewer_create(&w->viewer, w->serve->studio.whep, &p);
    if (err < 0)
        again(w, strerror(-err));
    return G_SOURCE_REMOVE;
}

static void start_after(zt_whip *w, int seconds)
{
    if (w->retry)
        return;
    w->retry = g_timeout_source_new((guint)(1000 * seconds));
    g_source_set_callback(w->retry, start, w, NULL);
    g_source_attach(w->retry, w->context);
}

static void again(zt_whip *w, const char *why)
{
    if (w->retry)
        return;
    zt_warn("whip: %s: %s; again in %d s", w->url, why, w->wait);
    start_after(w, w->wait);
    w->wait = ZT_MIN(2 * w->wait, LAST_WAIT);
    forget(w);
}

int zt_whip_open(zt_whip **out, zt_serve *s, struct _GMainContext *context, const char *url, const char *token)
{
    zt_whip *w = zt_alloc(sizeof(*w));
    if (!w)
        return -ENOMEM;
    w->serve = s;
    w->context = context;
    w->url = g_strdup(url);
    w->token = g_strdup(token);
    w->wait = FIRST_WAIT;
    w->cancel = g_cancellable_new();
    w->leave = g_cancellable_new();
    GUri *uri = g_uri_parse(url, G_URI_FLAGS_NONE, NULL);
    w->loopback = uri && g_uri_get_host(uri) && zt_is_loopback(g_uri_get_host(uri));
    if (uri)
        g_uri_unref(uri);
    start_after(w, 0);
    *out = w;
    return 0;
}

static gboolean on_late(gpointer cookie)
{
    *(bool *)cookie = true;
    return G_SOURCE_CONTINUE;
}

static void wait_for_answers(zt_whip *w)
{
    bool late = false;
    GSource *limit = g_timeout_source_new(LEAVE_WAIT);
    g_source_set_callback(limit, on_late, &late, NULL);
    g_source_attach(limit, w->context);
    while (w->leaving && !late)
        g_main_context_iteration(w->context, TRUE);
    g_source_destroy(limit);
    g_source_unref(limit);
    g_cancellable_cancel(w->leave);
}

void zt_whip_close(zt_whip **whip)
{
    zt_whip *w = *whip;
    if (!w)
        return;
    if (w->retry) {
        g_source_destroy(w->retry);
        g_source_unref(w->retry);
    }
    forget(w);
    wait_for_answers(w);
    if (w->http)
        soup_session_abort(w->http);
    g_object_unref(w->cancel);
    g_object_unref(w->leave);
    g_clear_object(&w->http);
    g_free(w->token);
    g_free(w->url);
    zt_free(w);
    *whip = NULL;
}
