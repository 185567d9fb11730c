// SPDX-License-Identifier: Apache-2.0
// Carries out what the scheduler decided: passes, pictures, repeats. The engine's thread only.
#include <errno.h>
#include <string.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "engine/internal.h"

#define FRAMES_TO_JUDGE 4       // before a budget is called too small

int zt_work_setup(zt_session *s)
{
    zt_device *d = s->engine->device;
    int err = zt_state_create(&s->state, s->engine->model, s->w, s->h, s->seed);
    if (err < 0)
        return err;
    void *rgb = zt_device_alloc(d, (size_t)3 * (size_t)s->h * (size_t)s->w * sizeof(float));
    if (!rgb) {
        zt_error("session: no memory for a picture of %dx%d", s->w, s->h);
        return -ENOMEM;
    }
    s->rgb = zt_tensor_4d(rgb, ZT_F32, 1, 3, s->h, s->w);
    s->known = zt_state_prompt(s->state, s->text[0] ? s->text : NULL, s->ignored, sizeof(s->ignored));
    return 0;
}

void zt_work_teardown(zt_session *s)
{
    zt_state_destroy(&s->state);
    zt_device_free(s->engine->device, s->rgb.data);
    s->rgb.data = NULL;
    zt_frame_unref(&s->last);
}

static void measured(zt_session *s, enum zt_stage stage, int64_t ns)
{
    pthread_mutex_lock(&s->engine->lock);
    zt_histogram_add(&s->metrics.stage[stage], ns);
    pthread_mutex_unlock(&s->engine->lock);
    if (s->on_stage)
        s->on_stage(s->cookie, stage, ns);
}

// Controls at once, the prompt into s->text. True when the prompt is new.
static bool read_mail(zt_session *s)
{
    zt_engine *e = s->engine;
    pthread_mutex_lock(&e->lock);
    const bool mailed = s->mailed;
    if (mailed)
        strcpy(s->text, s->mail);
    s->prompted = mailed ? s->mailed_at : 0;
    s->mailed = false;
    for (int i = 0; i < ZT_MAX_CONTROLS; i++)
        if (s->control_set >> i & 1)
            zt_state_control(s->state, i, s->control[i]);
    s->control_set = 0;
    pthread_mutex_unlock(&e->lock);
    return mailed;
}

// Events come after mail: a file says exactly what frame k is.
static bool read_events(zt_session *s, uint64_t frame)
{
    bool prompt = false;
    for (; s->next_event < s->events && s->event[s->next_event].frame <= frame; s->next_event++) {
        const zt_event *v = &s->event[s->next_event];
        for (int i = 0; i < ZT_MAX_CONTROLS; i++)
            if (v->set >> i & 1)
                zt_state_control(s->state, i, v->control[i]);
        if (!v->prompt)
            continue;
        strcpy(s->text, v->prompt);
        prompt = true;
    }
    return prompt;
}

static void new_prompt(zt_session *s)
{
    char ignored[ZT_IGNORED_BYTES] = "";
    const int known = zt_state_prompt(s->state, s->text, ignored, sizeof(ignored));
    pthread_mutex_lock(&s->engine->lock);
    s->known = known;
    memcpy(s->ignored, ignored, sizeof(ignored));
    pthread_mutex_unlock(&s->engine->lock);
}

static void begin(zt_session *s, const zt_todo *t)
{
    const int64_t started = zt_now();
    s->sampled = started;
    s->denoise = 0;
    bool prompt = read_mail(s);
    prompt |= read_events(s, zt_state_frame(s->state));
    if (prompt)
        new_prompt(s);
    const bool first = !zt_state_frame(s->state);
    s->model_frame = zt_state_begin(s->state);
    zt_model_steps(s->engine->model, t->left, s->t);
    if (prompt || first)
        measured(s, ZT_TEXT, zt_now() - started);
}

static zt_job job_of(zt_session *s, const zt_todo *t)
{
    if (t->pass == ZT_COMMIT)
        return (zt_job){ s->state, ZT_COMMIT, 0, 0 };
    if (t->begin)
        begin(s, t);
    if (t->replan)
        zt_model_steps_from(s->engine->model, s->t[t->step], t->left, s->t + t->step);
    return (zt_job){ s->state, t->pass, s->t[t->step], t->left > 1 ? s->t[t->step + 1] : 0 };
}

static void do_passes(zt_engine *e, const zt_todo *todo, int n)
{
    zt_job job[ZT_MAX_JOBS];
    for (int i = 0; i < n; i++)
        job[i] = job_of(e->session[todo[i].id], &todo[i]);

    const int64_t started = zt_now();
    int err = zt_model_pass(e->model, job, n, 0, zt_model_get_info(e->model)->layers);
    if (!err)
        err = zt_device_sync(e->device);
    const int64_t ended = zt_now();

    pthread_mutex_lock(&e->lock);
    zt_sched_done(&e->sched, todo, n, started, ended);
    for (int i = 0; i < n; i++) {
        zt_session *s = e->session[todo[i].id];
        s->denoise += ended - started;
        if (err < 0) {
            zt_error("session: a pass failed (%s)", strerror(-err));
            zt_session_fail(s, err);
        }
    }
    pthread_mutex_unlock(&e->lock);
}

