// SPDX-License-Identifier: Apache-2.0
// --collect: is every clip there, of its line, and whole?
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/batch/folder.h"
#include "apps/batch/sha256.h"
#include "apps/batch/work.h"
#include "apps/exits.h"
#include "base/base.h"
#include "base/log.h"

typedef struct sums {
    int     done, missing, damaged;
    int64_t bytes, frames;
} sums;

// NULL, or what is wrong with a clip that has its mark.
static const char *verify(const zt_folder *f, const cJSON *mark, sums *s)
{
    const cJSON *sha = cJSON_GetObjectItemCaseSensitive(mark, "sha256");
    const cJSON *bytes = cJSON_GetObjectItemCaseSensitive(mark, "bytes");
    const cJSON *line = cJSON_GetObjectItemCaseSensitive(mark, "line");
    char path[ZT_FOLDER_PATH], hex[65] = "", key[20];
    int64_t n = 0;
    if (!cJSON_IsString(sha) || !cJSON_IsNumber(bytes) || !cJSON_IsString(line))
        return "its mark is damaged";
    snprintf(key, sizeof(key), "%016" PRIx64, f->clip->key);
    if (strcmp(key, line->valuestring))
        return "was rendered from another line";
    zt_folder_output(f, path);
    const int err = strcmp(f->clip->format, "png") ? zt_sha256_file(path, hex, &n) : zt_sha256_pictures(path, hex, &n);
    if (err < 0)
        return "cannot be read";
    if (n != (int64_t)bytes->valuedouble || strcmp(hex, sha->valuestring))
        return "is not what was written";
    const cJSON *frames = cJSON_GetObjectItemCaseSensitive(mark, "frames");
    s->bytes += n;
    s->frames += cJSON_IsNumber(frames) ? (int64_t)frames->valuedouble : 0;
    return NULL;
}

static void look(const zt_batch_work *w, const zt_clip *c, sums *s)
{
    const zt_folder f = { w->b->out, c, -1 };
    char path[ZT_FOLDER_PATH];
    void *text = NULL;
    size_t n;
    zt_folder_final(&f, path, ".json");
    if (zt_file_read(&text, &n, path, 1 << 20) < 0) {
        s->missing++;
        zt_warn("%s: not done", c->id);
        return;
    }
    cJSON *mark = cJSON_Parse(text);
    const char *wrong = verify(&f, mark, s);
    if (wrong)
        zt_error("%s: %s", c->id, wrong);
    s->damaged += wrong != NULL;
    s->done += !wrong;
    cJSON_Delete(mark);
    free(text);
}

int zt_batch_collect(zt_batch_work *w)
{
    sums s = { 0 };
    for (int i = w->first; i <= w->last; i++)
        look(w, &w->manifest.clip[i], &s);
    printf("{\"clips\": %d, \"done\": %d, \"missing\": %d, \"damaged\": %d, \"frames\": %" PRId64 ", \"bytes\": %" PRId64 "}\n",
           w->last - w->first + 1, s.done, s.missing, s.damaged, s.frames, s.bytes);
    return s.damaged ? ZT_EXIT_DATA : s.missing ? ZT_EXIT_AGAIN : ZT_EXIT_OK;
}
