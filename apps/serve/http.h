// SPDX-License-Identifier: Apache-2.0
// The HTTP side of zoetrope-serve: the page, sessions, WHEP signalling, pictures, health, metrics.
#pragma once

#include "apps/serve/serve.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_http zt_http;

// In this order: create (its context is the control thread's), then the shows, then listen; hang up before the shows are
// closed, stop after it. 0, -EADDRINUSE, -EADDRNOTAVAIL, -EACCES, -EINVAL (host, certificate) (all logged),
// -ENOMEM.
int  zt_http_create(zt_http **out, zt_serve *s);
struct _GMainContext *zt_http_context(zt_http *h);
int  zt_http_listen(zt_http *h, const char *host, int port);    // host without brackets; port 0: any
// Can the files be served with? 0, -ENOSYS or -EINVAL (logged).
int  zt_http_check_tls(const char *cert, const char *key);
// Takes tokens, origins, the certificate where there was one and the limit of viewers of `fresh`, for what comes from here
// on. 0 or -EINVAL, -ENOSYS (logged; nothing is taken). Main thread.
int  zt_http_reload(zt_http *h, const zt_serve *fresh);
// Ends every viewer. From here on it answers what says how the server is, and 503 to everything else. Before the shows are
// closed.
void zt_http_hang_up(zt_http *h);
void zt_http_stop(zt_http *h);
void zt_http_destroy(zt_http **h);          // after the shows are closed; takes NULL inside
int  zt_http_port(const zt_http *h);        // the one bound
// zt_studio's, with a zt_http ** as cookie.
void zt_http_shown(void *cookie, zt_show *s, const zt_shown *what);
void zt_http_jpeg(void *cookie, zt_show *s);

#ifdef __cplusplus
}
#endif
