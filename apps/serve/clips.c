// SPDX-License-Identifier: Apache-2.0
// The queue of clips and the thread that renders them.
#include "apps/serve/clips.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps/exits.h"
#include "apps/serve/clips_store.h"
#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"

#define CHUNK 240               // frames, as zoetrope-render has them
#define NICE  10                // encoders of clips after those of live sessions
#define LOOK  (2 * ZT_S)        // between looks at how much there is
#define MOST_SIDE 4096          // of a picture, as sessions have it

const char *const zt_clip_state_name[ZT_CLIP_STATES] = { "queued", "rendering", "done", "failed" };

typedef struct entry {
    zt_clip_status is;
    unsigned       number;      // of its line in the store
    int64_t        least;       // bytes that it takes for certain
    bool           gone;        // deleted while it is rendered
    zt_clip        clip;        // until it is done
} entry;

struct zt_clips {
    zt_setup   *setup;
    const char *folder;
    int         fd;             // the store's lock
    pthread_t   thread;
    bool        started;
    int64_t     looked;         // the thread's own: ns

    pthread_mutex_t lock;       // over what follows
    pthread_cond_t  more;
    int64_t     quota;          // bytes
    entry      *entry[ZT_CLIPS];
    int         n;
    unsigned    number;         // the next
    bool        closing;
    int         stop;           // atomic: what is rendered now
    bool        full;           // it was stopped for the quota
};

static entry *find(const zt_clips *q, const char *id)
{
    for (int i = 0; i < q->n; i++)
        if (!strcmp(q->entry[i]->is.id, id))
            return q->entry[i];
    return NULL;
}

static void take_out(zt_clips *q, entry *e)
{
    int at = 0;
    while (q->entry[at] != e)
        at++;
    memmove(&q->entry[at], &q->entry[at + 1], (size_t)(q->n - at - 1) * sizeof(*q->entry));
    q->n--;
    zt_clip_finish(&e->clip);
    free(e);
}

// What is there, and what is bound to come.
static int64_t taken(const zt_clips *q)
{
    int64_t bytes = 0;
    for (int i = 0; i < q->n; i++)
        bytes += q->entry[i]->is.state == ZT_CLIP_DONE ? q->entry[i]->is.bytes : q->entry[i]->least;
    return bytes;
}

static int64_t done_bytes(const zt_clips *q)
{
    int64_t bytes = 0;
    for (int i = 0; i < q->n; i++)
        bytes += q->entry[i]->is.bytes;
    return bytes;
}

// ---- rendering

typedef struct rendering {
    zt_clips *q;
    entry    *e;
} rendering;

// Chunks count twice: they are joined to a file beside them.
static void on_told(void *cookie, int64_t frames)
{
    const rendering *r = cookie;
    zt_clips *q = r->q;
    const bool look = zt_now() - q->looked > LOOK || frames == r->e->is.frames;
    const int64_t working = look ? zt_store_working(q->folder, r->e->is.id) : 0;
    q->looked = look ? zt_now() : q->looked;
    pthread_mutex_lock(&q->lock);
    r->e->is.frame = frames;
    if (2 * working + done_bytes(q) > q->quota) {
        q->full = true;
        __atomic_store_n(&q->stop, 1, __ATOMIC_RELAXED);
    }
    pthread_mutex_unlock(&q->lock);
}

static const char *reason(int code)
{
    switch (code) {
    case ZT_EXIT_NO_OUTPUT:   return "the disk is full or cannot be written";
    case ZT_EXIT_UNAVAILABLE: return "memory or the encoder is not available";
    case ZT_EXIT_AGAIN:       return "another process is rendering it";
    default:                  return "it cannot be rendered: the server's log says why";
    }
}

// Under the lock.
static void settle(zt_clips *q, entry *e, int code)
{
    char file[ZT_FOLDER_PATH], mark[ZT_FOLDER_PATH];
    struct stat st;
    const bool full = q->full && code;
    q->full = false;
    if (code == ZT_EXIT_AGAIN && q->closing && !e->gone && !full) {
        e->is.state = ZT_CLIP_QUEUED;           // when the server is started again
        return;
    }
    if (!q->closing)
        __atomic_store_n(&q->stop, 0, __ATOMIC_RELAXED);
    zt_store_drop(q->folder, e->number, e->is.id);
    if (e->gone || (code && code != ZT_EXIT_AGAIN) || full)
        zt_store_erase(q->folder, e->is.id, e->is.format);
    if (e->gone) {
        take_out(q, e);
        return;
    }
    zt_clips_paths(q, &e->is, file, mark);
    e->is.state = code ? ZT_CLIP_FAILED : ZT_CLIP_DONE;
    e->is.why = full ? "the quota is used up" : code ? reason(code) : NULL;
    e->is.bytes = !code && stat(file, &st) == 0 ? st.st_size : 0;
    e->least = 0;
    zt_clip_finish(&e->clip);
}

