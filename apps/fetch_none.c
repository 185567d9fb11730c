// SPDX-License-Identifier: Apache-2.0
// No downloads: built without libcurl.
#include <errno.h>
#include <stdio.h>

#include "apps/fetch.h"

int zt_fetch_get(const zt_fetch *f, char *why, size_t bytes)
{
    (void)f;
    snprintf(why, bytes, "built without libcurl (package libcurl4-openssl-dev)");
    return -ENOTSUP;
}
