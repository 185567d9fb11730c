// SPDX-License-Identifier: Apache-2.0
// Pictures go from the engine's thread to the streaming thread through a queue that keeps the newest.
#include "apps/gst/feed.h"

#include <errno.h>

#include "apps/paths.h"
#include "base/clock.h"

#define SPARE 3                 // pictures that wait, besides a model_frame's
#define CALM  (2 * ZT_S)

// Of one model.
struct machine {
    struct machine *next;
    char           *path;
    int             users;
    zt_device      *device;
    zt_model       *model;
    zt_engine      *engine;
};

static GMutex machines_lock;
static struct machine *machines;

struct zt_feed {
    struct machine *machine;
    GMutex      session_lock;   // whoever speaks to the session while the taker may end it
    zt_session *session;
    int         steps, enough;  // the target; what QoS leaves of it
    int64_t     late;           // when it last took one

    GMutex      lock;           // the engine's thread and the taker
    GCond       change;
    GQueue      waiting;        // zt_frame, owned
    bool        interrupted;
};

// ---- machines

static void close_machine(struct machine *m)
{
    zt_engine_destroy(&m->engine);
    zt_model_close(&m->model);
    zt_device_close(&m->device);
    g_free(m->path);
    g_free(m);
}

static int open_machine(struct machine **out, const char *path)
{
    struct machine *m = g_new0(struct machine, 1);
    m->path = g_strdup(path);
    int err = zt_device_open(&m->device, NULL);
    if (!err)
        err = zt_model_open(&m->model, m->device, path, ZT_PRECISION_DEFAULT);
    if (!err)
        err = zt_engine_create(&m->engine, m->device, m->model);
    if (err < 0) {
        close_machine(m);
        return err;
    }
    char folder[4096];
    if (!zt_path_cache(folder, sizeof(folder)))
        zt_engine_remember(m->engine, folder);
    *out = m;
    return 0;
}

static int get_machine(struct machine **out, const char *path)
{
    int err = 0;
    g_mutex_lock(&machines_lock);
    struct machine *m = machines;
    while (m && strcmp(m->path, path))
        m = m->next;
    if (!m) {
        err = open_machine(&m, path);
        if (!err) {
            m->next = machines;
            machines = m;
        }
    }
    if (!err) {
        m->users++;
        *out = m;
    }
    g_mutex_unlock(&machines_lock);
    return err;
}

static void put_machine(struct machine *m)
{
    g_mutex_lock(&machines_lock);
    if (!--m->users) {
        struct machine **place = &machines;
        while (*place != m)
            place = &(*place)->next;
        *place = m->next;
        close_machine(m);
    }
    g_mutex_unlock(&machines_lock);
}

// ---- pictures

static void unref_frame(void *frame)
{
    zt_frame *f = frame;
    zt_frame_unref(&f);
}

static void on_frame(void *cookie, zt_frame *frame)
{
    zt_feed *f = cookie;
    zt_frame *oldest = NULL;
    g_mutex_lock(&f->lock);
    if ((int)g_queue_get_length(&f->waiting) >= zt_feed_depth(f))
        oldest = g_queue_pop_head(&f->waiting);
    g_queue_push_tail(&f->waiting, zt_frame_ref(frame));
    g_cond_signal(&f->change);
    g_mutex_unlock(&f->lock);
    zt_frame_unref(&oldest);
}

int zt_feed_take(zt_feed *f, zt_frame **out)
{
    int err = 0;
    g_mutex_lock(&f->lock);
    while (!f->interrupted && !err && g_queue_is_empty(&f->waiting)) {
        g_cond_wait_until(&f->change, &f->lock, g_get_monotonic_time() + G_TIME_SPAN_SECOND);
        if (zt_session_done(f->session))        // it never ends but by an error
            err = zt_session_wait(f->session);
    }
    if (f->interrupted)
        err = -EINTR;
    else if (!err)
        *out = g_queue_pop_head(&f->waiting);
    g_mutex_unlock(&f->lock);
    return err;
}

void zt_feed_forget(zt_feed *f)
{
    g_mutex_lock(&f->lock);
    g_queue_clear_full(&f->waiting, unref_frame);
    g_mutex_unlock(&f->lock);
}

void zt_feed_interrupt(zt_feed *f, bool on)
{
    g_mutex_lock(&f->lock);
    f->interrupted = on;
    g_cond_signal(&f->change);
    g_mutex_unlock(&f->lock);
}

// ---- sessions

