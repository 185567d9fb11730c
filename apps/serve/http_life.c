// SPDX-License-Identifier: Apache-2.0
// What happens to an HTTP server that runs: a reload, and its end. The main thread asks, the control thread does it.
#include "apps/serve/http.h"

#include <string.h>

#include "apps/serve/web.h"

// What a reload brings, on its way to the control thread.
struct news {
    zt_http         *http;
    zt_access        access;
    char            *origins;
    GTlsCertificate *certificate;
    int64_t          max_viewers;
};

static gboolean take_news(gpointer cookie)
{
    struct news *n = cookie;
    zt_http *h = n->http;
    zt_access *a = &h->serve->access;
    a->tokens = n->access.tokens;
    memcpy(a->token, n->access.token, sizeof(a->token));
    g_free(h->origins);
    a->origins = h->origins = g_steal_pointer(&n->origins);
    if (n->certificate) {
        g_clear_object(&h->certificate);
        h->certificate = g_steal_pointer(&n->certificate);
    }
    h->serve->max_viewers = n->max_viewers;
    return G_SOURCE_REMOVE;
}

static void free_news(gpointer cookie)
{
    struct news *n = cookie;
    g_free(n->origins);
    g_clear_object(&n->certificate);
    g_free(n);
}

// Inside the loop, which may not have been entered yet.
static void on_control_thread(zt_http *h, GSourceFunc fn, gpointer cookie, GDestroyNotify free_it)
{
    GSource *source = g_idle_source_new();
    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    g_source_set_callback(source, fn, cookie, free_it);
    g_source_attach(source, h->context);
    g_source_unref(source);
}

int zt_http_check_tls(const char *cert, const char *key)
{
    GTlsCertificate *certificate = NULL;
    const int err = zt_web_certificate(&certificate, cert, key);
    g_clear_object(&certificate);
    return err;
}

int zt_http_reload(zt_http *h, const zt_serve *fresh)
{
    GTlsCertificate *certificate = NULL;
    const bool encrypts = h->serve->tls_cert && fresh->tls_cert;
    const int err = encrypts ? zt_web_certificate(&certificate, fresh->tls_cert, fresh->tls_key) : 0;
    if (err < 0)
        return err;
    struct news *n = g_new(struct news, 1);
    *n = (struct news){ h, fresh->access, g_strdup(fresh->allow_origin), certificate, fresh->max_viewers };
    on_control_thread(h, take_news, n, free_news);
    return 0;
}

static void hang_up(zt_http *h)
{
    h->ended = true;
    zt_web_pictures_stop(h);
    g_hash_table_remove_all(h->viewer);
    zt_whip_close(&h->whip);            // the last: it takes its time
}

struct parting {
    zt_http *http;
    GMutex   lock;
    GCond    cond;
    bool     done;
};

static gboolean part(gpointer cookie)
{
    struct parting *p = cookie;
    hang_up(p->http);
    g_mutex_lock(&p->lock);
    p->done = true;
    g_cond_signal(&p->cond);
    g_mutex_unlock(&p->lock);
    return G_SOURCE_REMOVE;
}

void zt_http_hang_up(zt_http *h)
{
    if (!h->thread)
        return;
    struct parting *p = g_new0(struct parting, 1);
    p->http = h;
    g_mutex_init(&p->lock);
    g_cond_init(&p->cond);
    on_control_thread(h, part, p, NULL);
    g_mutex_lock(&p->lock);
    while (!p->done)
        g_cond_wait(&p->cond, &p->lock);
    g_mutex_unlock(&p->lock);
    g_mutex_clear(&p->lock);
    g_cond_clear(&p->cond);
    g_free(p);
}

static gboolean stop(gpointer cookie)
{
    zt_http *h = cookie;
    h->stopping = true;
    g_socket_service_stop(h->service);
    g_socket_listener_close(G_SOCKET_LISTENER(h->service));
    hang_up(h);
    soup_server_disconnect(h->server);
    g_main_loop_quit(h->loop);
    return G_SOURCE_REMOVE;
}

void zt_http_stop(zt_http *h)
{
    if (!h->thread)
        return;
    on_control_thread(h, stop, h, NULL);
    g_thread_join(h->thread);
    h->thread = NULL;
}
