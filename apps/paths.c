// SPDX-License-Identifier: Apache-2.0
// Where the shipped model is: known when it was built.
#include "apps/paths.h"

#include <unistd.h>

#include "config.h"

const char *zt_path_default_model(void)
{
    return access(ZT_SOURCE_MODEL "/config.json", R_OK) ? ZT_INSTALLED_MODEL : ZT_SOURCE_MODEL;
}
