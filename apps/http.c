// SPDX-License-Identifier: Apache-2.0
// HTTP through libsoup, on one thread with its own main context.
#include "apps/http.h"

#include <errno.h>
#include <libsoup/soup.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"

struct zt_http {
    zt_http_params p;
    GMainContext  *context;
    GMainLoop     *loop;
    SoupServer    *server;
    GThread       *thread;
    int            port;
};

static void answer(SoupServerMessage *msg, guint status, const char *type, char *text, size_t bytes)
{
    soup_message_headers_replace(soup_server_message_get_response_headers(msg), "Cache-Control", "no-store");
    soup_message_headers_replace(soup_server_message_get_response_headers(msg), "X-Content-Type-Options", "nosniff");
    soup_server_message_set_status(msg, text ? status : SOUP_STATUS_INTERNAL_SERVER_ERROR, NULL);
    if (text)
        soup_server_message_set_response(msg, type, SOUP_MEMORY_COPY, text, bytes);
    free(text);
}

static void answer_line(SoupServerMessage *msg, guint status, const char *line)
{
    char *text = NULL;
    const int bytes = asprintf(&text, "%s\n", line);
    answer(msg, status, "text/plain; charset=utf-8", bytes < 0 ? NULL : text, (size_t)bytes);
}

// A page elsewhere may point a name of its own at a loopback address: only our own names are answered.
static bool our_host(const zt_http *h, SoupServerMessage *msg)
{
    const char *host = soup_message_headers_get_one(soup_server_message_get_request_headers(msg), "Host");
    if (!host)
        return soup_server_message_get_http_version(msg) == SOUP_HTTP_1_0;
    const char *names[] = { "localhost", "127.0.0.1", "[::1]", h->p.host };
    for (size_t i = 0; i < ZT_LEN(names); i++) {
        const size_t n = strlen(names[i]);
        if (!g_ascii_strncasecmp(host, names[i], n) && (!host[n] || host[n] == ':'))
            return true;
    }
    return false;
}

static void handle(SoupServer *server, SoupServerMessage *msg, const char *path, GHashTable *query, gpointer cookie)
{
    zt_http *h = cookie;
    size_t bytes = 0;
    (void)server, (void)query;
    const char *method = soup_server_message_get_method(msg);
    if (!our_host(h, msg)) {
        answer_line(msg, SOUP_STATUS_MISDIRECTED_REQUEST, "this host name is not served here");
    } else if (strcmp(path, "/") && strcmp(path, "/healthz") && strcmp(path, "/readyz") && strcmp(path, "/metrics") &&
               strcmp(path, "/model")) {
        answer_line(msg, SOUP_STATUS_NOT_FOUND, "not found");
    } else if (strcmp(method, "GET") && strcmp(method, "HEAD")) {
        soup_message_headers_replace(soup_server_message_get_response_headers(msg), "Allow", "GET, HEAD");
        answer_line(msg, SOUP_STATUS_METHOD_NOT_ALLOWED, "GET or HEAD");
    } else if (!strcmp(path, "/")) {
        answer_line(msg, SOUP_STATUS_OK,
                    "Zoetrope " ZT_VERSION ". Here: /model /metrics /healthz /readyz. The stream is on RTSP.");
    } else if (!strcmp(path, "/healthz")) {
        answer_line(msg, SOUP_STATUS_OK, "ok");
    } else if (!strcmp(path, "/readyz")) {
        const bool ready = h->p.ready(h->p.cookie);
        answer_line(msg, ready ? SOUP_STATUS_OK : SOUP_STATUS_SERVICE_UNAVAILABLE, ready ? "ready" : "not ready");
    } else if (!strcmp(path, "/metrics")) {
        char *text = h->p.metrics(h->p.cookie, &bytes);
        answer(msg, SOUP_STATUS_OK, "text/plain; version=0.0.4; charset=utf-8", text, bytes);
    } else {
        char *text = h->p.model(h->p.cookie, &bytes);
        answer(msg, SOUP_STATUS_OK, "application/json", text, bytes);
    }
}

// Nothing here wants a body, and one may be endless.
static void discard_body(SoupServer *server, SoupServerMessage *msg, const char *path, GHashTable *query,
                         gpointer cookie)
{
    (void)server, (void)path, (void)query, (void)cookie;
    soup_message_body_set_accumulate(soup_server_message_get_request_body(msg), FALSE);
}

static gboolean quit(gpointer loop)
{
    g_main_loop_quit(loop);
    return G_SOURCE_REMOVE;
}

static gpointer run(gpointer cookie)
{
    zt_http *h = cookie;
    g_main_context_push_thread_default(h->context);
    g_main_loop_run(h->loop);
    g_main_context_pop_thread_default(h->context);
    return NULL;
}

static int listen_error(const GError *e)
{
    if (g_error_matches(e, G_IO_ERROR, G_IO_ERROR_ADDRESS_IN_USE))
        return -EADDRINUSE;
    return g_error_matches(e, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED) ? -EACCES : -EADDRNOTAVAIL;
}

static int listen_on(zt_http *h)
{
    GError *error = NULL;
    GSocketAddress *address = g_inet_socket_address_new_from_string(
        strcmp(h->p.host, "localhost") ? h->p.host : "127.0.0.1", (guint)h->p.port);
    if (!address) {
        zt_error("http: %s is not an address", h->p.host);
        return -EINVAL;
    }
    const gboolean good = soup_server_listen(h->server, address, 0, &error);
    g_object_unref(address);
    if (!good) {
        const int err = listen_error(error);
        zt_error("http: cannot listen on %s port %d: %s", h->p.host, h->p.port, error->message);
        g_error_free(error);
        return err;
    }
    GSList *uris = soup_server_get_uris(h->server);
    h->port = uris ? g_uri_get_port(uris->data) : h->p.port;
    g_slist_free_full(uris, (GDestroyNotify)g_uri_unref);
    return 0;
}

int zt_http_open(zt_http **out, const zt_http_params *p)
{
    zt_http *h = zt_alloc(sizeof(*h));
    if (!h)
        return -ENOMEM;
    h->p = *p;
    h->context = g_main_context_new();
    h->loop = g_main_loop_new(h->context, FALSE);
    g_main_context_push_thread_default(h->context);
    h->server = soup_server_new("server-header", "zoetrope", NULL);
    soup_server_add_early_handler(h->server, NULL, discard_body, h, NULL);
    soup_server_add_handler(h->server, NULL, handle, h, NULL);
    const int err = listen_on(h);
    g_main_context_pop_thread_default(h->context);
    if (err < 0) {
        zt_http_close(&h);
        return err;
    }
    h->thread = g_thread_new("zt-http", run, h);
    *out = h;
    return 0;
}

void zt_http_close(zt_http **http)
{
    zt_http *h = *http;
    if (!h)
        return;
    if (h->thread) {
        GSource *source = g_idle_source_new();      // inside the loop: it may not have been entered yet
        g_source_set_callback(source, quit, h->loop, NULL);
        g_source_attach(source, h->context);
        g_source_unref(source);
        g_thread_join(h->thread);
    }
    g_main_context_push_thread_default(h->context);
    soup_server_disconnect(h->server);
    g_object_unref(h->server);
    g_main_context_pop_thread_default(h->context);
    g_main_loop_unref(h->loop);
    g_main_context_unref(h->context);
    zt_free(h);
    *http = NULL;
}

int zt_http_port(const zt_http *h)
{
    return h->port;
}
