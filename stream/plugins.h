// SPDX-License-Identifier: Apache-2.0
// GStreamer itself and those of its plugins that a server needs.
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_plugin {
    const char *element, *package;      // package: Debian's
} zt_plugin;

// Starts GStreamer. purpose: as in "cannot serve RTSP". 0, -ENOSYS (something is missing: logged). From any thread.
int zt_plugins_open(const char *purpose, const zt_plugin *needed, int n);

// Before anything uses OpenSSL.
void zt_crypto_open(void);

#ifdef __cplusplus
}
#endif
