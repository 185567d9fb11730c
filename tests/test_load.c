// SPDX-License-Identifier: Apache-2.0
// The engine under load from many threads, with streams that lead nowhere: for ThreadSanitizer, and for counts that add up.
//   test_load MODEL
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "engine/engine.h"
#include "stream/stream.h"

enum { LIVE = 4, CLIPS = 1, ALL = LIVE + CLIPS, SECONDS = 4 };

typedef struct one {
    zt_stream  *stream;
    zt_session *session;
    atomic_int  packets;
} one;

static one session[ALL];
static zt_engine *engine;
static atomic_int over, failed;

static void on_frame(void *cookie, zt_frame *f)
{
    one *o = cookie;
    zt_stream_push(o->stream, f, 0);
}

static void on_packet(void *cookie, const zt_packet *p, int64_t now, int64_t encode_ns)
{
    one *o = cookie;
    (void)encode_ns;
    zt_session_delivered(o->session, p->index, now);
    atomic_fetch_add(&o->packets, 1);
}

static int open_one(one *o, const zt_model_info *info, bool clip, const char *log)
{
    const zt_stream_params p = { .url = "null:raw", .w = info->w, .h = info->h, .fps = 30, .live = true,
                                 .on_packet = on_packet, .cookie = o };
    const int err = zt_stream_open(&o->stream, &p);
    return err ? err : zt_session_create(&o->session, engine, &(zt_session_params){
        .fps = 30, .steps_max = 3, .offline = clip, .log = log, .on_frame = on_frame, .cookie = o });
}

static void close_one(one *o)
{
    zt_session_stop(o->session);
    zt_session_wait(o->session);
    zt_stream_close(&o->stream);
    zt_session_destroy(&o->session);
}

static void *steer(void *cookie)
{
    (void)cookie;
    for (unsigned i = 0; !atomic_load(&over); i++) {
        zt_session *s = session[i % ALL].session;
        char ignored[64];
        zt_session_prompt(s, i % 2 ? "volcano at night" : "desert");
        zt_session_control(s, (int)(i % 4), (float)(i % 3) - 1);
        zt_session_ignored(s, ignored, sizeof(ignored));
        zt_sleep_until(zt_now() + 3 * ZT_MS);
    }
    return NULL;
}

static void *watch(void *cookie)
{
    (void)cookie;
    while (!atomic_load(&over)) {
        zt_metrics m;
        size_t bytes;
        zt_engine_metrics(engine, &m);
        free(zt_engine_trace(engine, &bytes));
        zt_engine_alarms(engine);
        zt_sleep_until(zt_now() + 20 * ZT_MS);
    }
    return NULL;
}

static void *come_and_go(void *cookie)
{
    const zt_model_info *info = cookie;
    for (int i = 0; !atomic_load(&over); i++) {
        one o = { 0 };
        if (open_one(&o, info, i % 2, NULL) < 0) {
            atomic_store(&failed, 1);
            return NULL;
        }
        zt_session_lease(o.session, zt_now() + 10 * ZT_S);
        zt_sleep_until(zt_now() + 30 * ZT_MS);
        close_one(&o);
        zt_refused why;
        zt_engine_admit(engine, &(zt_session_params){ .fps = 30 }, &why);
    }
    return NULL;
}

static int run(zt_model *m, const char *log)
{
    static void *(*const work[])(void *) = { steer, watch, come_and_go };
    pthread_t thread[ZT_LEN(work)];
    const zt_model_info *info = zt_model_get_info(m);
    for (int i = 0; i < ALL; i++)
        if (open_one(&session[i], info, i >= LIVE, i == 0 ? log : NULL) < 0)
            return -1;
    for (size_t i = 0; i < ZT_LEN(work); i++)
        pthread_create(&thread[i], NULL, work[i], (void *)info);
    zt_sleep_until(zt_now() + SECONDS * ZT_S);
    atomic_store(&over, 1);
    for (size_t i = 0; i < ZT_LEN(work); i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < ALL; i++) {
        if (i < LIVE && !atomic_load(&session[i].packets))       // clips get what is left, and that may be nothing
            atomic_store(&failed, 1);
        close_one(&session[i]);
    }
    return atomic_load(&failed) ? -1 : 0;
}

int main(int argc, char **argv)
{
    char log[64];
    zt_device *d = NULL;
    zt_model *m = NULL;
    snprintf(log, sizeof(log), "/tmp/zt-load-%d.jsonl", (int)getpid());
    zt_log_level(ZT_LOG_WARN);
    int err = argc == 2 ? zt_device_open(&d, &(zt_device_params){ .device = "cpu", .threads = 2 }) : -1;
    if (!err)
        err = zt_model_open(&m, d, argv[1], ZT_PRECISION_DEFAULT);
    if (!err)
        err = zt_engine_create(&engine, d, m);
    if (!err)
        err = run(m, log);
    zt_metrics all;
    if (!err) {
        zt_engine_metrics(engine, &all);
        for (int i = 0; i < ZT_OUTCOMES; i++)
            printf("%s %llu\n", zt_outcome_name[i], (unsigned long long)all.outcome[i]);
    }
    zt_engine_destroy(&engine);
    zt_model_close(&m);
    zt_device_close(&d);
    unlink(log);
    return err < 0;
}
