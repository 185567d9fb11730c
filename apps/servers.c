// SPDX-License-Identifier: Apache-2.0
// The list of servers that were built in.
#include "apps/servers.h"

#include <errno.h>

#include "base/log.h"
#include "config.h"

int zt_servers_open_http(zt_http **out, const zt_http_params *p)
{
#if HAVE_HTTP
    return zt_http_open(out, p);
#else
    (void)out, (void)p;
    zt_error("http: built without libsoup 3 (Debian: libsoup-3.0-dev), use --listen off");
    return -ENOSYS;
#endif
}

void zt_servers_close_http(zt_http **h)
{
#if HAVE_HTTP
    zt_http_close(h);
#else
    (void)h;
#endif
}

int zt_servers_http_port(const zt_http *h)
{
#if HAVE_HTTP
    return zt_http_port(h);
#else
    (void)h;
    return 0;
#endif
}
