// SPDX-License-Identifier: Apache-2.0
// /clips: asking for clips, how far they are, their files.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/serve/web.h"
#include "base/base.h"

#define RETRY_S 5

// Answered, when it cannot be had.
static zt_clips *clips_of(const zt_request *r)
{
    zt_clips *q = r->http->serve->clips;
    if (!q)
        zt_web_error(r->msg, 404, "this server takes no clips (--batch-dir)");
    return q;
}

// With what its mark says when it is done.
static cJSON *describe(const zt_clips *q, const zt_clip_status *is, bool marked)
{
    char file[ZT_FOLDER_PATH], mark[ZT_FOLDER_PATH], place[ZT_CLIP_ID + 20];
    void *text = NULL;
    size_t bytes;
    zt_clips_paths(q, is, file, mark);
    if (marked && is->state == ZT_CLIP_DONE)
        zt_file_read(&text, &bytes, mark, 1 << 20);
    cJSON *root = text ? cJSON_Parse(text) : NULL;
    free(text);
    if (!root) {
        root = cJSON_CreateObject();
        cJSON_AddStringToObject(root, "id", is->id);
        cJSON_AddNumberToObject(root, "frames", (double)is->frames);
    }
    cJSON_AddStringToObject(root, "state", zt_clip_state_name[is->state]);
    if (is->state == ZT_CLIP_QUEUED)
        cJSON_AddNumberToObject(root, "ahead", is->ahead);
    if (is->state == ZT_CLIP_RENDERING)
        cJSON_AddNumberToObject(root, "frame", (double)is->frame);
    if (is->why)
        cJSON_AddStringToObject(root, "error", is->why);
    if (is->state == ZT_CLIP_DONE) {
        snprintf(place, sizeof(place), "/clips/%s/file", is->id);
        cJSON_AddStringToObject(root, "url", place);
        if (!cJSON_HasObjectItem(root, "bytes"))
            cJSON_AddNumberToObject(root, "bytes", (double)is->bytes);
    }
    return root;
}

static void list(const zt_request *r, zt_clips *q)
{
    zt_clip_status is;
    cJSON *root = cJSON_CreateArray();
    for (int i = 0; zt_clips_at(q, i, &is); i++)
        cJSON_AddItemToArray(root, describe(q, &is, false));
    zt_web_json(r->msg, 200, root);
}

// Its line, with an id of ours where it has none; free() it. NULL: answered.
static char *read_line(const zt_request *r)
{
    char id[ZT_ID_BYTES];
    cJSON *body = zt_web_body(r->msg);
    if (!body)
        return NULL;
    if (!cJSON_HasObjectItem(body, "id")) {
        zt_web_id(id);
        cJSON_AddStringToObject(body, "id", id);
    }
    char *line = cJSON_PrintUnformatted(body);
    cJSON_Delete(body);
    if (!line)
        zt_web_error(r->msg, 500, "not enough memory");
    return line;
}

static void answer_added(const zt_request *r, int err, const char *id, const char *ignored)
{
    char place[ZT_CLIP_ID + 20];
    if (err == -EEXIST) {
        zt_web_error(r->msg, 409, "there is a clip of this id");
    } else if (err == -EDQUOT || err == -ENOSPC) {
        zt_web_error(r->msg, 507, "there is no room: delete clips (--batch-quota, %d clips)", ZT_CLIPS);
    } else if (err < 0) {
        zt_web_error(r->msg, 500, "the clip cannot be kept: %s", strerror(-err));
    } else {
        snprintf(place, sizeof(place), "/clips/%s", id);
        zt_web_header(r->msg, "Location", place);
        cJSON *root = cJSON_CreateObject();
        cJSON_AddStringToObject(root, "id", id);
        zt_web_add_ignored(root, ignored);
        zt_web_json(r->msg, 201, root);
    }
}

static void post(const zt_request *r, zt_clips *q)
{
    const zt_model *m = r->http->serve->setup.model;
    char wrong[200], id[ZT_CLIP_ID + 1], ignored[512] = "";
    zt_clip c;
    char *line = read_line(r);
    if (!line)
        return;
    const char *what = zt_clip_parse(&c, line, wrong, sizeof(wrong));
    what = what ? what : zt_clips_refuse(&c);
    what = what ? what : zt_clip_bind(&c, m, wrong, sizeof(wrong));
    if (what) {
        zt_web_error(r->msg, 400, "%s", what);
        zt_clip_finish(&c);
    } else {
        g_strlcpy(id, c.id, sizeof(id));
        zt_model_words(m, c.prompt, ignored, sizeof(ignored));
        answer_added(r, zt_clips_add(q, &c, line), id, ignored);
    }
    cJSON_free(line);
}

void zt_web_clips(const zt_request *r)
{
    zt_clips *q = clips_of(r);
    if (q && !strcmp(r->method, "POST"))
        post(r, q);
    else if (q)
        list(r, q);
}

void zt_web_clip(const zt_request *r)
{
    zt_clip_status is;
    zt_clips *q = clips_of(r);
    if (!q)
        return;
    const bool end = !strcmp(r->method, "DELETE");
    if (end ? !zt_clips_delete(q, r->id) : !zt_clips_find(q, r->id, &is))
        zt_web_error(r->msg, 404, "no such clip");
    else if (end)
        soup_server_message_set_status(r->msg, 204, NULL);
    else
        zt_web_json(r->msg, 200, describe(q, &is, true));
}

static const char *type_of(const char *format)
{
    static const char *const type[][2] = {
        { "mp4", "video/mp4" }, { "webm", "video/webm" }, { "mkv", "video/x-matroska" }, { "mov", "video/quicktime" },
    };
    for (size_t i = 0; i < ZT_LEN(type); i++)
        if (!strcmp(type[i][0], format))
            return type[i][1];
    return "application/octet-stream";
}

// Mapped: a file that is deleted meanwhile is still read to its end, and memory is the page cache's.
static void answer_file(const zt_request *r, const zt_clips *q, const zt_clip_status *is)
{
    char file[ZT_FOLDER_PATH], mark[ZT_FOLDER_PATH], name[ZT_CLIP_ID + 60];
    zt_clips_paths(q, is, file, mark);
    GMappedFile *map = g_mapped_file_new(file, FALSE, NULL);
    if (!map) {
        zt_web_error(r->msg, 404, "its file is gone");
        return;
    }
    GBytes *bytes = g_mapped_file_get_bytes(map);
    snprintf(name, sizeof(name), "attachment; filename=\"%s.%s\"", is->id, is->format);
    zt_web_header(r->msg, "Content-Type", type_of(is->format));
    zt_web_header(r->msg, "Content-Disposition", name);
    soup_server_message_set_status(r->msg, 200, NULL);
    soup_message_body_append_bytes(soup_server_message_get_response_body(r->msg), bytes);
    g_bytes_unref(bytes);
    g_mapped_file_unref(map);
}

void zt_web_clip_file(const zt_request *r)
{
    zt_clip_status is;
    zt_clips *q = clips_of(r);
    if (!q)
        return;
    if (strcmp(r->rest, "file"))
        zt_web_error(r->msg, 404, "not found");
    else if (!zt_clips_find(q, r->id, &is))
        zt_web_error(r->msg, 404, "no such clip");
    else if (is.state == ZT_CLIP_FAILED)
        zt_web_error(r->msg, 409, "it failed: %s", is.why);
    else if (is.state != ZT_CLIP_DONE)
        zt_web_busy(r->msg, 409, RETRY_S, "it is not done yet");
    else
        answer_file(r, q, &is);
}
