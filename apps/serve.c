// SPDX-License-Identifier: Apache-2.0
// zoetrope-serve: one live session for everyone who watches, made when the first one comes.
#include <cjson/cJSON.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "apps/exits.h"
#include "apps/metrics_text.h"
#include "apps/options.h"
#include "apps/servers.h"
#include "apps/setup.h"
#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "stream/stream.h"

#define LOOK_AFTER (20 * ZT_MS)         // a first viewer waits for so long at most
#define LINGER     (30 * ZT_S)          // the session lives on after its last viewer
#define STALE      (5 * ZT_S)           // a session without a packet for so long is not ready

typedef struct address {
    char host[64];
    int  port;
} address;

typedef struct serve {
    zt_common       common;
    zt_setup        setup;
    const char     *prompt, *listen, *rtsp_listen;
    int64_t         fps, budget_ms, bitrate;
    uint64_t        seed;
    zt_range        size, steps;

    zt_rtsp_server *rtsp;
    zt_stream      *stream;
    zt_http        *http;
    int             stream_fps;
    int64_t         watched;            // ns, when there was last a viewer
    bool            reported;           // what the prompt did not say
    uint64_t        next;               // slot of the stream after the last pushed; the engine's thread, then ours

    pthread_mutex_t lock;               // over what follows; the engine's thread only reads the first two while it runs
    zt_session     *session;
    uint64_t        first;              // slot of the stream that is the session's slot 0
    zt_histogram    encode;

    _Atomic int64_t last_packet;        // ns; 0 while there is no session
    atomic_bool     stream_failed;
} serve;

// The stream outlives sessions: its slots and times go on where the session before ended.
static void on_frame(void *cookie, zt_frame *f)
{
    serve *s = cookie;
    f->index += s->first;
    f->pts += (int64_t)s->first * ZT_S / s->stream_fps;
    s->next = f->index + 1;
    const int err = zt_stream_push(s->stream, f, 0);
    if (err == 0 || err == -EAGAIN)     // skipped: the engine counts it as dropped when the next is delivered
        return;
    atomic_store(&s->stream_failed, true);
    zt_session_stop(s->session);
}

static void on_packet(void *cookie, const zt_packet *p, int64_t now, int64_t encode_ns)
{
    serve *s = cookie;
    pthread_mutex_lock(&s->lock);
    if (s->session && p->index >= s->first) {
        zt_session_delivered(s->session, p->index - s->first, now);
        atomic_store(&s->last_packet, now);
    }
    zt_histogram_add(&s->encode, encode_ns);
    pthread_mutex_unlock(&s->lock);
}

// ---- HTTP

static bool is_ready(void *cookie)
{
    serve *s = cookie;
    const int64_t last = atomic_load(&s->last_packet);
    return !last || zt_now() - last < STALE;
}

static char *print_metrics(void *cookie, size_t *bytes)
{
    serve *s = cookie;
    char backend[64];
    snprintf(backend, sizeof(backend), "cpu %s", s->setup.device->level);
    zt_metrics_text t = { .viewers = s->stream ? zt_stream_viewers(s->stream) : 0, .backend = backend };
    zt_engine_metrics(s->setup.engine, &t.metrics);
    pthread_mutex_lock(&s->lock);
    t.metrics.stage[ZT_ENCODE] = s->encode;
    pthread_mutex_unlock(&s->lock);
    return zt_metrics_print(&t, bytes);
}

static char *print_model(void *cookie, size_t *bytes)
{
    const serve *s = cookie;
    const zt_model_info *info = zt_model_get_info(s->setup.model);
    static const char *const groups[] = { "place", "time", "weather" };
    char size[32];
    snprintf(size, sizeof(size), "%dx%d", info->w, info->h);
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "name", info->name);
    cJSON_AddStringToObject(root, "size", size);
    cJSON_AddNumberToObject(root, "fps", info->fps);
    cJSON *words = cJSON_AddObjectToObject(root, "words");
    for (size_t i = 0; i < ZT_LEN(groups); i++) {
        cJSON *group = cJSON_AddArrayToObject(words, groups[i]);
        const char *word;
        for (int n = 0; (word = zt_model_word(s->setup.model, groups[i], n)); n++)
            cJSON_AddItemToArray(group, cJSON_CreateString(word));
    }
    cJSON *controls = cJSON_AddArrayToObject(root, "controls");
    for (int i = 0; i < info->n_controls; i++)
        cJSON_AddItemToArray(controls, cJSON_CreateString(info->control[i]));
    char *text = cJSON_PrintUnformatted(root);
    cJSON_Delete(root);
    *bytes = text ? strlen(text) : 0;
    return text;
}

// ---- command line

