// SPDX-License-Identifier: Apache-2.0
// Pictures and repeats: decode, convert, hand on. The engine's thread only, but for memory.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "engine/internal.h"
#include "engine/probes.h"
#include "engine/sched_lane.h"

#define FRAMES_TO_JUDGE 4       // before a budget is called too small

int zt_work_allocate(zt_session *s)
{
    zt_device *d = s->engine->device;
    const int err = zt_state_allocate(&s->state, s->model, s->w, s->h, s->seed);
    if (err < 0)
        return err;
    const int n = s->pace.chunk;
    void *rgb = zt_device_alloc_host(d, (size_t)n * 3 * (size_t)s->h * (size_t)s->w * sizeof(float));
    if (!rgb) {
        zt_error("session: no memory for a picture of %dx%d", s->w, s->h);
        return -ENOMEM;
    }
    s->rgb = zt_tensor_4d(rgb, ZT_F32, n, 3, s->h, s->w);
    if (d->space != ZT_HOST) {          // rows of frames are 64 bytes apart at most
        s->far_planes = zt_device_alloc(d, 2 * (size_t)zt_round_up(s->w, 64) * (size_t)s->h);
        if (!s->far_planes)
            return -ENOMEM;
    }
    return 0;
}

int zt_work_setup(zt_session *s)
{
    int err = s->state ? 0 : zt_work_allocate(s);
    if (!err)
        err = zt_state_start(s->state);
    if (!err && s->image)
        err = zt_state_image(s->state, s->image);
    if (err < 0)
        return err;
    s->known = zt_state_prompt(s->state, s->text[0] ? s->text : NULL, s->ignored, sizeof(s->ignored));
    if (!s->saved)
        return 0;
    err = zt_state_restore(s->state, s->saved, s->saved_bytes);
    s->saved = NULL;
    if (!err)
        zt_events_pass(s);
    return err;
}

void zt_work_teardown(zt_session *s)
{
    zt_state_destroy(&s->state);
    zt_device_free_host(s->engine->device, s->rgb.data);
    s->rgb.data = NULL;
    zt_device_free(s->engine->device, s->far_planes);
    s->far_planes = NULL;
    zt_frame_unref(&s->last);
}

void zt_work_measured(zt_session *s, enum zt_stage stage, int64_t ns)
{
    pthread_mutex_lock(&s->engine->lock);
    zt_histogram_add(&s->metrics.stage[stage], ns);
    pthread_mutex_unlock(&s->engine->lock);
    if (s->on_stage)
        s->on_stage(s->cookie, stage, ns);
}

