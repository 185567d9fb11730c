// SPDX-License-Identifier: Apache-2.0
// Sessions on the engine's thread, what may take time on the player's, callbacks on the main one.
#include "apps/preview/player.h"

#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/exits.h"
#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "stream/picture.h"

#define SHOTS 64                // that the main thread may be behind
#define TAPS  2

typedef struct lane {
    zt_player      *player;
    zt_session     *born;       // the worker's; published with the first frame
    // The engine's thread, the worker's between sessions
    uint64_t        first, next;
    int64_t         stage[ZT_STAGES];
    // Any thread, under the lock, for moments
    pthread_mutex_t lock;
    zt_session     *session;
    uint64_t        base;       // `first` of that session
    int64_t         period;     // ns
    int             steps;
    zt_frame       *latest;     // a reference; NULL: taken
    zt_shot         shot[SHOTS];
    bool            repeated[SHOTS];
    uint64_t        shots, seen;
} lane;

typedef struct job {
    zt_player_fn *work, *done;
    void         *cookie;
    bool          last;
} job;

struct zt_player {
    zt_player_events events;
    int64_t      threads;
    zt_setup     setup;         // of the open model
    GThread     *thread;
    GAsyncQueue *jobs;
    guint        watch;
    lane         lane[ZT_LANES];
    char        *prompt;
    float        control[ZT_MAX_CONTROLS];
    bool         starting, runs;
    float       *picture;       // that the sessions began with; the worker's
    atomic_bool  woken, closing;
    atomic_int   newest;        // start that is not out of date
    pthread_mutex_t taps;       // over what follows
    struct { zt_frame_fn *fn; void *cookie; } tap[TAPS];
};

// ---- what the log says

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static char *log_error;

static void on_log(void *cookie, enum zt_level level, const char *line)
{
    (void)cookie;
    zt_log_write(level, line);
    if (level != ZT_LOG_ERROR)
        return;
    pthread_mutex_lock(&log_lock);
    free(log_error);
    log_error = strdup(line);
    pthread_mutex_unlock(&log_lock);
}

char *zt_player_error(void)
{
    pthread_mutex_lock(&log_lock);
    char *line = log_error;
    log_error = NULL;
    pthread_mutex_unlock(&log_lock);
    return line;
}

// ---- the player's thread

static gboolean finish(gpointer cookie)
{
    job *j = cookie;
    j->done(j->cookie);
    free(j);
    return G_SOURCE_REMOVE;
}

static gpointer work(gpointer cookie)
{
    zt_player *p = cookie;
    for (bool last = false; !last;) {
        job *j = g_async_queue_pop(p->jobs);
        last = j->last;
        if (j->work)
            j->work(j->cookie);
        if (j->done)
            g_idle_add(finish, j);
        else
            free(j);
    }
    return NULL;
}

static void give(zt_player *p, job what)
{
    job *j = malloc(sizeof(*j));
    if (!j)
        abort();                // as GLib does
    *j = what;
    g_async_queue_push(p->jobs, j);
}

void zt_player_do(zt_player *p, zt_player_fn *fn, zt_player_fn *done, void *cookie)
{
    give(p, (job){ fn, done, cookie, false });
}

// ---- pictures

static void tell(zt_player *p, int number, lane *l, zt_shot *s, bool repeated, const zt_frame *f, int64_t now)
{
    s->shown = f ? now : 0;
    s->outcome = !f ? ZT_DROPPED : repeated ? ZT_REPEATED : now > s->due ? ZT_LATE
               : s->steps < l->steps ? ZT_DEGRADED : ZT_ON_TIME;
    p->events.shot(p->events.cookie, number, s, f);
}