// HOST:PORT or [HOST]:PORT.
static bool split_address(const char *text, address *out)
{
    const char *colon = strrchr(text, ':');
    const size_t n = colon ? (size_t)(colon - text) : 0;
    char *end;
    if (!n || n >= sizeof(out->host) || colon[1] < '0' || colon[1] > '9')
        return false;
    const long port = strtol(colon + 1, &end, 10);
    if (*end || port < 0 || port > 65535)
        return false;
    const bool brackets = text[0] == '[' && text[n - 1] == ']' && n > 2;
    if (!brackets && memchr(text, ':', n))
        return false;
    snprintf(out->host, sizeof(out->host), "%.*s", (int)(brackets ? n - 2 : n), text + brackets);
    out->port = (int)port;
    return true;
}

static bool is_loopback(const char *host)
{
    if (!strcmp(host, "localhost") || !strcmp(host, "::1"))
        return true;
    return !strncmp(host, "127.", 4) && strspn(host, "0123456789.") == strlen(host);
}

// 0 with port -1: off.
static int read_address(const zt_program *p, const char *option, const char *text, address *out)
{
    *out = (address){ .port = -1 };
    if (!strcmp(text, "off"))
        return -1;
    if (!split_address(text, out))
        return zt_options_misuse(p, "--%s: \"%.60s\" is not HOST:PORT or off", option, text);
    if (!is_loopback(out->host))
        return zt_options_misuse(p,
                                 "--%s: %s can be reached by others, and tokens are not in this version: use 127.0.0.1",
                                 option, out->host);
    return -1;
}

static int parse(serve *s, int argc, char **argv, address *http, address *rtsp)
{
    const zt_option option[] = {
        { "model", 'm', ZT_OPTION_STRING, &s->setup.path, "DIR", "model directory (the shipped model)" },
        { "prompt", 'p', ZT_OPTION_STRING, &s->prompt, "TEXT", "what to show (the model's default)" },
        { "fps", 'r', ZT_OPTION_INT, &s->fps, "N", "frames per second (the model's own)", 1, 60 },
        { "size", 0, ZT_OPTION_SIZE, &s->size, "WxH", "of the stream (twice the model's own)", 16, 8192 },
        { "steps", 0, ZT_OPTION_RANGE, &s->steps, "N|MIN-MAX", "denoising steps per frame: N at leisure, MIN under load (1 to the model's own)", 1, ZT_MAX_STEPS },
        { "seed", 0, ZT_OPTION_SEED, &s->seed, "N", "same seed, same frames (0)" },
        { "budget-ms", 0, ZT_OPTION_INT, &s->budget_ms, "N", "from reading the controls to the packet (two frames' time)", 1, 60000 },
        { "device", 0, ZT_OPTION_CHOICE, &s->setup.device_name, "D", "cpu, cuda or auto (auto)", 0, 0, zt_device_names },
        { "precision", 0, ZT_OPTION_CHOICE, &s->setup.precision_name, "P", "f32, bf16 or int8 (as the model is stored)", 0, 0, zt_precision_names },
        { "listen", 0, ZT_OPTION_STRING, &s->listen, "HOST:PORT", "HTTP, or off (127.0.0.1:8080)" },
        { "rtsp", 0, ZT_OPTION_STRING, &s->rtsp_listen, "HOST:PORT", "RTSP, or off (127.0.0.1:8554)" },
        { "bitrate", 0, ZT_OPTION_RATE, &s->bitrate, "R", "bits per second, such as 800k (2M)", 10000, 1000000000 },
        { 0 },
    };
    const zt_program program = { "zoetrope-serve", "Generates video while people watch it.", "[OPTIONS]", option, 0 };
    const char *none[1];
    int code = zt_options_parse(&program, argc, argv, &s->common, none);
    if (code >= 0)
        return code;
    s->setup.threads = s->common.threads;
    if (s->prompt && zt_prompt_check(s->prompt) < 0)
        return ZT_EXIT_USAGE;
    if (s->size.a % 2 || s->size.b % 2)
        return zt_options_misuse(&program, "--size: width and height must be even");
    code = read_address(&program, "listen", s->listen, http);
    if (code < 0)
        code = read_address(&program, "rtsp", s->rtsp_listen, rtsp);
    if (code < 0 && http->port < 0 && rtsp->port < 0)
        code = zt_options_misuse(&program, "nothing to serve: --listen and --rtsp are both off");
    return code;
}

// ---- life

static int open_rtsp(serve *s, const address *rtsp)
{
    if (rtsp->port < 0)
        return 0;
    return zt_rtsp_server_open(&s->rtsp, rtsp->host, rtsp->port) < 0 ? ZT_EXIT_UNAVAILABLE : 0;
}

// Last: its thread reads what the others have made.
static int open_http(serve *s, const address *http)
{
    if (http->port < 0)
        return 0;
    const zt_http_params p = { http->host, http->port, is_ready, print_metrics, print_model, s };
    return zt_servers_open_http(&s->http, &p) < 0 ? ZT_EXIT_UNAVAILABLE : 0;
}

