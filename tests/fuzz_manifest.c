// SPDX-License-Identifier: Apache-2.0
// Fuzz target: any bytes as a manifest, and its clips with a model's controls.
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "apps/batch/manifest.h"
#include "base/log.h"
#include "tests/fake_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void quiet(void *cookie, enum zt_level level, const char *line)
{
}

// What the header promises of each.
static void check(zt_clip *c, const zt_model *m)
{
    char wrong[200];
    const size_t id = strlen(c->id);
    if (!id || id > ZT_CLIP_ID || strchr(c->id, '/') || c->id[0] == '.' || !c->format || !c->prompt == !c->replay)
        __builtin_trap();
    if (c->frames < 0 || c->fps < 0 || c->fps > 60 || c->steps < 0 || c->steps > ZT_MAX_STEPS || c->w % 2 || c->h % 2)
        __builtin_trap();
    if (zt_clip_bind(c, m, wrong, sizeof(wrong)))
        return;
    for (int i = 1; i < c->events; i++)
        if (c->event[i].frame < c->event[i - 1].frame)
            __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    zt_manifest manifest = { 0 };
    zt_model *m = fake_model_open(NULL);
    char *text = malloc(n + 1);         // it is written into, and ends with a zero
    zt_log_set(quiet, NULL);
    if (text && n)
        memcpy(text, data, n);
    if (text)
        text[n] = 0;
    if (text && zt_manifest_parse(&manifest, "fuzz", text, n) == 0)
        for (int i = 0; i < manifest.n; i++)
            check(&manifest.clip[i], m);
    zt_manifest_free(&manifest);
    free(text);
    zt_model_close(&m);
    return 0;
}
