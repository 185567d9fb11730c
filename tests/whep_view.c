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
static int          waits;      // for a server that was busy
static const char   encodes[] = "zoetrope_stage_duration_seconds_count{stage=\"encode\"}";

static void settle(double seconds)
{
    zt_sleep_until(zt_now() + (int64_t)(seconds * ZT_S));
}

// The reply's body, NULL unless the status is `wanted`. *location: of the reply, if it is asked for. A server that is
// busy is asked again when it says, for a minute.
static char *ask(const char *method, const char *path, const char *type, const char *body, unsigned wanted,
                 char location[256])
{
    char url[512], *text = NULL;
    bool again = false;
    snprintf(url, sizeof(url), "%s%s", base, *path == '/' ? path + 1 : path);
    const int64_t until = zt_now() + 60 * ZT_S;
    do {
        SoupMessage *msg = soup_message_new(method, url);
        if (body) {
            GBytes *bytes = g_bytes_new(body, strlen(body));
            soup_message_set_request_body_from_bytes(msg, type, bytes);
            g_bytes_unref(bytes);
        }
        GBytes *reply = soup_session_send_and_read(http, msg, NULL, NULL);
        SoupMessageHeaders *headers = soup_message_get_response_headers(msg);
        const char *wait = soup_message_headers_get_one(headers, "Retry-After");
        const unsigned is = soup_message_get_status(msg);
        again = is == 503 && wait && zt_now() < until;
        if (again)
            waits++, settle(atof(wait));
        else if (reply && is == wanted)
            text = g_strndup(g_bytes_get_data(reply, NULL), g_bytes_get_size(reply));
        else
            fprintf(stderr, "%s %s: %u %.*s\n", method, path, is, reply ? (int)g_bytes_get_size(reply) : 0,
                    reply ? (const char *)g_bytes_get_data(reply, NULL) : "");
        const char *at = soup_message_headers_get_one(headers, "Location");
        if (location)
            g_strlcpy(location, at ? at : "", 256);
        if (reply)
            g_bytes_unref(reply);
        g_object_unref(msg);
    } while (again);
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

typedef struct crowd {
    view   v[MOST];
    int    n, failed;
    GRand *random;
} crowd;

// A third of those that leave just stop; half of those that join open a data channel; many are gone before they connect.
static void come_and_go(crowd *c, int joins)
{
    for (int i = 0; i < joins; i++) {
        view *at = &c->v[g_rand_int_range(c->random, 0, c->n)];
        leave(at, g_rand_int_range(c->random, 0, 3) > 0);
        c->failed += !join(at, g_rand_int_range(c->random, 0, 2) == 1);
        settle(g_rand_double_range(c->random, 0, .03));
    }
    for (int i = 0; i < c->n; i++)
        leave(&c->v[i], true);
}

typedef struct rest {
    double fds, threads, bytes;
} rest;

// Once nobody is left, or after 60 s.
static rest at_rest(void)
{
    const int64_t until = zt_now() + 60 * ZT_S;
    rest r, before = { 0, 0, 0 };
    for (int same = 0; same < 4 && zt_now() < until; before = r) {
        settle(.5);
        r = (rest){ metric("process_open_fds"), metric("process_threads"), metric("process_resident_memory_bytes") };
        same = metric("zoetrope_viewers") == 0 && r.fds == before.fds && r.threads == before.threads ? same + 1 : 0;
    }
    return r;
}

// Bytes a join, by least squares over what was in use after each tenth.
static double slope(const rest r[11], int joins)
{
    double xy = 0, xx = 0;
    for (int i = 0; i <= 10; i++) {
        xy += (i - 5) * r[i].bytes;
        xx += (i - 5) * (i - 5);
    }
    return xy / xx * 10 / joins;
}

// What stays of each of many, once what is made for the first ones is there.
static int churn(int n, int joins)
{
    static crowd c;
    c.n = n;
    c.random = g_rand_new_with_seed(1);
    rest r[11];
    come_and_go(&c, 500);
    for (int i = 0; i <= 10; i++) {
        if (i)
            come_and_go(&c, joins / 10);
        r[i] = at_rest();
        fprintf(stderr, "%d: %.0f descriptors, %.0f threads, %.1f MB\n", i * (joins / 10), r[i].fds, r[i].threads,
                r[i].bytes / 1e6);
    }
    const double left = (r[10].bytes - r[0].bytes) / joins, line = slope(r, joins);
    printf("{\"joins\": %d, \"refused\": %d, \"waits\": %d, \"fds\": [%.0f, %.0f], \"threads\": [%.0f, %.0f], "
           "\"mb\": [%.1f, %.1f], \"bytes_per_join\": %.0f, \"slope\": %.0f}\n", joins, c.failed, waits, r[0].fds,
           r[10].fds, r[0].threads, r[10].threads, r[0].bytes / 1e6, r[10].bytes / 1e6, left, line);
    g_rand_free(c.random);
    // GLib keeps two threads for whatever comes next.
    return c.failed || r[10].fds > r[0].fds || r[10].threads > r[0].threads + 2 || left > 4096;
}

int main(int argc, char **argv)
{
    if (argc < 4 || atoi(argv[2]) < 1 || atoi(argv[2]) > MOST)
        return 64;
    base = argv[1];
    http = soup_session_new_with_options("timeout", 30, "proxy-resolver", NULL, NULL);
    return argc > 4 ? churn(atoi(argv[2]), atoi(argv[4])) : watch(atoi(argv[2]), atoi(argv[3]));
}
