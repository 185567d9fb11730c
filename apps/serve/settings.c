// SPDX-License-Identifier: Apache-2.0
// What zoetrope-serve is told: its options, and what one of them cannot know of another.
#include "apps/serve/settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apps/exits.h"
#include "apps/paths.h"
#include "apps/serve/servers.h"
#include "base/base.h"
#include "base/log.h"

#define ICE_SERVERS 8
#define MAX_OPTIONS 48

// HOST:PORT or [HOST]:PORT.
static bool split_address(const char *text, zt_address *out)
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

// ---- options

static int list_video(zt_serve *s, zt_option *out)
{
    const zt_option o[] = {
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
    };
    memcpy(out, o, sizeof(o));
    return (int)ZT_LEN(o);
}

static int list_network(zt_serve *s, zt_option *out)
{
    const zt_option o[] = {
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
    };
    memcpy(out, o, sizeof(o));
    return (int)ZT_LEN(o);
}

static int list_work(zt_serve *s, zt_option *out)
{
    const zt_option o[] = {
        { "no-admission", 0, ZT_OPTION_FLAG, &s->no_admission, NULL,
          "take sessions that cannot all be served on time" },
        { "realtime", 0, ZT_OPTION_FLAG, &s->setup.realtime, NULL, "run before everything else, if allowed (SCHED_RR)" },
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
        { "check-config", 0, ZT_OPTION_FLAG, &s->check_config, NULL,
          "judge the options and the files they name, and end" },
    };
    memcpy(out, o, sizeof(o));
    return (int)ZT_LEN(o);
}

static void list(zt_serve *s, zt_option out[MAX_OPTIONS])
{
    int n = list_video(s, out);
    n += list_network(s, out + n);
    n += list_work(s, out + n);
    out[n] = (zt_option){ 0 };
}

// ---- together

// 0 with port -1: off.
static int read_address(const zt_serve *s, const zt_program *p, const char *option, const char *text, zt_address *out)
{
    *out = (zt_address){ .port = -1 };
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
static int check(zt_serve *s, const zt_program *p, zt_address *http, zt_address *rtsp)
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

// What a start would fail at later, the model's content but for.
static int check_files(const zt_serve *s)
{
    const char *const model = s->setup.path ? s->setup.path : zt_path_default_model();
    const struct { const char *path; int mode; int code; } files[] = {
        { model, R_OK, ZT_EXIT_NO_INPUT }, { s->log_folder, W_OK | X_OK, ZT_EXIT_NO_OUTPUT },
        { s->batch_dir && access(s->batch_dir, F_OK) == 0 ? s->batch_dir : NULL, W_OK | X_OK, ZT_EXIT_NO_OUTPUT },
    };
    for (size_t i = 0; i < ZT_LEN(files); i++) {
        if (!files[i].path || access(files[i].path, files[i].mode) == 0)
            continue;
        zt_error("%s: %s", files[i].path, strerror(errno));
        return files[i].code;
    }
    const int err = s->tls_cert ? zt_servers_check_tls(s->tls_cert, s->tls_key) : 0;
    return err == -EINVAL ? ZT_EXIT_DATA : err ? ZT_EXIT_UNAVAILABLE : 0;
}

int zt_settings_read(zt_serve *s, int argc, char **argv, zt_address *http, zt_address *rtsp)
{
    zt_option option[MAX_OPTIONS];
    s->listen = "127.0.0.1:8080";
    s->rtsp_listen = "127.0.0.1:8554";
    s->max_sessions = 8;
    s->max_viewers = 100;
    s->batch_quota = INT64_C(10000000000);
    list(s, option);
    const zt_program program = { "zoetrope-serve", "Generates video while people watch it.", "[OPTIONS]", option, 0 };
    const char *none[1];
    int code = zt_options_parse(&program, argc, argv, &s->common, none);
    if (code >= 0)
        return code;
    s->setup.threads = s->common.threads;
    s->setup.live = true;
    s->access.public_address = s->public_address;
    s->access.origins = s->allow_origin;
    code = check(s, &program, http, rtsp);
    if (code < 0 && s->check_config) {
        code = check_files(s);
        if (!code)
            printf("%s: good\n", s->common.config_path ? s->common.config_path : "the command line");
    }
    return code;
}

// ---- once more

static bool takes_effect(const char *name)
{
    static const char *const names[] = { "token-file", "tls-cert", "tls-key", "allow-origin", "max-sessions", "max-viewers",
                                         "batch-quota", "check-config" };
    for (size_t i = 0; i < ZT_LEN(names); i++)
        if (!strcmp(name, names[i]))
            return true;
    return false;
}

static bool same(const zt_option *a, const zt_option *b)
{
    const char *x, *y;
    switch (a->kind) {
    case ZT_OPTION_STRING:
        x = *(const char *const *)a->to;
        y = *(const char *const *)b->to;
        return x && y ? !strcmp(x, y) : x == y;
    case ZT_OPTION_FLAG:   return *(const bool *)a->to == *(const bool *)b->to;
    case ZT_OPTION_CHOICE: return *(const int *)a->to == *(const int *)b->to;
    case ZT_OPTION_SIZE:
    case ZT_OPTION_RANGE:  return !memcmp(a->to, b->to, sizeof(zt_range));
    default:               return !memcmp(a->to, b->to, sizeof(int64_t));       // also a seed
    }
}

static void name_the_rest(zt_serve *s, zt_serve *fresh)
{
    zt_option now[MAX_OPTIONS], then[MAX_OPTIONS];
    list(s, now);
    list(fresh, then);
    for (int i = 0; now[i].name; i++)
        if (!takes_effect(now[i].name) && !same(&now[i], &then[i]))
            zt_warn("reload: \"%s\" has changed: it takes a restart", now[i].name);
    if (s->common.threads != fresh->common.threads)
        zt_warn("reload: \"threads\" has changed: it takes a restart");
    if (!s->tls_cert != !fresh->tls_cert)
        zt_warn("reload: TLS begins or ends with a restart only");
}

void zt_settings_reload(zt_serve *s, zt_http *http, int argc, char **argv)
{
    zt_address listen, rtsp;
    zt_serve *fresh = zt_alloc(sizeof(*fresh));
    int err = !fresh ? -ENOMEM : zt_settings_read(fresh, argc, argv, &listen, &rtsp) >= 0 ? -EINVAL : 0;
    if (!err && s->access.tokens && !fresh->access.tokens) {
        zt_error("reload: a server that asks for tokens cannot do without before a restart");
        err = -EINVAL;
    }
    if (!err && http)
        err = zt_servers_http_reload(http, fresh);
    if (!err) {
        name_the_rest(s, fresh);
        zt_serve_limits(s, fresh);
        zt_info("reload: %d tokens, %d sessions and %d viewers at most", fresh->access.tokens, (int)fresh->max_sessions,
                (int)fresh->max_viewers);
    } else {
        zt_warn("reload: nothing is taken of it, what was in force stays");
    }
    if (fresh)
        zt_options_forget(&fresh->common);
    zt_free(fresh);
}
