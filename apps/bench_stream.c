// SPDX-License-Identifier: Apache-2.0
// zoetrope-bench stream: the whole way from prompt to packet, without a network; one session or many.
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "apps/bench.h"
#include "apps/bench_probe.h"
#include "apps/exits.h"
#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "engine/sched.h"
#include "stream/stream.h"

#define ROOM  (1 << 17)         // samples: 45 minutes at 48 frames a second
#define AHEAD 2                 // pictures that may wait for the encoder when nothing paces

struct bench;

// One session with its stream. Clips have no deadlines and are made in what the others leave.
typedef struct one {
    struct bench *x;
    bool          clip;
    zt_stream    *stream;
    zt_session   *session;
    // Under the bench's lock
    int64_t       pushed, packets, first, last;
} one;

typedef struct bench {
    zt_bench       *b;
    zt_model       *clip_model;
    one             one[ZT_SCHED_SESSIONS];
    int             n, refused;
    zt_refused      why;
    zt_samples      stage[ZT_STAGES], latency;
    zt_bench_probe  probe;
    zt_metrics      before;     // when all had their first packet
    int64_t         began, ended;
    pthread_mutex_t lock;
    pthread_cond_t  moved;
    // Under lock
    bool            failed;
} bench;

static void on_stage(void *cookie, enum zt_stage stage, int64_t ns)
{
    const one *o = cookie;
    if (!o->clip)
        zt_samples_add(&o->x->stage[stage], ns);
}

// No packet comes any more: who waits for one is woken.
static void on_failed(void *cookie, int err)
{
    bench *x = ((one *)cookie)->x;
    (void)err;
    pthread_mutex_lock(&x->lock);
    x->failed = true;
    pthread_cond_broadcast(&x->moved);
    pthread_mutex_unlock(&x->lock);
}

static void on_frame(void *cookie, zt_frame *f)
{
    one *o = cookie;
    bench *x = o->x;
    pthread_mutex_lock(&x->lock);
    while (!o->clip && !x->b->fps && o->pushed - o->packets >= AHEAD && !x->failed)
        pthread_cond_wait(&x->moved, &x->lock);
    o->pushed++;
    pthread_mutex_unlock(&x->lock);
    const int err = zt_stream_push(o->stream, f, 0);
    if (err == 0 || err == -EAGAIN)
        return;
    on_failed(o, err);
    zt_session_stop(o->session);
}

static void on_packet(void *cookie, const zt_packet *p, int64_t now, int64_t encode_ns)
{
    one *o = cookie;
    bench *x = o->x;
    zt_session_delivered(o->session, p->index, now);
    pthread_mutex_lock(&x->lock);
    if (!o->clip) {
        zt_samples_add(&x->stage[ZT_ENCODE], encode_ns);
        zt_samples_add(&x->latency, now - p->sampled);
    }
    if (!o->packets++)
        o->first = now;
    o->last = now;
    pthread_cond_broadcast(&x->moved);
    pthread_mutex_unlock(&x->lock);
}

static uint64_t missed(const zt_metrics *m)
{
    return m->outcome[ZT_LATE] + m->outcome[ZT_REPEATED] + m->outcome[ZT_DROPPED];
}

static void prompts(bench *x, int64_t now, int64_t *next)
{
    static const char *const text[] = { "volcano at night", "desert at dawn", "islands in fog", "mountains at sunset" };
    static unsigned turn;
    if (!x->b->prompts || now < *next)
        return;
    *next = now + x->b->prompts * ZT_MS;
    for (int i = 0; i < x->n; i++)
        if (!x->one[i].clip)
            zt_session_prompt(x->one[i].session, text[turn % ZT_LEN(text)]);
    turn++;
}

// Until `seconds` after every session's first packet, or the end of one.
static void let_run(bench *x)
{
    int64_t until = INT64_MAX, next_prompt = 0;
    for (int64_t now; (now = zt_now()) < until;) {
        bool over = false, all = true;
        zt_sleep_until(now + 10 * ZT_MS);
        pthread_mutex_lock(&x->lock);
        over |= x->failed;
        for (int i = 0; i < x->n; i++)
            all &= x->one[i].packets || x->one[i].clip;
        pthread_mutex_unlock(&x->lock);
        for (int i = 0; i < x->n; i++)
            over |= zt_session_done(x->one[i].session);
        zt_metrics m;
        zt_engine_metrics(x->b->setup.engine, &m);
        if (all && until == INT64_MAX) {
            until = now + x->b->seconds * ZT_S;
            x->began = now;
            x->before = m;
        }
        prompts(x, now, &next_prompt);
        if (x->b->probe)
            zt_bench_probe_missed(&x->probe, now, missed(&m));
        if (over)
            break;
    }
    x->ended = zt_now();
}