static entry *next(const zt_clips *q)
{
    for (int i = 0; i < q->n; i++)
        if (q->entry[i]->is.state == ZT_CLIP_QUEUED)
            return q->entry[i];
    return NULL;
}

static void *work(void *cookie)
{
    zt_clips *q = cookie;
    setpriority(PRIO_PROCESS, 0, NICE);         // of this thread, and of those that its encoders start
    pthread_mutex_lock(&q->lock);
    while (!q->closing) {
        entry *e = next(q);
        if (!e) {
            pthread_cond_wait(&q->more, &q->lock);
            continue;
        }
        e->is.state = ZT_CLIP_RENDERING;
        pthread_mutex_unlock(&q->lock);
        rendering r = { q, e };
        const zt_clip_job job = { .clip = &e->clip, .setup = q->setup, .out = q->folder, .chunk = CHUNK, .slack = true,
                                  .stop = &q->stop, .told = on_told, .cookie = &r };
        const int code = zt_clip_render(&job);
        pthread_mutex_lock(&q->lock);
        settle(q, e, code);
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

// ---- what is asked for

const char *zt_clips_refuse(const zt_clip *c)
{
    if (c->model || c->replay || c->precision || c->sheet)
        return "\"model\", \"precision\", \"replay\" and \"sheet\" are for zoetrope-render";
    if (!strcmp(c->format, "png"))
        return "\"format\": png is many files, and for zoetrope-render";
    return c->w > MOST_SIDE || c->h > MOST_SIDE ? "\"size\": above 4096" : NULL;
}

static void fill(const zt_clips *q, entry *e, const zt_clip *c, unsigned number)
{
    zt_clip_shape shape;
    zt_clip_shape_of(c, zt_model_get_info(q->setup->model), &shape);
    e->clip = *c;
    e->number = number;
    e->is.frames = shape.frames;
    e->least = c->codec ? 0 : shape.frames * shape.w * shape.h * 3 / 2;
    snprintf(e->is.id, sizeof(e->is.id), "%s", c->id);
    snprintf(e->is.format, sizeof(e->is.format), "%s", c->format);
}

// Under the lock.
static int append(zt_clips *q, zt_clip *c, unsigned number)
{
    entry *e = q->n < ZT_CLIPS ? calloc(1, sizeof(*e)) : NULL;
    if (!e)
        return q->n < ZT_CLIPS ? -ENOMEM : -EDQUOT;
    fill(q, e, c, number);
    q->entry[q->n++] = e;
    *c = (zt_clip){ 0 };
    return 0;
}

int zt_clips_add(zt_clips *q, zt_clip *c, const char *line)
{
    entry probe = { 0 };
    fill(q, &probe, c, 0);
    pthread_mutex_lock(&q->lock);
    const int64_t there = taken(q);
    int err = find(q, c->id) ? -EEXIST : there >= q->quota || probe.least > q->quota - there ? -EDQUOT : 0;
    if (!err)
        err = q->n < ZT_CLIPS ? zt_store_put(q->folder, q->number, c->id, line) : -EDQUOT;
    if (!err && (err = append(q, c, q->number)) < 0)
        zt_store_drop(q->folder, q->number, c->id);
    if (!err) {
        q->number++;
        pthread_cond_signal(&q->more);
    }
    pthread_mutex_unlock(&q->lock);
    zt_clip_finish(c);
    return err;
}

static void tell(const zt_clips *q, const entry *e, zt_clip_status *out)
{
    *out = e->is;
    for (int i = 0; q->entry[i] != e && e->is.state == ZT_CLIP_QUEUED; i++)
        out->ahead += q->entry[i]->is.state <= ZT_CLIP_RENDERING;
}

bool zt_clips_find(zt_clips *q, const char *id, zt_clip_status *out)
{
    pthread_mutex_lock(&q->lock);
    const entry *e = find(q, id);
    const bool there = e && !e->gone;
    if (there)
        tell(q, e, out);
    pthread_mutex_unlock(&q->lock);
    return there;
}

void zt_clips_count(zt_clips *q, int count[ZT_CLIP_STATES])
{
    memset(count, 0, ZT_CLIP_STATES * sizeof(*count));
    pthread_mutex_lock(&q->lock);
    for (int i = 0; i < q->n; i++)
        count[q->entry[i]->is.state] += !q->entry[i]->gone;
    pthread_mutex_unlock(&q->lock);
}

bool zt_clips_at(zt_clips *q, int i, zt_clip_status *out)
{
    pthread_mutex_lock(&q->lock);
    int at = 0;
    while (at < q->n && (q->entry[at]->gone || i-- > 0))
        at++;
    const bool there = at < q->n;
    if (there)
        tell(q, q->entry[at], out);
    pthread_mutex_unlock(&q->lock);
    return there;
}

bool zt_clips_delete(zt_clips *q, const char *id)
{
    pthread_mutex_lock(&q->lock);
    entry *e = find(q, id);
    const bool there = e && !e->gone;
    if (there && e->is.state == ZT_CLIP_RENDERING) {
        e->gone = true;
        __atomic_store_n(&q->stop, 1, __ATOMIC_RELAXED);
    } else if (there) {
        zt_store_drop(q->folder, e->number, id);
        zt_store_erase(q->folder, id, e->is.format);
        take_out(q, e);
    }
    pthread_mutex_unlock(&q->lock);
    return there;
}

void zt_clips_quota(zt_clips *q, int64_t bytes)
{
    pthread_mutex_lock(&q->lock);
    q->quota = bytes;
    pthread_mutex_unlock(&q->lock);
}

void zt_clips_paths(const zt_clips *q, const zt_clip_status *of, char file[ZT_FOLDER_PATH], char mark[ZT_FOLDER_PATH])
{
    snprintf(file, ZT_FOLDER_PATH, "%s/%s.%s", q->folder, of->id, of->format);
    snprintf(mark, ZT_FOLDER_PATH, "%s/%s.json", q->folder, of->id);
}

// ---- life

// A done clip of before, also one of zoetrope-render's that is a file.
static void on_mark(void *cookie, unsigned number, const char *id, const char *text)
{
    zt_clips *q = cookie;
    (void)number;
    cJSON *root = cJSON_Parse(text);
    const char *file = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(root, "file"));
    const double frames = cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(root, "frames"));
    const char *dot = file ? strrchr(file, '.') : NULL;
    entry *e = dot && strlen(dot) < 8 && frames >= 1 && q->n < ZT_CLIPS ? calloc(1, sizeof(*e)) : NULL;
    if (e) {
        char path[ZT_FOLDER_PATH], mark[ZT_FOLDER_PATH];
        struct stat st;
        snprintf(e->is.id, sizeof(e->is.id), "%s", id);
        snprintf(e->is.format, sizeof(e->is.format), "%s", dot + 1);
        e->is.state = ZT_CLIP_DONE;
        e->is.frame = e->is.frames = (int64_t)frames;
        zt_clips_paths(q, &e->is, path, mark);
        if (stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
            e->is.bytes = st.st_size;
            q->entry[q->n++] = e;
        } else {
            free(e);
        }
    }
    cJSON_Delete(root);
}

