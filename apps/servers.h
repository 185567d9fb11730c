// SPDX-License-Identifier: Apache-2.0
// Servers that were built in.
#pragma once

#include "apps/http.h"

#ifdef __cplusplus
extern "C" {
#endif

// zt_http_open(), or -ENOSYS where it was built without libsoup (logged).
int  zt_servers_open_http(zt_http **out, const zt_http_params *p);
void zt_servers_close_http(zt_http **h);
int  zt_servers_http_port(const zt_http *h);

#ifdef __cplusplus
}
#endif
