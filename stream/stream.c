// SPDX-License-Identifier: Apache-2.0
// The stream: one thread that scales, encodes and hands over; and the queue in front of it.
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/live.h"
#include "base/log.h"
#include "base/queue.h"
#include "stream/encoder.h"
#include "stream/stream.h"
#include "stream/transport.h"

#define PLACES    4                     // url and also[]
#define KEY_EVERY (300 * ZT_MS)         // at most one key frame on demand in this time
#define LIVE_BITS 2000000
#define SCALED    8                     // pictures; encoders are fed without a copy but let go at once

struct place {
    const zt_outlet *outlet;            // NULL: not used
    zt_transport    *t;
    int              err;               // it failed and is left out
};

struct zt_stream {
    // Only changed by open and close
    zt_packet_fn    *on_packet;
    zt_failed_fn    *on_failed;
    void            *cookie;
    bool             live, realtime;
    zt_encoder      *encoder;           // NULL: pictures only
    zt_scaler       *scaler;            // NULL: same size
    zt_frame_pool   *scaled;
    zt_queue        *queue;
    pthread_t        thread;
    bool             running;           // the thread has not been joined

    // Stream's thread only, after open
    struct place     place[PLACES];
    bool             any;
    uint64_t         last;              // index of the last frame, when any
    int64_t          key_made;          // monotonic ns of the last key frame on demand
    int64_t          bits_opened, bits_set;
    int64_t          began;             // monotonic ns at which the work on this picture began

    // Any thread
    atomic_int       err;               // the first error of the whole stream, kept
    atomic_bool      abandon;           // close without finish
    atomic_bool      want_key;
    _Atomic int64_t  bits, packets, skipped;
};

static void fail(zt_stream *s, int err)
{
    int none = 0;
    if (atomic_compare_exchange_strong(&s->err, &none, err) && s->on_failed)
        s->on_failed(s->cookie, err);
}

// Leaves out a place that failed; the stream fails with its last one.
static void place_failed(zt_stream *s, struct place *failed, int err)
{
    failed->err = err;
    for (const struct place *p = s->place; p < s->place + PLACES; p++)
        if (p->t && !p->err)
            return;
    fail(s, err);
}

static void tell(zt_stream *s, const zt_packet *p, int64_t encode_ns)
{
    if (atomic_load(&s->err))
        return;

    atomic_fetch_add(&s->packets, 1);
    if (s->on_packet)
        s->on_packet(s->cookie, p, zt_now(), encode_ns);
}

static void on_encoded(void *cookie, zt_packet *p)
{
    zt_stream *s = cookie;
    const int64_t encode_ns = zt_now() - s->began;
    for (struct place *at = s->place; at < s->place + PLACES; at++) {
        const int err = at->t && !at->err && at->outlet->codecs ? at->t->type->packet(at->t, p) : 0;
        if (err < 0)
            place_failed(s, at, err);
    }
    tell(s, p, encode_ns);
    s->began = zt_now();                // one call can complete several
}

static void show(zt_stream *s, const zt_frame *f)
{
    const int64_t encode_ns = zt_now() - s->began;
    for (struct place *at = s->place; at < s->place + PLACES; at++) {
        const int err = at->t && !at->err && !at->outlet->codecs ? at->t->type->picture(at->t, f) : 0;
        if (err < 0)
            place_failed(s, at, err);
    }
    if (s->encoder)
        return;

    const zt_packet p = {
        .pts = f->pts, .dts = f->pts, .index = f->index, .due = f->due, .sampled = f->sampled, .key = true, .refs = 1,
    };
    tell(s, &p, encode_ns);
}

static bool key_is_due(zt_stream *s, const zt_frame *f)
{
    if (f->key)
        atomic_store(&s->want_key, true);
    const int64_t now = zt_now();
    if (!atomic_load(&s->want_key) || (s->key_made && now - s->key_made < KEY_EVERY))
        return false;

    atomic_store(&s->want_key, false);
    s->key_made = now;
    return true;
}

