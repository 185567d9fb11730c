// SPDX-License-Identifier: Apache-2.0
// Fuzz target: any bytes as a sentencepiece model.
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/log.h"
#include "diffusion/spiece.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void quiet(void *cookie, enum zt_level level, const char *line)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    zt_log_set(quiet, NULL);
    static const char text[] = "mountains at sunset, caf\xc3\xa9 \xe6\x97\xa5\xe6\x9c\xac ABC";
    int id[64];
    zt_spiece *const s = zt_spiece_open(data, n);
    if (s)
        zt_spiece_encode(s, text, sizeof(text) - 1, id, 64);
    zt_spiece_close(s);
    return 0;
}
