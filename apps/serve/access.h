// SPDX-License-Identifier: Apache-2.0
// Who may do what over HTTP: tokens, the Host and Origin of a request, and how often an address may ask. Pure.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ZT_TOKENS      32
#define ZT_TOKEN_BYTES 128
#define ZT_ADDRESSES   1024
#define ZT_URL_HOST    264      // bytes: a name has 253

enum zt_may { ZT_MAY_NOTHING, ZT_MAY_VIEW, ZT_MAY_CONTROL };

typedef struct zt_access {
    int  tokens;                                // 0: everybody may everything
    struct { enum zt_may may; char text[ZT_TOKEN_BYTES]; } token[ZT_TOKENS];
    const char *host;                           // the listen address, without brackets
    const char *public_address;                 // or NULL
    const char *origins;                        // others that may ask, separated by blanks; or NULL
    struct { uint64_t address; int64_t full; } rate[ZT_ADDRESSES];     // full: when its budget is whole again
} zt_access;

bool zt_is_loopback(const char *host);          // an address or "localhost", without brackets
bool zt_is_any(const char *host);               // every interface: 0.0.0.0, ::
const char *zt_url_host(const char *host, char out[ZT_URL_HOST]);      // as a URL has it: IPv6 in brackets. Returns `out`
// Lines "control TOKEN" and "view TOKEN"; # begins a comment. 0, or an exit code: 66 or 65 (said with the line).
int  zt_access_load(zt_access *a, const char *path);
// The token that is RTSP's password: the first that may only view, else the first. NULL: there is none.
const char *zt_access_view_token(const zt_access *a);
// What a request may that carries this Authorization header (or NULL). Takes the same time for every wrong token.
enum zt_may zt_access_token(const zt_access *a, const char *authorization);
// A page elsewhere may point a name of its own at our address: only our own names are answered, and the address that
// the connection was made to (`local`, or NULL), which no name can hide. host NULL: no header.
bool zt_access_host(const zt_access *a, const char *host, const char *local);
// A browser names the page that asks: ours (the same scheme, host and port) or one of the allowed.
bool zt_access_origin(const zt_access *a, const char *origin, const char *host, bool tls);
// Takes one of the `burst` requests that an address may make at once, `per_minute` in the long run. 0, or s to wait.
int  zt_access_rate(zt_access *a, const char *address, int64_t now, int burst, int per_minute);

#ifdef __cplusplus
}
#endif