static int encode(zt_stream *s, zt_frame *f)
{
    const int64_t bits = atomic_load(&s->bits);
    if (bits != s->bits_set) {
        s->bits_set = bits;
        const int err = s->encoder->type->bitrate(s->encoder, bits);
        if (err < 0)
            return err;
    }
    return s->encoder->type->encode(s->encoder, f, key_is_due(s, f));
}

// *out: a reference to f in the size that goes out.
static int resize(zt_stream *s, zt_frame **out, zt_frame *f)
{
    if (!s->scaler) {
        *out = zt_frame_ref(f);
        return 0;
    }
    zt_frame *big = zt_frame_get(s->scaled);
    if (!big)
        return -ENOMEM;

    zt_scaler_run(s->scaler, big, f);
    big->index = f->index;
    big->model_frame = f->model_frame;
    big->pts = f->pts;
    big->due = f->due;
    big->sampled = f->sampled;
    big->made = f->made;
    big->key = f->key;
    *out = big;
    return 0;
}

static void work(zt_stream *s, zt_frame *f)
{
    s->began = zt_now();
    zt_frame *out = NULL;
    int err = resize(s, &out, f);
    if (!err)
        show(s, out);
    if (!err && s->encoder && !atomic_load(&s->err))
        err = encode(s, out);
    zt_frame_unref(&out);
    if (err < 0)
        fail(s, err);
}

static void end(zt_stream *s)
{
    s->began = zt_now();
    const int err = s->encoder ? s->encoder->type->flush(s->encoder) : 0;
    if (err < 0)
        fail(s, err);
    for (struct place *at = s->place; at < s->place + PLACES && !atomic_load(&s->err); at++) {
        const int failed = at->t && !at->err && at->t->type->finish ? at->t->type->finish(at->t) : 0;
        if (failed < 0)
            place_failed(s, at, failed);
    }
}

static void *run(void *cookie)
{
    zt_stream *s = cookie;
    // This thread before the engine's, if allowed: a late packet costs more than a late pass.
    // A file's after it: what it has left over is enough, and threads that meet after each operation wait for the last.
    setpriority(PRIO_PROCESS, 0, s->live ? -10 : 10);
    if (s->realtime)
        zt_thread_first(1);

    void *item;
    while (zt_queue_pop(s->queue, &item, INT64_MAX) == 0) {
        zt_frame *f = item;
        if (atomic_load(&s->abandon) || atomic_load(&s->err)) {
            atomic_fetch_add(&s->skipped, 1);
        } else if (s->any && f->index <= s->last) {
            zt_debug("frame %llu came after %llu: skipped", (unsigned long long)f->index, (unsigned long long)s->last);
            atomic_fetch_add(&s->skipped, 1);
        } else {
            s->any = true;
            s->last = f->index;
            work(s, f);
        }
        zt_frame_unref(&f);
        if (atomic_load(&s->err))
            zt_queue_close(s->queue);
    }
    if (!atomic_load(&s->abandon) && !atomic_load(&s->err))
        end(s);
    return NULL;
}

static int check(const zt_stream_params *p)
{
    const int w = p->out_w ? p->out_w : p->w, h = p->out_h ? p->out_h : p->h;
    if (!p->url || p->w <= 0 || p->h <= 0 || p->w % 2 || p->h % 2 || p->fps < 1 || p->fps > 240) {
        zt_error("cannot stream %dx%d at %d fps to %s", p->w, p->h, p->fps, p->url ? p->url : "nowhere");
        return -EINVAL;
    }
    if (w < 16 || h < 16 || w > 8192 || h > 8192 || w % 2 || h % 2) {
        zt_error("cannot stream in %dx%d: both must be even, from 16 to 8192", w, h);
        return -EINVAL;
    }
    if (p->bitrate < 0 || p->crf > 63) {
        zt_error("cannot encode with crf %d, %lld bit/s", p->crf, (long long)p->bitrate);
        return -EINVAL;
    }
    return 0;
}

