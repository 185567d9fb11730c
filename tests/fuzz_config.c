// SPDX-License-Identifier: Apache-2.0
// Fuzz target: any bytes as a config.json.
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/log.h"
#include "diffusion/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void quiet(void *cookie, enum zt_level level, const char *line)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    zt_log_set(quiet, NULL);
    zt_config c;
    if (zt_config_parse(&c, data, n, "fuzz") == 0)
        zt_config_finish(&c);
    return 0;
}
