// SPDX-License-Identifier: Apache-2.0
// What the service manager is told: sd_notify(3)'s datagrams, which need no library. Nothing happens without $NOTIFY_SOCKET.
#pragma once

#include <stdint.h>

// The lines of sd_notify(3), such as "READY=1\nSTATUS=serving". 0, or -errno of a socket that is given but does not take them.
int zt_notify(const char *lines);

// A sign of life, three in $WATCHDOG_USEC at most: to be called more often than that. None is sent when what is watched
// last went round, at `beat`, longer than half of it before `now`: both monotonic ns. The main thread only.
void zt_notify_alive(int64_t now, int64_t beat);