// True when every place for packets takes the codec.
static bool all_take(const zt_stream *s, const char *codec)
{
    for (int i = 0; i < PLACES; i++)
        if (s->place[i].outlet && s->place[i].outlet->codecs && !zt_outlet_takes(s->place[i].outlet, codec))
            return false;
    return true;
}

// Finds the kind of every place, and the codec: NULL when there are pictures only.
static int find_places(zt_stream *s, const zt_stream_params *p, const char *const *url, const char **codec)
{
    const char *takes = NULL, *to = url[0];
    for (int i = 0; i < PLACES; i++) {
        const int err = url[i] ? zt_outlet_find(&s->place[i].outlet, url[i]) : 0;
        if (err < 0)
            return err;
        if (url[i] && s->place[i].outlet->codecs && !takes) {
            takes = s->place[i].outlet->codecs;
            to = url[i];
        }
    }
    static const char *const known[] = { "h264", "h265", "vp9", "av1", "vp8", "ffv1", "prores" };
    *codec = takes ? p->codec : NULL;
    for (size_t i = 0; i < ZT_LEN(known) && takes && !*codec; i++)
        if (all_take(s, known[i]))
            *codec = known[i];

    if (takes ? *codec && all_take(s, *codec) : !p->codec)
        return 0;
    zt_error("cannot write %s to %s%s: it takes %s", *codec ? *codec : p->codec ? p->codec : "one codec", to,
             p->also[0] ? " and the others" : "", takes ? takes : "pictures, no codec");
    return -EINVAL;
}

static int open_encoder(zt_stream *s, const zt_stream_params *p, const char *codec)
{
    bool wanted = false, container = true;
    for (int i = 0; i < PLACES; i++) {
        const zt_outlet *o = s->place[i].outlet;
        if (o && o->type->live_only && !p->live) {
            zt_error("%s streams are live only", o->type->name);
            return -EINVAL;
        }
        if (!o || !o->codecs)
            continue;
        wanted = true;
        container = container && o->type->container;
    }
    if (!wanted)
        return 0;

    const zt_encoder_params e = {
        .codec = codec,
        .w = p->out_w ? p->out_w : p->w,
        .h = p->out_h ? p->out_h : p->h,
        .fps = p->fps,
        .crf = p->crf > 0 ? p->crf : p->crf < 0 ? 0 : p->live ? -1 : INT_MAX,
        .bitrate = p->bitrate ? p->bitrate : p->live ? LIVE_BITS : 0,
        .live = p->live,
        .container = container,
        .on_packet = on_encoded,
        .cookie = s,
    };
    s->bits = s->bits_opened = s->bits_set = e.bitrate;
    return zt_encoder_open(&s->encoder, &e);
}

static int open_scaler(zt_stream *s, const zt_stream_params *p)
{
    const int w = p->out_w ? p->out_w : p->w, h = p->out_h ? p->out_h : p->h;
    if (w == p->w && h == p->h)
        return 0;

    const int err = zt_frame_pool_create(&s->scaled, w, h, SCALED);
    return err < 0 ? err : zt_scaler_open(&s->scaler, p->w, p->h, w, h);
}

static int open_places(zt_stream *s, const zt_stream_params *p, const char *const *url, const char *codec)
{
    int err = 0;
    for (int i = 0; i < PLACES && !err; i++) {
        const zt_outlet *o = s->place[i].outlet;
        if (!o)
            continue;
        const zt_transport_params t = {
            .url = url[i],
            .overwrite = p->overwrite,
            .title = p->title,
            .comment = p->comment,
            .w = p->out_w ? p->out_w : p->w,
            .h = p->out_h ? p->out_h : p->h,
            .fps = p->fps,
            .codec = o->codecs ? codec : NULL,
            .par = o->codecs ? s->encoder->par : NULL,
            .bitrate = s->bits_set,
            .hurry = p->hurry,
            .rtsp = p->rtsp,
            .whep = p->whep,
            .stream = s,
        };
        err = o->type->open(&s->place[i].t, &t);
    }
    return err;
}

