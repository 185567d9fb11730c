// SPDX-License-Identifier: Apache-2.0
// Lines go through two queues between the engine's thread and one that may wait for the disk.
#include "engine/record.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "base/queue.h"
#include "engine/engine.h"

#define LINES 160               // those that wait for an outcome, and some seconds of a slow disk
#define SHOWN 64

struct zt_record {
    zt_model_info   model;
    FILE           *file;
    char           *path;
    zt_queue       *empty, *full;
    pthread_t       thread;
    bool            running;
    zt_record_line *line[LINES];
    // The engine's: those that wait for an outcome, by slot
    zt_record_line *shown[SHOWN];
    bool            ended;      // no line was free, or the disk failed
    int             failed;     // atomic: the disk
};

static void put_string(FILE *f, const char *s)
{
    putc('"', f);
    for (; *s; s++) {
        const unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            fprintf(f, "\\%c", c);
        else if (c < 0x20)
            fprintf(f, "\\u%04x", c);
        else
            putc(c, f);
    }
    putc('"', f);
}

static void put_line(const zt_record *r, const zt_record_line *l)
{
    FILE *f = r->file;
    fprintf(f, "{\"frame\": %" PRIu64 ", \"slot\": %" PRIu64 ", \"t\": [", l->frame, l->slot);
    for (int i = 0; i <= l->n; i++)
        fprintf(f, "%s%.9g", i ? ", " : "", (double)l->t[i]);
    fprintf(f, "], \"window\": %d, \"top_k\": %d", l->window, l->top_k);
    const char *sep = ", \"controls\": {";
    for (int i = 0; i < r->model.n_controls; i++) {
        if (!(l->set >> i & 1))
            continue;
        fprintf(f, "%s", sep);
        put_string(f, r->model.control[i]);
        fprintf(f, ": %.9g", (double)l->control[i]);
        sep = ", ";
    }
    if (sep[2] == 0)
        putc('}', f);
    if (l->prompted) {
        fprintf(f, ", \"prompt\": ");
        put_string(f, l->prompt);
    }
    fprintf(f, ", \"outcome\": \"%s\"}\n", zt_outcome_name[l->outcome]);
}

static void put_head(const zt_record *r, const zt_record_head *h)
{
    static const char *const precision[] = { "default", "f32", "bf16", "int8" };
    fprintf(r->file, "{\"zoetrope\": 1, \"engine\": \"" ZT_VERSION "\", \"model\": ");
    put_string(r->file, h->model->name);
    fprintf(r->file, ", \"hash\": \"%016" PRIx64 "\", \"level\": \"%s\", \"precision\": \"%s\", \"seed\": %" PRIu64
                     ", \"width\": %d, \"height\": %d, \"fps\": %d}\n",
            h->model->hash, h->level, precision[h->model->precision], h->seed, h->w, h->h, h->fps);
}

static void *run(void *cookie)
{
    zt_record *r = cookie;
    void *line;
    pthread_setname_np(pthread_self(), "zt-record");
    while (zt_queue_pop(r->full, &line, INT64_MAX) == 0) {
        put_line(r, line);
        if (!zt_queue_length(r->full) && fflush(r->file) && !__atomic_exchange_n(&r->failed, 1, __ATOMIC_RELAXED))
            zt_error("%s: %s", r->path, strerror(errno));
        zt_queue_push(r->empty, line, INT64_MAX);
    }
    return NULL;
}

static int make(zt_record *r, const char *path)
{
    r->path = strdup(path);
    int err = r->path ? zt_queue_create(&r->empty, LINES) : -ENOMEM;
    if (!err)
        err = zt_queue_create(&r->full, LINES);
    for (int i = 0; i < LINES && !err; i++) {
        r->line[i] = calloc(1, sizeof(zt_record_line) + ZT_PROMPT_BYTES + 1);   // touched as far as it is used
        err = r->line[i] ? zt_queue_push(r->empty, r->line[i], 0) : -ENOMEM;
    }
    if (err)
        return err;
    r->file = fopen(path, "we");
    return r->file ? 0 : -errno;
}

int zt_record_open(zt_record **out, const char *path, const zt_record_head *head)
{
    zt_record *r = zt_alloc(sizeof(*r));
    if (!r)
        return -ENOMEM;
    r->model = *head->model;
    int err = make(r, path);
    if (!err) {
        put_head(r, head);
        err = fflush(r->file) ? -errno : pthread_create(&r->thread, NULL, run, r) ? -ENOMEM : 0;
        r->running = !err;
    }
    if (err) {
        zt_error("%s: %s", path, strerror(-err));
        zt_record_close(&r);
        return err;
    }
    *out = r;
    return 0;
}

void zt_record_close(zt_record **record)
{
    zt_record *r = *record;
    if (!r)
        return;
    for (int i = 0; i < SHOWN; i++)
        if (r->shown[i])
            zt_record_decide(r, r->shown[i]->slot, ZT_DROPPED);
    if (r->running) {
        zt_queue_close(r->full);
        pthread_join(r->thread, NULL);
    }
    if (r->file && fclose(r->file) && !r->failed)
        zt_error("%s: %s", r->path, strerror(errno));
    zt_queue_destroy(&r->full);
    zt_queue_destroy(&r->empty);
    for (int i = 0; i < LINES; i++)
        free(r->line[i]);
    free(r->path);
    zt_free(r);
    *record = NULL;
}

zt_record_line *zt_record_line_get(zt_record *r)
{
    void *line = NULL;
    if (!r->ended && !__atomic_load_n(&r->failed, __ATOMIC_RELAXED) && zt_queue_pop(r->empty, &line, 0) == 0)
        return line;
    if (!r->ended)
        zt_warn("%s ends here: it cannot be written fast enough", r->path);
    r->ended = true;
    return NULL;
}

void zt_record_show(zt_record *r, zt_record_line *l, uint64_t slot)
{
    zt_record_line **place = &r->shown[slot % SHOWN];
    if (*place)
        zt_record_decide(r, (*place)->slot, ZT_DROPPED);
    l->slot = slot;
    *place = l;
}

void zt_record_decide(zt_record *r, uint64_t slot, enum zt_outcome outcome)
{
    zt_record_line **place = &r->shown[slot % SHOWN], *l = *place;
    if (!l || l->slot != slot)
        return;
    l->outcome = outcome;
    *place = NULL;
    zt_queue_push(r->full, l, 0);       // has room for all there are
}
