// SPDX-License-Identifier: Apache-2.0
// One GET over HTTP, for what is too large to keep in memory. fetch_curl.c, or fetch_none.c where libcurl is missing.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_fetch {
    const char *url;                    // https, or http where it begins so; redirections go to no lesser one
    const char *token;                  // sent as a bearer to this host only; NULL: none
    int64_t     from;                   // first byte
    int       (*got)(void *cookie, const void *data, size_t n);         // 0, or -errno, which ends it
    int       (*stopped)(void *cookie); // asked about every second: not 0 ends it
    void       *cookie;
} zt_fetch;

// 0: all of it came. -EACCES (401, 403), -ENOENT (404, 410), -ERANGE (the server cannot begin at `from`), -EAGAIN (the
// network or the server failed, or it broke off: what came was handed on), -EINTR (stopped), -EPROTO (anything else),
// -ENOTSUP (libcurl is missing), -ENOMEM, or what got() said. why [bytes] says it in words.
int zt_fetch_get(const zt_fetch *f, char *why, size_t bytes);

#ifdef __cplusplus
}
#endif
