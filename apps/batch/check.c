// SPDX-License-Identifier: Apache-2.0
// --check: what a run will take. One clip of each kind is rendered for a moment, into nothing.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/batch/work.h"
#include "apps/exits.h"
#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "stream/stream.h"

#define KINDS  32
#define FRAMES 24
#define LONGEST (3 * ZT_S)      // a kind is measured for so long

typedef struct kind {
    const zt_clip *clip;
    zt_clip_shape  shape;
    double         seconds, bytes;      // a frame
} kind;

typedef struct measure {
    zt_session *session;
    zt_stream  *stream;
    int64_t     begun, first, last;     // ns
    int64_t     frames, packets, bytes;
} measure;

static void on_frame(void *cookie, zt_frame *f)
{
    measure *m = cookie;
    m->last = zt_now();
    m->first = m->frames++ ? m->first : m->last;
    if (zt_stream_push(m->stream, f, INT64_MAX) < 0 || m->last - m->begun > LONGEST)
        zt_session_stop(m->session);
}

static void on_packet(void *cookie, const zt_packet *p, int64_t now, int64_t encode_ns)
{
    measure *m = cookie;
    (void)encode_ns;
    m->packets++;
    m->bytes += (int64_t)p->bytes;
    m->last = ZT_MAX(m->last, now);
}

static int measure_kind(zt_batch_work *w, kind *k)
{
    const zt_clip *c = k->clip;
    const zt_model_info *info = zt_model_get_info(w->setup.model);
    measure m = { .begun = zt_now() };
    const zt_stream_params sp = { .url = c->codec ? "null:" : "null:raw", .w = info->w, .h = info->h, .out_w = k->shape.w,
                                  .out_h = k->shape.h, .fps = k->shape.fps, .codec = c->codec, .crf = c->crf,
                                  .bitrate = c->bitrate, .on_packet = on_packet, .cookie = &m };
    const zt_session_params p = { .prompt = c->prompt, .event = c->event, .events = c->events, .fps = k->shape.fps,
                                  .steps_min = k->shape.steps, .steps_max = k->shape.steps, .seed = c->seed,
                                  .frames = FRAMES, .unpaced = true, .pool = 16, .on_frame = on_frame, .cookie = &m };
    int err = zt_stream_open(&m.stream, &sp);
    if (!err)
        err = zt_session_create(&m.session, w->setup.engine, &p);
    if (!err)
        err = zt_session_wait(m.session);
    zt_session_destroy(&m.session);
    if (!err)
        err = zt_stream_finish(m.stream);
    zt_stream_close(&m.stream);
    if (err < 0)
        return zt_exit_output(err);
    const int64_t frames = ZT_MAX(m.frames, 1);
    k->seconds = (double)(m.last - m.begun) / (double)ZT_S / (double)frames;
    k->bytes = c->codec ? (double)m.bytes / (double)ZT_MAX(m.packets, 1) : 1.5 * k->shape.w * k->shape.h;
    return 0;
}

static bool same_kind(const kind *a, const kind *b)
{
    const zt_clip *x = a->clip, *y = b->clip;
    return zt_work_same(x, y) && x->codec == y->codec && x->crf == y->crf && x->bitrate == y->bitrate &&
           a->shape.w == b->shape.w && a->shape.h == b->shape.h && a->shape.steps == b->shape.steps;
}

// The kind of a clip, measured when it is the first of it; the last one stands for those that are too many.
static int find_kind(zt_batch_work *w, kind *kinds, int *n, kind *one, const kind **out)
{
    for (int i = 0; i < *n; i++)
        if (same_kind(&kinds[i], one)) {
            *out = &kinds[i];
            return 0;
        }
    if (*n == KINDS) {
        *out = &kinds[KINDS - 1];
        return 0;
    }
    const int code = measure_kind(w, one);
    kinds[*n] = *one;
    *out = &kinds[(*n)++];
    return code;
}

int zt_batch_check(zt_batch_work *w)
{
    static kind kinds[KINDS];
    double seconds = 0, bytes = 0;
    int n = 0, code = 0;
    for (int i = w->first; i <= w->last && !code; i++) {
        kind one = { .clip = &w->manifest.clip[i] };
        const kind *k = NULL;
        if (__atomic_load_n(w->b->interrupted, __ATOMIC_RELAXED))
            return ZT_EXIT_AGAIN;
        code = zt_work_open(w, one.clip);
        if (code)
            break;
        zt_clip_shape_of(one.clip, zt_model_get_info(w->setup.model), &one.shape);
        code = find_kind(w, kinds, &n, &one, &k);
        seconds += k->seconds * (double)one.shape.frames;
        bytes += k->bytes * (double)one.shape.frames;
    }
    if (!code)
        printf("{\"clips\": %d, \"frames\": %" PRId64 ", \"seconds\": %.1f, \"bytes\": %.0f}\n", w->last - w->first + 1,
               w->frames, seconds, bytes);
    return code;
}