// Its signals are blocked: they are the program's, and a pipe whose reader left must give -EPIPE.
static int start(zt_stream *s)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int err = pthread_create(&s->thread, NULL, run, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    s->running = !err;
    if (err)
        zt_error("stream: no thread: %s", strerror(err));
    return err ? -ENOMEM : 0;       // -EAGAIN would mean something else to whoever asked
}

int zt_stream_open(zt_stream **out, const zt_stream_params *p)
{
    const char *const url[PLACES] = { p->url, p->also[0], p->also[1], p->also[2] };
    const char *codec;
    int err = check(p);
    if (err < 0)
        return err;

    zt_stream *s = zt_alloc(sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->on_packet = p->on_packet;
    s->on_failed = p->on_failed;
    s->cookie = p->cookie;
    s->live = p->live;
    s->realtime = p->realtime;
    err = find_places(s, p, url, &codec);
    if (!err)
        err = open_encoder(s, p, codec);
    if (!err)
        err = open_scaler(s, p);
    if (!err)
        err = zt_queue_create(&s->queue, p->queue > 0 ? p->queue : p->live ? 2 : 8);
    if (!err)
        err = open_places(s, p, url, codec);
    if (!err)
        err = start(s);
    if (err < 0) {
        zt_stream_close(&s);
        return err;
    }
    *out = s;
    return 0;
}

int zt_stream_finish(zt_stream *s)
{
    zt_queue_close(s->queue);
    if (s->running)
        pthread_join(s->thread, NULL);
    s->running = false;

    int err = atomic_load(&s->err);
    for (int i = 0; i < PLACES && !err; i++)
        err = s->place[i].err;
    return err;
}

void zt_stream_close(zt_stream **out)
{
    zt_stream *s = *out;
    if (!s)
        return;

    atomic_store(&s->abandon, true);
    if (s->running)
        zt_stream_finish(s);
    for (int i = 0; i < PLACES; i++)
        zt_transport_close(&s->place[i].t);
    zt_encoder_close(&s->encoder);
    zt_scaler_close(&s->scaler);
    zt_frame_pool_destroy(&s->scaled);
    zt_queue_destroy(&s->queue);
    zt_free(s);
    *out = NULL;
}

// Makes room by taking out the oldest frame that waits. A key frame that was asked for is still owed.
static void skip_oldest(zt_stream *s)
{
    void *item;
    if (zt_queue_pop(s->queue, &item, 0) < 0)
        return;

    zt_frame *old = item;
    if (old->key)
        atomic_store(&s->want_key, true);
    zt_frame_unref(&old);
    atomic_fetch_add(&s->skipped, 1);
}

int zt_stream_push(zt_stream *s, zt_frame *f, int64_t until)
{
    zt_frame *mine = zt_frame_ref(f);
    int err = zt_queue_push(s->queue, mine, s->live ? 0 : until);
    while (s->live && err == -EAGAIN) {
        skip_oldest(s);
        err = zt_queue_push(s->queue, mine, 0);
    }
    if (err < 0) {
        zt_frame_unref(&mine);
        atomic_fetch_add(&s->skipped, 1);
    }
    return err == -EPIPE && atomic_load(&s->err) ? atomic_load(&s->err) : err;
}

void zt_stream_want_key(zt_stream *s)
{
    atomic_store(&s->want_key, true);
}

void zt_stream_bitrate(zt_stream *s, int64_t bits)
{
    if (bits > 0)
        atomic_store(&s->bits, bits);
}

double zt_stream_bitrate_share(zt_stream *s)
{
    return s->bits_opened ? (double)atomic_load(&s->bits) / (double)s->bits_opened : 1;
}

int zt_stream_viewers(zt_stream *s)
{
    int n = 0;
    for (int i = 0; i < PLACES; i++) {
        zt_transport *t = s->place[i].t;
        n += t && t->type->viewers ? t->type->viewers(t) : 0;
    }
    return n;
}

int64_t zt_stream_packets(zt_stream *s)
{
    return atomic_load(&s->packets);
}

int64_t zt_stream_skipped(zt_stream *s)
{
    return atomic_load(&s->skipped);
}
