// SPDX-License-Identifier: Apache-2.0
// Reads events files line by line; nothing in them is guessed.
#include "apps/events.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/exits.h"
#include "base/base.h"
#include "base/log.h"

#define MAX_EVENTS 1000000

// Returns what is wrong, or NULL.
static const char *read_controls(zt_event *e, const cJSON *controls, const zt_model *m)
{
    if (!cJSON_IsObject(controls))
        return "\"controls\" is not an object";
    for (const cJSON *c = controls->child; c; c = c->next) {
        const int i = zt_model_control(m, c->string);
        if (i < 0)
            return "the model does not have this control";
        if (!cJSON_IsNumber(c) || !(c->valuedouble >= -1 && c->valuedouble <= 1))
            return "a control is not a number in -1..1";
        e->set |= 1u << i;
        e->control[i] = (float)c->valuedouble;
    }
    return NULL;
}

static const char *read_event(zt_event *e, const cJSON *root, const zt_model *m)
{
    bool framed = false;
    if (!cJSON_IsObject(root))
        return "not a JSON object";
    for (const cJSON *c = root->child; c; c = c->next) {
        if (!strcmp(c->string, "frame")) {
            if (!cJSON_IsNumber(c) || !(c->valuedouble >= 0 && c->valuedouble < 9e15) ||
                c->valuedouble != floor(c->valuedouble))
                return "\"frame\" is not a whole number from 0";
            e->frame = (uint64_t)c->valuedouble;
            framed = true;
        } else if (!strcmp(c->string, "prompt")) {
            if (!cJSON_IsString(c) || zt_prompt_check(c->valuestring) < 0)
                return "\"prompt\" is not a prompt";
            e->prompt = c->valuestring;
        } else if (!strcmp(c->string, "controls")) {
            const char *wrong = read_controls(e, c, m);
            if (wrong)
                return wrong;
        } else {
            return "only \"frame\", \"prompt\" and \"controls\" are known";
        }
    }
    return framed ? NULL : "\"frame\" is missing";
}

static int no_memory(const char *path)
{
    zt_error("%s: not enough memory", path);
    return ZT_EXIT_UNAVAILABLE;
}

static bool append(zt_events *es, zt_event e)
{
    if ((es->n & (es->n - 1)) == 0) {
        zt_event *more = realloc(es->event, (size_t)ZT_MAX(2 * es->n, 1) * sizeof(e));
        if (!more)
            return false;
        es->event = more;
    }
    es->event[es->n++] = e;
    return true;
}

struct placed {
    zt_event e;
    int      line;
};

static int by_frame(const void *left, const void *right)
{
    const struct placed *a = left, *b = right;
    return a->e.frame != b->e.frame ? (a->e.frame > b->e.frame) - (a->e.frame < b->e.frame) : a->line - b->line;
}

// Into the order of frames; equal frames keep the order of the file.
static bool sort(zt_events *es)
{
    bool sorted = true;
    for (int i = 1; i < es->n; i++)
        sorted = sorted && es->event[i - 1].frame <= es->event[i].frame;
    if (sorted)
        return true;

    struct placed *p = malloc((size_t)es->n * sizeof(*p));
    if (!p)
        return false;
    for (int i = 0; i < es->n; i++)
        p[i] = (struct placed){ es->event[i], i };
    qsort(p, (size_t)es->n, sizeof(*p), by_frame);
    for (int i = 0; i < es->n; i++)
        es->event[i] = p[i].e;
    free(p);
    return true;
}

// The parsed lines are kept, as an array: prompts point into them.
static int read_line(zt_events *es, const char *path, int number, char *line, size_t bytes, const zt_model *m)
{
    while (bytes && strchr(" \t\r\n", line[bytes - 1]))
        line[--bytes] = 0;
    if (!bytes)
        return 0;
    zt_event e = { 0 };
    cJSON *root = strlen(line) == bytes ? cJSON_ParseWithOpts(line, NULL, 1) : NULL;
    const char *wrong = root ? read_event(&e, root, m) : "not JSON";
    if (!wrong && es->n == MAX_EVENTS)
        wrong = "too many events";
    if (wrong) {
        zt_error("%s: line %d: %s", path, number, wrong);
        cJSON_Delete(root);
        return ZT_EXIT_DATA;
    }
    cJSON_AddItemToArray(es->text, root);
    return append(es, e) ? 0 : no_memory(path);
}

static int read_lines(zt_events *es, const char *path, FILE *f, const zt_model *m)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t bytes;
    int code = 0;
    for (int number = 1; !code && (bytes = getline(&line, &room, f)) >= 0; number++)
        code = read_line(es, path, number, line, (size_t)bytes, m);
    if (!code && ferror(f)) {
        zt_error("%s: cannot be read", path);
        code = ZT_EXIT_NO_INPUT;
    }
    free(line);
    if (!code && !sort(es))
        code = no_memory(path);
    return code;
}

int zt_events_read(zt_events *out, const char *path, const zt_model *m)
{
    zt_events es = { .text = cJSON_CreateArray() };
    FILE *f = fopen(path, "r");
    int code = 0;
    if (!f) {
        zt_error("%s: %s", path, strerror(errno));
        code = ZT_EXIT_NO_INPUT;
    } else {
        code = es.text ? read_lines(&es, path, f, m) : no_memory(path);
        fclose(f);
    }
    if (code)
        zt_events_finish(&es);
    else
        *out = es;
    return code;
}

void zt_events_finish(zt_events *e)
{
    free(e->event);
    cJSON_Delete(e->text);
    *e = (zt_events){ 0 };
}