// What came since the last time: all of it is told, the latest is shown.
static void take_news(zt_player *p, int number)
{
    lane *l = &p->lane[number];
    zt_shot shot[SHOTS];
    bool repeated[SHOTS];
    int n = 0;
    const int64_t now = zt_now();
    pthread_mutex_lock(&l->lock);
    zt_frame *f = l->latest;
    l->latest = NULL;
    for (l->seen = ZT_MAX(l->seen, l->shots > SHOTS ? l->shots - SHOTS : 0); l->seen < l->shots; l->seen++, n++) {
        shot[n] = l->shot[l->seen % SHOTS];
        repeated[n] = l->repeated[l->seen % SHOTS];
    }
    if (f && l->session && f->index >= l->base)
        zt_session_delivered(l->session, f->index - l->base, now);
    pthread_mutex_unlock(&l->lock);
    for (int i = 0; i < n && p->runs; i++)
        tell(p, number, l, &shot[i], repeated[i], f && shot[i].index == f->index ? f : NULL, now);
    if (f)
        zt_frame_unref(&f);
}

static gboolean on_news(gpointer cookie)
{
    zt_player *p = cookie;
    atomic_store(&p->woken, false);
    for (int i = 0; i < ZT_LANES; i++)
        take_news(p, i);
    return G_SOURCE_REMOVE;
}

// The engine's thread.
static void on_frame(void *cookie, zt_frame *f)
{
    lane *l = cookie;
    zt_player *p = l->player;
    f->index += l->first;
    f->pts += (int64_t)l->first * l->period;
    l->next = f->index + 1;
    zt_shot s = { .index = f->index, .model_frame = f->model_frame, .sampled = f->sampled, .made = f->made, .due = f->due,
                  .steps = f->steps };
    memcpy(s.stage, l->stage, sizeof(s.stage));
    memset(l->stage, 0, sizeof(l->stage));
    zt_frame *mine = zt_frame_ref(f);
    pthread_mutex_lock(&l->lock);
    zt_frame *old = l->latest;
    l->latest = mine;
    l->session = l->born;
    l->base = l->first;
    l->repeated[l->shots % SHOTS] = f->repeated;
    l->shot[l->shots++ % SHOTS] = s;
    pthread_mutex_unlock(&l->lock);
    if (old)
        zt_frame_unref(&old);
    if (l == p->lane) {
        pthread_mutex_lock(&p->taps);
        for (int i = 0; i < TAPS; i++)
            if (p->tap[i].fn)
                p->tap[i].fn(p->tap[i].cookie, f);
        pthread_mutex_unlock(&p->taps);
    }
    if (!atomic_exchange(&p->woken, true) && !atomic_load(&p->closing))
        g_idle_add_full(G_PRIORITY_HIGH, on_news, p, NULL);
}

static void on_stage(void *cookie, enum zt_stage stage, int64_t ns)
{
    lane *l = cookie;
    l->stage[stage] += ns;
}

void zt_player_tap(zt_player *p, int place, zt_frame_fn *fn, void *cookie)
{
    pthread_mutex_lock(&p->taps);
    p->tap[place].fn = fn;
    p->tap[place].cookie = cookie;
    pthread_mutex_unlock(&p->taps);
}

// ---- sessions

static void end_lane(lane *l)
{
    if (!l->born)
        return;
    zt_session_stop(l->born);
    zt_session_wait(l->born);
    pthread_mutex_lock(&l->lock);
    zt_frame *f = l->latest;
    l->latest = NULL;
    l->session = NULL;
    pthread_mutex_unlock(&l->lock);
    zt_session_destroy(&l->born);
    if (f)
        zt_frame_unref(&f);
    l->first = l->next;
}

static void end_lanes(void *cookie)
{
    zt_player *p = cookie;
    for (int i = 0; i < ZT_LANES; i++)
        end_lane(&p->lane[i]);
}

typedef struct start {
    zt_player *player;
    zt_engine *engine;
    zt_model  *model;
    zt_take    take[ZT_LANES];
    int        n, number;
    char      *prompt, *log, *image, *error;
    float      control[ZT_MAX_CONTROLS];
    int        code;
} start;

static int begin_lane(start *s, int i, const float *picture)
{
    lane *l = &s->player->lane[i];
    const zt_model_info *info = zt_model_get_info(s->model);
    const zt_take *t = &s->take[i];
    const int fps = t->fps ? t->fps : info->fps, steps = t->steps ? t->steps : info->steps;
    const zt_session_params params = {
        .model = s->model, .prompt = s->prompt, .fps = fps, .steps_max = steps, .steps_min = t->exact ? steps : 1,
        .seed = t->seed, .image = picture, .log = i ? NULL : s->log, .pool = 40,
        .on_frame = on_frame, .on_stage = on_stage, .cookie = l,
    };
    l->period = ZT_S / fps;
    l->steps = steps;
    memset(l->stage, 0, sizeof(l->stage));
    const int err = zt_session_create(&l->born, s->engine, &params);
    for (int c = 0; c < info->n_controls && !err; c++)
        zt_session_control(l->born, c, s->control[c]);
    return err;
}

