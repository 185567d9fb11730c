// SPDX-License-Identifier: Apache-2.0
// zoetrope-serve: generated video for everyone who watches, over WebRTC, RTSP and HTTP.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "apps/exits.h"
#include "apps/serve/notify.h"
#include "apps/serve/serve.h"
#include "apps/serve/servers.h"
#include "apps/serve/settings.h"
#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "stream/whep.h"

#define ICE_SERVERS 8
#define LOOK_AFTER (20 * ZT_MS)         // a first viewer waits for so long at most
#define LEAVE_NS   (4500 * ZT_MS)       // from a signal to the end, whatever is in work

static int open_rtsp(zt_serve *s, const zt_address *rtsp)
{
    if (rtsp->port < 0)
        return 0;
    if (zt_rtsp_server_open(&s->studio.rtsp, rtsp->host, rtsp->port) < 0)
        return ZT_EXIT_UNAVAILABLE;
    const char *token = zt_access_view_token(&s->access);
    if (token)
        zt_rtsp_server_password(s->studio.rtsp, "zoetrope", token);
    return 0;
}

// Where it is not there the page shows pictures instead.
static void open_whep(zt_serve *s, zt_http *http, const zt_address *listen)
{
    const char *url[ICE_SERVERS + 1] = { NULL };
    char *list = strdup(s->ice_server ? s->ice_server : ""), *rest = NULL;
    int n = 0;
    for (char *at = list ? strtok_r(list, " ", &rest) : NULL; at && n < ICE_SERVERS; at = strtok_r(NULL, " ", &rest))
        url[n++] = at;
    const zt_whep_params p = {
        .context = zt_servers_http_context(http),
        .local = zt_is_any(listen->host) ? NULL : strcmp(listen->host, "localhost") ? listen->host : "127.0.0.1",
        .public_address = s->public_address, .ice_server = n ? url : NULL, .udp_min = s->udp_min,
        .udp_max = s->udp_max, .loss_percent = (int)s->loss_percent,
    };
    if (zt_whep_server_open(&s->studio.whep, &p) < 0)
        zt_warn("viewers get JPEG pictures instead of video");
    free(list);
}

static void say_where(const zt_serve *s, const zt_http *http, const zt_address *listen, const zt_address *rtsp)
{
    char text[256] = "", host[ZT_URL_HOST];
    size_t at = 0;
    if (http)
        at += (size_t)snprintf(text, sizeof(text), "http%s://%s:%d/", s->tls_cert ? "s" : "",
                               zt_url_host(listen->host, host), zt_servers_http_port(http));
    if (s->studio.rtsp)
        snprintf(text + at, sizeof(text) - at, "%srtsp://%s:%d/live", at ? " " : "", zt_url_host(rtsp->host, host),
                 zt_rtsp_server_port(s->studio.rtsp));
    if (!s->common.quiet && !getenv("ZOETROPE_LOG") && !s->common.verbose)
        zt_log_level(ZT_LOG_INFO);
    zt_info("serving %s", text);
    if (zt_notify("READY=1") < 0)
        zt_warn("the service manager at $NOTIFY_SOCKET cannot be told");
}

// Chrome's format: chrome://tracing, Perfetto.
static void write_trace(const zt_serve *s)
{
    size_t bytes = 0;
    char *const text = zt_engine_trace(s->setup.engine, &bytes);
    FILE *const f = text ? fopen(s->trace, "we") : NULL;
    const bool written = f && fwrite(text, 1, bytes, f) == bytes;
    if (!f || fclose(f) || !written)
        zt_warn("%s: %s", s->trace, text ? strerror(errno) : "no memory");
    free(text);
}

// A viewer takes some descriptors, and what is usual is 1024.
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        zt_warn("only %llu descriptors: %s", (unsigned long long)limit.rlim_cur, strerror(errno));
}

// A pass of a large model takes longer than anybody waits. Session logs are on the disk up to it, clips go on with the
// next start.
static void *leave(void *cookie)
{
    (void)cookie;
    zt_sleep_until(zt_now() + LEAVE_NS);
    zt_warn("ended in the middle of a pass");
    _exit(ZT_EXIT_OK);
}

// After a signal.
static void stop(zt_serve *s, int number)
{
    pthread_t thread;
    zt_info("%s: stopping", number == SIGTERM ? "SIGTERM" : "SIGINT");
    zt_notify("STOPPING=1");
    if (pthread_create(&thread, NULL, leave, NULL) == 0)
        pthread_detach(thread);
    zt_serve_stop(s);
}

