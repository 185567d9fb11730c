// SPDX-License-Identifier: Apache-2.0
// HTTP through libsoup, on one thread with its own main context: who may ask for what, and who answers.
#include "apps/serve/http.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apps/serve/web.h"
#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"

#define BURST      30           // requests that change something, per address, loopback exempt
#define PER_MINUTE 120
#define STOPPED_S  5            // until another server may be asked

static const char policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

// ---- answers

void zt_web_header(SoupServerMessage *msg, const char *name, const char *value)
{
    soup_message_headers_replace(soup_server_message_get_response_headers(msg), name, value);
}

void zt_web_answer(SoupServerMessage *msg, unsigned status, const char *type, const char *text, size_t bytes)
{
    soup_server_message_set_status(msg, status, NULL);
    if (bytes)
        soup_server_message_set_response(msg, type, SOUP_MEMORY_COPY, text, bytes);
}

void zt_web_json(SoupServerMessage *msg, unsigned status, cJSON *root)
{
    char *text = cJSON_PrintUnformatted(root);
    cJSON_Delete(root);
    if (text)
        zt_web_answer(msg, status, "application/json", text, strlen(text));
    else
        soup_server_message_set_status(msg, 500, NULL);
    free(text);
}

void zt_web_error(SoupServerMessage *msg, unsigned status, const char *fmt, ...)
{
    char line[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "error", line);
    zt_web_json(msg, status, root);
}

void zt_web_busy(SoupServerMessage *msg, unsigned status, int retry_s, const char *reason)
{
    char text[16];
    snprintf(text, sizeof(text), "%d", retry_s);
    zt_web_header(msg, "Retry-After", text);
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "error", reason);
    cJSON_AddNumberToObject(root, "retry_after_s", retry_s);
    zt_web_json(msg, status, root);
}

bool zt_web_is_type(SoupServerMessage *msg, const char *type)
{
    const char *is = soup_message_headers_get_content_type(soup_server_message_get_request_headers(msg), NULL);
    return is && !g_ascii_strcasecmp(is, type);
}

// What reaches an IPv6 socket over IPv4 is named as IPv4. NULL: this is no address.
static const char *print_address(GSocketAddress *of, char text[64])
{
    if (!G_IS_INET_SOCKET_ADDRESS(of))
        return NULL;
    char *address = g_inet_address_to_string(g_inet_socket_address_get_address(G_INET_SOCKET_ADDRESS(of)));
    const bool mapped = g_str_has_prefix(address, "::ffff:") && strchr(address, '.');
    g_strlcpy(text, address + (mapped ? strlen("::ffff:") : 0), 64);
    g_free(address);
    return text;
}

const char *zt_web_address(SoupServerMessage *msg)
{
    static char text[64];
    const char *address = print_address(soup_server_message_get_remote_address(msg), text);
    return address ? address : "unknown";
}

cJSON *zt_web_body(SoupServerMessage *msg)
{
    if (!zt_web_is_type(msg, "application/json")) {
        zt_web_error(msg, 415, "Content-Type must be application/json");
        return NULL;
    }
    GBytes *body = soup_message_body_flatten(soup_server_message_get_request_body(msg));
    gsize bytes;
    const char *text = g_bytes_get_data(body, &bytes);
    char *copy = bytes && g_utf8_validate(text, (gssize)bytes, NULL) ? g_strndup(text, bytes) : NULL;
    cJSON *root = copy ? cJSON_ParseWithOpts(copy, NULL, 1) : NULL;
    g_free(copy);
    g_bytes_unref(body);
    if (cJSON_IsObject(root))
        return root;
    cJSON_Delete(root);
    zt_web_error(msg, 400, "the body is not a JSON object in UTF-8");
    return NULL;
}

void zt_web_id(char id[ZT_ID_BYTES])
{
    uint64_t bits[2] = { 0 };
    if (getentropy(bits, sizeof(bits)) < 0)     // needs no descriptor: there may be none left
        abort();                // ids that can be guessed are worse than none
    snprintf(id, ZT_ID_BYTES, "%016llx%016llx", (unsigned long long)bits[0], (unsigned long long)bits[1]);
}

// ---- routes

static void get_health(const zt_request *r)
{
    zt_serve *s = r->http->serve;
    const bool health = !strcmp(r->id, "healthz"), stopping = zt_serve_stopping(s);
    const bool ready = health || (!stopping && zt_serve_ready(s));
    const char *text = health ? "ok\n" : ready ? "ready\n" : stopping ? "stopping\n" : "not ready\n";
    if (!health)
        zt_serve_asked(s, stopping);
    zt_web_answer(r->msg, ready ? 200 : 503, "text/plain; charset=utf-8", text, strlen(text));
}

