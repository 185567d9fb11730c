// SPDX-License-Identifier: Apache-2.0
// A line at a time; whatever a line says is checked before it is used.
#include "engine/replay.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "diffusion/json.h"

#define VERSION 1               // the newest that is read
#define LONGEST_LINE (8 * ZT_PROMPT_BYTES)

struct reader {
    zt_replay      *r;
    const zt_model *m;
    const char     *wrong;      // what is, for the log
    char            prompt[ZT_PROMPT_BYTES + 1];
};

static bool refuse(struct reader *x, const char *why)
{
    x->wrong = x->wrong ? x->wrong : why;
    return false;
}

static bool whole(struct reader *x, zt_json *j, uint64_t min, uint64_t max, uint64_t *out)
{
    return zt_json_u64(j, out) && ((*out >= min && *out <= max) || refuse(x, "a number is out of its range"));
}

static bool hexadecimal(zt_json *j, uint64_t *out)
{
    char text[32], *end;
    if (!zt_json_string(j, text, sizeof(text)))
        return false;
    *out = strtoull(text, &end, 16);
    return end != text && !*end;
}

static bool read_head(struct reader *x, zt_json *j)
{
    zt_replay *r = x->r;
    uint64_t version = 0, w = 0, h = 0, fps = 0;
    char key[32];
    if (!zt_json_enter(j, '{'))
        return false;
    while (zt_json_key(j, key, sizeof(key))) {
        bool ok;
        if (!strcmp(key, "zoetrope"))
            ok = zt_json_u64(j, &version) && (version <= VERSION || refuse(x, "a newer program wrote it"));
        else if (!strcmp(key, "model"))
            ok = zt_json_string(j, r->model, sizeof(r->model));
        else if (!strcmp(key, "hash"))
            ok = hexadecimal(j, &r->hash) || refuse(x, "\"hash\" is not hexadecimal");
        else if (!strcmp(key, "level"))
            ok = zt_json_string(j, r->level, sizeof(r->level));
        else if (!strcmp(key, "precision"))
            ok = zt_json_string(j, r->precision, sizeof(r->precision));
        else if (!strcmp(key, "seed"))
            ok = zt_json_u64(j, &r->seed);
        else if (!strcmp(key, "width"))
            ok = whole(x, j, 16, 4096, &w);
        else if (!strcmp(key, "height"))
            ok = whole(x, j, 16, 4096, &h);
        else if (!strcmp(key, "fps"))
            ok = whole(x, j, 1, 60, &fps);
        else
            ok = zt_json_skip(j);
        if (!ok)
            return false;
    }
    r->w = (int)w, r->h = (int)h, r->fps = (int)fps;
    return (version && w && h && fps) || refuse(x, "not the head of a session's log");
}

static bool read_times(struct reader *x, zt_json *j, zt_script *s)
{
    int n = 0;
    double t;
    if (!zt_json_enter(j, '['))
        return false;
    while (zt_json_item(j)) {
        if (!zt_json_number(j, &t))
            return false;
        if (n > ZT_MAX_STEPS || !(t >= 0 && t <= 1000) || (n && (float)t >= s->t[n - 1]))
            return refuse(x, "\"t\" is not a list of descending times");
        s->t[n++] = (float)t;
    }
    s->n = n - 1;
    return !j->error && (n >= 2 || refuse(x, "\"t\" has no step"));
}

static bool read_controls(struct reader *x, zt_json *j, zt_event *e)
{
    char key[64];
    double v;
    if (!zt_json_enter(j, '{'))
        return false;
    while (zt_json_key(j, key, sizeof(key))) {
        const int i = zt_model_control(x->m, key);
        if (i < 0)
            return refuse(x, "the model does not have this control");
        if (!zt_json_number(j, &v))
            return false;
        if (!(v >= -1 && v <= 1))
            return refuse(x, "a control is not in -1..1");
        e->set |= 1u << i;
        e->control[i] = (float)v;
    }
    return !j->error;
}

static void *grown(void *p, uint64_t *room, size_t size)
{
    const uint64_t more = ZT_MAX(2 * *room, 64u);
    void *q = realloc(p, more * size);
    if (q)
        *room = more;
    return q;
}

