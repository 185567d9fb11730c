// SPDX-License-Identifier: Apache-2.0
// What zoetrope-serve is told: by its command line, the environment and the file of --config.
#pragma once

#include "apps/serve/http.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_address {
    char host[64];              // without brackets
    int  port;                  // -1: off
} zt_address;

// Defaults, then everything that was given, judged; tokens are read. s is zeroed before. Returns -1 to go on, else the
// exit code (logged; 0 after --help, --version and a --check-config that found nothing).
int zt_settings_read(zt_serve *s, int argc, char **argv, zt_address *http, zt_address *rtsp);

// SIGHUP: reads all of it once more. Tokens, certificate, key, --allow-origin, --max-sessions, --max-viewers and
// --batch-quota take effect, and nothing at all when any part is bad; what else has changed is named: it takes a restart.
// The main thread; http may be NULL.
void zt_settings_reload(zt_serve *s, zt_http *http, int argc, char **argv);

#ifdef __cplusplus
}
#endif
