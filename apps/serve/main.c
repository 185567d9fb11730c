// SPDX-License-Identifier: Apache-2.0
// zoetrope-serve: generated video for everyone who watches, over WebRTC, RTSP and HTTP.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "apps/exits.h"
#include "apps/serve/serve.h"
#include "apps/serve/servers.h"
#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "stream/whep.h"

#define ICE_SERVERS 8
#define LOOK_AFTER (20 * ZT_MS)         // a first viewer waits for so long at most

typedef struct address {
    char host[64];
    int  port;
} address;

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

// 0 with port -1: off.
static int read_address(const zt_serve *s, const zt_program *p, const char *option, const char *text, address *out)
{
    *out = (address){ .port = -1 };
    if (!strcmp(text, "off"))
        return -1;
    if (!split_address(text, out))
        return zt_options_misuse(p, "--%s: \"%.60s\" is not HOST:PORT or off", option, text);
    if (!zt_is_loopback(out->host) && !s->token_file)
        return zt_options_misuse(p, "--%s: %s can be reached by others: --token-file is needed", option, out->host);
    return -1;
}

static int read_ports(zt_serve *s, const zt_program *p)
{
    char more;
    if (!s->udp_ports)
        return -1;
    if (sscanf(s->udp_ports, "%d-%d%c", &s->udp_min, &s->udp_max, &more) != 2 || s->udp_min < 1024 ||
        s->udp_max > 65535 || s->udp_min > s->udp_max)
        return zt_options_misuse(p, "--udp-ports: \"%.40s\" is not A-B in 1024..65535", s->udp_ports);
    return -1;
}

// "stun:HOST:PORT" or "turn:USER:SECRET@HOST:PORT".
static bool is_ice_server(const char *url)
{
    if (!strncmp(url, "stun:", 5))
        return url[5] && !strchr(url, '@');
    const char *colon = strncmp(url, "turn:", 5) ? NULL : strchr(url + 5, ':'), *at = colon ? strrchr(colon, '@') : NULL;
    return at && colon > url + 5 && at > colon + 1 && at[1];
}

static int read_ice(const zt_serve *s, const zt_program *p)
{
    const char *at = s->ice_server ? s->ice_server : "";
    for (int n = 0; *(at += strspn(at, " ")); n++) {
        char url[256];
        const int bytes = (int)strcspn(at, " ");
        snprintf(url, sizeof(url), "%.*s", bytes, at);
        if (n == ICE_SERVERS || bytes >= (int)sizeof(url) || !is_ice_server(url))
            return zt_options_misuse(p, "--ice-server: %d at most of stun:HOST:PORT and turn:USER:SECRET@HOST:PORT",
                                     ICE_SERVERS);
        at += bytes;
    }
    return -1;
}

static int read_whip(zt_serve *s, const zt_program *p)
{
    if (s->whip && strncmp(s->whip, "http://", 7) && strncmp(s->whip, "https://", 8))
        return zt_options_misuse(p, "--whip: \"%.60s\" is not an http or https URL", s->whip);
    FILE *f = s->whip_token_file ? fopen(s->whip_token_file, "r") : NULL;
    if (s->whip_token_file && (!f || fscanf(f, "%255s", s->whip_token) != 1)) {
        zt_error("%s: %s", s->whip_token_file, f ? "no token in it" : strerror(errno));
        if (f)
            fclose(f);
        return ZT_EXIT_NO_INPUT;
    }
    if (f)
        fclose(f);
    return -1;
}

// What one option cannot know of another.
static int check(zt_serve *s, const zt_program *p, address *http, address *rtsp)
{
    if (s->prompt && zt_prompt_check(s->prompt) < 0)
        return ZT_EXIT_USAGE;
    if (s->size.a % 2 || s->size.b % 2)
        return zt_options_misuse(p, "--size: width and height must be even");
    if (!s->tls_cert != !s->tls_key)
        return zt_options_misuse(p, "--tls-cert and --tls-key belong together");
    if (s->token_file) {
        const int code = zt_access_load(&s->access, s->token_file);
        if (code)
            return code;
    }
    int code = read_address(s, p, "listen", s->listen, http);
    if (code < 0)
        code = read_address(s, p, "rtsp", s->rtsp_listen, rtsp);
    if (code < 0 && http->port < 0 && rtsp->port < 0)
        code = zt_options_misuse(p, "nothing to serve: --listen and --rtsp are both off");
    if (code < 0)
        code = read_ports(s, p);
    if (code < 0)
        code = read_ice(s, p);
    if (code < 0 && (s->whip || s->batch_dir) && http->port < 0)
        code = zt_options_misuse(p, "--%s needs --listen", s->whip ? "whip" : "batch-dir");
    return code < 0 ? read_whip(s, p) : code;
}

