// SPDX-License-Identifier: Apache-2.0
// zoetrope-serve's parts with a guest's session: one show, `live`, on a thread of its own.
#include "apps/preview/sharing.h"

#include <arpa/inet.h>
#include <glib.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/serve/serve.h"
#include "apps/serve/servers.h"
#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "stream/whep.h"

#define LOOK_AFTER (50 * ZT_MS)
#define HTTP_PORT  8080         // or any, when that is taken
#define RTSP_PORT  8554

struct zt_sharing {
    zt_sharing_params p;
    GThread   *thread;
    atomic_bool stop;
    bool       closed;          // the main thread's: nothing is told any more
    zt_serve   serve;
    zt_guest   guest;
    zt_http   *http;
    zt_show   *show;            // a reference
    char       host[64], page[256], rtsp[256];
    char      *error;
    atomic_int viewers;
};

// ---- from the viewers' threads to the main one

typedef struct wish {
    zt_sharing *sharing;
    char       *prompt;         // or NULL: a control
    int         control;
    float       value;
} wish;

static gboolean on_wish(gpointer cookie)
{
    wish *w = cookie;
    zt_sharing *s = w->sharing;
    if (!s->closed && w->prompt)
        s->p.prompt(s->p.cookie, w->prompt);
    else if (!s->closed)
        s->p.control(s->p.cookie, w->control, w->value);
    g_free(w->prompt);
    g_free(w);
    return G_SOURCE_REMOVE;
}

static int on_prompt(void *cookie, const char *text)
{
    wish *w = g_new(wish, 1);
    *w = (wish){ cookie, g_strdup(text), 0, 0 };
    g_idle_add(on_wish, w);
    return 0;
}

static int on_control(void *cookie, int control, float value)
{
    wish *w = g_new(wish, 1);
    *w = (wish){ cookie, NULL, control, value };
    g_idle_add(on_wish, w);
    return 0;
}

static void on_metrics(void *cookie, zt_metrics *out)
{
    zt_sharing *s = cookie;
    zt_player_metrics(s->p.player, 0, out);
}

static gboolean on_ready(gpointer cookie)
{
    zt_sharing *s = cookie;
    if (!s->closed)
        s->p.ready(s->p.cookie, s->error, *s->page ? s->page : NULL, *s->rtsp ? s->rtsp : NULL);
    return G_SOURCE_REMOVE;
}

// ---- addresses

// The address that others on the local network see; loopback where there is none.
static void find_host(zt_sharing *s)
{
    struct ifaddrs *all = NULL;
    strcpy(s->host, "127.0.0.1");
    if (!s->p.network || getifaddrs(&all) < 0)
        return;
    for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
        if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || (i->ifa_flags & IFF_LOOPBACK) || !(i->ifa_flags & IFF_RUNNING))
            continue;
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)i->ifa_addr)->sin_addr, s->host, sizeof(s->host));
        break;
    }
    freeifaddrs(all);
}

// Whoever has the link may watch and steer. 128 random bits.
static const char *make_token(zt_serve *v)
{
    FILE *f = fopen("/dev/urandom", "re");
    unsigned char bit[16];
    const bool good = f && fread(bit, sizeof(bit), 1, f) == 1;
    if (f)
        fclose(f);
    if (!good)
        return NULL;
    for (size_t i = 0; i < sizeof(bit); i++)
        snprintf(v->access.token[0].text + 2 * i, 3, "%02x", bit[i]);
    v->access.token[0].may = ZT_MAY_CONTROL;
    v->access.tokens = 1;
    return v->access.token[0].text;
}

// ---- the thread

static int open_rtsp(zt_sharing *s, const char *token)
{
    zt_rtsp_server **rtsp = &s->serve.studio.rtsp;
    int err = zt_rtsp_server_open(rtsp, s->host, RTSP_PORT);
    if (err == -EADDRINUSE)
        err = zt_rtsp_server_open(rtsp, s->host, 0);
    if (err)
        return err;
    if (token)
        zt_rtsp_server_password(*rtsp, "zoetrope", token);
    snprintf(s->rtsp, sizeof(s->rtsp), "rtsp://%s%s%s%s:%d/live", token ? "zoetrope:" : "", token ? token : "", token ? "@" : "",
             s->host, zt_rtsp_server_port(*rtsp));
    return 0;
}

static int open_page(zt_sharing *s)
{
    int err = zt_servers_http_create(&s->http, &s->serve);
    if (err)
        return err;
    const zt_whep_params p = { .context = zt_servers_http_context(s->http), .local = s->host };
    if (zt_whep_server_open(&s->serve.studio.whep, &p) < 0)
        zt_warn("viewers get JPEG pictures instead of video");
    return 0;
}

