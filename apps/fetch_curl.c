// SPDX-License-Identifier: Apache-2.0
// One GET through libcurl.
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "apps/fetch.h"

struct transfer {
    const zt_fetch *f;
    int   err;                          // of got()
    char  text[CURL_ERROR_SIZE];
};

static size_t write_some(char *data, size_t size, size_t n, void *cookie)
{
    struct transfer *const t = cookie;
    t->err = t->f->got(t->f->cookie, data, size * n);
    return t->err ? 0 : size * n;
}

static int ask(void *cookie, curl_off_t total, curl_off_t now, curl_off_t up_total, curl_off_t up)
{
    const struct transfer *const t = cookie;
    (void)total, (void)now, (void)up_total, (void)up;
    return t->f->stopped(t->f->cookie);
}

static int of_status(long status)
{
    switch (status) {
    case 401: case 403: return -EACCES;
    case 404: case 410: return -ENOENT;
    case 416:           return -ERANGE;
    case 408: case 429: return -EAGAIN;
    default:            return status >= 500 ? -EAGAIN : -EPROTO;
    }
}

static int of_code(const struct transfer *t, CURLcode code, long status)
{
    switch (code) {
    case CURLE_OK:                  return 0;
    case CURLE_HTTP_RETURNED_ERROR: return of_status(status);
    case CURLE_RANGE_ERROR:         return -ERANGE;
    case CURLE_WRITE_ERROR:         return t->err ? t->err : -EPROTO;
    case CURLE_ABORTED_BY_CALLBACK: return -EINTR;
    case CURLE_OUT_OF_MEMORY:       return -ENOMEM;
    case CURLE_COULDNT_RESOLVE_HOST: case CURLE_COULDNT_RESOLVE_PROXY: case CURLE_COULDNT_CONNECT: case CURLE_PARTIAL_FILE:
    case CURLE_OPERATION_TIMEDOUT: case CURLE_GOT_NOTHING: case CURLE_SEND_ERROR: case CURLE_RECV_ERROR:
    case CURLE_SSL_CONNECT_ERROR: case CURLE_HTTP2: case CURLE_HTTP2_STREAM:
        return -EAGAIN;
    default:                        return -EPROTO;
    }
}

static void set_up(CURL *c, struct transfer *t)
{
    const zt_fetch *const f = t->f;
    curl_easy_setopt(c, CURLOPT_URL, f->url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "https,http");
    curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, strncmp(f->url, "http:", 5) == 0 ? "https,http" : "https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(c, CURLOPT_MAXREDIRS, 10L);
    curl_easy_setopt(c, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, 30L);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);           // nothing for a minute
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, 60L);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "zoetrope");
    curl_easy_setopt(c, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)f->from);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, t->text);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, write_some);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, ask);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, t);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    if (f->token) {                     // libcurl keeps it from other hosts, ports and protocols
        curl_easy_setopt(c, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
        curl_easy_setopt(c, CURLOPT_XOAUTH2_BEARER, f->token);
    }
}

int zt_fetch_get(const zt_fetch *f, char *why, size_t bytes)
{
    struct transfer t = { .f = f };
    CURL *const c = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? curl_easy_init() : NULL;
    if (!c) {
        snprintf(why, bytes, "libcurl does not start");
        return -ENOMEM;
    }
    set_up(c, &t);
    const CURLcode code = curl_easy_perform(c);
    long status = 0;
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    snprintf(why, bytes, "%s", t.text[0] ? t.text : curl_easy_strerror(code));
    curl_easy_cleanup(c);
    return of_code(&t, code, status);
}
