// SPDX-License-Identifier: Apache-2.0
// Chunks become the clip; the mark that it is done comes last.
#include "apps/batch/finish.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps/about.h"
#include "apps/batch/sha256.h"
#include "apps/exits.h"
#include "base/base.h"
#include "base/log.h"

static int said(const char *path, int err)
{
    zt_error("%s: %s", path, strerror(-err));
    return err;
}

// ---- what it was made with

static void add_number(cJSON *o, const char *name, int64_t n)
{
    cJSON_AddNumberToObject(o, name, (double)n);
}

// As a string: JSON readers lose what is above 2^53.
static void add_u64(cJSON *o, const char *name, const char *format, uint64_t n)
{
    char text[32];
    snprintf(text, sizeof(text), format, n);
    cJSON_AddStringToObject(o, name, text);
}

static cJSON *describe(const zt_rendering *r)
{
    const zt_clip *c = r->job->clip;
    const char *logged = r->log && r->log->events ? r->log->event[0].prompt : NULL;
    const zt_about about = {
        .info = zt_model_get_info(r->job->setup->model), .id = c->id,
        .prompt = c->prompt ? c->prompt : logged ? logged : "", .seed = r->log ? r->log->seed : c->seed, .steps = r->shape.steps,
    };
    return zt_about_json(&about);
}

// ---- joining

static int join_files(zt_rendering *r, const char *to)
{
    char (*name)[ZT_FOLDER_PATH] = calloc((size_t)r->chunks, sizeof(*name));
    const char **part = calloc((size_t)r->chunks, sizeof(*part));
    cJSON *about = describe(r);
    char *comment = cJSON_PrintUnformatted(about);
    int64_t frames = 0;
    int err = name && part && comment ? 0 : -ENOMEM;
    for (int64_t i = 0; i < r->chunks && !err; i++) {
        zt_rendering_chunk(r, name[i], i, false);
        part[i] = name[i];
    }
    const zt_join_params p = {
        .part = part, .n = (int)r->chunks, .url = to, .fps = r->shape.fps, .overwrite = true, .comment = comment,
        .title = r->job->clip->prompt,
    };
    if (!err)
        err = zt_stream_join(&p, &frames);
    if (!err && frames != r->shape.frames) {
        zt_error("%s: the chunks have %" PRId64 " frames, not %" PRId64, to, frames, r->shape.frames);
        err = -EBADMSG;
    }
    cJSON_free(comment);
    cJSON_Delete(about);
    free(part);
    free(name);
    return err;
}

// Links: the chunks stay whole until everything is done.
static int join_pictures(zt_rendering *r, const char *to)
{
    int err = zt_folder_wipe(to, true);
    if (!err && mkdir(to, 0777) < 0)
        err = -errno;
    for (int64_t i = 0; i < r->shape.frames && !err; i++) {
        char chunk[ZT_FOLDER_PATH], from[ZT_FOLDER_PATH + 32], as[ZT_FOLDER_PATH + 32];
        zt_rendering_chunk(r, chunk, i / r->job->chunk, false);
        snprintf(from, sizeof(from), "%s/%06" PRId64 ".png", chunk, i % r->job->chunk);
        snprintf(as, sizeof(as), "%s/%06" PRId64 ".png", to, i);
        if (link(from, as) < 0)
            err = -errno;
    }
    if (!err)
        err = zt_folder_sync(to);
    return err < 0 ? said(to, err) : 0;
}

// Of pictures: of their files one behind the other.
static int hash(const zt_rendering *r, const char *path, char hex[65], int64_t *bytes)
{
    if (strcmp(r->job->clip->format, "png"))
        return zt_sha256_file(path, hex, bytes);
    return zt_sha256_pictures(path, hex, bytes);
}

static int place(zt_rendering *r, const char *from, const char *to)
{
    struct stat st;
    int err = 0;
    if (stat(to, &st) == 0 && S_ISDIR(st.st_mode))      // rename() replaces files, not directories
        err = zt_folder_wipe(to, true);
    if (!err && rename(from, to) < 0)
        err = -errno;
    if (!err)
        err = zt_folder_sync(r->job->out);
    return err < 0 ? said(to, err) : 0;
}

// ---- the mark

static int write_mark(zt_rendering *r, const char *file)
{
    char hex[65], path[ZT_FOLDER_PATH];
    int64_t bytes = 0;
    int err = hash(r, file, hex, &bytes);
    if (err < 0)
        return said(file, err);
    cJSON *o = describe(r);
    cJSON_AddStringToObject(o, "file", strrchr(file, '/') + 1);
    add_number(o, "bytes", bytes);
    cJSON_AddStringToObject(o, "sha256", hex);
    add_number(o, "frames", r->shape.frames);
    add_number(o, "width", r->shape.w);
    add_number(o, "height", r->shape.h);
    add_number(o, "fps", r->shape.fps);
    if (r->job->clip->codec)
        cJSON_AddStringToObject(o, "codec", r->job->clip->codec);
    add_u64(o, "line", "%016" PRIx64, r->job->clip->key);
    add_u64(o, "key", "%016" PRIx64, r->from.key);
    cJSON_AddStringToObject(o, "level", r->from.level);
    char *text = cJSON_Print(o);
    cJSON_Delete(o);
    if (!text)
        return -ENOMEM;
    zt_folder_final(&r->folder, path, ".json");
    err = zt_folder_write(&r->folder, "done.json", path, text);
    cJSON_free(text);
    return err ? err : zt_folder_sync(r->job->out);
}

static int write_sheet(zt_rendering *r)
{
    char path[ZT_FOLDER_PATH], to[ZT_FOLDER_PATH];
    if (!r->sheet)
        return 0;
    zt_folder_work(&r->folder, path, "sheet.png");
    zt_folder_final(&r->folder, to, ".sheet.png");
    unlink(path);
    const int err = zt_sheet_write(r->sheet, path);
    return err ? err : place(r, path, to);
}

int zt_rendering_finish(zt_rendering *r)
{
    char joined[ZT_FOLDER_PATH], name[32], file[ZT_FOLDER_PATH];
    const bool pictures = !strcmp(r->job->clip->format, "png");
    snprintf(name, sizeof(name), "joined.%s", r->job->clip->format);
    zt_folder_work(&r->folder, joined, name);
    zt_folder_output(&r->folder, file);
    int err = pictures ? join_pictures(r, joined) : join_files(r, joined);
    if (!err)
        err = place(r, joined, file);
    if (!err)
        err = write_sheet(r);
    if (!err)
        err = write_mark(r, file);
    if (!err)
        err = zt_folder_remove(&r->folder);
    return err == -EBADMSG ? ZT_EXIT_DATA : zt_exit_output(err);
}