// A consumer without deadlines is waited for; a live one that holds every frame loses this picture.
static zt_frame *free_frame(zt_session *s)
{
    zt_frame *f = zt_frame_get(s->pool);
    while (!f && s->pace.pacing != ZT_LIVE) {
        zt_sleep_until(zt_now() + ZT_MS);
        f = zt_frame_get(s->pool);
    }
    return f;
}

static void fill_in(zt_session *s, zt_frame *f, const zt_todo *t)
{
    f->index = t->index;
    f->model_frame = s->model_frame;
    f->pts = (int64_t)t->index * ZT_S / s->fps;
    f->due = t->due;
    f->sampled = s->sampled;
    f->made = zt_now();
    f->steps = t->steps;
    f->repeated = t->action == ZT_DO_REPEAT;
    f->key = false;
}

static void hand_on(zt_session *s, const zt_todo *t, zt_frame *f)
{
    pthread_mutex_lock(&s->engine->lock);
    if (f)
        s->shown[t->index % ZT_SHOWN] = (struct zt_shown){ t->index, f->repeated ? 0 : s->sampled, s->prompted };
    else
        zt_sched_lost(&s->engine->sched, t->id, t->index);
    pthread_mutex_unlock(&s->engine->lock);
    if (f)
        s->on_frame(s->cookie, f);
    else
        zt_warn("session: slot %llu is dropped, all frames are in use", (unsigned long long)t->index);
}

// A budget that the quickest passes of the first frames do not meet is refused: one slow pass proves nothing.
static bool check_budget(zt_session *s, const zt_todo *t)
{
    const int64_t least = zt_sched_least(&s->engine->sched, t->id, s->pace.steps_min);
    if (s->model_frame != FRAMES_TO_JUDGE - 1 || s->pace.pacing != ZT_LIVE || least <= s->pace.budget)
        return true;
    zt_error("session: a frame takes %lld ms here at %d step%s, more than the budget of %lld ms: "
             "fewer frames per second or a larger budget are needed",
             (long long)(least / ZT_MS), s->pace.steps_min, s->pace.steps_min > 1 ? "s" : "",
             (long long)(s->pace.budget / ZT_MS));
    zt_session_fail(s, -ETIME);
    return false;
}

static void do_show(zt_engine *e, const zt_todo *t)
{
    zt_session *s = e->session[t->id];
    const int64_t started = zt_now();
    zt_state_decode(s->state, s->rgb);
    const int64_t decoded = zt_now();
    zt_frame *f = free_frame(s);
    const int64_t found = zt_now();
    if (f)
        e->device->k.rgb_to_i420(e->device, f->plane, f->pitch, s->rgb);
    const int err = zt_device_sync(e->device);
    const int64_t ended = zt_now();

    pthread_mutex_lock(&e->lock);
    zt_sched_done(&e->sched, t, 1, started, ended);
    if (err < 0) {
        zt_error("session: the device failed (%s)", strerror(-err));
        zt_session_fail(s, err);
    }
    const bool good = !err && check_budget(s, t);
    pthread_mutex_unlock(&e->lock);
    if (!good) {
        zt_frame_unref(&f);
        return;
    }

    measured(s, ZT_DENOISE_STAGE, s->denoise);
    measured(s, ZT_DECODE, decoded - started);
    measured(s, ZT_CONVERT, ended - found);
    if (f)
        fill_in(s, f, t);
    hand_on(s, t, f);
    if (f) {
        zt_frame_unref(&s->last);
        s->last = f;
    }
}

static void copy_planes(zt_frame *to, const zt_frame *from)
{
    for (int i = 0; i < 3; i++) {
        const int w = i ? from->w / 2 : from->w, h = i ? from->h / 2 : from->h;
        for (int y = 0; y < h; y++)
            memcpy(to->plane[i] + y * to->pitch[i], from->plane[i] + y * from->pitch[i], (size_t)w);
    }
}

static void do_repeat(zt_engine *e, const zt_todo *t)
{
    zt_session *s = e->session[t->id];
    const int64_t started = zt_now();
    zt_frame *f = s->last ? zt_frame_get(s->pool) : NULL;
    if (f) {
        copy_planes(f, s->last);
        fill_in(s, f, t);
        f->steps = s->last->steps;
        f->model_frame = s->last->model_frame;
        f->sampled = s->last->sampled;
    }
    pthread_mutex_lock(&e->lock);
    zt_sched_done(&e->sched, t, 1, started, zt_now());
    pthread_mutex_unlock(&e->lock);
    hand_on(s, t, f);
    zt_frame_unref(&f);
}

void zt_work_do(zt_engine *e, const zt_todo *todo, int n)
{
    switch (todo[0].action) {
    case ZT_DO_PASS:   do_passes(e, todo, n); break;
    case ZT_DO_SHOW:   do_show(e, todo); break;
    case ZT_DO_REPEAT: do_repeat(e, todo); break;
    }
}