static void print_stages(bench *x)
{
    const char *sep = "";
    for (int i = ZT_DENOISE_STAGE; i < ZT_STAGES; i++) {
        printf("%s\"%s\": {\"p50\": %.3f, \"p99\": %.3f}", sep, zt_stage_name[i],
               (double)zt_samples_quantile(&x->stage[i], 0.5) / 1e6,
               (double)zt_samples_quantile(&x->stage[i], 0.99) / 1e6);
        sep = ", ";
    }
}

static void print_outcomes(const zt_metrics *m)
{
    printf("\"outcomes\": {");
    for (int i = 0; i < ZT_OUTCOMES; i++)
        printf("%s\"%s\": %llu", i ? ", " : "", zt_outcome_name[i], (unsigned long long)m->outcome[i]);
    printf("}");
}

static void print_changes(const zt_metrics *m)
{
    printf("\"changes\": {");
    for (int i = 0; i < ZT_CHANGES; i++)
        printf("%s\"%s\": %llu", i ? ", " : "", zt_change_name[i], (unsigned long long)m->changes[i]);
    printf("}");
}

static double rate(const one *o)
{
    return o->packets > 1 ? (double)(o->packets - 1) / ((double)(o->last - o->first) / (double)ZT_S) : 0;
}

static void print_sessions(bench *x)
{
    printf(",\n \"refused\": %d, \"sessions\": [", x->refused);
    for (int i = 0; i < x->n; i++) {
        zt_metrics m;
        zt_session_metrics(x->one[i].session, &m);
        printf("%s\n  {\"id\": %d, \"clip\": %s, \"frames\": %lld, \"fps\": %.3f, ", i ? "," : "", i,
               x->one[i].clip ? "true" : "false", (long long)x->one[i].packets, rate(&x->one[i]));
        print_outcomes(&m);
        printf(", ");
        print_changes(&m);
        printf("}");
    }
    printf("]");
}

static void print_engine(bench *x)
{
    zt_metrics m;
    zt_engine_metrics(x->b->setup.engine, &m);
    const double wall = (double)ZT_MAX(x->ended - x->began, 1);
    printf(",\n \"engine\": {");
    for (int i = 0; i < ZT_BUSY; i++)
        printf("\"%s\": %.4f, ", zt_busy_name[i], (double)(m.busy[i] - x->before.busy[i]) / wall);
    printf("\"cost_error\": %.4f, \"cost_over_p99\": %.4f, \"slice_wait_ms\": {\"count\": %llu, \"p50\": %.3f, \"p99\": %.3f}, "
           "\"prompt_to_frame_ms\": {\"count\": %llu, \"p50\": %.1f, \"p99\": %.1f}}",
           m.cost_predicted ? (double)m.cost_error / (double)m.cost_predicted : 0,
           m.cost_passes ? (double)m.cost_over / (double)m.cost_passes : 0, (unsigned long long)m.slice_wait.count,
           (double)zt_histogram_quantile(&m.slice_wait, 0.5) / 1e6, (double)zt_histogram_quantile(&m.slice_wait, 0.99) / 1e6,
           (unsigned long long)m.prompt_to_frame.count, (double)zt_histogram_quantile(&m.prompt_to_frame, 0.5) / 1e6,
           (double)zt_histogram_quantile(&m.prompt_to_frame, 0.99) / 1e6);
}

// Outcomes of live sessions together.
static void live_metrics(bench *x, zt_metrics *all)
{
    *all = (zt_metrics){ 0 };
    for (int i = 0; i < x->n; i++) {
        zt_metrics m;
        zt_session_metrics(x->one[i].session, &m);
        if (!x->one[i].clip)
            zt_metrics_merge(all, &m);
    }
}

// Of passes at the machine's peaks, `steps` and the commit, in ms; of frames per second when everything else takes what it
// took, the encoder's work spread over all threads. Those of the device do nothing any more. 0: unknown.
static double limit(bench *x, double *fps)
{
    const zt_device *own = x->b->setup.device;
    zt_device *d = NULL;
    const int passes = (int)x->b->steps + 1;
    *fps = 0;
    if (own->backend || zt_device_open(&d, &(zt_device_params){ .device = "cpu", .level = own->level, .threads = own->threads }) < 0)
        return 0;
    const double ns = zt_bench_pass_limit(d, zt_model_get_info(x->b->setup.model)) * passes;
    double rest = (double)zt_samples_quantile(&x->stage[ZT_ENCODE], 0.5) / own->threads;
    for (int i = ZT_DECODE; i < ZT_ENCODE; i++)
        rest += (double)zt_samples_quantile(&x->stage[i], 0.5);
    zt_device_close(&d);
    if (ns > 0)
        *fps = (double)ZT_S / (ns + rest);
    return ns / 1e6;
}

