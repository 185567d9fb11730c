// SPDX-License-Identifier: Apache-2.0
// Joins one session with its streams: pictures go down, packets come back as outcomes.
#include "apps/serve/show.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "apps/serve/marks.h"
#include "apps/serve/pattern.h"
#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"

#define MARKS     64                // controls that frames in work may still name
#define FRAMES    64                // frames whose packet may still come
#define JPEG_KEEP (3 * ZT_S)        // pictures are encoded for so long after the last was fetched
#define POOR      0.5               // share of the bitrate that hides what the last steps do, when it lasts
#define POOR_FOR  (10 * ZT_S)
#define GOOD      0.75              // and share at which it does not any more

struct mark {
    int64_t given;                  // monotonic ns
    double  t, seq;
};

struct about {
    uint64_t    index;
    struct mark mark;
    int         steps;
    bool        repeated;
};

struct zt_show {
    // Only changed by create and close
    const zt_studio *studio;
    zt_show_params  p;
    int             w, h;
    atomic_int      refs;
    zt_stream      *stream;         // close changes it under lock

    // Any thread
    _Atomic(zt_stream *) vp8, jpeg;
    _Atomic int64_t jpeg_until, last_packet;
    atomic_int      reports, error;

    pthread_mutex_t life;           // one begin or end at a time; before birth
    pthread_mutex_t birth;          // held while the session is made: who would speak to it waits; before lock
    pthread_mutex_t lock;           // over what follows, for moments; the engine's thread reads first without it
    zt_session     *session;
    zt_pattern     *pattern;
    bool            visited;        // the guest's pictures are carried
    uint64_t        first, next;    // slots of the stream: the session's 0, and the one after the last pushed
    int64_t         poor;           // monotonic ns since when the lines are poor; 0: they are not
    bool            hinted;
    struct mark     mark[MARKS];
    uint64_t        marks;
    struct about    about[FRAMES];
    zt_histogram    encode;
    zt_packet      *picture;
    zt_shown        picture_is;
    char            prompt[ZT_PROMPT_BYTES + 1];
};

// The newest control that was given when a frame was sampled. Under the lock.
static struct mark mark_at(const zt_show *s, int64_t sampled)
{
    for (uint64_t i = s->marks; i > 0 && i + MARKS > s->marks; i--)
        if (s->mark[(i - 1) % MARKS].given <= sampled)
            return s->mark[(i - 1) % MARKS];
    return (struct mark){ .seq = -1 };
}

static void push(zt_show *s, zt_stream *to, zt_frame *f)
{
    const int err = zt_stream_push(to, f, 0);
    if (err == 0 || err == -EAGAIN)     // skipped: the engine counts it as dropped when the next is delivered
        return;
    atomic_store(&s->error, err);
    pthread_mutex_lock(&s->lock);
    if (s->session)
        zt_session_stop(s->session);
    pthread_mutex_unlock(&s->lock);
}

// To all streams that somebody wants.
static void carry(zt_show *s, zt_frame *f)
{
    pthread_mutex_lock(&s->lock);
    const struct mark mark = mark_at(s, f->sampled);
    s->about[f->index % FRAMES] = (struct about){ f->index, mark, f->steps, f->repeated };
    pthread_mutex_unlock(&s->lock);
    if (s->studio->test_pattern || s->studio->marks)
        zt_marks_burn(f, (zt_marks){ (unsigned)f->index, mark.seq < 0 ? 0 : (unsigned)mark.seq, zt_marks_clock() });
    push(s, s->stream, f);
    zt_stream *vp8 = atomic_load(&s->vp8), *jpeg = atomic_load(&s->jpeg);
    if (vp8 && zt_stream_viewers(vp8) > 0)
        push(s, vp8, f);
    if (jpeg && zt_now() < atomic_load(&s->jpeg_until))
        push(s, jpeg, f);
}

