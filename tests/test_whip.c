// SPDX-License-Identifier: Apache-2.0
// WHIP's signalling against a server of three lines: it is asked again when it refused, and told when the push ends.
// Usage: test_whip SERVE MODEL
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <libsoup/soup.h>

#include "serving.h"

static const char *program, *model;

// The media server: refuses the first offer, accepts the second, and may keep silent when it is left.
typedef struct media {
    SoupServer *http;
    bool        silent;
    int         offers, deleted, strangers;
} media;

// An answer to this offer that promises to listen. No address is in it: nothing is ever sent.
static char *answer(const char *offer)
{
    GString *out = g_string_new(NULL);
    char **line = g_strsplit(offer, "\r\n", -1);
    for (int i = 0; line[i]; i++) {
        const char *say = !strcmp(line[i], "a=setup:actpass") ? "a=setup:active"
                        : !strcmp(line[i], "a=sendonly") ? "a=recvonly" : line[i];
        if (*say && !g_str_has_prefix(say, "a=candidate:") && !g_str_has_prefix(say, "a=ssrc"))
            g_string_append_printf(out, "%s\r\n", say);
    }
    g_strfreev(line);
    return g_string_free(out, FALSE);
}

static void on_request(SoupServer *http, SoupServerMessage *msg, const char *path, GHashTable *query, gpointer cookie)
{
    (void)http, (void)query;
    media *m = cookie;
    const char *method = soup_server_message_get_method(msg);
    const char *token = soup_message_headers_get_one(soup_server_message_get_request_headers(msg), "Authorization");
    m->strangers += !token || strcmp(token, "Bearer let-me-push");
    soup_server_message_set_status(msg, 404, NULL);
    if (!strcmp(method, "DELETE") && !strcmp(path, "/made/1")) {
        m->deleted++;
        soup_server_message_set_status(msg, 200, NULL);
        if (m->silent)
            soup_server_message_pause(msg);
    } else if (!strcmp(method, "POST") && !strcmp(path, "/whip/live")) {
        soup_server_message_set_status(msg, m->offers++ ? 201 : 503, NULL);
        SoupMessageBody *body = soup_server_message_get_request_body(msg);
        GBytes *offer = soup_message_body_flatten(body);
        char *text = g_strndup(g_bytes_get_data(offer, NULL), g_bytes_get_size(offer)), *reply = answer(text);
        soup_server_message_set_response(msg, "application/sdp", SOUP_MEMORY_TAKE, reply, strlen(reply));
        soup_message_headers_replace(soup_server_message_get_response_headers(msg), "Location", "../made/1");
        g_free(text);
        g_bytes_unref(offer);
    }
}

static void pass(int64_t ns)
{
    const int64_t until = zt_now() + ns;
    while (zt_now() < until) {
        g_main_context_iteration(NULL, FALSE);
        zt_sleep_until(zt_now() + ZT_MS);
    }
}

static bool has_no_webrtc(const serving *s)
{
    char line[512];
    bool said = false;
    FILE *f = fopen(s->log, "r");
    while (f && fgets(line, sizeof(line), f))
        said = said || strstr(line, "no WebRTC") || strstr(line, "cannot serve WebRTC");
    if (f)
        fclose(f);
    return said;
}

// Until its second offer was accepted.
static void start(media *m, serving *s)
{
    GError *error = NULL;
    m->http = soup_server_new("server-header", "media", NULL);
    soup_server_add_handler(m->http, NULL, on_request, m, NULL);
    assert_true(soup_server_listen_local(m->http, 0, SOUP_SERVER_LISTEN_IPV4_ONLY, &error));
    GSList *uris = soup_server_get_uris(m->http);
    char url[64], token[] = "/tmp/zt-token-XXXXXX";
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/whip/live", g_uri_get_port(uris->data));
    g_slist_free_full(uris, (GDestroyNotify)g_uri_unref);
    const int fd = mkstemp(token);
    assert_int_equal(write(fd, "let-me-push\n", 12), 12);
    close(fd);
    const char *const more[] = { "-m", model, "--test-pattern", "--whip", url, "--whip-token-file", token, NULL };
    assert_true(serve_start(s, program, more));
    unlink(token);
    if (has_no_webrtc(s)) {
        serve_stop(s);
        skip();
    }
    const int64_t until = zt_now() + 30 * ZT_S;
    while (m->offers < 2 && zt_now() < until)
        pass(10 * ZT_MS);
    assert_int_equal(m->offers, 2);
    pass(500 * ZT_MS);              // the answer arrives
    assert_int_equal(m->deleted, 0);
}

// Its exit code; -1: it did not end in time once it had said so.
static int end(const media *m, serving *s, int64_t within)
{
    int status = 0, ended = 0;
    int64_t until = zt_now() + 60 * ZT_S;
    kill(s->pid, SIGTERM);
    for (bool told = false; !ended && zt_now() < until;) {
        pass(10 * ZT_MS);
        ended = waitpid(s->pid, &status, WNOHANG);
        if (m->deleted && !told)
            until = zt_now() + within;
        told = m->deleted;
    }
    if (!ended)
        serve_stop(s);
    unlink(s->log);
    return ended && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void a_server_that_refused_is_asked_again_and_told_when_it_ends(void **state)
{
    media m = { 0 };
    serving s;
    start(&m, &s);
    assert_int_equal(end(&m, &s, 60 * ZT_S), 0);
    assert_int_equal(m.deleted, 1);
    assert_int_equal(m.strangers, 0);
    g_object_unref(m.http);
}

static void a_server_that_does_not_answer_does_not_hold_the_end(void **state)
{
    media m = { .silent = true };
    serving s;
    start(&m, &s);
    assert_int_equal(end(&m, &s, 8 * ZT_S), 0);         // libsoup itself would wait for 10 s
    assert_int_equal(m.deleted, 1);
    g_object_unref(m.http);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_that_refused_is_asked_again_and_told_when_it_ends),
        cmocka_unit_test(a_server_that_does_not_answer_does_not_hold_the_end),
    };
    if (argc < 3)
        return 2;
    program = argv[1], model = argv[2];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