static void print_json(bench *x, double fps, int64_t frames, double first_ms, double rss)
{
    zt_metrics m;
    const zt_device *d = x->b->setup.device;
    live_metrics(x, &m);
    printf("{\"device\": \"cpu\", \"level\": \"%s\", \"threads\": %d, \"precision\": \"%s\", \"steps\": %d, "
           "\"fps\": %.3f, \"frames\": %lld, \"first_frame_ms\": %.1f, \"rss_mb\": %.1f,\n \"stages_ms\": {",
           d->level, d->threads, zt_precision_names[zt_model_get_info(x->b->setup.model)->precision],
           (int)x->b->steps, fps, (long long)frames, first_ms, rss);
    print_stages(x);
    printf("},\n \"latency_ms\": {\"p50\": %.3f, \"p99\": %.3f, \"max\": %.3f}, ",
           (double)zt_samples_quantile(&x->latency, 0.5) / 1e6, (double)zt_samples_quantile(&x->latency, 0.99) / 1e6,
           (double)zt_samples_quantile(&x->latency, 1) / 1e6);
    print_outcomes(&m);
    double fps_limit, denoise_limit = limit(x, &fps_limit);
    printf(",\n \"limit\": {\"denoise_ms\": %.3f, \"fps\": %.2f}", denoise_limit, fps_limit);
    print_engine(x);
    if (x->n > 1 || x->refused)
        print_sessions(x);
    if (x->b->probe)
        zt_bench_probe_print(&x->probe, x->began);
    printf("}\n");
}

static void print_text(bench *x, double fps, double first_ms, double rss)
{
    zt_metrics m;
    const zt_device *d = x->b->setup.device;
    live_metrics(x, &m);
    printf("%s, %d threads, %d steps: %.2f frames/s, first after %.0f ms, %.0f MB\n", d->level, d->threads,
           (int)x->b->steps, fps, first_ms, rss);
    for (int i = ZT_DENOISE_STAGE; i < ZT_STAGES; i++)
        printf("  %-8s p50 %7.2f ms  p99 %7.2f ms\n", zt_stage_name[i],
               (double)zt_samples_quantile(&x->stage[i], 0.5) / 1e6,
               (double)zt_samples_quantile(&x->stage[i], 0.99) / 1e6);
    printf("  %-8s p50 %7.2f ms  p99 %7.2f ms  max %.2f ms\n ", "latency",
           (double)zt_samples_quantile(&x->latency, 0.5) / 1e6, (double)zt_samples_quantile(&x->latency, 0.99) / 1e6,
           (double)zt_samples_quantile(&x->latency, 1) / 1e6);
    for (int i = 0; i < ZT_OUTCOMES; i++)
        printf(" %s %llu", zt_outcome_name[i], (unsigned long long)m.outcome[i]);
    printf("\n");
    if (x->refused)
        printf("  %d of %d sessions refused: %s\n", x->refused, x->n + x->refused, x->why.text);
}

static void print(bench *x)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double fps = 0;
    int64_t frames = 0, first = INT64_MAX;
    for (int i = 0; i < x->n; i++) {
        fps += x->one[i].clip ? 0 : rate(&x->one[i]);
        frames += x->one[i].clip ? 0 : x->one[i].packets;
        first = ZT_MIN(first, x->one[i].packets ? x->one[i].first : first);
    }
    const double first_ms = (double)(first - x->b->started) / 1e6, rss = (double)usage.ru_maxrss / 1024;
    if (x->b->json)
        print_json(x, fps, frames, first_ms, rss);
    else
        print_text(x, fps, first_ms, rss);
}

// ---- life

static int open_stream(bench *x, one *o)
{
    const zt_model_info *info = zt_model_get_info(o->clip && x->clip_model ? x->clip_model : x->b->setup.model);
    const zt_stream_params p = {
        .url = "null:",
        .w = info->w,
        .h = info->h,
        .out_w = x->b->size.a ? x->b->size.a : 2 * info->w,
        .out_h = x->b->size.b ? x->b->size.b : 2 * info->h,
        .fps = x->b->fps ? (int)x->b->fps : info->fps,
        .codec = "h264",
        .bitrate = x->b->bitrate,
        .live = true,
        .realtime = x->b->setup.device->realtime,
        .on_packet = on_packet,
        .on_failed = on_failed,
        .cookie = o,
    };
    return zt_stream_open(&o->stream, &p);
}

