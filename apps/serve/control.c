// SPDX-License-Identifier: Apache-2.0
// The data channel: prompts and controls in, what became of each frame out.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/serve/web.h"
#include "base/base.h"
#include "base/clock.h"

static void send(zt_web_viewer *v, cJSON *root)
{
    char *text = cJSON_PrintUnformatted(root);
    cJSON_Delete(root);
    if (text)
        zt_viewer_send(v->viewer, text);
    free(text);
}

static void send_line(zt_web_viewer *v, const char *key, const char *line)
{
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, key, line);
    send(v, root);
}

static gboolean has_ended(gpointer name, gpointer id, gpointer cookie)
{
    (void)id;
    zt_show *show = zt_serve_find(cookie, name);
    const bool ended = !show;
    zt_show_unref(&show);
    return ended;
}

void zt_web_steered(zt_http *h, zt_show *show, const zt_web_viewer *by)
{
    const char *name = zt_show_get_params(show)->id, *id = by ? by->id : "http";
    const char *last = g_hash_table_lookup(h->steerer, name);
    if (last && !strcmp(last, id))
        return;
    if (g_hash_table_size(h->steerer) >= ZT_SHOWS)
        g_hash_table_foreach_remove(h->steerer, has_ended, h->serve);
    g_hash_table_insert(h->steerer, g_strdup(name), g_strdup(id));
    GHashTableIter all;
    gpointer item;
    g_hash_table_iter_init(&all, h->viewer);
    while (g_hash_table_iter_next(&all, NULL, &item)) {
        zt_web_viewer *v = item;
        if (v->show == show && v->talks)
            send_line(v, "steer", v == by ? "you" : "other");
    }
}

static void apply(zt_web_viewer *v, const cJSON *root)
{
    char ignored[512];
    if (!v->may_control) {
        send_line(v, "error", "this token may only view");
        return;
    }
    const char *wrong = zt_web_apply(v->http, v->show, root, ignored, sizeof(ignored));
    if (wrong) {
        send_line(v, "error", wrong);
        return;
    }
    zt_web_steered(v->http, v->show, v);
    if (cJSON_GetObjectItemCaseSensitive(root, "prompt"))
        send_line(v, "ignored", ignored);
}

void zt_web_viewer_heard(zt_web_viewer *v, const char *text)
{
    v->talks = true;
    cJSON *root = cJSON_ParseWithOpts(text, NULL, 1);
    const cJSON *stats = cJSON_GetObjectItemCaseSensitive(root, "stats");
    if (!cJSON_IsObject(root)) {
        send_line(v, "error", "not a JSON object");
    } else if (stats) {
        if (!v->reports && cJSON_IsTrue(stats)) {
            v->reports = true;
            zt_show_reports(v->show, 1);
        }
    } else {
        apply(v, root);
    }
    cJSON_Delete(root);
}

// ---- frames

struct shown {
    zt_http *http;
    zt_show *show;
    zt_shown what;
};

static double ms(int64_t ns)
{
    return (double)ns / ZT_MS;
}

static gboolean tell(gpointer cookie)
{
    const struct shown *s = cookie;
    GHashTableIter all;
    gpointer item;
    g_hash_table_iter_init(&all, s->http->viewer);
    while (g_hash_table_iter_next(&all, NULL, &item)) {
        zt_web_viewer *v = item;
        uint32_t rtp;
        char text[256];
        if (v->show != s->show || !v->reports || !zt_viewer_rtp(v->viewer, s->what.index, &rtp))
            continue;
        snprintf(text, sizeof(text),
                 "{\"index\":%llu,\"rtp\":%u,\"t\":%.3f,\"seq\":%.0f,\"sampled\":%.3f,\"due\":%.3f,\"outcome\":\"%s\"}",
                 (unsigned long long)s->what.index, rtp, s->what.t, s->what.seq, ms(s->what.sampled), ms(s->what.due),
                 zt_outcome_name[s->what.outcome]);
        zt_viewer_send(v->viewer, text);
    }
    return G_SOURCE_REMOVE;
}

static void shown_free(gpointer cookie)
{
    struct shown *s = cookie;
    zt_show_unref(&s->show);
    g_free(s);
}

static void post(zt_http *h, GSourceFunc fn, gpointer cookie, GDestroyNotify free_it)
{
    GSource *source = g_idle_source_new();
    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    g_source_set_callback(source, fn, cookie, free_it);
    g_source_attach(source, h->context);
    g_source_unref(source);
}

void zt_http_shown(void *cookie, zt_show *show, const zt_shown *what)
{
    zt_http *h = *(zt_http **)cookie;
    struct shown *s = g_new(struct shown, 1);
    *s = (struct shown){ h, zt_show_ref(show), *what };
    post(h, tell, s, shown_free);
}

static gboolean tell_pictures(gpointer cookie)
{
    const struct shown *s = cookie;
    zt_web_pictures(s->http, s->show);
    return G_SOURCE_REMOVE;
}

void zt_http_jpeg(void *cookie, zt_show *show)
{
    zt_http *h = *(zt_http **)cookie;
    if (!h)
        return;
    struct shown *s = g_new0(struct shown, 1);
    s->http = h;
    s->show = zt_show_ref(show);
    post(h, tell_pictures, s, shown_free);
}
