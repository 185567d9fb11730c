// SPDX-License-Identifier: Apache-2.0
// The keys of a manifest's line: one table, a reader each.
#include <cjson/cJSON.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/batch/manifest.h"
#include "apps/exits.h"
#include "apps/setup.h"
#include "base/base.h"
#include "base/log.h"

#define MAX_EVENTS 10000
#define MAX_FRAMES 100000000
#define VERSION    1            // the newest that is read

// Of every container, the codec it has when none is named comes first.
static const struct {
    const char *format, *codec[8];
} formats[] = {
    { "mp4",  { "h264", "h265", "vp9", "av1" } },
    { "mkv",  { "h264", "h265", "vp9", "av1", "vp8", "ffv1", "prores" } },
    { "webm", { "vp9", "av1", "vp8" } },
    { "mov",  { "h264", "h265", "prores" } },
    { "y4m",  { NULL } },
    { "png",  { NULL } },
};

static const char *whole(const cJSON *v, int64_t min, int64_t max, int64_t *out)
{
    if (!cJSON_IsNumber(v) || v->valuedouble != floor(v->valuedouble))
        return "not a whole number";
    if (v->valuedouble < (double)min || v->valuedouble > (double)max)
        return "out of range";
    *out = (int64_t)v->valuedouble;
    return NULL;
}

static const char *small(const cJSON *v, int min, int max, int *out)
{
    int64_t n = 0;
    const char *wrong = whole(v, min, max, &n);
    *out = (int)n;
    return wrong;
}

// zt_prompt_check() without its lines.
static const char *prompt(const cJSON *v, const char **out)
{
    const char *text = cJSON_IsString(v) ? v->valuestring : NULL;
    if (!text)
        return "not a string";
    if (strlen(text) > ZT_PROMPT_BYTES)
        return "longer than 65536 bytes";
    if (strspn(text, " \t\r\n") == strlen(text))
        return "empty";
    for (const char *s = text; *s;) {
        const int n = zt_utf8_length(s, 4);
        if (!n)
            return "not UTF-8";
        s += n;
    }
    *out = text;
    return NULL;
}

static const char *path(const cJSON *v, const char **out)
{
    if (!cJSON_IsString(v) || !*v->valuestring)
        return "not a file name";
    if (strlen(v->valuestring) > 4000)
        return "longer than 4000 bytes";
    *out = v->valuestring;
    return NULL;
}