static void end(zt_feed *f)
{
    g_mutex_lock(&f->session_lock);
    zt_session *session = f->session;
    f->session = NULL;
    g_mutex_unlock(&f->session_lock);
    zt_session_destroy(&session);
    zt_feed_forget(f);
}

int zt_feed_start(zt_feed *f, const zt_feed_params *p)
{
    end(f);
    zt_event first = { .set = p->set };
    memcpy(first.control, p->control, sizeof(first.control));
    const zt_session_params params = {
        .prompt = p->prompt,
        .event = &first,
        .events = p->set ? 1 : 0,
        .w = p->w,
        .h = p->h,
        .fps = p->fps,
        .steps_max = p->steps,
        .budget = zt_feed_budget(f, p->fps),
        .seed = p->seed,
        .keep_rate = true,              // what caps say holds
        .pool = zt_feed_depth(f) + SPARE,
        .on_frame = on_frame,
        .cookie = f,
    };
    zt_session *session = NULL;
    const int err = zt_session_create(&session, f->machine->engine, &params);
    if (err < 0)
        return err;
    g_mutex_lock(&f->session_lock);
    f->session = session;
    f->steps = p->steps ? p->steps : zt_model_get_info(f->machine->model)->steps;
    f->enough = f->steps;
    f->late = 0;
    g_mutex_unlock(&f->session_lock);
    return 0;
}

void zt_feed_delivered(zt_feed *f, uint64_t index, int64_t now)
{
    zt_session_delivered(f->session, index, now);
}

int zt_feed_prompt(zt_feed *f, const char *text)
{
    g_mutex_lock(&f->session_lock);
    const int err = f->session ? zt_session_prompt(f->session, text) : zt_prompt_check(text);
    g_mutex_unlock(&f->session_lock);
    return err;
}

int zt_feed_control(zt_feed *f, int control, float value)
{
    g_mutex_lock(&f->session_lock);
    const int err = f->session ? zt_session_control(f->session, control, value) : 0;
    g_mutex_unlock(&f->session_lock);
    return err;
}

int zt_feed_steps(zt_feed *f, int steps)
{
    g_mutex_lock(&f->session_lock);
    const int err = f->session ? zt_session_steps(f->session, steps) : 0;
    if (!err && f->session) {
        f->steps = f->enough = steps ? steps : zt_model_get_info(f->machine->model)->steps;
        zt_session_hint(f->session, 0);
    }
    g_mutex_unlock(&f->session_lock);
    return err;
}

bool zt_feed_metrics(zt_feed *f, zt_metrics *out)
{
    g_mutex_lock(&f->session_lock);
    const bool there = f->session;
    if (there)
        zt_session_metrics(f->session, out);
    g_mutex_unlock(&f->session_lock);
    return there;
}

int zt_feed_qos(zt_feed *f, bool late, int64_t now)
{
    g_mutex_lock(&f->session_lock);
    const int before = f->enough;
    if (late)
        f->enough = MAX(f->enough - 1, 1);
    else if (now - f->late >= CALM)
        f->enough = MIN(f->enough + 1, f->steps);
    if (late || f->enough != before)
        f->late = now;
    if (f->session && f->enough != before)
        zt_session_hint(f->session, f->enough < f->steps ? f->enough : 0);
    const int enough = f->enough;
    g_mutex_unlock(&f->session_lock);
    return enough;
}

// ---- a feed

int zt_feed_open(zt_feed **out, const char *model)
{
    struct machine *machine = NULL;
    const int err = get_machine(&machine, model);
    if (err < 0)
        return err;
    zt_feed *f = g_new0(zt_feed, 1);
    f->machine = machine;
    g_mutex_init(&f->session_lock);
    g_mutex_init(&f->lock);
    g_cond_init(&f->change);
    g_queue_init(&f->waiting);
    *out = f;
    return 0;
}

void zt_feed_close(zt_feed **feed)
{
    zt_feed *f = *feed;
    *feed = NULL;
    if (!f)
        return;
    end(f);
    g_mutex_clear(&f->session_lock);
    g_mutex_clear(&f->lock);
    g_cond_clear(&f->change);
    put_machine(f->machine);
    g_free(f);
}

const zt_model *zt_feed_model(const zt_feed *f)
{
    return f->machine->model;
}

int zt_feed_depth(const zt_feed *f)
{
    return zt_model_get_info(f->machine->model)->pictures + SPARE;
}

int64_t zt_feed_budget(const zt_feed *f, int fps)
{
    return (zt_model_get_info(f->machine->model)->pictures + 1) * (ZT_S / fps);
}