// t: of this picture's slot.
static void fill_in(zt_session *s, zt_frame *f, const zt_todo *t)
{
    f->index = t->index;
    f->model_frame = s->model_frame;
    f->pts = t->pts;
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

// What the frame was made with, for making it again.
static void write_down(zt_session *s, const zt_todo *t)
{
    zt_record_line *l = s->record ? zt_record_line_get(s->record) : NULL;
    if (!l)
        return;
    l->frame = s->model_frame;
    l->n = t->steps;
    memcpy(l->t, s->t, sizeof(l->t));
    l->window = s->ladder.window;
    l->top_k = s->ladder.top_k;
    l->set = s->set;
    memcpy(l->control, s->value, sizeof(l->control));
    l->prompted = s->told;
    if (s->told)
        strcpy(l->prompt, s->text);
    pthread_mutex_lock(&s->engine->lock);
    zt_record_show(s->record, l, t->index);
    pthread_mutex_unlock(&s->engine->lock);
}

// Frames of the pool for n pictures; false when there are not enough.
static bool take_frames(zt_session *s, zt_frame **f, int n)
{
    int got = 0;
    while (got < n && (f[got] = zt_frame_get(s->pool)) != NULL)
        got++;
    return got == n;
}

static void release(zt_frame **f, int n)
{
    for (int i = 0; i < n; i++)
        zt_frame_unref(&f[i]);
}

// The first n pictures of a model_frame into the slots from t->index on.
static void hand_over(zt_session *s, const zt_todo *t, zt_frame **f, int n)
{
    for (int i = 0; i < n; i++) {
        zt_todo slot = *t;
        slot.index += (uint64_t)i;
        slot.pts += i * s->period;
        slot.due += t->due ? i * s->period : 0;
        if (f[i])
            fill_in(s, f[i], &slot);
        hand_on(s, &slot, f[i]);
        if (f[i]) {
            zt_frame_unref(&s->last);
            s->last = f[i];
            f[i] = NULL;
        }
    }
}

// Into planes of the GPU, then each in one piece to the frame's.
static void convert_far(zt_session *s, zt_frame *f, zt_tensor picture)
{
    zt_device *const d = s->engine->device;
    uint8_t *plane[3];
    size_t at = 0, bytes[3];
    for (int i = 0; i < 3; i++) {
        plane[i] = (uint8_t *)s->far_planes + at;
        bytes[i] = (size_t)f->pitch[i] * (size_t)(i ? s->h / 2 : s->h);
        at += bytes[i];
    }
    d->k.rgb_to_i420(d, plane, f->pitch, picture);
    for (int i = 0; i < 3; i++)
        zt_device_copy(d, f->plane[i], plane[i], bytes[i]);
}

static void convert(zt_session *s, zt_frame **f, int n)
{
    zt_device *const d = s->engine->device;
    for (int i = 0; i < n; i++) {
        zt_tensor picture = s->rgb;
        picture.n[0] = 1;
        picture.data = zt_f32(s->rgb) + i * s->rgb.step[0];
        if (f[i] && s->far_planes)
            convert_far(s, f[i], picture);
        else if (f[i])
            d->k.rgb_to_i420(d, f[i]->plane, f[i]->pitch, picture);
    }
}

// Into the trace and the books; false when the session ends here.
static bool book(zt_session *s, const zt_todo *t, int64_t started, int64_t decoded, int64_t ended, int err)
{
    zt_engine *e = s->engine;
    pthread_mutex_lock(&e->lock);
    s->period = zt_lane_period(&e->sched.lane[t->id]);
    s->wanted = zt_lane_chunk(&e->sched.lane[t->id]);
    zt_trace_add(&e->trace, (zt_moment){ started, decoded, ZT_SPAN_DECODE, (int16_t)t->id, t->steps, t->index });
    zt_trace_add(&e->trace, (zt_moment){ decoded, ended, ZT_SPAN_CONVERT, (int16_t)t->id, t->steps, t->index });
    zt_sched_done(&e->sched, t, 1, started, ended);
    if (err < 0) {
        zt_error("session: the device failed (%s)", strerror(-err));
        zt_session_fail(s, err);
    }
    const bool good = !err && check_budget(s, t);
    pthread_mutex_unlock(&e->lock);
    return good;
}

// All before picture `next` is made.
static void save(zt_session *s, uint64_t next)
{
    if (!s->save_every || next >= s->pace.pictures)
        return;
    const uint64_t point = (next + s->save_every - 1) / s->save_every * s->save_every;
    if (point >= next + (uint64_t)s->pace.chunk || point >= s->pace.pictures)
        return;
    const size_t bytes = zt_state_save(s->state, NULL);
    void *const data = bytes ? malloc(bytes) : NULL;
    if (!data)
        return;                 // it costs work when it would be needed, no more
    zt_state_save(s->state, data);
    s->on_saved(s->cookie, next, data, bytes);
}

static void do_show(zt_engine *e, const zt_todo *t)
{
    zt_session *s = e->session[t->id];
    zt_frame *f[ZT_MAX_PICTURES] = { NULL };
    const int64_t started = zt_now();
    const int n = zt_state_pictures(s->state);
    // A consumer without deadlines is waited for, not by the engine; a live one that holds every frame loses some.
    if (!take_frames(s, f, n) && s->pace.pacing != ZT_LIVE) {
        release(f, n);
        pthread_mutex_lock(&e->lock);
        zt_sched_put_back(&e->sched, t, started + ZT_MS);
        pthread_mutex_unlock(&e->lock);
        return;
    }
    zt_state_decode(s->state, s->rgb);
    const int64_t decoded = zt_now();
    convert(s, f, n);
    const int err = zt_device_sync(e->device);
    const int64_t ended = zt_now();

    write_down(s, t);
    ZT_PROBE3(shown, t->id, t->index, t->steps);
    if (book(s, t, started, decoded, ended, err)) {
        zt_work_measured(s, ZT_DENOISE_STAGE, s->denoise);
        zt_work_measured(s, ZT_DECODE, decoded - started);
        zt_work_measured(s, ZT_CONVERT, ended - decoded);
        save(s, t->index + (uint64_t)s->wanted);       // first: who has its pictures may ask for it
        hand_over(s, t, f, s->wanted);
    }
    release(f, n);
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
    const int64_t ended = zt_now();
    zt_trace_add(&e->trace, (zt_moment){ started, ended, ZT_SPAN_REPEAT, (int16_t)t->id, 1, t->index });
    zt_sched_done(&e->sched, t, 1, started, ended);
    pthread_mutex_unlock(&e->lock);
    hand_on(s, t, f);
    zt_frame_unref(&f);
}

void zt_work_do(zt_engine *e, const zt_todo *todo, int n)
{
    switch (todo[0].action) {
    case ZT_DO_PASS:   zt_work_passes(e, todo, n); break;
    case ZT_DO_SHOW:   do_show(e, todo); break;
    case ZT_DO_REPEAT: do_repeat(e, todo); break;
    }
}
