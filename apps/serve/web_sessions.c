// SPDX-License-Identifier: Apache-2.0
// /model and /sessions: what there is, making, steering and ending it; and what a steering message may say.
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "apps/serve/web.h"
#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"

#define TTL_S     600
#define TTL_MAX_S 86400
#define RETRY_S   10

void zt_web_get_model(const zt_request *r)
{
    zt_serve *s = r->http->serve;
    const zt_model_info *info = zt_model_get_info(s->setup.model);
    static const char *const groups[] = { "place", "time", "weather" };
    char size[32];
    snprintf(size, sizeof(size), "%dx%d", info->w, info->h);
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "name", info->name);
    cJSON_AddStringToObject(root, "size", size);
    cJSON_AddNumberToObject(root, "fps", info->fps);
    cJSON *words = cJSON_AddObjectToObject(root, "words");
    for (size_t i = 0; i < ZT_LEN(groups); i++) {
        cJSON *group = cJSON_AddArrayToObject(words, groups[i]);
        const char *word;
        for (int n = 0; (word = zt_model_word(s->setup.model, groups[i], n)); n++)
            cJSON_AddItemToArray(group, cJSON_CreateString(word));
    }
    cJSON *controls = cJSON_AddArrayToObject(root, "controls");
    for (int i = 0; i < info->n_controls; i++)
        cJSON_AddItemToArray(controls, cJSON_CreateString(info->control[i]));
    cJSON_AddBoolToObject(root, "test_pattern", s->test_pattern);
    zt_web_json(r->msg, 200, root);
}

// ---- what steers

static const char *read_controls(const zt_model *m, const cJSON *controls, float value[ZT_MAX_CONTROLS], unsigned *set)
{
    if (!cJSON_IsObject(controls))
        return "\"controls\" is not an object";
    for (const cJSON *c = controls->child; c; c = c->next) {
        const int i = zt_model_control(m, c->string);
        if (i < 0)
            return "the model does not have this control";
        if (!cJSON_IsNumber(c) || !(c->valuedouble >= -1 && c->valuedouble <= 1))
            return "a control is not a number in -1..1";
        value[i] = (float)c->valuedouble;
        *set |= 1u << i;
    }
    return NULL;
}

// What comes back with each frame: it is printed, so it has an end.
static bool is_mark(const cJSON *c)
{
    return !c || (cJSON_IsNumber(c) && c->valuedouble >= 0 && c->valuedouble <= (double)(INT64_C(1) << 53));
}

const char *zt_web_apply(zt_http *h, zt_show *show, const cJSON *root, char *ignored, size_t bytes)
{
    const zt_model *m = h->serve->setup.model;
    const cJSON *prompt = cJSON_GetObjectItemCaseSensitive(root, "prompt");
    const cJSON *controls = cJSON_GetObjectItemCaseSensitive(root, "controls");
    const cJSON *t = cJSON_GetObjectItemCaseSensitive(root, "t"), *seq = cJSON_GetObjectItemCaseSensitive(root, "seq");
    float value[ZT_MAX_CONTROLS];
    unsigned set = 0;
    ignored[0] = 0;
    if (prompt && (!cJSON_IsString(prompt) || zt_prompt_check(prompt->valuestring) < 0))
        return "\"prompt\" is not a prompt: text in UTF-8, not empty, 64 KiB at most";
    const char *wrong = controls ? read_controls(m, controls, value, &set) : NULL;
    if (wrong)
        return wrong;
    if (!prompt && !controls)
        return "neither \"prompt\" nor \"controls\"";
    if (!is_mark(t) || !is_mark(seq))
        return "\"t\" and \"seq\" are not numbers from 0 to 2^53";
    if (t && seq)
        zt_show_mark(show, t->valuedouble, seq->valuedouble);
    if (prompt) {
        zt_show_prompt(show, prompt->valuestring);
        zt_model_words(m, prompt->valuestring, ignored, bytes);
    }
    for (int i = 0; i < ZT_MAX_CONTROLS; i++)
        if (set >> i & 1)
            zt_show_control(show, i, value[i]);
    return NULL;
}

void zt_web_add_ignored(cJSON *root, const char *ignored)
{
    cJSON *list = cJSON_AddArrayToObject(root, "ignored");
    char **word = g_strsplit(ignored, " ", -1);
    for (int i = 0; word[i]; i++)
        if (*word[i])
            cJSON_AddItemToArray(list, cJSON_CreateString(word[i]));
    g_strfreev(word);
}

// ---- sessions

// Where the client finds RTSP, as a URL has it. A server on every interface is where HTTP was asked for.
static const char *rtsp_host(const zt_request *r, char out[ZT_URL_HOST])
{
    const zt_serve *s = r->http->serve;
    if (s->public_address && !zt_is_loopback(s->rtsp_host))
        return zt_url_host(s->public_address, out);
    if (!zt_is_any(s->rtsp_host))
        return zt_url_host(s->rtsp_host, out);
    const char *asked = soup_message_headers_get_one(soup_server_message_get_request_headers(r->msg), "Host");
    const size_t bytes = *asked == '[' ? strcspn(asked, "]") + 1 : strcspn(asked, ":");
    snprintf(out, ZT_URL_HOST, "%.*s", (int)bytes, asked);      // zt_access_host() has seen it
    return out;
}

