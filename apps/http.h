// SPDX-License-Identifier: Apache-2.0
// The HTTP side of zoetrope-serve: health, metrics, what the model is.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_http zt_http;

// Called on the server's thread. Texts are allocated with malloc(); the server frees them. NULL: no memory.
typedef struct zt_http_params {
    const char *host;           // loopback address to listen on, without brackets
    int         port;           // 0: any
    bool      (*ready)(void *cookie);
    char     *(*metrics)(void *cookie, size_t *bytes);
    char     *(*model)(void *cookie, size_t *bytes);
    void       *cookie;
} zt_http_params;

// Serves on a thread of its own. 0, -EADDRINUSE, -EADDRNOTAVAIL, -EACCES, -EINVAL (host) (all logged), -ENOMEM.
int  zt_http_open(zt_http **out, const zt_http_params *p);
void zt_http_close(zt_http **h);            // takes NULL inside
int  zt_http_port(const zt_http *h);        // the one bound

#ifdef __cplusplus
}
#endif