static void run_start(void *cookie)
{
    start *s = cookie;
    zt_player *p = s->player;
    if (atomic_load(&p->newest) != s->number)
        return;                 // a later one is on its way
    end_lanes(p);
    free(zt_player_error());
    free(p->picture);
    const zt_model_info *info = zt_model_get_info(s->model);
    p->picture = s->image ? calloc((size_t)(3 * info->w * info->h), sizeof(*p->picture)) : NULL;
    if (p->picture)
        s->code = zt_picture_read(s->image, info->w, info->h, p->picture);
    for (int i = 0; i < s->n && !s->code; i++)
        s->code = begin_lane(s, i, p->picture);
    if (!s->code)
        return;
    end_lanes(p);
    s->error = zt_player_error();
    if (!s->error)
        s->error = strdup(strerror(-s->code));
}

static void started(void *cookie)
{
    start *s = cookie;
    zt_player *p = s->player;
    if (atomic_load(&p->newest) == s->number) {
        p->runs = !s->code;
        p->starting = false;
        p->events.started(p->events.cookie, s->error);
    }
    free(s->prompt);
    free(s->log);
    free(s->image);
    free(s->error);
    free(s);
}

void zt_player_start(zt_player *p, const zt_take *take, int n, const char *log, const char *image)
{
    if (!p->setup.engine)
        return;
    start *s = calloc(1, sizeof(*s));
    if (!s)
        abort();
    *s = (start){ .player = p, .engine = p->setup.engine, .model = p->setup.model, .n = n };
    s->number = atomic_fetch_add(&p->newest, 1) + 1;
    memcpy(s->take, take, (size_t)n * sizeof(*take));
    memcpy(s->control, p->control, sizeof(s->control));
    s->prompt = p->prompt ? strdup(p->prompt) : NULL;
    s->log = log ? strdup(log) : NULL;
    s->image = image ? strdup(image) : NULL;
    p->runs = true;             // pictures may come before `started`
    p->starting = true;
    zt_player_do(p, run_start, started, s);
}

void zt_player_stop(zt_player *p)
{
    atomic_fetch_add(&p->newest, 1);
    p->runs = p->starting = false;
    zt_player_do(p, end_lanes, NULL, p);
}

bool zt_player_runs(const zt_player *p)
{
    return p->runs;
}

int zt_player_prompt(zt_player *p, const char *text)
{
    const int err = zt_prompt_check(text);
    char *copy = err ? NULL : strdup(text);
    if (!copy)
        return err ? err : -ENOMEM;
    free(p->prompt);
    p->prompt = copy;
    for (int i = 0; i < ZT_LANES; i++) {
        lane *l = &p->lane[i];
        pthread_mutex_lock(&l->lock);
        if (l->session)
            zt_session_prompt(l->session, text);
        pthread_mutex_unlock(&l->lock);
    }
    return 0;
}

const char *zt_player_get_prompt(const zt_player *p)
{
    return p->prompt;
}

void zt_player_control(zt_player *p, int control, float value)
{
    p->control[control] = value;
    for (int i = 0; i < ZT_LANES; i++) {
        lane *l = &p->lane[i];
        pthread_mutex_lock(&l->lock);
        if (l->session)
            zt_session_control(l->session, control, value);
        pthread_mutex_unlock(&l->lock);
    }
}

void zt_player_metrics(zt_player *p, int number, zt_metrics *out)
{
    lane *l = &p->lane[number];
    *out = (zt_metrics){ 0 };
    pthread_mutex_lock(&l->lock);
    if (l->session)
        zt_session_metrics(l->session, out);
    pthread_mutex_unlock(&l->lock);
}