static void on_line(void *cookie, unsigned number, const char *id, const char *text)
{
    zt_clips *q = cookie;
    char wrong[200];
    zt_clip c;
    const char *what = zt_clip_parse(&c, text, wrong, sizeof(wrong));
    what = what ? what : zt_clips_refuse(&c);
    what = what ? what : strcmp(c.id, id) || find(q, id) ? "done, or there twice" : NULL;
    what = what ? what : zt_clip_bind(&c, q->setup->model, wrong, sizeof(wrong));
    what = what ? what : append(q, &c, number) < 0 ? "more clips than are kept" : NULL;
    if (what) {
        zt_warn("%s: clip %s leaves the queue: %s", q->folder, id, what);
        zt_store_drop(q->folder, number, id);
    }
    q->number = ZT_MAX(q->number, number + 1);
    zt_clip_finish(&c);
}

int zt_clips_open(zt_clips **out, zt_setup *setup, const char *folder, int64_t quota)
{
    zt_clips *q = zt_alloc(sizeof(*q));
    if (!q)
        return ZT_EXIT_UNAVAILABLE;
    *q = (zt_clips){ .setup = setup, .folder = folder, .quota = quota, .fd = -1 };
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->more, NULL);
    int code = zt_store_open(folder, &q->fd) < 0 ? ZT_EXIT_NO_OUTPUT : 0;
    if (!code) {
        zt_store_marks(folder, on_mark, q);
        zt_store_lines(folder, on_line, q);
        q->started = !pthread_create(&q->thread, NULL, work, q);
        code = q->started ? 0 : ZT_EXIT_UNAVAILABLE;
    }
    if (code)
        zt_clips_close(&q);
    else
        *out = q;
    return code;
}

void zt_clips_close(zt_clips **clips)
{
    zt_clips *q = *clips;
    *clips = NULL;
    if (!q)
        return;
    pthread_mutex_lock(&q->lock);
    q->closing = true;
    __atomic_store_n(&q->stop, 1, __ATOMIC_RELAXED);
    pthread_cond_signal(&q->more);
    pthread_mutex_unlock(&q->lock);
    if (q->started)
        pthread_join(q->thread, NULL);
    while (q->n)
        take_out(q, q->entry[q->n - 1]);
    if (q->fd >= 0)
        close(q->fd);
    pthread_cond_destroy(&q->more);
    pthread_mutex_destroy(&q->lock);
    zt_free(q);
}
