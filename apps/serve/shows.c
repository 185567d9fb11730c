// SPDX-License-Identifier: Apache-2.0
// The table of shows and how long each lives.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "apps/exits.h"
#include "apps/serve/metrics_text.h"
#include "apps/serve/serve.h"
#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "kernels/device.h"

#define LINGER (30 * ZT_S)          // `live` lives on after its last viewer
#define ASKED  (30 * ZT_S)          // /readyz is asked by something that chooses among servers
#define DRAIN  (1500 * ZT_MS)       // and is told so long, at most, that this one stops
#define STALE  (5 * ZT_S)           // a session without a packet for so long is not ready

static zt_entry *find(zt_serve *s, const char *id)
{
    for (zt_entry *e = s->entry; e < s->entry + ZT_SHOWS; e++)
        if (e->show && !strcmp(zt_show_get_params(e->show)->id, id))
            return e;
    return NULL;
}

static zt_entry *entry_of(zt_serve *s, const zt_show *show)
{
    for (zt_entry *e = s->entry; e < s->entry + ZT_SHOWS; e++)
        if (e->show == show)
            return e;
    return NULL;
}

// Admission keeps what was promised to others: `live` alone takes what it can get.
static bool is_promised(const zt_serve *s, const zt_entry *e)
{
    bool others = e->ttl > 0;
    for (int i = 1; i < ZT_SHOWS; i++)
        others = others || s->entry[i].show;
    return others && !s->no_admission;
}

static void touch(zt_entry *e, int64_t now)
{
    e->touched = now;
    zt_show_lease(e->show, now + (e->ttl ? e->ttl : LINGER));
}

// Users' words are in the log for those only who ask for it (-v).
static void report_prompt(zt_serve *s, const zt_show *show)
{
    const char *id = zt_show_get_params(show)->id, *prompt = zt_show_get_params(show)->prompt;
    char ignored[512] = "";
    const int known = prompt ? zt_model_words(s->setup.model, prompt, ignored, sizeof(ignored)) : 1;
    int words = 0;
    for (const char *at = ignored; *(at += strspn(at, " ")); at += strcspn(at, " "))
        words++;
    if (words)
        zt_info("session %s: %d word%s of its prompt mean%s nothing to the model", id, words, words > 1 ? "s" : "",
                words > 1 ? "" : "s");
    zt_debug("session %s: ignored: %s", id, ignored);
    if (!known)
        zt_warn("session %s: no word of its prompt is known to %s: it shows \"%s\"", id,
                zt_model_get_info(s->setup.model)->name, zt_model_get_info(s->setup.model)->default_prompt);
}

// Not under the lock: admission waits until the engine has a moment. A show that was taken out meanwhile is ended by
// whoever closes it.
static int begin(zt_serve *s, zt_show *show, zt_refused *refused)
{
    pthread_mutex_lock(&s->lock);
    zt_entry *e = entry_of(s, show);
    const bool promised = e && is_promised(s, e);
    if (e)
        e->touched = zt_now();
    pthread_mutex_unlock(&s->lock);
    const int err = e ? zt_show_begin(show, promised ? refused : NULL) : 0;

    pthread_mutex_lock(&s->lock);
    e = err < 0 ? NULL : entry_of(s, show);
    const bool news = e && !e->reported;
    if (e) {
        touch(e, zt_now());
        e->reported = true;
    }
    pthread_mutex_unlock(&s->lock);
    if (news)
        report_prompt(s, show);
    return err;
}

zt_show *zt_serve_find(zt_serve *s, const char *id)
{
    pthread_mutex_lock(&s->lock);
    zt_entry *e = find(s, id);
    zt_show *show = e ? zt_show_ref(e->show) : NULL;
    pthread_mutex_unlock(&s->lock);
    return show;
}

int zt_serve_wake(zt_serve *s, zt_show *show, zt_refused *refused)
{
    return begin(s, show, refused);
}

// A free place, or 0. Under the lock.
static int free_place(const zt_serve *s)
{
    int n = 0, dying = 0, at = 0;
    for (int i = 1; i < ZT_SHOWS; i++) {
        n += s->entry[i].show != NULL;
        dying += s->dying[i] != NULL;
        at = at || s->entry[i].show ? at : i;
    }
    return n < s->max_sessions && n + dying < ZT_SHOWS - 1 ? at : 0;    // all of them may be dying at once
}

// Gives the table its reference. 0 or -EAGAIN.
static int put_in(zt_serve *s, zt_show *show, int64_t ttl)
{
    pthread_mutex_lock(&s->lock);
    const int at = free_place(s);
    if (at)
        s->entry[at] = (zt_entry){ zt_show_ref(show), zt_now(), ttl, true };
    pthread_mutex_unlock(&s->lock);
    return at ? 0 : -EAGAIN;
}

// What could not begin. Unless it was found to be failing first.
static void give_up(zt_serve *s, zt_show *show)
{
    pthread_mutex_lock(&s->lock);
    zt_entry *e = entry_of(s, show);
    zt_show *out = e ? e->show : NULL;          // with the table's reference
    if (e)
        *e = (zt_entry){ 0 };
    pthread_mutex_unlock(&s->lock);
    if (out)
        zt_show_close(out);
    zt_show_unref(&out);
}