static int open_stream(serve *s)
{
    const zt_model_info *info = zt_model_get_info(s->setup.model);
    s->stream_fps = s->fps ? (int)s->fps : info->fps;
    const zt_stream_params p = {
        .url = "rtsp:/live", .w = info->w, .h = info->h, .out_w = s->size.a ? s->size.a : 2 * info->w,
        .out_h = s->size.b ? s->size.b : 2 * info->h, .fps = s->stream_fps, .bitrate = s->bitrate, .live = true,
        .rtsp = s->rtsp, .on_packet = on_packet, .cookie = s,
    };
    return zt_exit_output(zt_stream_open(&s->stream, &p));
}

static int open_session(serve *s)
{
    const zt_session_params p = {
        .prompt = s->prompt, .fps = s->stream_fps, .steps_min = s->steps.a, .steps_max = s->steps.b,
        .budget = s->budget_ms * ZT_MS, .seed = s->seed, .on_frame = on_frame, .cookie = s,
    };
    atomic_store(&s->last_packet, zt_now());
    pthread_mutex_lock(&s->lock);       // packets of the session before may still come
    s->first = s->next;
    const int err = zt_session_create(&s->session, s->setup.engine, &p);
    pthread_mutex_unlock(&s->lock);
    if (err < 0)
        return err == -EINVAL ? ZT_EXIT_USAGE : ZT_EXIT_UNAVAILABLE;
    if (s->prompt && !s->reported)
        zt_setup_report_prompt(&s->setup, s->session);
    s->reported = true;
    return 0;
}

static void close_session(serve *s)
{
    zt_session *session = s->session;
    if (!session)
        return;
    zt_session_stop(session);
    zt_session_wait(session);           // no more frames
    pthread_mutex_lock(&s->lock);
    s->session = NULL;                  // no more packets are reported to it
    pthread_mutex_unlock(&s->lock);
    zt_session_destroy(&session);
    atomic_store(&s->last_packet, 0);
}

static void say_where(const serve *s, const address *http, const address *rtsp)
{
    char text[256] = "";
    size_t at = 0;
    if (s->rtsp)
        at += (size_t)snprintf(text, sizeof(text), "rtsp://%s:%d/live", rtsp->host, zt_rtsp_server_port(s->rtsp));
    if (s->http)
        snprintf(text + at, sizeof(text) - at, "%shttp://%s:%d/", at ? " " : "", http->host,
                 zt_servers_http_port(s->http));
    if (!s->common.quiet && !getenv("ZOETROPE_LOG") && !s->common.verbose)
        zt_log_level(ZT_LOG_INFO);
    zt_info("serving %s", text);
}

// Why a session ended that nobody ended.
static int session_failure(serve *s)
{
    const int err = zt_session_wait(s->session);
    if (err == -ETIME)
        return ZT_EXIT_USAGE;
    return err == -ENOMEM || atomic_load(&s->stream_failed) ? ZT_EXIT_UNAVAILABLE : ZT_EXIT_BUG;
}

// The session comes with the first viewer and goes some time after the last.
static int follow_viewers(serve *s)
{
    const int64_t now = zt_now();
    if (s->session && zt_session_done(s->session))
        return session_failure(s);
    if (zt_stream_viewers(s->stream) > 0)
        s->watched = now;
    if (!s->session)
        return s->watched == now ? open_session(s) : 0;
    if (now - s->watched > LINGER)
        close_session(s);
    return 0;
}

// Until a signal, or until something fails. Returns the exit code.
static int look_after(serve *s, const sigset_t *signals)
{
    const struct timespec wait = { 0, (long)LOOK_AFTER };
    for (;;) {
        if (sigtimedwait(signals, NULL, &wait) > 0)
            return ZT_EXIT_OK;
        const int code = s->stream ? follow_viewers(s) : 0;
        if (code)
            return code;
    }
}

int main(int argc, char **argv)
{
    static serve s = { .lock = PTHREAD_MUTEX_INITIALIZER, .listen = "127.0.0.1:8080", .rtsp_listen = "127.0.0.1:8554" };
    address http, rtsp;
    int code = parse(&s, argc, argv, &http, &rtsp);
    if (code >= 0)
        return code;

    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);     // before any thread: they are taken by sigtimedwait()
    signal(SIGPIPE, SIG_IGN);

    code = zt_setup_open(&s.setup, true);
    if (!code)
        code = open_rtsp(&s, &rtsp);
    if (!code && s.rtsp)
        code = open_stream(&s);
    if (!code)
        code = open_http(&s, &http);
    if (!code) {
        say_where(&s, &http, &rtsp);
        code = look_after(&s, &signals);
    }
    zt_servers_close_http(&s.http);
    close_session(&s);
    zt_stream_close(&s.stream);
    zt_rtsp_server_close(&s.rtsp);
    zt_setup_close(&s.setup);
    return code;
}