// The stream outlives sessions: its slots and times go on where the session before ended.
static void on_frame(void *cookie, zt_frame *f)
{
    zt_show *s = cookie;
    f->index += s->first;
    f->pts += (int64_t)s->first * ZT_S / s->p.fps;
    s->next = f->index + 1;
    carry(s, f);
}

void zt_show_push(zt_show *s, zt_frame *f)
{
    pthread_mutex_lock(&s->lock);
    const bool visited = s->visited;
    pthread_mutex_unlock(&s->lock);
    if (visited)
        carry(s, f);
}

// Under the lock.
static zt_shown describe(const zt_show *s, const zt_packet *p, int64_t now)
{
    const struct about *a = &s->about[p->index % FRAMES];
    zt_shown what = { .index = p->index, .sampled = p->sampled, .due = p->due, .t = a->mark.t, .seq = a->mark.seq };
    what.outcome = a->repeated ? ZT_REPEATED : now > p->due ? ZT_LATE
                 : a->steps < s->p.steps_max ? ZT_DEGRADED : ZT_ON_TIME;
    return what;
}

// Its first packet may be there before it is known.
static void lock_born(zt_show *s)
{
    pthread_mutex_lock(&s->birth);
    pthread_mutex_lock(&s->lock);
    pthread_mutex_unlock(&s->birth);
}

static void on_packet(void *cookie, const zt_packet *p, int64_t now, int64_t encode_ns)
{
    zt_show *s = cookie;
    lock_born(s);
    if ((s->session || s->pattern) && p->index >= s->first) {
        if (s->session)
            zt_session_delivered(s->session, p->index - s->first, now);
        else
            zt_pattern_delivered(s->pattern, p->index - s->first, now);
        atomic_store(&s->last_packet, now);
    }
    if (s->visited)
        atomic_store(&s->last_packet, now);
    zt_histogram_add(&s->encode, encode_ns);
    const zt_shown what = describe(s, p, now);
    pthread_mutex_unlock(&s->lock);
    if (atomic_load(&s->reports) > 0)
        s->studio->shown(s->studio->cookie, s, &what);
}

static void on_jpeg(void *cookie, const zt_packet *p, int64_t now, int64_t encode_ns)
{
    zt_show *s = cookie;
    (void)encode_ns;
    zt_packet *mine = zt_packet_ref((zt_packet *)p);
    pthread_mutex_lock(&s->lock);
    zt_packet *old = s->picture;
    s->picture = mine;
    s->picture_is = describe(s, p, now);
    pthread_mutex_unlock(&s->lock);
    if (old)
        zt_packet_unref(&old);
    s->studio->jpeg(s->studio->cookie, s);
}

static int open_stream(zt_show *s, zt_stream **out, const char *codec)
{
    const zt_model_info *info = zt_model_get_info(s->studio->setup->model);
    char rtsp[64], whep[64];
    snprintf(rtsp, sizeof(rtsp), strcmp(s->p.id, "live") ? "rtsp:/s/%s" : "rtsp:/%s", s->p.id);
    snprintf(whep, sizeof(whep), "whep:/%s%s", s->p.id, codec ? "/vp8" : "");
    zt_stream_params p = {
        .url = "null:", .w = info->w, .h = info->h, .out_w = s->p.out_w, .out_h = s->p.out_h, .fps = s->p.fps,
        .codec = codec ? codec : "h264", .bitrate = s->studio->bitrate, .live = true,
        .realtime = s->studio->setup->realtime, .rtsp = s->studio->rtsp,
        .whep = s->studio->whep, .on_packet = codec ? NULL : on_packet, .cookie = s,
    };
    int places = 0;
    if (codec && !strcmp(codec, "jpeg"))
        p.on_packet = on_jpeg;
    else if (s->studio->whep)
        p.also[places++] = whep;
    if (!codec && s->studio->rtsp)
        p.also[places++] = rtsp;
    return zt_stream_open(out, &p);
}

