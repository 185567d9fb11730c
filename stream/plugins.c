// SPDX-License-Identifier: Apache-2.0
// Starts GStreamer and looks for plugins.
#include "stream/plugins.h"

#include <errno.h>
#include <gst/gst.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/log.h"

int zt_plugins_open(const char *purpose, const zt_plugin *needed, int n)
{
    GError *error = NULL;
    const bool first = !gst_is_initialized();
    zt_crypto_open();
    if (!gst_init_check(NULL, NULL, &error)) {
        zt_error("cannot start GStreamer: %s", error ? error->message : "no reason given");
        g_clear_error(&error);
        return -ENOSYS;
    }
    if (first && g_getenv("GST_TRACERS"))
        atexit(gst_deinit);             // its tracers report then; nobody else misses it
    for (int i = 0; i < n; i++) {
        GstElementFactory *f = gst_element_factory_find(needed[i].element);
        if (!f) {
            zt_error("%s: no GStreamer element %s (Debian: %s)", purpose, needed[i].element, needed[i].package);
            return -ENOSYS;
        }
        gst_object_unref(f);
    }
    return 0;
}