static void add_places(const zt_request *r, cJSON *root, const char *id)
{
    const zt_serve *s = r->http->serve;
    char text[ZT_URL_HOST + 80], host[ZT_URL_HOST];
    cJSON_AddStringToObject(root, "id", id);
    snprintf(text, sizeof(text), "/whep/%s", id);
    cJSON_AddStringToObject(root, "whep", text);
    if (!s->studio.rtsp)
        return;
    snprintf(text, sizeof(text), strcmp(id, "live") ? "rtsp://%s:%d/s/%s" : "rtsp://%s:%d/%s", rtsp_host(r, host),
             zt_rtsp_server_port(s->studio.rtsp), id);
    cJSON_AddStringToObject(root, "rtsp", text);
}

static cJSON *describe(const zt_request *r, zt_show *show, int64_t idle)
{
    const zt_show_params *p = zt_show_get_params(show);
    static char prompt[ZT_PROMPT_BYTES + 1];
    char size[32];
    cJSON *root = cJSON_CreateObject();
    add_places(r, root, p->id);
    zt_show_prompt_text(show, prompt, sizeof(prompt));
    snprintf(size, sizeof(size), "%dx%d", p->out_w, p->out_h);
    cJSON_AddStringToObject(root, "prompt", prompt);
    cJSON_AddNumberToObject(root, "fps", p->fps);
    cJSON_AddStringToObject(root, "size", size);
    cJSON_AddNumberToObject(root, "steps", p->steps_max);
    cJSON_AddNumberToObject(root, "budget_ms", (double)(p->budget / ZT_MS));
    cJSON_AddBoolToObject(root, "running", zt_show_runs(show));
    cJSON_AddNumberToObject(root, "viewers", zt_show_viewers(show));
    cJSON_AddNumberToObject(root, "idle_s", (double)(idle / ZT_S));
    zt_metrics m;
    zt_show_metrics(show, &m);
    cJSON *outcomes = cJSON_AddObjectToObject(root, "outcomes");
    for (int i = 0; i < ZT_OUTCOMES; i++)
        cJSON_AddNumberToObject(outcomes, zt_outcome_name[i], (double)m.outcome[i]);
    return root;
}

static void list_sessions(const zt_request *r)
{
    cJSON *root = cJSON_CreateArray();
    for (int i = 0; i < ZT_SHOWS; i++) {
        int64_t idle;
        zt_show *show = zt_serve_at(r->http->serve, i, &idle);
        if (show)
            cJSON_AddItemToArray(root, describe(r, show, idle));
        zt_show_unref(&show);
    }
    zt_web_json(r->msg, 200, root);
}

// A whole number in a range; *out stays when it is absent. False: it is there and is not one.
static bool read_int(const cJSON *root, const char *name, int64_t min, int64_t max, int64_t *out)
{
    const cJSON *c = cJSON_GetObjectItemCaseSensitive(root, name);
    if (!c)
        return true;
    if (!cJSON_IsNumber(c) || !(c->valuedouble >= (double)min && c->valuedouble <= (double)max) ||
        c->valuedouble != floor(c->valuedouble))
        return false;
    *out = (int64_t)c->valuedouble;
    return true;
}

static bool read_size(const cJSON *root, int *w, int *h)
{
    const cJSON *c = cJSON_GetObjectItemCaseSensitive(root, "size");
    int end = 0;
    if (!c)
        return true;
    return cJSON_IsString(c) && sscanf(c->valuestring, "%5dx%5d%n", w, h, &end) == 2 && !c->valuestring[end] &&
           *w >= 16 && *h >= 16 && *w <= 4096 && *h <= 4096 && *w % 2 == 0 && *h % 2 == 0;
}

