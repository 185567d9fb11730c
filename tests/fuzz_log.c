// SPDX-License-Identifier: Apache-2.0
// Fuzz target: any bytes as a session's log, and as what work costs.
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/log.h"
#include "engine/cost.h"
#include "engine/replay.h"
#include "tests/fake_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void quiet(void *cookie, enum zt_level level, const char *line)
{
}

static FILE *file_of(const uint8_t *data, size_t n)
{
    return n ? fmemopen((void *)data, n, "r") : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static zt_costs costs;
    zt_replay *r = NULL;
    zt_model *m = fake_model_open(NULL);
    zt_log_set(quiet, NULL);
    FILE *f = file_of(data, n);
    if (f) {
        if (zt_replay_parse(&r, f, "fuzz", m) == 0 && r->script[r->frames - 1].n < 1)
            __builtin_trap();
        fclose(f);
    }
    zt_replay_free(&r);
    zt_model_close(&m);
    f = file_of(data, n);
    if (f) {
        zt_costs_read(&costs, 0, "key", f);
        zt_costs_of(&costs, &(zt_shape){ .tokens = 144, .pairs = 20736 });
        fclose(f);
    }
    return 0;
}
