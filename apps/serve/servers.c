// SPDX-License-Identifier: Apache-2.0
// The list of servers that were built in.
#include "apps/serve/servers.h"

#include <errno.h>

#include "base/log.h"
#include "config.h"

#if HAVE_HTTP

int zt_servers_http_create(zt_http **out, zt_serve *s)
{
    return zt_http_create(out, s);
}

int zt_servers_http_listen(zt_http *h, const char *host, int port)
{
    return zt_http_listen(h, host, port);
}

struct _GMainContext *zt_servers_http_context(zt_http *h)
{
    return zt_http_context(h);
}

int zt_servers_check_tls(const char *cert, const char *key)
{
    return zt_http_check_tls(cert, key);
}

int zt_servers_http_reload(zt_http *h, const zt_serve *fresh)
{
    return zt_http_reload(h, fresh);
}

void zt_servers_http_hang_up(zt_http *h)
{
    if (h)
        zt_http_hang_up(h);
}

void zt_servers_http_stop(zt_http *h)
{
    if (h)
        zt_http_stop(h);
}

void zt_servers_http_destroy(zt_http **h)
{
    zt_http_destroy(h);
}

int zt_servers_http_port(const zt_http *h)
{
    return zt_http_port(h);
}

void zt_servers_shown(void *cookie, zt_show *s, const zt_shown *what)
{
    zt_http_shown(cookie, s, what);
}

void zt_servers_jpeg(void *cookie, zt_show *s)
{
    zt_http_jpeg(cookie, s);
}

#else

int zt_servers_http_create(zt_http **out, zt_serve *s)
{
    (void)out, (void)s;
    zt_error("http: built without libsoup 3 (Debian: libsoup-3.0-dev), use --listen off");
    return -ENOSYS;
}

int zt_servers_http_listen(zt_http *h, const char *host, int port)
{
    (void)h, (void)host, (void)port;
    return -ENOSYS;
}

struct _GMainContext *zt_servers_http_context(zt_http *h)
{
    (void)h;
    return NULL;
}

int zt_servers_check_tls(const char *cert, const char *key)
{
    (void)cert, (void)key;
    zt_error("http: built without libsoup 3 (Debian: libsoup-3.0-dev): no TLS");
    return -ENOSYS;
}

int zt_servers_http_reload(zt_http *h, const zt_serve *fresh)
{
    (void)h, (void)fresh;
    return -ENOSYS;
}

void zt_servers_http_hang_up(zt_http *h)
{
    (void)h;
}

void zt_servers_http_stop(zt_http *h)
{
    (void)h;
}

void zt_servers_http_destroy(zt_http **h)
{
    *h = NULL;
}

int zt_servers_http_port(const zt_http *h)
{
    (void)h;
    return 0;
}

void zt_servers_shown(void *cookie, zt_show *s, const zt_shown *what)
{
    (void)cookie, (void)s, (void)what;
}

void zt_servers_jpeg(void *cookie, zt_show *s)
{
    (void)cookie, (void)s;
}

#endif
