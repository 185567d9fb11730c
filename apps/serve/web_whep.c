// SPDX-License-Identifier: Apache-2.0
// WHEP (draft-ietf-wish-whep): an offer comes, a viewer and its resource are made, the answer goes back.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "apps/serve/web.h"
#include "base/base.h"
#include "base/log.h"

#define PER_ADDRESS 8           // viewers, loopback exempt
#define RETRY_S     5

// `Link: <stun:HOST:PORT>; rel="ice-server"`, one for each that is configured.
static void add_links(const zt_serve *s, SoupServerMessage *msg)
{
    char **url = g_strsplit(s->ice_server ? s->ice_server : "", " ", -1);
    for (int i = 0; url[i]; i++) {
        const char *at = strrchr(url[i], '@');
        char *link = NULL;
        if (g_str_has_prefix(url[i], "turn:") && at) {
            char **login = g_strsplit(url[i] + 5, ":", 2);
            char *secret = login[1] ? g_strndup(login[1], (gsize)(strrchr(login[1], '@') - login[1])) : g_strdup("");
            link = g_strdup_printf("<turn:%s?transport=udp>; rel=\"ice-server\"; username=\"%s\"; credential=\"%s\"; "
                                   "credential-type=\"password\"", at + 1, login[0], secret);
            g_free(secret);
            g_strfreev(login);
        } else if (*url[i]) {
            link = g_strdup_printf("<%s>; rel=\"ice-server\"", url[i]);
        }
        if (link)
            soup_message_headers_append(soup_server_message_get_response_headers(msg), "Link", link);
        g_free(link);
    }
    g_strfreev(url);
}

static void drop_waiting(zt_web_viewer *v)
{
    if (!v->waiting)
        return;
    g_signal_handler_disconnect(v->waiting, v->finished);
    g_clear_object(&v->waiting);
}

void zt_web_viewer_free(gpointer cookie)
{
    zt_web_viewer *v = cookie;
    if (v->waiting) {
        zt_web_error(v->waiting, 503, "the server is stopping");
        soup_server_message_unpause(v->waiting);
    }
    drop_waiting(v);
    if (v->reports)
        zt_show_reports(v->show, -1);
    zt_viewer_close(&v->viewer);
    zt_show_unref(&v->show);
    g_free(v);
}

static void on_answer(void *cookie, int status, const char *sdp)
{
    zt_web_viewer *v = cookie;
    SoupServerMessage *msg = v->waiting ? g_object_ref(v->waiting) : NULL;
    drop_waiting(v);
    if (msg && status == 201) {
        char place[2 * ZT_ID_BYTES + 16], tag[ZT_ID_BYTES + 2];
        snprintf(place, sizeof(place), "/whep/%s/%s", zt_show_get_params(v->show)->id, v->id);
        snprintf(tag, sizeof(tag), "\"%.16s\"", v->id);
        zt_web_header(msg, "Location", place);
        zt_web_header(msg, "ETag", tag);
        add_links(v->http->serve, msg);
        zt_web_answer(msg, 201, "application/sdp", sdp, strlen(sdp));
    } else if (msg) {
        zt_web_error(msg, (unsigned)status,
                     status == 422 ? "this offer cannot be answered" : "no answer could be made");
    }
    if (msg)
        soup_server_message_unpause(msg);
    if (status != 201)
        g_hash_table_remove(v->http->viewer, v->id);
    g_clear_object(&msg);
}

static void on_gone(void *cookie, const char *why)
{
    zt_web_viewer *v = cookie;
    zt_info("viewer of %s: %s", zt_show_get_params(v->show)->id, why);
    g_hash_table_remove(v->http->viewer, v->id);
}

static void on_message(void *cookie, const char *text)
{
    zt_web_viewer_heard(cookie, text);
}

// The client hung up before there was an answer.
static void on_finished(SoupServerMessage *msg, zt_web_viewer *v)
{
    (void)msg;
    drop_waiting(v);
    g_hash_table_remove(v->http->viewer, v->id);
}

// False: answered.
static bool has_room(const zt_request *r)
{
    const char *address = zt_web_address(r->msg);
    GHashTableIter all;
    gpointer item;
    int same = 0;
    const int n = (int)g_hash_table_size(r->http->viewer);
    g_hash_table_iter_init(&all, r->http->viewer);
    while (g_hash_table_iter_next(&all, NULL, &item))
        same += !strcmp(((zt_web_viewer *)item)->address, address);
    if (n >= r->http->serve->max_viewers) {
        zt_web_busy(r->msg, 503, RETRY_S, "all places for viewers are taken");
        return false;
    }
    if (!zt_is_loopback(address) && same >= PER_ADDRESS) {
        zt_web_busy(r->msg, 429, RETRY_S, "too many viewers from this address");
        return false;
    }
    return true;
}