static int listen_page(zt_sharing *s, const char *token)
{
    int err = zt_servers_http_listen(s->http, s->host, HTTP_PORT);
    if (err == -EADDRINUSE)
        err = zt_servers_http_listen(s->http, s->host, 0);
    if (!err)
        snprintf(s->page, sizeof(s->page), "http://%s:%d/%s%s", s->host, zt_servers_http_port(s->http), token ? "#token=" : "",
                 token ? token : "");
    return err;
}

static void on_frame(void *cookie, zt_frame *f)
{
    zt_sharing *s = cookie;
    zt_show_push(s->show, f);
}

// Either way will do; none is a failure.
static int open_all(zt_sharing *s)
{
    zt_serve *v = &s->serve;
    find_host(s);
    const char *token = zt_is_loopback(s->host) ? NULL : make_token(v);
    if (!token && !zt_is_loopback(s->host))
        return -EIO;
    v->access.host = s->host;
    v->rtsp_host = s->host;
    const int rtsp = open_rtsp(s, token), page = open_page(s);
    if (rtsp && page)
        return page;
    if (zt_serve_open_live(v))
        return -ENOSYS;
    const int err = page ? 0 : listen_page(s, token);
    if (err)
        return err;
    zt_info("sharing http://%s:%d/ rtsp://%s:%d/live", s->host, s->http ? zt_servers_http_port(s->http) : 0, s->host,
            v->studio.rtsp ? zt_rtsp_server_port(v->studio.rtsp) : 0);      // without the token
    s->show = zt_serve_find(v, "live");
    zt_player_tap(s->p.player, 1, on_frame, s);
    return 0;
}

static gpointer run(gpointer cookie)
{
    zt_sharing *s = cookie;
    zt_serve *v = &s->serve;
    if (open_all(s)) {
        s->error = zt_player_error();
        s->error = s->error ? s->error : strdup("nothing to share with was built in");
    }
    g_idle_add(on_ready, s);
    while (!atomic_load(&s->stop)) {
        if (!s->error) {
            zt_serve_look_after(v);
            atomic_store(&s->viewers, zt_serve_viewers(v));
        }
        zt_sleep_until(zt_now() + LOOK_AFTER);
    }
    zt_player_tap(s->p.player, 1, NULL, NULL);
    zt_servers_http_hang_up(s->http);
    zt_show_unref(&s->show);
    zt_serve_close(v);
    zt_servers_http_stop(s->http);
    zt_whep_server_close(&v->studio.whep);
    zt_servers_http_destroy(&s->http);
    zt_rtsp_server_close(&v->studio.rtsp);
    return NULL;
}

// ---- the main thread

zt_sharing *zt_sharing_open(const zt_sharing_params *p)
{
    zt_sharing *s = g_new0(zt_sharing, 1);
    const zt_model_info *info = zt_model_get_info(zt_player_model(p->player));
    zt_serve *v = &s->serve;
    s->p = *p;
    s->guest = (zt_guest){ on_prompt, on_control, on_metrics, s };
    v->setup = *zt_player_setup(p->player);
    v->fps = p->fps;
    v->size = (zt_range){ info->w * p->times, info->h * p->times };
    v->prompt = g_strdup(zt_player_get_prompt(p->player));
    v->max_viewers = 16;
    v->studio = (zt_studio){ .setup = &v->setup, .guest = &s->guest, .shown = zt_servers_shown, .jpeg = zt_servers_jpeg,
                             .cookie = &s->http };
    pthread_mutex_init(&v->lock, NULL);
    s->thread = g_thread_new("zt-sharing", run, s);
    return s;
}

int zt_sharing_viewers(zt_sharing *s)
{
    return atomic_load(&s->viewers);
}

static void wind_down(void *cookie)
{
    zt_sharing *s = cookie;
    g_thread_join(s->thread);
}

// After the wishes that were on their way, which are older idle sources.
static void gone(void *cookie)
{
    zt_sharing *s = cookie;
    pthread_mutex_destroy(&s->serve.lock);
    g_free((char *)s->serve.prompt);
    free(s->error);
    g_free(s);
}

void zt_sharing_close(zt_sharing **sharing)
{
    zt_sharing *s = *sharing;
    if (!s)
        return;
    *sharing = NULL;
    s->closed = true;
    atomic_store(&s->stop, true);
    zt_player_do(s->p.player, wind_down, gone, s);
}
