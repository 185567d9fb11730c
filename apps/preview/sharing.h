// SPDX-License-Identifier: Apache-2.0
// Others watch and steer what the player shows: the viewer page with WebRTC, and RTSP, as zoetrope-serve has them.
#pragma once

#include <stdbool.h>

#include "apps/preview/player.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_sharing zt_sharing;

// Callbacks come on the main thread, until it is closed. Strings are borrowed for the call.
typedef struct zt_sharing_params {
    zt_player *player;
    bool       network;         // reachable on the local network, for whoever has the link; else on this computer only
    int        fps, times;      // of the pictures, and their size
    void     (*ready)(void *cookie, const char *error, const char *page, const char *rtsp);     // page or rtsp may be NULL
    void     (*prompt)(void *cookie, const char *text);         // a viewer's
    void     (*control)(void *cookie, int control, float value);
    void      *cookie;
} zt_sharing_params;

// Takes place 1 of the player's taps. Before the player's model or the pictures' rate changes it is closed.
zt_sharing *zt_sharing_open(const zt_sharing_params *p);
int  zt_sharing_viewers(zt_sharing *s);
void zt_sharing_close(zt_sharing **s);          // winds down on the player's thread; takes NULL inside

#ifdef __cplusplus
}
#endif
