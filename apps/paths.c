// SPDX-License-Identifier: Apache-2.0
// Where the shipped model is: known when it was built. Where caches are: as the XDG base directories have it.
#include "apps/paths.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"

const char *zt_path_default_model(void)
{
    const char *given = getenv("ZOETROPE_MODEL");
    if (given && *given)
        return given;
#ifdef ZT_SOURCE_MODEL
    if (!access(ZT_SOURCE_MODEL "/config.json", R_OK))
        return ZT_SOURCE_MODEL;
#endif
    return ZT_INSTALLED_MODEL;
}

int zt_path_cache(char *out, size_t bytes)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char base[4096];
    if (cache && cache[0] == '/')               // relative ones are to be ignored
        snprintf(base, sizeof(base), "%s", cache);
    else if (home && home[0])
        snprintf(base, sizeof(base), "%s/.cache", home);
    else
        return -ENOENT;
    if (snprintf(out, bytes, "%s/zoetrope", base) >= (int)bytes)
        return -ENAMETOOLONG;
    if (mkdir(base, 0700) && errno != EEXIST)
        return -errno;
    return mkdir(out, 0700) && errno != EEXIST ? -errno : 0;
}