// Twice a second: a session that ended by itself.
static gboolean look_after(gpointer cookie)
{
    zt_player *p = cookie;
    int err = 0;
    for (int i = 0; i < ZT_LANES && !p->starting && p->runs; i++) {
        lane *l = &p->lane[i];
        pthread_mutex_lock(&l->lock);
        if (l->session && zt_session_done(l->session)) {
            err = zt_session_wait(l->session);
            err = err ? err : -ECANCELED;
        }
        pthread_mutex_unlock(&l->lock);
    }
    if (!err)
        return G_SOURCE_CONTINUE;
    char *line = zt_player_error();
    zt_player_stop(p);
    p->events.ended(p->events.cookie, line ? line : strerror(-err), err == -ETIME);
    free(line);
    return G_SOURCE_CONTINUE;
}

// ---- models

typedef struct opening {
    zt_player *player;
    zt_setup   setup;
    char      *path, *error;
    int        code;
    bool       missing;
} opening;

static void run_open(void *cookie)
{
    opening *o = cookie;
    free(zt_player_error());
    o->code = zt_setup_open(&o->setup, true);
    if (!o->code)
        return;
    zt_setup_close(&o->setup);
    o->missing = o->code == ZT_EXIT_NO_INPUT;
    o->error = zt_player_error();
    if (!o->error)
        o->error = strdup("the model cannot be opened");
}

static void opening_free(opening *o)
{
    free(o->path);
    free(o->error);
    free(o);
}

static void run_close(void *cookie)
{
    opening *o = cookie;
    end_lanes(o->player);
    zt_setup_close(&o->setup);
    opening_free(o);
}

// The old one goes after its sessions, which the player's thread ends.
static void opened(void *cookie)
{
    opening *o = cookie;
    zt_player *p = o->player;
    if (o->code) {
        p->events.opened(p->events.cookie, o->error, o->missing);
        opening_free(o);
        return;
    }
    const zt_setup old = p->setup;
    p->setup = o->setup;
    p->setup.path = NULL;
    o->setup = old;
    memset(p->control, 0, sizeof(p->control));
    zt_player_stop(p);
    zt_player_do(p, run_close, NULL, o);
    p->events.opened(p->events.cookie, NULL, false);
}

void zt_player_open(zt_player *p, const char *path)
{
    opening *o = calloc(1, sizeof(*o));
    if (!o)
        abort();
    o->player = p;
    o->path = path ? strdup(path) : NULL;
    o->setup.path = o->path;
    o->setup.threads = p->threads;
    zt_player_do(p, run_open, opened, o);
}

const zt_model *zt_player_model(const zt_player *p)
{
    return p->setup.model;
}

zt_setup *zt_player_setup(zt_player *p)
{
    return &p->setup;
}

// ---- life

int zt_player_create(zt_player **out, const zt_player_events *e, int64_t threads)
{
    zt_player *p = zt_alloc(sizeof(*p));
    if (!p)
        return -ENOMEM;
    p->events = *e;
    p->threads = threads;
    pthread_mutex_init(&p->taps, NULL);
    for (int i = 0; i < ZT_LANES; i++) {
        p->lane[i].player = p;
        pthread_mutex_init(&p->lane[i].lock, NULL);
    }
    zt_log_set(on_log, NULL);
    p->jobs = g_async_queue_new();
    p->thread = g_thread_new("zt-player", work, p);
    p->watch = g_timeout_add(500, look_after, p);
    *out = p;
    return 0;
}

void zt_player_destroy(zt_player **player)
{
    zt_player *p = *player;
    if (!p)
        return;
    atomic_store(&p->closing, true);
    p->runs = false;
    g_source_remove(p->watch);
    give(p, (job){ end_lanes, NULL, p, true });
    g_thread_join(p->thread);
    g_async_queue_unref(p->jobs);
    while (g_source_remove_by_user_data(p))     // news that were on their way
        continue;
    zt_setup_close(&p->setup);
    for (int i = 0; i < ZT_LANES; i++)
        pthread_mutex_destroy(&p->lane[i].lock);
    pthread_mutex_destroy(&p->taps);
    free(p->prompt);
    free(p->picture);
    zt_free(p);
    *player = NULL;
}
