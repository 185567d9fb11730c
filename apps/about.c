// SPDX-License-Identifier: Apache-2.0
// What a file was made with.
#include "apps/about.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>

#include "apps/setup.h"
#include "base/base.h"

// As a string: JSON readers lose what is above 2^53.
static void add_u64(cJSON *o, const char *name, const char *format, uint64_t n)
{
    char text[32];
    snprintf(text, sizeof(text), format, n);
    cJSON_AddStringToObject(o, name, text);
}

struct cJSON *zt_about_json(const zt_about *a)
{
    cJSON *o = cJSON_CreateObject();
    if (a->id)
        cJSON_AddStringToObject(o, "id", a->id);
    cJSON_AddStringToObject(o, "prompt", a->prompt);
    add_u64(o, "seed", "%" PRIu64, a->seed);
    cJSON_AddNumberToObject(o, "steps", a->steps);
    cJSON_AddStringToObject(o, "model", a->info->name);
    add_u64(o, "model_hash", "%016" PRIx64, a->info->hash);
    cJSON_AddStringToObject(o, "precision", zt_precision_names[a->info->precision]);
    cJSON_AddStringToObject(o, "zoetrope", ZT_VERSION);
    return o;
}
