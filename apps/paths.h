// SPDX-License-Identifier: Apache-2.0
// Where the shipped model is, and where things are kept that can be made again.
#pragma once

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

// ZOETROPE_MODEL, else beside the source where that exists (-Dsource_model), else where it is installed. Lives as
// long as the process and its environment. From any thread.
const char *zt_path_default_model(void);

// $XDG_CACHE_HOME/zoetrope, else ~/.cache/zoetrope; made when it is not there. 0 or -errno. From any
// thread.
int zt_path_cache(char *out, size_t bytes);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