int zt_show_create(zt_show **out, const zt_studio *studio, const zt_show_params *p)
{
    const zt_model_info *info = zt_model_get_info(studio->setup->model);
    zt_show *s = zt_alloc(sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->studio = studio;
    s->p = *p;
    s->p.fps = p->fps ? p->fps : info->fps;
    s->p.out_w = p->out_w ? p->out_w : 2 * info->w;
    s->p.out_h = p->out_h ? p->out_h : 2 * info->h;
    s->p.steps_min = p->steps_min ? p->steps_min : 1;
    s->p.steps_max = p->steps_max ? p->steps_max : ZT_MAX(info->steps, s->p.steps_min);
    s->p.budget = p->budget ? p->budget : 2 * (ZT_S / s->p.fps);
    atomic_store(&s->refs, 1);
    pthread_mutex_init(&s->life, NULL);
    pthread_mutex_init(&s->birth, NULL);
    pthread_mutex_init(&s->lock, NULL);
    s->p.id = strdup(p->id);
    s->p.prompt = p->prompt ? strdup(p->prompt) : NULL;
    const char *prompt = p->prompt ? p->prompt : info->default_prompt;
    snprintf(s->prompt, sizeof(s->prompt), "%s", prompt ? prompt : "");
    int err = s->p.id && (s->p.prompt || !p->prompt) ? 0 : -ENOMEM;
    if (!err)
        err = open_stream(s, &s->stream, NULL);
    if (err < 0) {
        zt_show_unref(&s);
        return err;
    }
    *out = s;
    return 0;
}

zt_show *zt_show_ref(zt_show *s)
{
    atomic_fetch_add(&s->refs, 1);
    return s;
}

void zt_show_unref(zt_show **show)
{
    zt_show *s = *show;
    *show = NULL;
    if (!s || atomic_fetch_sub(&s->refs, 1) > 1)
        return;
    if (s->picture)
        zt_packet_unref(&s->picture);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->birth);
    pthread_mutex_destroy(&s->life);
    free((char *)s->p.id);
    free((char *)s->p.prompt);
    zt_free(s);
}

void zt_show_close(zt_show *s)
{
    zt_show_end(s);
    pthread_mutex_lock(&s->life);       // nothing is opened from here on
    pthread_mutex_lock(&s->lock);       // and nobody looks at what is closed
    zt_stream *stream = s->stream, *vp8 = atomic_exchange(&s->vp8, NULL), *jpeg = atomic_exchange(&s->jpeg, NULL);
    s->stream = NULL;
    pthread_mutex_unlock(&s->lock);
    pthread_mutex_unlock(&s->life);
    zt_stream_close(&vp8);
    zt_stream_close(&jpeg);
    zt_stream_close(&stream);
    s->studio->jpeg(s->studio->cookie, s);      // who waits for a picture waits in vain
}

bool zt_show_closed(zt_show *s)
{
    pthread_mutex_lock(&s->lock);
    const bool closed = !s->stream;
    pthread_mutex_unlock(&s->lock);
    return closed;
}

// FOLDER/ID-SECONDS.jsonl
static const char *log_path(const zt_show *s, char *path, size_t bytes)
{
    if (!s->studio->log_folder)
        return NULL;
    snprintf(path, bytes, "%s/%s-%lld.jsonl", s->studio->log_folder, s->p.id, (long long)time(NULL));
    return path;
}