int zt_serve_add(zt_serve *s, const zt_show_params *p, int64_t ttl, zt_show **out, zt_refused *refused)
{
    pthread_mutex_lock(&s->lock);
    int err = free_place(s) ? 0 : -EAGAIN;      // most who come in vain cost no encoder
    pthread_mutex_unlock(&s->lock);
    zt_show *show = NULL;
    if (!err)
        err = zt_show_create(&show, &s->studio, p);
    if (!err) {
        err = put_in(s, show, ttl);
        if (err < 0)
            zt_show_close(show);
    }
    if (!err) {
        err = begin(s, show, refused);
        if (err < 0)
            give_up(s, show);
    }
    if (err == -EAGAIN) {
        pthread_mutex_lock(&s->lock);
        s->rejected++;
        pthread_mutex_unlock(&s->lock);
    }
    if (err < 0)
        zt_show_unref(&show);
    else
        *out = show;
    return err;
}

// What it has counted stays counted when it goes, or when `live` ends its session. Under the lock.
static void keep_counts(zt_serve *s, zt_show *show, bool goes)
{
    zt_metrics m;
    zt_show_metrics(show, &m);
    m.sessions = 0;
    if (goes)
        zt_histogram_merge(&s->past.stage[ZT_ENCODE], &m.stage[ZT_ENCODE]);
    m.stage[ZT_ENCODE] = (zt_histogram){ 0 };       // a show's, not its session's
    if (s->test_pattern)
        zt_metrics_merge(&s->past, &m);
}

// Under the lock.
static void take_out(zt_serve *s, zt_entry *e)
{
    keep_counts(s, e->show, true);
    for (int i = 1; i < ZT_SHOWS; i++) {
        if (s->dying[i])
            continue;
        s->dying[i] = e->show;
        break;
    }
    *e = (zt_entry){ 0 };
}

bool zt_serve_remove(zt_serve *s, const char *id)
{
    pthread_mutex_lock(&s->lock);
    zt_entry *e = find(s, id);
    const bool found = e && e->ttl;
    if (found)
        take_out(s, e);
    pthread_mutex_unlock(&s->lock);
    return found;
}

void zt_serve_touch(zt_serve *s, const zt_show *show)
{
    pthread_mutex_lock(&s->lock);
    zt_entry *e = find(s, zt_show_get_params(show)->id);
    if (e)
        touch(e, zt_now());
    pthread_mutex_unlock(&s->lock);
}

zt_show *zt_serve_at(zt_serve *s, int i, int64_t *idle)
{
    pthread_mutex_lock(&s->lock);
    zt_show *show = i < ZT_SHOWS && s->entry[i].show ? zt_show_ref(s->entry[i].show) : NULL;
    *idle = show ? zt_now() - s->entry[i].touched : 0;
    pthread_mutex_unlock(&s->lock);
    return show;
}

int zt_serve_viewers(zt_serve *s)
{
    int n = 0;
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < ZT_SHOWS; i++)
        n += s->entry[i].show ? zt_show_viewers(s->entry[i].show) : 0;
    pthread_mutex_unlock(&s->lock);
    return n;
}

bool zt_serve_ready(zt_serve *s)
{
    bool ready = true;
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < ZT_SHOWS; i++) {
        const int64_t last = s->entry[i].show ? zt_show_last_packet(s->entry[i].show) : 0;
        ready = ready && (!last || zt_now() - last < STALE);
    }
    pthread_mutex_unlock(&s->lock);
    return ready;
}

void zt_serve_asked(zt_serve *s, bool told)
{
    __atomic_store_n(&s->asked, zt_now(), __ATOMIC_RELAXED);
    if (told)
        __atomic_store_n(&s->told, 1, __ATOMIC_RELAXED);
}

bool zt_serve_stopping(const zt_serve *s)
{
    return __atomic_load_n(&s->stopping, __ATOMIC_RELAXED);
}

void zt_serve_stop(zt_serve *s)
{
    const int64_t now = zt_now(), asked = __atomic_load_n(&s->asked, __ATOMIC_RELAXED);
    __atomic_store_n(&s->stopping, 1, __ATOMIC_RELAXED);
    const bool waits = asked && now - asked < ASKED;
    while (waits && zt_now() - now < DRAIN && !__atomic_load_n(&s->told, __ATOMIC_RELAXED))
        zt_sleep_until(zt_now() + 10 * ZT_MS);
    if (waits)
        zt_sleep_until(zt_now() + 50 * ZT_MS);      // the answer is on its way
}

void zt_serve_limits(zt_serve *s, const zt_serve *fresh)
{
    pthread_mutex_lock(&s->lock);
    s->max_sessions = fresh->max_sessions;
    pthread_mutex_unlock(&s->lock);
    if (s->clips)
        zt_clips_quota(s->clips, fresh->batch_quota);
    s->batch_quota = fresh->batch_quota;
    const char *token = zt_access_view_token(&fresh->access);
    if (s->studio.rtsp && token)
        zt_rtsp_server_password(s->studio.rtsp, "zoetrope", token);
}

