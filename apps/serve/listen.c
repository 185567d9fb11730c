// SPDX-License-Identifier: Apache-2.0
// Sockets of the HTTP server: TLS, and no connection that waits for ever. libsoup has no time limits of its own.
#include <errno.h>
#include <string.h>

#include "apps/serve/web.h"
#include "base/base.h"
#include "base/log.h"

#define REQUEST_S   10          // until a request must be there
#define SILENT_S    10          // without a byte, in either direction
#define PER_ADDRESS 64          // connections at once, loopback exempt
#define BACKLOG     128

// Lives with the peer's address object, which the message gives back.
typedef struct connection {
    zt_http  *http;
    GSocket  *socket;           // a reference
    GSource  *limit;
    char     *address;
} connection;

static void connection_free(gpointer cookie)
{
    connection *c = cookie;
    if (c->limit) {
        g_source_destroy(c->limit);
        g_source_unref(c->limit);
    }
    const int open = GPOINTER_TO_INT(g_hash_table_lookup(c->http->connections, c->address));
    if (open > 1)
        g_hash_table_insert(c->http->connections, g_strdup(c->address), GINT_TO_POINTER(open - 1));
    else
        g_hash_table_remove(c->http->connections, c->address);
    g_object_unref(c->socket);
    g_free(c->address);
    g_free(c);
}

static gboolean on_limit(gpointer cookie)
{
    connection *c = cookie;
    g_socket_shutdown(c->socket, TRUE, TRUE, NULL);     // half a TLS handshake ends so too
    return G_SOURCE_CONTINUE;
}

void zt_web_hold(SoupServerMessage *msg)
{
    GSocketAddress *remote = soup_server_message_get_remote_address(msg);
    connection *c = remote ? g_object_get_data(G_OBJECT(remote), "zt-connection") : NULL;
    if (!c || !c->limit)
        return;
    g_source_destroy(c->limit);
    g_source_unref(c->limit);
    c->limit = NULL;
}

static connection *remember(zt_http *h, GSocket *socket, GSocketAddress *remote)
{
    connection *c = g_new0(connection, 1);
    c->http = h;
    c->socket = g_object_ref(socket);
    GInetAddress *address = g_inet_socket_address_get_address(G_INET_SOCKET_ADDRESS(remote));
    c->address = g_inet_address_to_string(address);
    const int open = GPOINTER_TO_INT(g_hash_table_lookup(h->connections, c->address)) + 1;
    g_hash_table_insert(h->connections, g_strdup(c->address), GINT_TO_POINTER(open));
    c->limit = g_timeout_source_new_seconds(REQUEST_S);
    g_source_set_callback(c->limit, on_limit, c, NULL);
    g_source_attach(c->limit, h->context);
    g_object_set_data_full(G_OBJECT(remote), "zt-connection", c, connection_free);
    return open > PER_ADDRESS && !g_inet_address_get_is_loopback(address) ? NULL : c;
}

static gboolean on_incoming(GSocketService *service, GSocketConnection *peer, GObject *source, zt_http *h)
{
    (void)service, (void)source;
    GSocket *socket = g_socket_connection_get_socket(peer);
    GSocketAddress *local = g_socket_connection_get_local_address(peer, NULL);
    GSocketAddress *remote = g_socket_connection_get_remote_address(peer, NULL);
    g_socket_set_timeout(socket, SILENT_S);
    g_socket_set_option(socket, 6 /* IPPROTO_TCP */, 1 /* TCP_NODELAY */, 1, NULL);
    if (local && remote && !h->stopping && remember(h, socket, remote)) {
        GIOStream *io = h->certificate ? g_tls_server_connection_new(G_IO_STREAM(peer), h->certificate, NULL)
                                       : g_object_ref(G_IO_STREAM(peer));
        if (io)
            soup_server_accept_iostream(h->server, io, local, remote, NULL);
        g_clear_object(&io);
    } else {
        g_io_stream_close(G_IO_STREAM(peer), NULL, NULL);
    }
    g_clear_object(&remote);
    g_clear_object(&local);
    return TRUE;
}

static int listen_error(const GError *e)
{
    if (g_error_matches(e, G_IO_ERROR, G_IO_ERROR_ADDRESS_IN_USE))
        return -EADDRINUSE;
    return g_error_matches(e, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED) ? -EACCES : -EADDRNOTAVAIL;
}

static int load_certificate(zt_http *h)
{
    const zt_serve *s = h->serve;
    return s->tls_cert ? zt_web_certificate(&h->certificate, s->tls_cert, s->tls_key) : 0;
}

int zt_web_listen(zt_http *h, const char *host, int port)
{
    GError *error = NULL;
    const int err = load_certificate(h);
    if (err < 0)
        return err;
    GSocketAddress *wanted =
        g_inet_socket_address_new_from_string(strcmp(host, "localhost") ? host : "127.0.0.1", (guint)port);
    if (!wanted) {
        zt_error("http: %s is not an address", host);
        return -EINVAL;
    }
    h->service = g_socket_service_new();
    g_socket_listener_set_backlog(G_SOCKET_LISTENER(h->service), BACKLOG);
    GSocketAddress *bound = NULL;
    const bool good = g_socket_listener_add_address(G_SOCKET_LISTENER(h->service), wanted, G_SOCKET_TYPE_STREAM,
                                                    G_SOCKET_PROTOCOL_TCP, NULL, &bound, &error);
    g_object_unref(wanted);
    if (!good) {
        zt_error("http: cannot listen on %s port %d: %s", host, port, error->message);
        const int failed = listen_error(error);
        g_error_free(error);
        g_clear_object(&h->service);
        return failed;
    }
    h->port = g_inet_socket_address_get_port(G_INET_SOCKET_ADDRESS(bound));
    g_object_unref(bound);
    g_signal_connect(h->service, "incoming", G_CALLBACK(on_incoming), h);
    g_socket_service_start(h->service);
    return 0;
}