int zt_show_begin(zt_show *s, zt_refused *refused)
{
    char path[1024];
    const zt_model_info *info = zt_model_get_info(s->studio->setup->model);
    const zt_session_params p = {
        .prompt = s->p.prompt, .w = info->w, .h = info->h, .fps = s->p.fps, .steps_min = s->p.steps_min,
        .steps_max = s->p.steps_max, .budget = s->p.budget, .seed = s->p.seed, .on_frame = on_frame, .cookie = s,
        .refused = refused, .log = log_path(s, path, sizeof(path)),
    };
    zt_session *session = NULL;
    zt_pattern *pattern = NULL;
    int err = 0;
    pthread_mutex_lock(&s->life);
    if (!s->stream || s->session || s->pattern || s->visited)
        goto out;
    if (s->studio->guest) {
        atomic_store(&s->last_packet, zt_now());
        pthread_mutex_lock(&s->lock);
        s->visited = true;
        pthread_mutex_unlock(&s->lock);
        goto out;
    }
    pthread_mutex_lock(&s->birth);
    pthread_mutex_lock(&s->lock);       // packets of the session before may still come
    s->first = s->next;
    s->hinted = false;
    pthread_mutex_unlock(&s->lock);
    atomic_store(&s->last_packet, zt_now());
    err = s->studio->test_pattern ? zt_pattern_create(&pattern, &p)
                                 : zt_session_create(&session, s->studio->setup->engine, &p);
    pthread_mutex_lock(&s->lock);
    s->session = session;
    s->pattern = pattern;
    pthread_mutex_unlock(&s->lock);
    pthread_mutex_unlock(&s->birth);
    if (err < 0)
        atomic_store(&s->last_packet, 0);
out:
    pthread_mutex_unlock(&s->life);
    return err;
}

void zt_show_end(zt_show *s)
{
    pthread_mutex_lock(&s->life);
    zt_session *session = s->session;
    if (session) {
        zt_session_stop(session);
        zt_session_wait(session);       // no more frames
    }
    pthread_mutex_lock(&s->lock);
    zt_pattern *pattern = s->pattern;
    s->session = NULL;                  // no more packets are reported to it
    s->pattern = NULL;
    s->visited = false;
    pthread_mutex_unlock(&s->lock);
    zt_session_destroy(&session);
    zt_pattern_destroy(&pattern);
    atomic_store(&s->last_packet, 0);
    pthread_mutex_unlock(&s->life);
}

bool zt_show_runs(zt_show *s)
{
    pthread_mutex_lock(&s->lock);
    const bool runs = s->session || s->pattern || s->visited;
    pthread_mutex_unlock(&s->lock);
    return runs;
}

int zt_show_failed(zt_show *s)
{
    pthread_mutex_lock(&s->lock);
    int err = s->session && zt_session_done(s->session) ? zt_session_wait(s->session) : 0;
    if (s->session && zt_session_done(s->session) && !err)
        err = -ECANCELED;
    pthread_mutex_unlock(&s->lock);
    return atomic_load(&s->error) ? atomic_load(&s->error) : err;
}

int zt_show_prompt(zt_show *s, const char *text)
{
    int err = zt_prompt_check(text);
    if (err < 0)
        return err;
    lock_born(s);
    strcpy(s->prompt, text);
    if (s->session)
        err = zt_session_prompt(s->session, text);
    pthread_mutex_unlock(&s->lock);
    const zt_guest *guest = s->studio->guest;
    return err || !guest ? err : guest->prompt(guest->cookie, text);
}

int zt_show_control(zt_show *s, int control, float value)
{
    int err = 0;
    lock_born(s);
    if (s->session)
        err = zt_session_control(s->session, control, value);
    if (s->pattern)
        zt_pattern_control(s->pattern, control, value);
    pthread_mutex_unlock(&s->lock);
    const zt_guest *guest = s->studio->guest;
    return err || !guest ? err : guest->control(guest->cookie, control, value);
}

void zt_show_mark(zt_show *s, double t, double seq)
{
    pthread_mutex_lock(&s->lock);
    s->mark[s->marks++ % MARKS] = (struct mark){ zt_now(), t, seq };
    pthread_mutex_unlock(&s->lock);
}

static int want(zt_show *s, _Atomic(zt_stream *) *place, const char *codec)
{
    int err = 0;
    pthread_mutex_lock(&s->life);
    if (s->stream && !atomic_load(place)) {
        zt_stream *stream = NULL;
        err = open_stream(s, &stream, codec);
        atomic_store(place, stream);
    }
    pthread_mutex_unlock(&s->life);
    return err;
}

