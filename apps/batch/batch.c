// SPDX-License-Identifier: Apache-2.0
// What is checked before any clip is begun: every line, every model, every place on the disk.
#include "apps/batch/batch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps/batch/folder.h"
#include "apps/batch/work.h"
#include "apps/exits.h"
#include "base/base.h"
#include "base/log.h"
#include "stream/stream.h"

static int same_text(const char *a, const char *b)
{
    return a == b || (a && b && !strcmp(a, b));
}

bool zt_work_same(const zt_clip *a, const zt_clip *b)
{
    return same_text(a->model, b->model) && a->precision == b->precision;
}

void zt_work_close(zt_batch_work *w)
{
    zt_setup_close(&w->setup);
    w->opened = NULL;
}

int zt_work_open(zt_batch_work *w, const zt_clip *c)
{
    if (w->opened && zt_work_same(w->opened, c))
        return 0;
    zt_work_close(w);
    w->setup = w->b->setup;
    w->setup.path = c->model ? c->model : w->setup.path;
    w->setup.precision_name = c->precision ? c->precision : w->setup.precision_name;
    const int code = zt_setup_open(&w->setup, true);
    if (code)
        zt_work_close(w);
    else
        w->opened = c;
    return code;
}

static int read_index(zt_batch_work *w)
{
    const char *text = w->b->index;
    int used = 0;
    w->last = w->manifest.n - 1;
    if (!text)
        return 0;
    const bool digits = strspn(text, "0123456789-") == strlen(text) && strlen(text) < 20;
    const int got = digits ? sscanf(text, "%9d%n-%9d%n", &w->first, &used, &w->last, &used) : 0;
    if (got == 1)
        w->last = w->first;
    if (got < 1 || text[used] || *text == '-' || w->first > w->last) {
        zt_error("--index: \"%s\" is not A or A-B", text);
        return ZT_EXIT_USAGE;
    }
    if (w->last >= w->manifest.n) {
        zt_error("--index: %d is not in 0..%d, the clips of %s", w->last, w->manifest.n - 1, w->b->manifest);
        return ZT_EXIT_USAGE;
    }
    return 0;
}

// Encoders that are not built in are known now, not after an hour.
static int check_codec(const zt_clip *c)
{
    zt_stream *s = NULL;
    zt_frame_pool *pool = NULL;
    const zt_stream_params p = { .url = "null:", .w = 64, .h = 64, .fps = 24, .codec = c->codec };
    int err = zt_frame_pool_create(&pool, 64, 64, 1);
    if (!err)
        err = zt_stream_open(&s, &p);
    if (!err) {
        zt_frame *f = zt_frame_get(pool);
        err = zt_stream_push(s, f, INT64_MAX);
        zt_frame_unref(&f);
    }
    if (!err)
        err = zt_stream_finish(s);
    zt_stream_close(&s);
    zt_frame_pool_destroy(&pool);
    return zt_exit_output(err);
}

static int check_codecs(const zt_batch_work *w)
{
    const char *seen[8] = { NULL };
    int n = 0, code = 0;
    for (int i = w->first; i <= w->last && !code; i++) {
        const zt_clip *c = &w->manifest.clip[i];
        bool known = !c->codec;
        for (int k = 0; k < n && !known; k++)
            known = !strcmp(seen[k], c->codec);
        if (known)
            continue;
        code = check_codec(c);
        seen[n++] = c->codec;           // there are seven
    }
    return code;
}

static int check_there(const zt_batch_work *w, const zt_clip *c)
{
    const zt_batch *b = w->b;
    const zt_folder f = { b->out, c, -1 };
    char path[ZT_FOLDER_PATH];
    if (c->replay && access(c->replay, R_OK) < 0) {
        zt_error("%s: line %d: %s: %s", b->manifest, c->line, c->replay, strerror(errno));
        return ZT_EXIT_NO_INPUT;
    }
    if (b->overwrite || b->check)
        return 0;
    const enum zt_there there = zt_folder_look(&f, zt_clip_key(c, zt_model_get_info(w->setup.model), b->chunk));
    if (there == ZT_THERE_NOTHING || (b->resume && there != ZT_THERE_OTHER))
        return 0;
    zt_folder_output(&f, path);
    zt_error("%s: line %d: %s %s", b->manifest, c->line, path,
             there == ZT_THERE_OTHER  ? "or its mark is there and not of this line and model, -y replaces it"
             : there == ZT_THERE_DONE ? "exists, --resume keeps it, -y replaces it"
                                      : "was begun, --resume goes on with it, -y begins anew");
    return ZT_EXIT_NO_OUTPUT;
}

// Model by model, so that each is opened once.
static int check_clips(zt_batch_work *w)
{
    const int n = w->last - w->first + 1;
    bool *seen = calloc((size_t)n, sizeof(*seen));
    int code = seen ? 0 : ZT_EXIT_UNAVAILABLE;
    for (int i = 0; i < n && !code; i++) {
        if (seen[i])
            continue;
        zt_clip *head = &w->manifest.clip[w->first + i];
        code = zt_work_open(w, head);
        for (int k = i; k < n && !code; k++) {
            zt_clip *c = &w->manifest.clip[w->first + k];
            if (seen[k] || !zt_work_same(head, c))
                continue;
            seen[k] = true;
            zt_clip_shape shape;
            code = zt_clip_settle(c, w->b->manifest, w->setup.model);
            if (!code)
                code = check_there(w, c);
            zt_clip_shape_of(c, zt_model_get_info(w->setup.model), &shape);
            w->frames += shape.frames;
        }
    }
    free(seen);
    return code;
}

static int make_out(const char *out)
{
    struct stat st;
    if (mkdir(out, 0777) == 0 || (errno == EEXIST && stat(out, &st) == 0 && S_ISDIR(st.st_mode) && access(out, W_OK) == 0))
        return 0;
    zt_error("%s: %s", out, errno == EEXIST ? "is not a directory" : strerror(errno));
    return ZT_EXIT_NO_OUTPUT;
}

static int run(zt_batch_work *w)
{
    const zt_batch *b = w->b;
    int code = zt_manifest_read(&w->manifest, b->manifest);
    if (!code)
        code = read_index(w);
    if (code)
        return code;
    if (b->collect)
        return zt_batch_collect(w);
    if (b->submit)
        return zt_batch_submit(w);
    code = check_codecs(w);
    if (!code)
        code = check_clips(w);
    if (code || b->check)
        return code ? code : zt_batch_check(w);
    code = make_out(b->out);
    return code ? code : zt_batch_render(w);
}

int zt_batch_run(const zt_batch *b)
{
    zt_batch_work w = { .b = b };
    const int code = run(&w);
    zt_work_close(&w);
    zt_manifest_free(&w.manifest);
    return code;
}