static bool keep(struct reader *x, const zt_script *s, zt_event *e, bool prompted)
{
    zt_replay *r = x->r;
    if (r->frames == r->room) {
        zt_script *more = grown(r->script, &r->room, sizeof(*more));
        if (!more)
            return false;
        r->script = more;
    }
    e->frame = r->frames;
    r->script[r->frames++] = *s;
    if (!e->set && !prompted)
        return true;
    if ((uint64_t)r->events == r->event_room) {
        zt_event *more = grown(r->event, &r->event_room, sizeof(*more));
        if (!more)
            return false;
        r->event = more;
    }
    e->prompt = prompted ? strdup(x->prompt) : NULL;
    r->event[r->events] = *e;
    r->events++;
    return !prompted || e->prompt;
}

static bool read_frame(struct reader *x, zt_json *j, int *err)
{
    zt_script s = { 0 };
    zt_event e = { 0 };
    uint64_t frame = UINT64_MAX, window = 0, top_k = 0;
    bool prompted = false;
    char key[32];
    if (!zt_json_enter(j, '{'))
        return false;
    while (zt_json_key(j, key, sizeof(key))) {
        bool ok;
        if (!strcmp(key, "frame"))
            ok = zt_json_u64(j, &frame);
        else if (!strcmp(key, "t"))
            ok = read_times(x, j, &s);
        else if (!strcmp(key, "window"))
            ok = whole(x, j, 0, 1024, &window);
        else if (!strcmp(key, "top_k"))
            ok = whole(x, j, 0, 64, &top_k);
        else if (!strcmp(key, "controls"))
            ok = read_controls(x, j, &e);
        else if (!strcmp(key, "prompt"))
            ok = prompted = zt_json_string(j, x->prompt, sizeof(x->prompt));
        else
            ok = zt_json_skip(j);
        if (!ok)
            return false;
    }
    if (j->error)
        return false;
    s.window = (int)window, s.top_k = (int)top_k;
    if (frame != x->r->frames || !s.n)
        return refuse(x, "frames are not dense from 0, or one has no \"t\"");
    if (prompted && zt_prompt_check(x->prompt) < 0)
        return refuse(x, "\"prompt\" is not a prompt");
    if (keep(x, &s, &e, prompted))
        return true;
    *err = -ENOMEM;
    return false;
}

static int read_lines(struct reader *x, const char *path, FILE *f)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t bytes;
    int err = 0;
    for (int number = 1; !err && (bytes = getline(&line, &room, f)) >= 0; number++) {
        if (line[bytes - 1] != '\n') {
            zt_warn("%s: line %d is cut off and left out", path, number);
            break;
        }
        zt_json j;
        zt_json_init(&j, line, (size_t)bytes);
        const bool ok = bytes <= LONGEST_LINE && (number == 1 ? read_head(x, &j) : read_frame(x, &j, &err));
        if (!err && (!ok || !zt_json_done(&j))) {
            zt_error("%s: line %d: %s", path, number, x->wrong ? x->wrong : j.error ? j.error : "not a session's log");
            err = -EINVAL;
        }
    }
    free(line);
    if (!err && ferror(f))
        err = -EIO;
    if (!err && !x->r->frames) {
        zt_error("%s: there is no frame in it", path);
        err = -EINVAL;
    }
    return err;
}

int zt_replay_parse(zt_replay **out, FILE *f, const char *label, const zt_model *m)
{
    struct reader *x = calloc(1, sizeof(*x));
    int err = x ? 0 : -ENOMEM;
    if (!err) {
        x->m = m;
        x->r = calloc(1, sizeof(*x->r));
        err = x->r ? read_lines(x, label, f) : -ENOMEM;
        if (err)
            zt_replay_free(&x->r);
        else
            *out = x->r;
    }
    free(x);
    return err;
}

int zt_replay_read(zt_replay **out, const char *path, const zt_model *m)
{
    FILE *f = fopen(path, "re");
    if (!f) {
        const int err = -errno;
        zt_error("%s: %s", path, strerror(-err));
        return err;
    }
    const int err = zt_replay_parse(out, f, path, m);
    fclose(f);
    return err;
}

void zt_replay_free(zt_replay **replay)
{
    zt_replay *r = *replay;
    if (!r)
        return;
    for (int i = 0; i < r->events; i++)
        free((char *)r->event[i].prompt);
    free(r->event);
    free(r->script);
    free(r);
    *replay = NULL;
}
