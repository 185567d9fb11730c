// SPDX-License-Identifier: Apache-2.0
// Where the shipped model is, and where things are kept that can be made again.
#pragma once

#include <stddef.h>

// Beside the source where that exists (-Dsource_model), else where it is installed. (-m and ZOETROPE_MODEL come before.)
const char *zt_path_default_model(void);

// $XDG_CACHE_HOME/zoetrope, else ~/.cache/zoetrope; made when it is not there. 0 or -errno.
int zt_path_cache(char *out, size_t bytes);