static void get_metrics(const zt_request *r)
{
    size_t bytes = 0;
    char *text = zt_serve_metrics(r->http->serve, &bytes);
    zt_web_answer(r->msg, text ? 200 : 500, "text/plain; version=0.0.4; charset=utf-8", text, bytes);
    free(text);
}

typedef void handler_fn(const zt_request *r);

// A path of one part, or "/part/" with an id behind, or with two.
static const struct route {
    const char  *first;
    int          parts;
    const char  *method;
    enum zt_may  may;
    handler_fn  *fn;
} routes[] = {
    { "",          1, "GET",    ZT_MAY_NOTHING, zt_web_get_page },
    { "style.css", 1, "GET",    ZT_MAY_NOTHING, zt_web_get_page },
    { "app.js",    1, "GET",    ZT_MAY_NOTHING, zt_web_get_page },
    { "page.js",   1, "GET",    ZT_MAY_NOTHING, zt_web_get_page },
    { "plots.js",  1, "GET",    ZT_MAY_NOTHING, zt_web_get_page },
    { "steer.js",  1, "GET",    ZT_MAY_NOTHING, zt_web_get_page },
    { "icon.svg",  1, "GET",    ZT_MAY_NOTHING, zt_web_get_page },
    { "healthz",   1, "GET",    ZT_MAY_NOTHING, get_health },
    { "readyz",    1, "GET",    ZT_MAY_NOTHING, get_health },
    { "metrics",   1, "GET",    ZT_MAY_VIEW,    get_metrics },
    { "model",     1, "GET",    ZT_MAY_VIEW,    zt_web_get_model },
    { "sessions",  1, "GET",    ZT_MAY_VIEW,    zt_web_sessions },
    { "sessions",  1, "POST",   ZT_MAY_CONTROL, zt_web_sessions },
    { "sessions",  2, "GET",    ZT_MAY_VIEW,    zt_web_session },
    { "sessions",  2, "PATCH",  ZT_MAY_CONTROL, zt_web_session },
    { "sessions",  2, "DELETE", ZT_MAY_CONTROL, zt_web_session },
    { "clips",     1, "GET",    ZT_MAY_VIEW,    zt_web_clips },
    { "clips",     1, "POST",   ZT_MAY_CONTROL, zt_web_clips },
    { "clips",     2, "GET",    ZT_MAY_VIEW,    zt_web_clip },
    { "clips",     2, "DELETE", ZT_MAY_CONTROL, zt_web_clip },
    { "clips",     3, "GET",    ZT_MAY_VIEW,    zt_web_clip_file },
    { "whep",      2, "POST",   ZT_MAY_VIEW,    zt_web_whep },
    { "whep",      3, "PATCH",  ZT_MAY_VIEW,    zt_web_whep_resource },
    { "whep",      3, "DELETE", ZT_MAY_VIEW,    zt_web_whep_resource },
    { "s",         2, "GET",    ZT_MAY_VIEW,    zt_web_picture },
};

// "/a/b/c" into its parts, in place. 0: there are more than three, or one has characters that no name of ours has.
static int split(char *path, char *part[3])
{
    int n = 0;
    part[0] = part[1] = part[2] = "";
    if (*path != '/')
        return 0;
    for (char *at = path; at; n++) {
        if (n == 3)
            return 0;
        *at++ = 0;
        part[n] = at;
        at = strchr(at, '/');
    }
    for (int i = 0; i < n; i++)
        for (const char *c = part[i]; *c && *c != '/'; c++)
            if (!g_ascii_isalnum(*c) && !strchr("._-", *c))
                return 0;
    return n;
}

static const struct route *find_route(char *const part[3], int n, const char *method, char allow[64])
{
    const struct route *found = NULL;
    allow[0] = 0;
    for (const struct route *r = routes; r < routes + ZT_LEN(routes); r++) {
        if (r->parts != n || strcmp(r->first, part[0]) || (n > 1 && !*part[n - 1]))
            continue;
        snprintf(allow + strlen(allow), 64 - strlen(allow), "%s%s", *allow ? ", " : "", r->method);
        if (!strcmp(r->method, method) || (!strcmp(method, "HEAD") && !strcmp(r->method, "GET")))
            found = r;
    }
    return found;
}

static void answer_options(SoupServerMessage *msg, const char *allow)
{
    zt_web_header(msg, "Access-Control-Allow-Methods", allow);
    zt_web_header(msg, "Access-Control-Allow-Headers", "Authorization, Content-Type, If-Match");
    zt_web_header(msg, "Access-Control-Max-Age", "600");
    if (strstr(allow, "POST"))
        zt_web_header(msg, "Accept-Post", "application/sdp");
    soup_server_message_set_status(msg, 204, NULL);
}