// Until a signal, or until something fails. Returns the exit code, or -1: SIGHUP.
static int look_after(zt_serve *s, const sigset_t *signals)
{
    const struct timespec wait = { 0, (long)LOOK_AFTER };
    uint64_t alarms = 0;
    int64_t told = 0;
    for (;;) {
        const int number = sigtimedwait(signals, NULL, &wait);
        if (number == SIGHUP)
            return -1;
        if (number > 0 && number != SIGUSR1) {
            stop(s, number);
            return ZT_EXIT_OK;
        }
        zt_notify_alive(zt_now(), zt_engine_beat(s->setup.engine));
        const uint64_t now = s->trace ? zt_engine_alarms(s->setup.engine) : 0;
        const bool burst = now > alarms && zt_now() - told > 10 * ZT_S;     // a trace covers so much
        if (s->trace && (burst || number == SIGUSR1)) {
            write_trace(s);
            told = zt_now();
            alarms = now;
        }
        const int code = zt_serve_look_after(s);
        if (code)
            return code;
    }
}

// Everything before the first viewer; HTTP listens last.
static int open_all(zt_serve *s, zt_http **http, zt_address *listen, const zt_address *rtsp)
{
    s->access.host = listen->host;
    s->rtsp_host = rtsp->host;
    int code = zt_setup_open(&s->setup, true);
    if (!code)
        code = open_rtsp(s, rtsp);
    if (!code && listen->port >= 0) {
        code = zt_servers_http_create(http, s) < 0 ? ZT_EXIT_UNAVAILABLE : 0;
        if (!code)
            open_whep(s, *http, listen);
    }
    if (!code)
        code = zt_serve_open_live(s);
    if (!code && s->batch_dir)
        code = zt_clips_open(&s->clips, &s->setup, s->batch_dir, s->batch_quota);
    if (!code && *http)
        code = zt_servers_http_listen(*http, listen->host, listen->port) < 0 ? ZT_EXIT_UNAVAILABLE : 0;
    return code;
}

// The terminal it was started from, where its end is the user's wish that this ends (not with nohup).
static bool has_terminal(void)
{
    struct sigaction hup;
    if (sigaction(SIGHUP, NULL, &hup) == 0 && hup.sa_handler == SIG_IGN)
        return false;
    const int fd = open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static void take_signals(sigset_t *signals)
{
    static const int taken[] = { SIGINT, SIGTERM, SIGHUP, SIGUSR1 };
    sigemptyset(signals);
    for (size_t i = 0; i < ZT_LEN(taken); i++)
        sigaddset(signals, taken[i]);
    pthread_sigmask(SIG_BLOCK, signals, NULL);      // before any thread: they are taken by sigtimedwait()
    signal(SIGPIPE, SIG_IGN);
}

int main(int argc, char **argv)
{
    static zt_serve s = { .lock = PTHREAD_MUTEX_INITIALIZER };
    zt_http *http = NULL;
    zt_address listen, rtsp;
    sigset_t signals;
    zt_whep_prepare(argv);
    int code = zt_settings_read(&s, argc, argv, &listen, &rtsp);
    if (code >= 0)
        return code;
    const bool terminal = has_terminal();
    take_signals(&signals);
    raise_descriptors();

    s.studio = (zt_studio){ .setup = &s.setup, .bitrate = s.bitrate, .test_pattern = s.test_pattern,
                            .marks = s.marks, .log_folder = s.log_folder, .shown = zt_servers_shown,
                            .jpeg = zt_servers_jpeg, .cookie = &http };
    code = open_all(&s, &http, &listen, &rtsp);
    if (!code) {
        say_where(&s, http, &listen, &rtsp);
        while ((code = look_after(&s, &signals)) < 0 && has_terminal() == terminal)
            zt_settings_reload(&s, http, argc, argv);
        code = code < 0 ? ZT_EXIT_OK : code;
    }
    zt_servers_http_hang_up(http);
    zt_serve_close(&s);
    zt_servers_http_stop(http);
    zt_whep_server_close(&s.studio.whep);
    zt_servers_http_destroy(&http);
    zt_rtsp_server_close(&s.studio.rtsp);
    zt_setup_close(&s.setup);
    return code;
}
