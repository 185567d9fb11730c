// SPDX-License-Identifier: Apache-2.0
// WHIP (RFC 9725): pushes `live` to a media server, and again when it fails.
#pragma once

#include "apps/serve/serve.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_whip zt_whip;

// url: http:// or https://. token: or NULL; copied. Everything happens on the control thread. 0 or -ENOMEM.
int  zt_whip_open(zt_whip **out, zt_serve *s, struct _GMainContext *context, const char *url, const char *token);
// On the control thread; takes NULL inside. Waits for the answer to its DELETE, 2 s at most, and runs the thread's
// context meanwhile.
void zt_whip_close(zt_whip **w);

#ifdef __cplusplus
}
#endif