// NULL, or what is wrong. The prompt points into root.
static const char *read_params(const cJSON *root, zt_show_params *p, int64_t *ttl)
{
    static const char *const known[] = { "prompt", "seed", "fps", "budget_ms", "steps", "min", "size", "ttl_s" };
    for (const cJSON *c = root->child; c; c = c->next) {
        bool is_known = false;
        for (size_t i = 0; i < ZT_LEN(known); i++)
            is_known = is_known || !strcmp(known[i], c->string);
        if (!is_known)
            return "known are prompt, seed, fps, budget_ms, steps, min, size, ttl_s";
    }
    const cJSON *prompt = cJSON_GetObjectItemCaseSensitive(root, "prompt");
    int64_t seed = 0, fps = 0, budget = 0, steps = 0, least = 0, ttl_s = TTL_S;
    if (!cJSON_IsString(prompt) || zt_prompt_check(prompt->valuestring) < 0)
        return "\"prompt\" is needed: text in UTF-8, not empty, 64 KiB at most";
    if (!read_int(root, "seed", 0, INT64_C(1) << 53, &seed))
        return "\"seed\" is not a whole number from 0 to 2^53";
    if (!read_int(root, "fps", 1, 60, &fps))
        return "\"fps\" is not in 1..60";
    if (!read_int(root, "budget_ms", 1, 60000, &budget))
        return "\"budget_ms\" is not in 1..60000";
    if (!read_int(root, "steps", 1, ZT_MAX_STEPS, &steps) || !read_int(root, "min", 1, ZT_MAX_STEPS, &least) ||
        (steps && least > steps))
        return "\"min\" and \"steps\" are not in 1..64, in this order";
    if (!read_int(root, "ttl_s", 1, TTL_MAX_S, &ttl_s))
        return "\"ttl_s\" is not in 1..86400";
    if (!read_size(root, &p->out_w, &p->out_h))
        return "\"size\" is not WxH, both even, from 16 to 4096";
    p->prompt = prompt->valuestring;
    p->seed = (uint64_t)seed;
    p->fps = (int)fps;
    p->budget = budget * ZT_MS;
    p->steps_max = (int)steps;
    p->steps_min = (int)least;
    *ttl = ttl_s * ZT_S;
    return NULL;
}

static void post_session(const zt_request *r)
{
    zt_serve *s = r->http->serve;
    char id[ZT_ID_BYTES], ignored[512], place[64];
    zt_show_params p = { .id = id, .fps = (int)s->fps, .out_w = s->size.a, .out_h = s->size.b };
    int64_t ttl;
    cJSON *body = zt_web_body(r->msg);
    if (!body)
        return;
    const char *wrong = read_params(body, &p, &ttl);
    if (wrong) {
        zt_web_error(r->msg, 400, "%s", wrong);
        cJSON_Delete(body);
        return;
    }
    zt_web_id(id);
    zt_model_words(s->setup.model, p.prompt, ignored, sizeof(ignored));
    zt_show *show = NULL;
    zt_refused refused;
    const int err = zt_serve_add(s, &p, ttl, &show, &refused);
    cJSON_Delete(body);
    if (err == -EAGAIN) {
        zt_web_busy(r->msg, 503, RETRY_S, "all sessions are in use");
    } else if (err == -EBUSY) {
        zt_web_busy(r->msg, 503, refused.retry_s, refused.text);
    } else if (err < 0) {
        zt_web_error(r->msg, err == -EINVAL ? 400 : 500, "the session cannot be made: %s", strerror(-err));
    } else {
        snprintf(place, sizeof(place), "/sessions/%s", id);
        zt_web_header(r->msg, "Location", place);
        cJSON *root = cJSON_CreateObject();
        add_places(r, root, id);
        zt_web_add_ignored(root, ignored);
        zt_web_json(r->msg, 201, root);
    }
    zt_show_unref(&show);
}

bool zt_web_wake(const zt_request *r, zt_show *show)
{
    zt_refused refused;
    const int err = zt_serve_wake(r->http->serve, show, &refused);
    if (err == -EBUSY)
        zt_web_busy(r->msg, 503, refused.retry_s, refused.text);
    else if (err < 0)
        zt_web_error(r->msg, 500, "the session cannot be made: %s", strerror(-err));
    return err == 0;
}

void zt_web_sessions(const zt_request *r)
{
    if (!strcmp(r->method, "POST"))
        post_session(r);
    else
        list_sessions(r);
}

static void patch_session(const zt_request *r, zt_show *show)
{
    char ignored[512];
    cJSON *body = zt_web_body(r->msg);
    if (!body)
        return;
    const char *wrong = zt_web_apply(r->http, show, body, ignored, sizeof(ignored));
    if (wrong) {
        zt_web_error(r->msg, 400, "%s", wrong);
    } else {
        cJSON *root = cJSON_CreateObject();
        zt_web_add_ignored(root, ignored);
        zt_web_json(r->msg, 200, root);
        zt_serve_touch(r->http->serve, show);
        zt_web_steered(r->http, show, NULL);
    }
    cJSON_Delete(body);
}

void zt_web_session(const zt_request *r)
{
    zt_show *show = zt_serve_find(r->http->serve, r->id);
    if (!show) {
        zt_web_error(r->msg, 404, "no such session");
    } else if (!strcmp(r->method, "PATCH")) {
        patch_session(r, show);
    } else if (strcmp(r->method, "DELETE")) {
        zt_web_json(r->msg, 200, describe(r, show, 0));
    } else if (zt_serve_remove(r->http->serve, r->id)) {
        soup_server_message_set_status(r->msg, 204, NULL);
    } else {
        zt_web_error(r->msg, 403, "this session ends by itself");
    }
    zt_show_unref(&show);
}
