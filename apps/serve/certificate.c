// SPDX-License-Identifier: Apache-2.0
// A certificate and its key from files, proven by one handshake with ourselves: backends load a key that is another's.
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "apps/serve/web.h"
#include "base/log.h"

#define ROUNDS 1000             // of the loop, far more than a handshake takes: nothing waits for a network

typedef struct side {
    GError *error;
    bool    done;
} side;

static void on_done(GObject *connection, GAsyncResult *result, gpointer cookie)
{
    side *s = cookie;
    g_tls_connection_handshake_finish(G_TLS_CONNECTION(connection), result, &s->error);
    s->done = true;
}

static gboolean on_certificate(GTlsConnection *connection, GTlsCertificate *peer, int errors, gpointer cookie)
{
    (void)connection, (void)peer, (void)errors, (void)cookie;
    return TRUE;                // whom it speaks for is not our question
}

static GIOStream *stream_of(int fd)
{
    GSocket *socket = g_socket_new_from_fd(fd, NULL);
    if (!socket)
        close(fd);
    GIOStream *stream = socket ? G_IO_STREAM(g_socket_connection_factory_create_connection(socket)) : NULL;
    g_clear_object(&socket);
    return stream;
}

static void shake_hands(GIOStream *near, GIOStream *far, GTlsCertificate *certificate, GMainContext *loop, GError **error)
{
    side a = { NULL, false }, b = { NULL, false };
    GIOStream *server = g_tls_server_connection_new(near, certificate, error);
    GIOStream *client = server ? g_tls_client_connection_new(far, NULL, error) : NULL;
    if (client) {
        GCancellable *late = g_cancellable_new();
        g_signal_connect(client, "accept-certificate", G_CALLBACK(on_certificate), NULL);
        g_tls_connection_handshake_async(G_TLS_CONNECTION(server), G_PRIORITY_DEFAULT, late, on_done, &a);
        g_tls_connection_handshake_async(G_TLS_CONNECTION(client), G_PRIORITY_DEFAULT, late, on_done, &b);
        for (int i = 0; !a.done || !b.done; i++) {
            if (i == ROUNDS || a.error || b.error)
                g_cancellable_cancel(late);
            g_main_context_iteration(loop, TRUE);
        }
        g_object_unref(late);
    }
    g_clear_object(&client);
    g_clear_object(&server);
    if (!*error && (a.error || b.error))
        *error = g_error_copy(a.error ? a.error : b.error);
    g_clear_error(&a.error);
    g_clear_error(&b.error);
}

static void prove(GTlsCertificate *certificate, GError **error)
{
    int fd[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) < 0) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED, "no socket to try it with");
        return;
    }
    GMainContext *loop = g_main_context_new();
    g_main_context_push_thread_default(loop);
    GIOStream *near = stream_of(fd[0]), *far = stream_of(fd[1]);
    if (near && far)
        shake_hands(near, far, certificate, loop, error);
    g_clear_object(&near);
    g_clear_object(&far);
    while (g_main_context_iteration(loop, FALSE))
        ;
    g_main_context_pop_thread_default(loop);
    g_main_context_unref(loop);
}

int zt_web_certificate(GTlsCertificate **out, const char *cert, const char *key)
{
    GError *error = NULL;
    if (!g_tls_backend_supports_tls(g_tls_backend_get_default())) {
        zt_error("http: TLS: no backend (Debian: glib-networking)");
        return -ENOSYS;
    }
    GTlsCertificate *made = g_tls_certificate_new_from_files(cert, key, &error);
    if (made)
        prove(made, &error);
    if (!error) {
        *out = made;
        return 0;
    }
    zt_error("http: TLS: %s, %s: %s", cert, key, error->message);
    g_error_free(error);
    g_clear_object(&made);
    return -EINVAL;
}