static const char *read_id(zt_clip *c, const cJSON *v)
{
    const char *id = cJSON_IsString(v) ? v->valuestring : "";
    const size_t n = strlen(id);
    if (!n || n > ZT_CLIP_ID || strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") != n)
        return "not 1 to 100 of A-Z a-z 0-9 _ -";
    memcpy(c->id, id, n + 1);
    return NULL;
}

static const char *read_prompt(zt_clip *c, const cJSON *v) { return prompt(v, &c->prompt); }
static const char *read_replay(zt_clip *c, const cJSON *v) { return path(v, &c->replay); }
static const char *read_model(zt_clip *c, const cJSON *v) { return path(v, &c->model); }
static const char *read_frames(zt_clip *c, const cJSON *v) { return whole(v, 1, MAX_FRAMES, &c->frames); }
static const char *read_fps(zt_clip *c, const cJSON *v) { return small(v, 1, 60, &c->fps); }
static const char *read_steps(zt_clip *c, const cJSON *v) { return small(v, 1, ZT_MAX_STEPS, &c->steps); }
static const char *read_bitrate(zt_clip *c, const cJSON *v) { return whole(v, 1000, 1000000000, &c->bitrate); }

// Above 2^53 a JSON number is not what was written.
static const char *read_seed(zt_clip *c, const cJSON *v)
{
    if (!cJSON_IsString(v)) {
        int64_t n = 0;
        const char *wrong = whole(v, 0, INT64_C(1) << 53, &n);
        c->seed = (uint64_t)n;
        return wrong ? "not a whole number from 0 to 2^53, nor a string of digits" : NULL;
    }
    char *end;
    errno = 0;
    c->seed = strtoull(v->valuestring, &end, 10);
    return errno || *end || v->valuestring[0] < '0' || v->valuestring[0] > '9' ? "not a number below 2^64" : NULL;
}

static const char *read_size(zt_clip *c, const cJSON *v)
{
    int used = 0;
    const char *text = cJSON_IsString(v) ? v->valuestring : "";
    if (strspn(text, "0123456789x") != strlen(text) || strlen(text) > 9 ||
        sscanf(text, "%dx%d%n", &c->w, &c->h, &used) != 2 || text[used])
        return "not WIDTHxHEIGHT";
    if (c->w < 16 || c->h < 16 || c->w > 8192 || c->h > 8192 || c->w % 2 || c->h % 2)
        return "width and height must be even, from 16 to 8192";
    return NULL;
}

static const char *read_precision(zt_clip *c, const cJSON *v)
{
    for (c->precision = 1; cJSON_IsString(v) && zt_precision_names[c->precision]; c->precision++)
        if (!strcmp(v->valuestring, zt_precision_names[c->precision]))
            return NULL;
    return "not a precision: f32, bf16, int8 or int4";
}

static const char *read_format(zt_clip *c, const cJSON *v)
{
    for (size_t i = 0; cJSON_IsString(v) && i < ZT_LEN(formats); i++)
        if (!strcmp(v->valuestring, formats[i].format))
            c->format = formats[i].format;
    return c->format ? NULL : "not a format: mp4, mkv, webm, mov, y4m or png";
}

static const char *read_codec(zt_clip *c, const cJSON *v)
{
    for (int i = 0; cJSON_IsString(v) && formats[1].codec[i]; i++)
        if (!strcmp(v->valuestring, formats[1].codec[i]))
            c->codec = formats[1].codec[i];
    return c->codec ? NULL : "not a codec: h264, h265, vp9, av1, vp8, ffv1 or prores";
}

static const char *read_crf(zt_clip *c, const cJSON *v)
{
    const char *wrong = small(v, 0, 63, &c->crf);
    c->crf = c->crf ? c->crf : -1;
    return wrong;
}

static const char *read_version(zt_clip *c, const cJSON *v)
{
    int64_t n = 0;
    (void)c;
    const char *wrong = whole(v, 1, MAX_FRAMES, &n);
    return wrong ? wrong : n > VERSION ? "a newer program is needed: version 1 is read here" : NULL;
}

static const char *read_sheet(zt_clip *c, const cJSON *v)
{
    c->sheet = cJSON_IsTrue(v);
    return cJSON_IsBool(v) ? NULL : "not true or false";
}

// Frames are put in order later; what they say must be right now.
static const char *check_controls(const cJSON *v)
{
    if (!cJSON_IsObject(v))
        return "not an object";
    for (const cJSON *k = v->child; k; k = k->next)
        if (!cJSON_IsNumber(k) || !(k->valuedouble >= -1 && k->valuedouble <= 1))
            return "a control is not a number in -1..1";
    return NULL;
}

static const char *read_controls(zt_clip *c, const cJSON *v)
{
    (void)c;
    return check_controls(v);
}

static const char *check_entry(const cJSON *e, const char *frame_key, const char *text_key, bool text_needed)
{
    bool framed = false, texted = false;
    int64_t frame;
    const char *text, *wrong = NULL;
    if (!cJSON_IsObject(e))
        return "an entry is not an object";
    for (const cJSON *k = e->child; k && !wrong; k = k->next) {
        if (!strcmp(k->string, frame_key)) {
            wrong = whole(k, 0, MAX_FRAMES, &frame) ? "an entry's frame is not a whole number from 0" : NULL;
            framed = true;
        } else if (!strcmp(k->string, text_key)) {
            wrong = prompt(k, &text) ? "an entry's prompt is not a prompt" : NULL;
            texted = true;
        } else if (!text_needed && !strcmp(k->string, "controls")) {
            wrong = check_controls(k);
        } else {
            return "an entry has an unknown key";
        }
    }
    return wrong ? wrong : !framed ? "an entry has no frame" : text_needed && !texted ? "an entry has no text" : NULL;
}

static const char *check_list(const cJSON *v, const char *frame_key, const char *text_key, bool text_needed)
{
    if (!cJSON_IsArray(v))
        return "not a list";
    const char *wrong = cJSON_GetArraySize(v) > MAX_EVENTS ? "more than 10000 entries" : NULL;
    for (const cJSON *e = v->child; e && !wrong; e = e->next)
        wrong = check_entry(e, frame_key, text_key, text_needed);
    return wrong;
}

static const char *read_prompts(zt_clip *c, const cJSON *v)
{
    const char *wrong = check_list(v, "at_frame", "text", true);
    const cJSON *first = wrong ? NULL : v->child;
    if (!wrong && (!first || cJSON_GetObjectItemCaseSensitive(first, "at_frame")->valuedouble != 0))
        return "the first is not at frame 0";
    if (!wrong && !c->prompt)
        c->prompt = cJSON_GetObjectItemCaseSensitive(first, "text")->valuestring;
    return wrong;
}

static const char *read_events(zt_clip *c, const cJSON *v)
{
    (void)c;
    return check_list(v, "frame", "prompt", false);
}

static const struct {
    const char *name;
    const char *(*read)(zt_clip *c, const cJSON *v);
} keys[] = {
    { "id", read_id }, { "prompt", read_prompt }, { "prompts", read_prompts }, { "controls", read_controls },
    { "events", read_events }, { "seed", read_seed }, { "frames", read_frames }, { "fps", read_fps },
    { "size", read_size }, { "steps", read_steps }, { "model", read_model }, { "precision", read_precision },
    { "format", read_format }, { "codec", read_codec }, { "crf", read_crf }, { "bitrate", read_bitrate },
    { "sheet", read_sheet }, { "replay", read_replay }, { "version", read_version },
};

static bool has(const cJSON *root, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(root, key) != NULL;
}

static const char *read_keys(zt_clip *c, const cJSON *root, char *wrong, size_t bytes)
{
    unsigned seen = 0;
    for (const cJSON *v = root->child; v; v = v->next) {
        size_t i = 0;
        while (i < ZT_LEN(keys) && strcmp(keys[i].name, v->string))
            i++;
        const char *what = i == ZT_LEN(keys) ? "an unknown key" : seen >> i & 1 ? "given twice" : keys[i].read(c, v);
        if (what) {
            snprintf(wrong, bytes, "\"%.40s\": %s", v->string, what);
            return wrong;
        }
        seen |= 1u << i;
    }
    return NULL;
}

static const char *check_codec(zt_clip *c)
{
    c->format = c->format ? c->format : "mp4";
    size_t i = 0;
    while (strcmp(formats[i].format, c->format))
        i++;
    if (!formats[i].codec[0])
        return c->codec || c->crf || c->bitrate ? "y4m and png have no codec" : NULL;
    if (!c->codec)
        c->codec = formats[i].codec[0];
    for (int k = 0; formats[i].codec[k]; k++)
        if (!strcmp(formats[i].codec[k], c->codec))
            return NULL;
    return "the format does not take the codec";
}

static const char *check_clip(zt_clip *c, const cJSON *root)
{
    if (!*c->id)
        return "\"id\" is missing";
    if (has(root, "prompt") && has(root, "prompts"))
        return "\"prompt\" and \"prompts\" exclude each other";
    if (!c->prompt && !c->replay)
        return "\"prompt\" is missing";
    if (c->replay && (c->prompt || has(root, "seed") || has(root, "controls") || has(root, "events")))
        return "\"replay\" has its own prompts, controls, events and seed";
    if (c->crf && c->bitrate)
        return "\"crf\" and \"bitrate\" exclude each other";
    return check_codec(c);
}

// FNV-1a of the object as cJSON prints it.
static uint64_t hash_of(const cJSON *root)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    char *text = cJSON_PrintUnformatted(root);
    for (const char *s = text; s && *s; s++)
        h = (h ^ (uint8_t)*s) * UINT64_C(0x100000001b3);
    cJSON_free(text);
    return h;
}