// The engine counts its sessions, gone ones too; patterns and encoders are counted here.
char *zt_serve_metrics(zt_serve *s, size_t *bytes)
{
    char backend[64];
    snprintf(backend, sizeof(backend), "cpu %s", s->setup.device->level);
    zt_metrics_text t = { .viewers = zt_serve_viewers(s), .backend = backend };
    zt_engine_metrics(s->setup.engine, &t.metrics);
    pthread_mutex_lock(&s->lock);
    zt_metrics_merge(&t.metrics, &s->past);
    for (int i = 0; i < ZT_SHOWS; i++) {
        if (!s->entry[i].show)
            continue;
        zt_metrics one;
        zt_show_metrics(s->entry[i].show, &one);
        if (s->test_pattern) {
            zt_metrics_merge(&t.metrics, &one);
            t.metrics.sessions += one.sessions;
        } else {
            zt_histogram_merge(&t.metrics.stage[ZT_ENCODE], &one.stage[ZT_ENCODE]);
        }
    }
    t.rejected = s->rejected;
    t.takes_clips = s->clips != NULL;
    if (s->clips)
        zt_clips_count(s->clips, t.clips);
    pthread_mutex_unlock(&s->lock);
    return zt_metrics_print(&t, bytes);
}

// Why a session ended that nobody ended.
static int exit_code(int err)
{
    return err == -ETIME || err == -EINVAL ? ZT_EXIT_USAGE
         : err == -ECANCELED ? ZT_EXIT_BUG : ZT_EXIT_UNAVAILABLE;
}

// *wanted: somebody watches `live`.
static int look_after_one(zt_serve *s, zt_entry *e, bool *wanted)
{
    const int64_t now = zt_now();
    const int err = zt_show_failed(e->show);
    if (err == -ETIME && !e->ttl && !s->budget_ms)
        return 0;                   // a busy moment: zt_serve_look_after() ends it, who waits begins it anew
    if (err && !e->ttl)
        return exit_code(err);
    if (zt_show_viewers(e->show) > 0)
        touch(e, now);
    zt_show_hint(e->show);
    if (err || (e->ttl && now - e->touched > e->ttl)) {
        zt_info("session %s: %s", zt_show_get_params(e->show)->id, err ? "failed" : "nobody wants it any more");
        take_out(s, e);
        return 0;
    }
    *wanted = *wanted || (!e->ttl && e->touched == now);
    return 0;
}

static int begin_live(zt_serve *s)
{
    zt_refused refused;
    const int err = begin(s, s->entry[0].show, &refused);
    if (err == -EBUSY)
        zt_debug("live: %s", refused.text);     // asked again as long as somebody waits
    return err && err != -EBUSY ? exit_code(err) : 0;
}

int zt_serve_look_after(zt_serve *s)
{
    int code = 0;
    bool wanted = false;
    zt_show *dying[ZT_SHOWS], *idle = NULL;
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < ZT_SHOWS && !code; i++)
        if (s->entry[i].show)
            code = look_after_one(s, &s->entry[i], &wanted);
    memcpy(dying, s->dying, sizeof(dying));
    memset(s->dying, 0, sizeof(s->dying));
    zt_entry *live = &s->entry[0];
    const bool unwatched = live->show && zt_now() - live->touched > LINGER;
    if (live->show && (unwatched || zt_show_failed(live->show)) && zt_show_runs(live->show)) {
        idle = zt_show_ref(live->show);
        keep_counts(s, live->show, false);
    }
    pthread_mutex_unlock(&s->lock);
    if (wanted && !code)
        code = begin_live(s);
    if (idle)
        zt_show_end(idle);
    zt_show_unref(&idle);
    for (int i = 0; i < ZT_SHOWS; i++) {
        if (dying[i])
            zt_show_close(dying[i]);
        zt_show_unref(&dying[i]);
    }
    return code;
}

int zt_serve_open_live(zt_serve *s)
{
    const zt_show_params p = {
        .id = "live", .prompt = s->prompt, .fps = (int)s->fps, .out_w = s->size.a, .out_h = s->size.b,
        .steps_min = s->steps.a, .steps_max = s->steps.b, .budget = s->budget_ms * ZT_MS, .seed = s->seed,
    };
    s->entry[0].touched = zt_now();
    return zt_exit_output(zt_show_create(&s->entry[0].show, &s->studio, &p));
}

void zt_serve_close(zt_serve *s)
{
    pthread_mutex_lock(&s->lock);
    zt_clips *clips = s->clips;
    s->clips = NULL;
    pthread_mutex_unlock(&s->lock);
    zt_clips_close(&clips);
    zt_serve_look_after(s);         // the dying
    for (int i = 0; i < ZT_SHOWS; i++) {
        pthread_mutex_lock(&s->lock);           // /metrics and /readyz are still asked
        zt_show *show = s->entry[i].show;
        s->entry[i] = (zt_entry){ 0 };
        pthread_mutex_unlock(&s->lock);
        if (show)
            zt_show_close(show);
        zt_show_unref(&show);
    }
}