// False: it has been answered.
static bool check_origin(zt_http *h, SoupServerMessage *msg, const char *host)
{
    const char *origin = soup_message_headers_get_one(soup_server_message_get_request_headers(msg), "Origin");
    if (!origin)
        return true;
    if (!zt_access_origin(&h->serve->access, origin, host, h->certificate != NULL)) {
        zt_web_error(msg, 403, "pages of %.100s may not ask here (--allow-origin)", origin);
        return false;
    }
    zt_web_header(msg, "Access-Control-Allow-Origin", origin);
    zt_web_header(msg, "Access-Control-Expose-Headers", "Location, ETag, Link, Retry-After");
    zt_web_header(msg, "Vary", "Origin");
    return true;
}

static bool check_body(SoupServerMessage *msg)
{
    SoupMessageHeaders *headers = soup_server_message_get_request_headers(msg);
    if (soup_message_headers_get_encoding(headers) == SOUP_ENCODING_CHUNKED) {
        zt_web_error(msg, 411, "a body needs a Content-Length");
        return false;
    }
    if (soup_message_headers_get_content_length(headers) > ZT_BODY_BYTES) {
        zt_web_error(msg, 413, "a body has %d bytes at most", ZT_BODY_BYTES);
        return false;
    }
    return true;
}

static bool check_rate(zt_http *h, SoupServerMessage *msg, const char *method)
{
    const char *address = zt_web_address(msg);
    if (!strcmp(method, "GET") || !strcmp(method, "HEAD") || zt_is_loopback(address))
        return true;
    const int wait = zt_access_rate(&h->serve->access, address, zt_now(), BURST, PER_MINUTE);
    if (wait)
        zt_web_busy(msg, 429, wait, "too many requests from this address");
    return !wait;
}

static bool check_token(zt_http *h, SoupServerMessage *msg, enum zt_may needed, enum zt_may *may)
{
    *may = zt_access_token(&h->serve->access, soup_message_headers_get_one(
                                                  soup_server_message_get_request_headers(msg), "Authorization"));
    if (*may >= needed)
        return true;
    if (*may == ZT_MAY_NOTHING)
        zt_web_header(msg, "WWW-Authenticate", "Bearer");
    zt_web_error(msg, *may ? 403 : 401, *may ? "this token may only view" : "a token is needed");
    return false;
}

// What a server that stops does not begin. False: it has been answered.
static bool check_life(const zt_http *h, SoupServerMessage *msg, const struct route *r, const char *method)
{
    const bool speaks = r->fn == get_health || r->fn == get_metrics || r->fn == zt_web_get_page;
    if (speaks || !(h->ended || (zt_serve_stopping(h->serve) && !strcmp(method, "POST"))))
        return true;
    zt_web_busy(msg, 503, STOPPED_S, "the server is stopping");
    return false;
}

// Everything that can be said before the body is there. NULL: it has been answered.
static const struct route *admit(zt_http *h, SoupServerMessage *msg, char *path, char *part[3], enum zt_may *may)
{
    char allow[64], local[64];
    const char *method = soup_server_message_get_method(msg);
    const char *host = soup_message_headers_get_one(soup_server_message_get_request_headers(msg), "Host");
    *may = ZT_MAY_NOTHING;
    GSocketAddress *mine = soup_server_message_get_local_address(msg);
    if (!zt_access_host(&h->serve->access, host, print_address(mine, local))) {
        zt_web_error(msg, 421, "this host name is not served here");
        return NULL;
    }
    if (!check_origin(h, msg, host))
        return NULL;
    const int n = split(path, part);
    const struct route *r = find_route(part, n, method, allow);
    if (!*allow) {
        zt_web_error(msg, 404, "not found");
        return NULL;
    }
    if (!strcmp(method, "OPTIONS")) {
        answer_options(msg, allow);
        return NULL;
    }
    if (!r) {
        zt_web_header(msg, "Allow", allow);
        zt_web_error(msg, 405, "only %s here", allow);
        return NULL;
    }
    return check_rate(h, msg, method) && check_token(h, msg, r->may, may) && check_life(h, msg, r, method) && check_body(msg)
               ? r : NULL;
}

static void common_headers(SoupServerMessage *msg)
{
    zt_web_header(msg, "Cache-Control", "no-store");
    zt_web_header(msg, "X-Content-Type-Options", "nosniff");
    zt_web_header(msg, "Content-Security-Policy", policy);
    zt_web_header(msg, "Referrer-Policy", "no-referrer");
    zt_web_header(msg, "Connection", "close");      // libsoup 3.2 keeps a socket for ever whose peer has closed it
}