const char *zt_clip_parse(zt_clip *out, const char *text, char *wrong, size_t bytes)
{
    *out = (zt_clip){ 0 };
    cJSON *root = cJSON_ParseWithOpts(text, NULL, 1);
    if (!root)
        return "not JSON";
    out->root = root;
    if (!cJSON_IsObject(root))
        return "not a JSON object";
    const char *what = read_keys(out, root, wrong, bytes);
    if (!what)
        what = check_clip(out, root);
    out->key = hash_of(root);
    return what;
}

void zt_clip_finish(zt_clip *c)
{
    free(c->event);
    cJSON_Delete(c->root);
    *c = (zt_clip){ 0 };
}

// ---- with the model

static bool settle_controls(zt_event *e, const cJSON *controls, const zt_model *m, const char **unknown)
{
    for (const cJSON *k = controls ? controls->child : NULL; k; k = k->next) {
        const int i = zt_model_control(m, k->string);
        *unknown = k->string;
        if (i < 0)
            return false;
        e->set |= 1u << i;
        e->control[i] = (float)k->valuedouble;
    }
    return true;
}

static int add_events(zt_clip *c, const cJSON *list, const char *frame, const char *text, const zt_model *m,
                      const char **unknown)
{
    for (const cJSON *v = list ? list->child : NULL; v; v = v->next) {
        zt_event *e = &c->event[c->events++];
        const cJSON *prompted = cJSON_GetObjectItemCaseSensitive(v, text);
        e->frame = (uint64_t)cJSON_GetObjectItemCaseSensitive(v, frame)->valuedouble;
        e->prompt = prompted ? prompted->valuestring : NULL;
        if (!settle_controls(e, cJSON_GetObjectItemCaseSensitive(v, "controls"), m, unknown))
            return -EINVAL;
    }
    return 0;
}

