// SPDX-License-Identifier: Apache-2.0
// Servers that were built in.
#pragma once

#include "apps/serve/http.h"

#ifdef __cplusplus
extern "C" {
#endif

// zt_http_create(), or -ENOSYS where it was built without libsoup (logged).
int  zt_servers_http_create(zt_http **out, zt_serve *s);
int  zt_servers_http_listen(zt_http *h, const char *host, int port);
struct _GMainContext *zt_servers_http_context(zt_http *h);
int  zt_servers_check_tls(const char *cert, const char *key);
int  zt_servers_http_reload(zt_http *h, const zt_serve *fresh);
void zt_servers_http_hang_up(zt_http *h);       // takes NULL
void zt_servers_http_stop(zt_http *h);          // takes NULL
void zt_servers_http_destroy(zt_http **h);
int  zt_servers_http_port(const zt_http *h);
void zt_servers_shown(void *cookie, zt_show *s, const zt_shown *what);
void zt_servers_jpeg(void *cookie, zt_show *s);

#ifdef __cplusplus
}
#endif
