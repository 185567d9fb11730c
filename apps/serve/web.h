// SPDX-License-Identifier: Apache-2.0
// What the files of the HTTP server share. Everything runs on the control thread.
#pragma once

#include <cjson/cJSON.h>
#include <libsoup/soup.h>

#include "apps/serve/http.h"
#include "apps/serve/whip.h"
#include "stream/whep.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ZT_BODY_BYTES (80 * 1024)       // of a request: a prompt of 64 KiB and what is around it

struct zt_http {
    zt_serve       *serve;
    GMainContext   *context;
    GMainLoop      *loop;
    GThread        *thread;
    SoupServer     *server;
    GSocketService *service;            // NULL: does not listen
    GTlsCertificate *certificate;       // or NULL
    int             port;
    bool            stopping;           // no more connections
    bool            ended;              // the shows are closed, or will be: only health is answered
    char           *origins;            // of a reload; or NULL
    GHashTable     *viewer;             // id -> zt_web_viewer, owned
    GHashTable     *steerer;            // session id -> id of the viewer that steered last, or "http"
    GHashTable     *connections;        // address -> how many are open
    zt_whip        *whip;               // or NULL
    GPtrArray      *watcher;            // of JPEG pictures; owned
};

// Somebody who watches over WebRTC.
typedef struct zt_web_viewer {
    zt_http    *http;
    char        id[ZT_ID_BYTES];
    zt_show    *show;                   // a reference
    zt_viewer  *viewer;
    SoupServerMessage *waiting;         // for the answer; a reference
    char        address[64];            // of its signalling
    bool        may_control, talks, reports;
    gulong      finished;               // signal of `waiting`
} zt_web_viewer;

// A request that is allowed. id, rest: the path's second and third part, "" where there is none.
typedef struct zt_request {
    zt_http    *http;
    SoupServerMessage *msg;
    const char *method, *id, *rest;
    enum zt_may may;
} zt_request;

// Answers. Errors are {"error": line}.
void zt_web_answer(SoupServerMessage *msg, unsigned status, const char *type, const char *text, size_t bytes);
void zt_web_error(SoupServerMessage *msg, unsigned status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void zt_web_json(SoupServerMessage *msg, unsigned status, cJSON *root);     // takes root
void zt_web_busy(SoupServerMessage *msg, unsigned status, int retry_s, const char *reason);    // with Retry-After
// Wakes it: false, and answered, when it cannot run now.
bool zt_web_wake(const zt_request *r, zt_show *show);
void zt_web_header(SoupServerMessage *msg, const char *name, const char *value);
bool zt_web_is_type(SoupServerMessage *msg, const char *type);      // Content-Type
const char *zt_web_address(SoupServerMessage *msg);                 // of the peer, until the next call
// The body as a JSON object; NULL: answered with 400 or 415.
cJSON *zt_web_body(SoupServerMessage *msg);
void zt_web_add_ignored(cJSON *root, const char *ignored);     // words with blanks between, as a list
void zt_web_id(char id[ZT_ID_BYTES]);           // 128 random bits

// Routes.
void zt_web_get_page(const zt_request *r);
void zt_web_get_model(const zt_request *r);
void zt_web_sessions(const zt_request *r);
void zt_web_session(const zt_request *r);
void zt_web_whep(const zt_request *r);
void zt_web_whep_resource(const zt_request *r);
void zt_web_clips(const zt_request *r);
void zt_web_clip(const zt_request *r);
void zt_web_clip_file(const zt_request *r);
void zt_web_picture(const zt_request *r);

// Viewers and the data channel.
void zt_web_viewer_free(gpointer v);
void zt_web_viewer_heard(zt_web_viewer *v, const char *text);
void zt_web_steered(zt_http *h, zt_show *show, const zt_web_viewer *by);    // NULL: by HTTP
void zt_web_pictures(zt_http *h, zt_show *show);        // a new one is there
void zt_web_pictures_stop(zt_http *h);
// "prompt" and "controls" of a message, all or nothing. NULL, or what is wrong with it.
const char *zt_web_apply(zt_http *h, zt_show *show, const cJSON *root, char *ignored, size_t bytes);

// Sockets. The certificate is the caller's: 0, -ENOSYS (no backend) or -EINVAL (logged).
int  zt_web_certificate(GTlsCertificate **out, const char *cert, const char *key);
int  zt_web_listen(zt_http *h, const char *host, int port);
void zt_web_hold(SoupServerMessage *msg);       // the answer may take as long as it likes

#ifdef __cplusplus
}
#endif