// Stable, and nearly sorted as a rule.
static void sort(zt_event *e, int n)
{
    for (int i = 1; i < n; i++) {
        const zt_event v = e[i];
        int at = i;
        for (; at > 0 && e[at - 1].frame > v.frame; at--)
            e[at] = e[at - 1];
        e[at] = v;
    }
}

const char *zt_clip_bind(zt_clip *c, const zt_model *m, char *wrong, size_t bytes)
{
    const cJSON *prompts = cJSON_GetObjectItemCaseSensitive(c->root, "prompts");
    const cJSON *events = cJSON_GetObjectItemCaseSensitive(c->root, "events");
    const cJSON *controls = cJSON_GetObjectItemCaseSensitive(c->root, "controls");
    const char *unknown = "";
    free(c->event);
    c->events = 0;
    c->event = calloc((size_t)cJSON_GetArraySize(prompts) + (size_t)cJSON_GetArraySize(events) + 1, sizeof(*c->event));
    if (!c->event)
        return "not enough memory";
    bool known = true;
    if (controls)
        known = settle_controls(&c->event[c->events++], controls, m, &unknown);
    if (!known || add_events(c, prompts, "at_frame", "text", m, &unknown) < 0 ||
        add_events(c, events, "frame", "prompt", m, &unknown) < 0) {
        snprintf(wrong, bytes, "the model does not have the control \"%.40s\"", unknown);
        return wrong;
    }
    sort(c->event, c->events);
    return NULL;
}

int zt_clip_settle(zt_clip *c, const char *name, const zt_model *m)
{
    char wrong[200];
    const char *what = zt_clip_bind(c, m, wrong, sizeof(wrong));
    if (what)
        zt_error("%s: line %d: %s", name, c->line, what);
    return !what ? 0 : c->event ? ZT_EXIT_DATA : ZT_EXIT_UNAVAILABLE;
}