static int create(const zt_request *r, zt_web_viewer *v, const char *offer, size_t bytes, const char *codec)
{
    char mount[ZT_ID_BYTES + 8];
    const bool vp8 = !strcmp(codec, "vp8");
    const int err = vp8 ? zt_show_want_vp8(v->show) : 0;
    if (err < 0)
        return err;
    snprintf(mount, sizeof(mount), "/%s%s", zt_show_get_params(v->show)->id, vp8 ? "/vp8" : "");
    const zt_viewer_params p = {
        .mount = mount, .offer = offer, .bytes = bytes, .local_peer = zt_is_loopback(zt_web_address(r->msg)),
        .answer = on_answer, .message = on_message, .gone = on_gone, .cookie = v,
    };
    return zt_viewer_create(&v->viewer, r->http->serve->studio.whep, &p);
}

static void join(const zt_request *r, zt_show *show, const char *offer, size_t bytes, const char *codec)
{
    zt_web_viewer *v = g_new0(zt_web_viewer, 1);
    v->http = r->http;
    v->show = zt_show_ref(show);
    v->may_control = r->may == ZT_MAY_CONTROL;
    g_strlcpy(v->address, zt_web_address(r->msg), sizeof(v->address));
    zt_web_id(v->id);
    const int err = create(r, v, offer, bytes, codec);
    if (err < 0) {
        zt_web_error(r->msg, err == -EINVAL ? 400 : err == -ENOENT ? 404 : err == -ENOTSUP ? 422 : 500,
                     "the offer cannot be used: %s", err == -ENOENT ? "the session has ended" : strerror(-err));
        zt_web_viewer_free(v);
        return;
    }
    v->waiting = g_object_ref(r->msg);
    v->finished = g_signal_connect(r->msg, "finished", G_CALLBACK(on_finished), v);
    g_hash_table_insert(r->http->viewer, v->id, v);
    soup_server_message_pause(r->msg);
}

void zt_web_whep(const zt_request *r)
{
    zt_serve *s = r->http->serve;
    if (!zt_web_is_type(r->msg, "application/sdp")) {
        zt_web_error(r->msg, 415, "Content-Type must be application/sdp");
        return;
    }
    zt_show *show = zt_serve_find(s, r->id);
    GBytes *body = soup_message_body_flatten(soup_server_message_get_request_body(r->msg));
    gsize bytes;
    const char *offer = g_bytes_get_data(body, &bytes);
    if (!show)
        zt_web_error(r->msg, 404, "no such session");
    else if (!s->studio.whep)
        zt_web_busy(r->msg, 503, 60, "there is no WebRTC in this build");
    else if (!bytes || !g_utf8_validate(offer, (gssize)bytes, NULL) || strncmp(offer, "v=0", ZT_MIN(bytes, 3)))
        zt_web_error(r->msg, 400, "the body is not an SDP offer");
    else if (has_room(r) && zt_web_wake(r, show)) {
        const char *codec = zt_whep_codec(offer, bytes);
        if (codec)
            join(r, show, offer, bytes, codec);
        else
            zt_web_error(r->msg, 422, "the offer has no video to receive in H.264 or VP8, or no ICE and DTLS");
    }
    g_bytes_unref(body);
    zt_show_unref(&show);
}

static void patch(const zt_request *r, zt_web_viewer *v)
{
    const char *match = soup_message_headers_get_one(soup_server_message_get_request_headers(r->msg), "If-Match");
    char tag[ZT_ID_BYTES + 2];
    snprintf(tag, sizeof(tag), "\"%.16s\"", v->id);
    if (!zt_web_is_type(r->msg, "application/trickle-ice-sdpfrag")) {
        zt_web_error(r->msg, 415, "Content-Type must be application/trickle-ice-sdpfrag");
        return;
    }
    if (match && strcmp(match, "*") && strcmp(match, tag)) {
        zt_web_error(r->msg, 412, "this is another ICE session");
        return;
    }
    GBytes *body = soup_message_body_flatten(soup_server_message_get_request_body(r->msg));
    gsize bytes;
    const char *text = g_bytes_get_data(body, &bytes);
    const int err = zt_viewer_candidates(v->viewer, text, bytes);
    if (err == -ESTALE)
        zt_web_error(r->msg, 422, "no ICE restart here: post a new offer");
    else if (err < 0)
        zt_web_error(r->msg, 400, "not a trickle fragment");
    else
        soup_server_message_set_status(r->msg, 204, NULL);
    g_bytes_unref(body);
}

void zt_web_whep_resource(const zt_request *r)
{
    zt_web_viewer *v = g_hash_table_lookup(r->http->viewer, r->rest);
    if (!v || strcmp(zt_show_get_params(v->show)->id, r->id) || v->waiting)
        zt_web_error(r->msg, 404, "no such viewer");
    else if (!strcmp(r->method, "PATCH"))
        patch(r, v);
    else {
        g_hash_table_remove(r->http->viewer, r->rest);
        soup_server_message_set_status(r->msg, 200, NULL);
    }
}