// What is refused is refused before its body is read, and what comes of it is thrown away.
static void on_headers(SoupServer *server, SoupServerMessage *msg, const char *path, GHashTable *query, gpointer cookie)
{
    (void)server, (void)query;
    char *part[3], *copy = g_strdup(path);
    enum zt_may may;
    common_headers(msg);
    if (!admit(cookie, msg, copy, part, &may))
        soup_message_body_set_accumulate(soup_server_message_get_request_body(msg), FALSE);
    g_free(copy);
}

static void on_request(SoupServer *server, SoupServerMessage *msg, const char *path, GHashTable *query, gpointer cookie)
{
    (void)server, (void)query;
    zt_http *h = cookie;
    char *part[3], *copy = g_strdup(path), allow[64];
    const char *method = soup_server_message_get_method(msg);
    zt_web_hold(msg);
    const int n = split(copy, part);
    const struct route *r = find_route(part, n, method, allow);
    zt_request request = { h, msg, method, n > 1 ? part[1] : part[0], part[2] };
    if (soup_server_message_get_status(msg) == 0 && r && check_token(h, msg, r->may, &request.may) &&
        check_life(h, msg, r, method))
        r->fn(&request);
    g_free(copy);
}

// ---- life

static gpointer run(gpointer cookie)
{
    zt_http *h = cookie;
    g_main_context_push_thread_default(h->context);
    g_main_loop_run(h->loop);
    g_main_context_pop_thread_default(h->context);
    return NULL;
}

// GLib's lines, and those of libraries that are made with it, in our format.
static GLogWriterOutput write_log(GLogLevelFlags level, const GLogField *fields, gsize n, gpointer cookie)
{
    const char *domain = "", *text = "";
    (void)cookie;
    for (gsize i = 0; i < n; i++) {
        if (fields[i].length < 0 && !strcmp(fields[i].key, "MESSAGE"))
            text = fields[i].value;
        else if (fields[i].length < 0 && !strcmp(fields[i].key, "GLIB_DOMAIN"))
            domain = fields[i].value;
    }
    zt_log(level & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL) ? ZT_LOG_ERROR
           : level & G_LOG_LEVEL_WARNING ? ZT_LOG_WARN : ZT_LOG_DEBUG, "%s%s%s", domain, *domain ? ": " : "", text);
    return G_LOG_WRITER_HANDLED;
}

int zt_http_create(zt_http **out, zt_serve *s)
{
    g_log_set_writer_func(write_log, NULL, NULL);       // once in a process
    zt_http *h = zt_alloc(sizeof(*h));
    if (!h)
        return -ENOMEM;
    h->serve = s;
    h->context = g_main_context_new();
    h->loop = g_main_loop_new(h->context, FALSE);
    h->viewer = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, zt_web_viewer_free);
    h->steerer = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    h->connections = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    h->watcher = g_ptr_array_new();
    h->server = soup_server_new("server-header", "zoetrope", NULL);
    soup_server_add_early_handler(h->server, NULL, on_headers, h, NULL);
    soup_server_add_handler(h->server, NULL, on_request, h, NULL);
    *out = h;
    return 0;
}

struct _GMainContext *zt_http_context(zt_http *h)
{
    return h->context;
}

int zt_http_listen(zt_http *h, const char *host, int port)
{
    g_main_context_push_thread_default(h->context);
    const int err = zt_web_listen(h, host, port);
    g_main_context_pop_thread_default(h->context);
    if (err < 0)
        return err;
    if (h->serve->whip && h->serve->studio.whep)
        zt_whip_open(&h->whip, h->serve, h->context, h->serve->whip,
                     *h->serve->whip_token ? h->serve->whip_token : NULL);
    h->thread = g_thread_new("zt-http", run, h);
    return 0;
}

void zt_http_destroy(zt_http **http)
{
    zt_http *h = *http;
    if (!h)
        return;
    g_main_context_push_thread_default(h->context);
    g_clear_object(&h->service);
    g_object_unref(h->server);
    while (g_main_context_iteration(h->context, FALSE))     // what was on its way: it holds references
        ;
    g_main_context_pop_thread_default(h->context);
    g_clear_object(&h->certificate);
    g_free(h->origins);
    g_hash_table_destroy(h->viewer);
    g_hash_table_destroy(h->steerer);
    g_hash_table_destroy(h->connections);
    g_ptr_array_free(h->watcher, TRUE);
    g_main_loop_unref(h->loop);
    g_main_context_unref(h->context);
    zt_free(h);
    *http = NULL;
}

int zt_http_port(const zt_http *h)
{
    return h->port;
}
