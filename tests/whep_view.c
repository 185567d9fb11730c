// SPDX-License-Identifier: Apache-2.0
// Many WHEP viewers against a zoetrope-serve that runs, counted: what each got, and what they cost the server.
// Usage: whep_view URL VIEWERS SECONDS          all at once; the first asks for statistics
//        whep_view URL VIEWERS SECONDS JOINS    so many join and leave at random, VIEWERS at a time
// One JSON object on stdout. Exit 0: each got 99 % of the pictures (or joins were answered and nothing is left over).
#include <cjson/cJSON.h>
#include <libsoup/soup.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tests/whep_client.h"

#define MOST 200

typedef struct view {
    whep_client *client;
    char         resource[256];
    int64_t      joined;
    gint         messages;
} view;

static SoupSession *http;
static const char  *base;
static const char   encodes[] = "zoetrope_stage_duration_seconds_count{stage=\"encode\"}";

// The reply's body, NULL unless the status is `wanted`. *location: of the reply, if it is asked for.
static char *ask(const char *method, const char *path, const char *type, const char *body, unsigned wanted,
                 char location[256])
{
    char url[512];
    snprintf(url, sizeof(url), "%s%s", base, *path == '/' ? path + 1 : path);
    SoupMessage *msg = soup_message_new(method, url);
    if (body) {
        GBytes *bytes = g_bytes_new(body, strlen(body));
        soup_message_set_request_body_from_bytes(msg, type, bytes);
        g_bytes_unref(bytes);
    }
    GBytes *reply = soup_session_send_and_read(http, msg, NULL, NULL);
    char *text = NULL;
    if (reply && soup_message_get_status(msg) == wanted)
        text = g_strndup(g_bytes_get_data(reply, NULL), g_bytes_get_size(reply));
    else
        fprintf(stderr, "%s %s: %u %.*s\n", method, path, soup_message_get_status(msg),
                reply ? (int)g_bytes_get_size(reply) : 0, reply ? (const char *)g_bytes_get_data(reply, NULL) : "");
    const char *at = soup_message_headers_get_one(soup_message_get_response_headers(msg), "Location");
    if (location)
        g_strlcpy(location, at ? at : "", 256);
    if (reply)
        g_bytes_unref(reply);
    g_object_unref(msg);
    return text;
}

static double metric(const char *name)
{
    char *text = ask("GET", "/metrics", NULL, NULL, 200, NULL);
    char *at = text ? strstr(text, name) : NULL;
    while (at && (at != text && at[-1] != '\n'))
        at = strstr(at + 1, name);
    const double v = at ? atof(strchr(at + strlen(name), ' ')) : -1;
    g_free(text);
    return v;
}

static void on_message(void *cookie, const char *text)
{
    (void)text;
    g_atomic_int_inc(&((view *)cookie)->messages);
}

static bool join(view *v, bool stats)
{
    const whep_client_params p = { .codec = "h264", .channel = stats, .message = on_message, .cookie = v };
    v->messages = 0;
    v->client = whep_client_create(&p);
    const char *offer = whep_client_offer(v->client);
    char *answer = offer ? ask("POST", "/whep/live", "application/sdp", offer, 201, v->resource) : NULL;
    if (answer)
        whep_client_answer(v->client, answer);
    v->joined = zt_now();
    g_free(answer);
    return answer != NULL;
}

static void leave(view *v, bool tell)
{
    if (v->client && tell && v->resource[0])
        g_free(ask("DELETE", v->resource, NULL, NULL, 200, NULL));
    whep_client_destroy(v->client);
    v->client = NULL;
}

static void settle(double seconds)
{
    zt_sleep_until(zt_now() + (int64_t)(seconds * ZT_S));
}

static int watch(int n, int seconds)
{
    static view v[MOST];
    const double rss = metric("process_resident_memory_bytes");
    int failed = 0, least = 1 << 30;
    for (int i = 0; i < n; i++)
        failed += !join(&v[i], i == 0);
    for (int i = 0; i < 1000 && !whep_client_send(v[0].client, "{\"stats\":true}"); i++)
        settle(.01);
    for (int i = 0; i < n; i++)         // everybody has a picture
        for (int k = 0; k < 1000 && !whep_client_pictures(v[i].client); k++)
            settle(.01);
    int before[MOST];
    const double cpu = metric("process_cpu_seconds_total"), made = metric(encodes);
    const int64_t began = zt_now();
    for (int i = 0; i < n; i++)
        before[i] = whep_client_pictures(v[i].client);
    settle(seconds);
    const double encoded = metric(encodes) - made;
    for (int i = 0; i < n; i++)
        least = MIN(least, whep_client_pictures(v[i].client) - before[i]);
    const double spent = metric("process_cpu_seconds_total") - cpu, took = (double)(zt_now() - began) / ZT_S;
    const double memory = metric("process_resident_memory_bytes");
    printf("{\"viewers\": %d, \"not_joined\": %d, \"seconds\": %.1f, \"encoded\": %.0f, \"least\": %d, \"messages\": %d, "
           "\"server_cpu\": %.3f, \"cpu_per_viewer\": %.4f, \"mb_per_viewer\": %.2f}\n",
           n, failed, took, encoded, least, v[0].messages, spent / took, spent / took / n, (memory - rss) / n / 1e6);
    for (int i = 0; i < n; i++)
        leave(&v[i], true);
    const double due = MIN(encoded, 24 * took);         // other sessions may be encoded beside this one
    return failed || encoded < 1 || least < 0.99 * due - 1 || encoded > 26 * took;
}

// A third says goodbye, a third just stops, a third never connects.
static int churn(int n, int seconds, int joins)
{
    static view v[MOST];
    GRand *random = g_rand_new_with_seed(1);
    int failed = 0, done = 0;
    for (; done < 2 * n; done++) {      // what is kept for good is there then
        leave(&v[done % n], true);
        failed += !join(&v[done % n], true);
    }
    settle(seconds);
    const double fds = metric("process_open_fds"), rss = metric("process_resident_memory_bytes");
    for (done = 0; done < joins; done++) {
        view *at = &v[g_rand_int_range(random, 0, n)];
        const int kind = g_rand_int_range(random, 0, 3);
        leave(at, kind > 0);
        failed += !join(at, g_rand_int_range(random, 0, 2) == 1);
        settle(g_rand_double_range(random, 0, .03));
        if (done % 500 == 499)
            fprintf(stderr, "%d: %.0f fds, %.1f MB\n", done + 1, metric("process_open_fds"),
                    metric("process_resident_memory_bytes") / 1e6);
    }
    for (int i = 0; i < n; i++)
        leave(&v[i], true);
    settle(seconds);
    const double fds_after = metric("process_open_fds"), rss_after = metric("process_resident_memory_bytes");
    printf("{\"joins\": %d, \"failed\": %d, \"fds\": %.0f, \"fds_after\": %.0f, \"bytes_per_join\": %.0f}\n", joins, failed,
           fds, fds_after, (rss_after - rss) / joins);
    g_rand_free(random);
    return failed > joins / 200 || fds_after > fds || rss_after - rss > 4096.0 * joins;
}

int main(int argc, char **argv)
{
    if (argc < 4 || atoi(argv[2]) < 1 || atoi(argv[2]) > MOST)
        return 64;
    base = argv[1];
    http = soup_session_new_with_options("timeout", 30, "proxy-resolver", NULL, NULL);
    return argc > 4 ? churn(atoi(argv[2]), atoi(argv[3]), atoi(argv[4])) : watch(atoi(argv[2]), atoi(argv[3]));
}
