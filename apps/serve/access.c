// SPDX-License-Identifier: Apache-2.0
// Decides who may do what.
#include "apps/serve/access.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "apps/exits.h"
#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"

bool zt_is_loopback(const char *host)
{
    if (!strcasecmp(host, "localhost") || !strcmp(host, "::1"))
        return true;
    return !strncmp(host, "127.", 4) && strspn(host, "0123456789.") == strlen(host);
}

bool zt_is_any(const char *host)
{
    return !strcmp(host, "0.0.0.0") || !strcmp(host, "::");
}

const char *zt_url_host(const char *host, char out[ZT_URL_HOST])
{
    snprintf(out, ZT_URL_HOST, strchr(host, ':') ? "[%s]" : "%s", host);
    return out;
}

static int read_line(zt_access *a, const char *path, int number, const char *line)
{
    char kind[16], text[ZT_TOKEN_BYTES], more[2];
    const int n = sscanf(line, "%15s %127s %1s", kind, text, more);
    if (n <= 0 || kind[0] == '#')
        return 0;
    const enum zt_may may = !strcmp(kind, "control") ? ZT_MAY_CONTROL : !strcmp(kind, "view") ? ZT_MAY_VIEW : 0;
    if (n != 2 || !may || strlen(text) < 8 || a->tokens == ZT_TOKENS) {
        zt_error("%s: line %d: %s", path, number,
                 a->tokens == ZT_TOKENS ? "too many tokens"
                                        : "not \"control TOKEN\" or \"view TOKEN\" of 8 characters or more");
        return ZT_EXIT_DATA;
    }
    a->token[a->tokens].may = may;
    strcpy(a->token[a->tokens++].text, text);
    return 0;
}

int zt_access_load(zt_access *a, const char *path)
{
    FILE *f = fopen(path, "r");
    if (!f) {
        zt_error("%s: %s", path, strerror(errno));
        return ZT_EXIT_NO_INPUT;
    }
    char *line = NULL;
    size_t room = 0;
    int code = 0;
    for (int number = 1; !code && getline(&line, &room, f) > 0; number++)
        code = read_line(a, path, number, line);
    free(line);
    fclose(f);
    if (!code && !a->tokens) {
        zt_error("%s: no token in it", path);
        code = ZT_EXIT_DATA;
    }
    return code;
}

const char *zt_access_view_token(const zt_access *a)
{
    for (int i = 0; i < a->tokens; i++)
        if (a->token[i].may == ZT_MAY_VIEW)
            return a->token[i].text;
    return a->tokens ? a->token[0].text : NULL;
}

// As long for a wrong token as for the right one: every byte is looked at.
static bool same(const char token[ZT_TOKEN_BYTES], const char *text)
{
    const size_t n = strlen(text);
    unsigned differ = n >= ZT_TOKEN_BYTES;
    for (size_t i = 0; i < ZT_TOKEN_BYTES; i++)
        differ |= (unsigned)(token[i] ^ (i < n ? text[i] : 0));
    return !differ;
}

enum zt_may zt_access_token(const zt_access *a, const char *authorization)
{
    if (!a->tokens)
        return ZT_MAY_CONTROL;
    if (!authorization || strncasecmp(authorization, "Bearer ", 7))
        return ZT_MAY_NOTHING;
    const char *text = authorization + 7 + strspn(authorization + 7, " ");
    enum zt_may may = ZT_MAY_NOTHING;
    for (int i = 0; i < a->tokens; i++)
        if (same(a->token[i].text, text))
            may = ZT_MAX(may, a->token[i].may);
    return may;
}

// "NAME", "NAME:PORT", "[ADDRESS]:PORT" has this name.
static bool has_name(const char *host, const char *name)
{
    char written[ZT_URL_HOST];
    const size_t n = strlen(zt_url_host(name, written));
    if (strncasecmp(host, written, n))
        return false;
    return !host[n] || (host[n] == ':' && strspn(host + n + 1, "0123456789") == strlen(host + n + 1));
}

bool zt_access_host(const zt_access *a, const char *host, const char *local)
{
    const char *const names[] = { "localhost", "127.0.0.1", "::1", a->host, a->public_address, local };
    for (size_t i = 0; host && i < ZT_LEN(names); i++)
        if (names[i] && has_name(host, names[i]))
            return true;
    return false;
}

static bool in_list(const char *list, const char *word)
{
    const size_t n = strlen(word);
    for (const char *at = list; n && at && (at = strstr(at, word)); at += n)
        if ((at == list || at[-1] == ' ') && (at[n] == ' ' || !at[n]))
            return true;
    return false;
}

bool zt_access_origin(const zt_access *a, const char *origin, const char *host, bool tls)
{
    const char *scheme = tls ? "https://" : "http://";
    const size_t n = strlen(scheme);
    if (host && !strncasecmp(origin, scheme, n) && !strcasecmp(origin + n, host))
        return true;
    return a->origins && (in_list(a->origins, origin) || in_list(a->origins, "*"));
}

// A bucket as one time: it is whole at `full`, and each request moves that on by its share of a minute.
int zt_access_rate(zt_access *a, const char *address, int64_t now, int burst, int per_minute)
{
    uint64_t hash = 14695981039346656037u;
    for (const char *c = address; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 1099511628211u;
    const int64_t each = 60 * ZT_S / per_minute;
    int at = -1;
    for (int i = 0; i < 8; i++) {       // its place, or a free one, or the one that is whole first
        const int j = (int)((hash + (uint64_t)i) % ZT_ADDRESSES);
        if (a->rate[j].address == hash) {
            at = j;
            break;
        }
        if (at < 0 || a->rate[j].full < a->rate[at].full)
            at = j;
    }
    if (a->rate[at].address != hash) {
        a->rate[at].address = hash;
        a->rate[at].full = now;
    }
    int64_t full = ZT_MAX(a->rate[at].full, now) + each;
    if (full - now > burst * each)
        return (int)((full - now - burst * each + ZT_S - 1) / ZT_S);
    a->rate[at].full = full;
    return 0;
}