static int parse(zt_serve *s, int argc, char **argv, address *http, address *rtsp)
{
    const zt_option option[] = {
        { "model", 'm', ZT_OPTION_STRING, &s->setup.path, "DIR", "model directory (the shipped model)" },
        { "prompt", 'p', ZT_OPTION_STRING, &s->prompt, "TEXT", "what `live` shows (the model's default)" },
        { "fps", 'r', ZT_OPTION_INT, &s->fps, "N", "frames per second (the model's own)", 1, 60 },
        { "size", 0, ZT_OPTION_SIZE, &s->size, "WxH", "of the stream (twice the model's own)", 16, 8192 },
        { "steps", 0, ZT_OPTION_RANGE, &s->steps, "N|MIN-MAX",
          "denoising steps per frame: N at leisure, MIN under load (1 to the model's own)", 1, ZT_MAX_STEPS },
        { "seed", 0, ZT_OPTION_SEED, &s->seed, "N", "same seed, same frames (0)" },
        { "budget-ms", 0, ZT_OPTION_INT, &s->budget_ms, "N",
          "from reading the controls to the packet (two frames' time)", 1, 60000 },
        { "device", 0, ZT_OPTION_CHOICE, &s->setup.device_name, "D", "cpu, cuda or auto (auto)", 0, 0,
          zt_device_names },
        { "precision", 0, ZT_OPTION_CHOICE, &s->setup.precision_name, "P", "f32, bf16 or int8 (as the model is stored)",
          0, 0, zt_precision_names },
        { "kv", 0, ZT_OPTION_CHOICE, &s->setup.kv, "K", "keys and values: float, int8 or default (as the model says)", 0, 0,
          zt_kv_names },
        { "listen", 0, ZT_OPTION_STRING, &s->listen, "HOST:PORT", "HTTP and WebRTC, or off (127.0.0.1:8080)" },
        { "rtsp", 0, ZT_OPTION_STRING, &s->rtsp_listen, "HOST:PORT", "RTSP, or off (127.0.0.1:8554)" },
        { "token-file", 0, ZT_OPTION_STRING, &s->token_file, "FILE",
          "lines \"control TOKEN\", \"view TOKEN\": needed on every address but loopback" },
        { "tls-cert", 0, ZT_OPTION_STRING, &s->tls_cert, "FILE", "PEM: serve HTTPS" },
        { "tls-key", 0, ZT_OPTION_STRING, &s->tls_key, "FILE", "PEM: its key" },
        { "allow-origin", 0, ZT_OPTION_STRING, &s->allow_origin, "ORIGINS",
          "web pages of other servers that may ask, with blanks between" },
        { "public-address", 0, ZT_OPTION_STRING, &s->public_address, "IP", "what viewers see instead (behind a NAT)" },
        { "ice-server", 0, ZT_OPTION_STRING, &s->ice_server, "URLS",
          "stun:HOST:PORT, turn:USER:SECRET@HOST:PORT, with blanks between" },
        { "udp-ports", 0, ZT_OPTION_STRING, &s->udp_ports, "A-B", "ports of WebRTC (any)" },
        { "whip", 0, ZT_OPTION_STRING, &s->whip, "URL", "push `live` to a media server, and again when it fails" },
        { "whip-token-file", 0, ZT_OPTION_STRING, &s->whip_token_file, "FILE", "its token, in one line" },
        { "bitrate", 0, ZT_OPTION_RATE, &s->bitrate, "R", "bits per second, such as 800k (2M)", 10000, 1000000000 },
        { "max-sessions", 0, ZT_OPTION_INT, &s->max_sessions, "N", "that may be posted (8)", 0, ZT_SHOWS - 1 },
        { "max-viewers", 0, ZT_OPTION_INT, &s->max_viewers, "N", "over WebRTC, and of JPEG pictures (100)", 1, 1000 },
        { "no-admission", 0, ZT_OPTION_FLAG, &s->no_admission, NULL,
          "take sessions that cannot all be served on time" },
        { "batch-dir", 0, ZT_OPTION_STRING, &s->batch_dir, "DIR",
          "take clips over HTTP, rendered in what live sessions leave" },
        { "batch-quota", 0, ZT_OPTION_BYTES, &s->batch_quota, "BYTES", "for all of them, such as 500M (10G)",
          1000, INT64_C(1) << 60 },
        { "log-sessions", 0, ZT_OPTION_STRING, &s->log_folder, "DIR",
          "write each session down, for zoetrope-render --replay" },
        { "trace", 0, ZT_OPTION_STRING, &s->trace, "FILE",
          "what the engine did in the last ten seconds, after a burst of misses and on SIGUSR1 (none)" },
        { "test-pattern", 0, ZT_OPTION_FLAG, &s->test_pattern, NULL,
          "pictures without the model, with index, control and time burnt in" },
        { "marks", 0, ZT_OPTION_FLAG, &s->marks, NULL, "burn index, control and time into the model's pictures" },
        { "test-loss", 0, ZT_OPTION_INT, &s->loss_percent, "N", "throw N % of the WebRTC packets away (0)", 0, 50 },
        { 0 },
    };
    const zt_program program = { "zoetrope-serve", "Generates video while people watch it.", "[OPTIONS]", option, 0 };
    const char *none[1];
    const int code = zt_options_parse(&program, argc, argv, &s->common, none);
    if (code >= 0)
        return code;
    s->setup.threads = s->common.threads;
    s->access.public_address = s->public_address;
    s->access.origins = s->allow_origin;
    return check(s, &program, http, rtsp);
}

