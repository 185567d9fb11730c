// SPDX-License-Identifier: Apache-2.0
// Fuzz target: any bytes as a torch.save file.
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/log.h"
#include "diffusion/weights_file.h"
#include "tests/fuzz_weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void quiet(void *cookie, enum zt_level level, const char *line)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    zt_log_set(quiet, NULL);
    struct zt_weights_part p = { 0 };
    if (zt_torch_read(&p, data, n, "fuzz") == 0) {
        fuzz_read_all(&p, data, n);
        free(p.w);
        free(p.names);
    }
    return 0;
}