int zt_show_want_vp8(zt_show *s)
{
    return want(s, &s->vp8, "vp8");
}

int zt_show_want_jpeg(zt_show *s)
{
    atomic_store(&s->jpeg_until, zt_now() + JPEG_KEEP);
    return want(s, &s->jpeg, "jpeg");
}

zt_packet *zt_show_jpeg(zt_show *s, zt_shown *what)
{
    pthread_mutex_lock(&s->lock);
    zt_packet *p = s->picture ? zt_packet_ref(s->picture) : NULL;
    *what = s->picture_is;
    pthread_mutex_unlock(&s->lock);
    return p;
}

void zt_show_reports(zt_show *s, int more)
{
    atomic_fetch_add(&s->reports, more);
}

int zt_show_viewers(zt_show *s)
{
    pthread_mutex_lock(&s->lock);
    zt_stream *vp8 = atomic_load(&s->vp8);
    const int n = (s->stream ? zt_stream_viewers(s->stream) : 0) + (vp8 ? zt_stream_viewers(vp8) : 0) +
                  (zt_now() < atomic_load(&s->jpeg_until));
    pthread_mutex_unlock(&s->lock);
    return n;
}

const zt_show_params *zt_show_get_params(const zt_show *s)
{
    return &s->p;
}

void zt_show_prompt_text(zt_show *s, char *out, size_t bytes)
{
    pthread_mutex_lock(&s->lock);
    snprintf(out, bytes, "%s", s->prompt);
    pthread_mutex_unlock(&s->lock);
}

void zt_show_metrics(zt_show *s, zt_metrics *out)
{
    const zt_guest *guest = s->studio->guest;
    *out = (zt_metrics){ 0 };
    if (guest)
        guest->metrics(guest->cookie, out);
    pthread_mutex_lock(&s->lock);
    if (s->session)
        zt_session_metrics(s->session, out);
    if (s->pattern)
        zt_pattern_metrics(s->pattern, out);
    out->stage[ZT_ENCODE] = s->encode;
    pthread_mutex_unlock(&s->lock);
}

void zt_show_lease(zt_show *s, int64_t until)
{
    pthread_mutex_lock(&s->lock);
    if (s->session)
        zt_session_lease(s->session, until);
    pthread_mutex_unlock(&s->lock);
}

// The best that anybody gets. Under the lock.
static double bitrate_share(zt_show *s)
{
    zt_stream *const stream[] = { s->stream, atomic_load(&s->vp8) };
    double share = -1;
    for (size_t i = 0; i < ZT_LEN(stream); i++)
        if (stream[i] && zt_stream_viewers(stream[i]) > 0)
            share = ZT_MAX(share, zt_stream_bitrate_share(stream[i]));
    return share < 0 || zt_now() < atomic_load(&s->jpeg_until) ? 1 : share;
}

void zt_show_hint(zt_show *s)
{
    pthread_mutex_lock(&s->lock);
    const int64_t now = zt_now();
    const double share = bitrate_share(s);
    if (share >= GOOD)
        s->poor = 0;
    else if (share <= POOR && !s->poor)
        s->poor = now;
    const int fewer = ZT_MAX(s->p.steps_max / 2, s->p.steps_min);
    const bool hint = s->poor && now - s->poor >= POOR_FOR && fewer < s->p.steps_max;
    if (s->session && hint != s->hinted) {
        zt_session_hint(s->session, hint ? fewer : 0);
        zt_info("session %s: %d steps a frame at most, its viewers have %.0f %% of the bitrate", s->p.id,
                hint ? fewer : s->p.steps_max, 100 * share);
        s->hinted = hint;
    }
    pthread_mutex_unlock(&s->lock);
}

int64_t zt_show_last_packet(zt_show *s)
{
    return atomic_load(&s->last_packet);
}