// ---- life

static int open_rtsp(zt_serve *s, const address *rtsp)
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
static void open_whep(zt_serve *s, zt_http *http, const address *listen)
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

static void say_where(const zt_serve *s, const zt_http *http, const address *listen, const address *rtsp)
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

// Until a signal, or until something fails. Returns the exit code.
static int look_after(zt_serve *s, const sigset_t *signals)
{
    const struct timespec wait = { 0, (long)LOOK_AFTER };
    uint64_t alarms = 0;
    int64_t told = 0;
    for (;;) {
        const int number = sigtimedwait(signals, NULL, &wait);
        if (number > 0 && number != SIGUSR1)
            return ZT_EXIT_OK;
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
static int open_all(zt_serve *s, zt_http **http, address *listen, const address *rtsp)
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

int main(int argc, char **argv)
{
    static zt_serve s = { .lock = PTHREAD_MUTEX_INITIALIZER, .listen = "127.0.0.1:8080",
                          .rtsp_listen = "127.0.0.1:8554", .max_sessions = 8, .max_viewers = 100,
                          .batch_quota = INT64_C(10000000000) };
    zt_http *http = NULL;
    address listen, rtsp;
    int code = parse(&s, argc, argv, &listen, &rtsp);
    if (code >= 0)
        return code;

    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);     // before any thread: they are taken by sigtimedwait()
    signal(SIGPIPE, SIG_IGN);

    s.studio = (zt_studio){ .setup = &s.setup, .bitrate = s.bitrate, .test_pattern = s.test_pattern,
                            .marks = s.marks, .log_folder = s.log_folder, .shown = zt_servers_shown,
                            .jpeg = zt_servers_jpeg, .cookie = &http };
    code = open_all(&s, &http, &listen, &rtsp);
    if (!code) {
        say_where(&s, http, &listen, &rtsp);
        code = look_after(&s, &signals);
    }
    zt_servers_http_stop(http);
    zt_clips_close(&s.clips);
    zt_serve_close(&s);
    zt_whep_server_close(&s.studio.whep);
    zt_servers_http_destroy(&http);
    zt_rtsp_server_close(&s.studio.rtsp);
    zt_setup_close(&s.setup);
    return code;
}