// Paced, the scheduler may take fewer steps; unpaced, every frame has them all.
static int open_session(bench *x, one *o)
{
    const bool guarded = x->b->admission && !o->clip;
    const zt_session_params p = {
        .model = o->clip ? x->clip_model : NULL,
        .prompt = o->clip ? NULL : x->b->prompt,
        .fps = (int)x->b->fps,
        .steps_max = (int)x->b->steps,
        .steps_min = ZT_MAX((int)x->b->steps_min, 1),
        .seed = x->b->seed + (uint64_t)(o - x->one),
        .budget = x->b->budget_ms * ZT_MS,
        .unpaced = !x->b->fps && !o->clip,
        .offline = o->clip,
        .keep_rate = x->b->keep_rate,
        .refused = guarded ? &x->why : NULL,
        .log = x->b->log && !(o - x->one) ? x->b->log : NULL,
        .on_frame = on_frame,
        .on_stage = on_stage,
        .cookie = o,
    };
    return zt_session_create(&o->session, x->b->setup.engine, &p);
}

static int open_one(bench *x, bool clip)
{
    one *o = &x->one[x->n];
    *o = (one){ .x = x, .clip = clip };
    int err = open_stream(x, o);
    if (!err)
        err = open_session(x, o);
    if (!err) {
        x->n++;
        return 0;
    }
    zt_stream_close(&o->stream);
    if (err != -EBUSY)
        return err;
    x->refused++;
    return 0;
}

// Learns what passes cost before admission is asked: a session a second in the beginning.
static void settle(bench *x)
{
    if (x->b->admission && x->n)
        zt_sleep_until(zt_now() + (x->n == 1 ? 2 * ZT_S : ZT_S / 2));
}

static int run(bench *x)
{
    int err = 0;
    if (x->b->clip_path) {
        err = zt_model_open(&x->clip_model, x->b->setup.device, x->b->clip_path, ZT_PRECISION_DEFAULT);
        if (!err)
            err = zt_engine_add_model(x->b->setup.engine, x->clip_model);
    }
    for (int i = 0; i < x->b->sessions && !err; i++) {
        err = open_one(x, false);
        settle(x);
    }
    for (int i = 0; i < x->b->clips && !err; i++)
        err = open_one(x, true);
    if (err || !x->n)
        return err ? err : -EBUSY;
    let_run(x);
    int64_t packets = 0;
    for (int i = 0; i < x->n; i++)
        zt_session_stop(x->one[i].session);
    for (int i = 0; i < x->n; i++) {
        const int ended = zt_session_wait(x->one[i].session);
        err = err ? err : ended;
    }
    for (int i = 0; i < x->n; i++) {
        const int finished = zt_stream_finish(x->one[i].stream);
        err = err ? err : finished;
        packets += x->one[i].packets;
    }
    if (!err && !packets)
        err = -EIO;
    if (!err)
        print(x);
    return err;
}

int zt_bench_stream(zt_bench *b)
{
    static bench x;
    x = (bench){ .b = b, .lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER };
    const int code = zt_setup_open(&b->setup, true);
    if (code)
        return code;
    int err = 0;
    for (int i = 0; i < ZT_STAGES && !err; i++)
        err = zt_samples_create(&x.stage[i], ROOM);
    if (!err)
        err = zt_samples_create(&x.latency, ROOM);
    if (!err && b->probe)
        err = zt_bench_probe_start(&x.probe);
    if (!err)
        err = run(&x);
    for (int i = 0; i < x.n; i++) {
        zt_stream_close(&x.one[i].stream);
        zt_session_destroy(&x.one[i].session);
    }
    zt_bench_probe_stop(&x.probe);
    if (x.clip_model) {
        zt_engine_destroy(&b->setup.engine);
        zt_model_close(&x.clip_model);
    }
    for (int i = 0; i < ZT_STAGES; i++)
        zt_samples_finish(&x.stage[i]);
    zt_samples_finish(&x.latency);
    if (err == -EBUSY)
        zt_error("every session was refused: %s", x.why.text);
    return err == -ETIME || err == -EINVAL ? ZT_EXIT_USAGE : err ? ZT_EXIT_UNAVAILABLE : ZT_EXIT_OK;
}
