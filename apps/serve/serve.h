// SPDX-License-Identifier: Apache-2.0
// zoetrope-serve's state: its command line, its shows, and what HTTP may do with them.
#pragma once

#include <pthread.h>

#include "apps/options.h"
#include "apps/serve/access.h"
#include "apps/serve/clips.h"
#include "apps/serve/show.h"

#ifdef __cplusplus
extern "C" {
#endif

struct _GMainContext;

#define ZT_SHOWS    64          // sessions that are kept, at most; --max-sessions is what may be made
#define ZT_ID_BYTES 40

typedef struct zt_entry {
    zt_show *show;              // a reference; NULL: free
    int64_t  touched;           // monotonic ns: there was a viewer, or a change
    int64_t  ttl;               // ns; 0: it is `live`
    bool     reported;          // what the prompt did not say
} zt_entry;

typedef struct zt_serve {
    // The command line
    zt_common   common;
    zt_setup    setup;
    const char *prompt, *listen, *rtsp_listen, *token_file, *public_address, *tls_cert, *tls_key;
    const char *whip, *whip_token_file;
    const char *rtsp_host;              // of rtsp_listen, without brackets
    char        whip_token[256];        // empty: none
    const char *allow_origin, *ice_server, *udp_ports;      // lists are separated by blanks
    int64_t     fps, budget_ms, bitrate, max_sessions, max_viewers, loss_percent;
    uint64_t    seed;
    zt_range    size, steps;
    bool        test_pattern, marks, no_admission, check_config;
    const char *log_folder, *trace, *batch_dir;
    int64_t     batch_quota;
    zt_access   access;
    int         udp_min, udp_max;

    zt_studio   studio;
    zt_clips   *clips;          // or NULL: none are taken
    int         stopping, told; // atomic: it ends; /readyz has said so
    int64_t     asked;          // atomic: when /readyz was answered last, monotonic ns
    pthread_mutex_t lock;       // over what follows
    zt_entry    entry[ZT_SHOWS];        // the first is `live`
    zt_show    *dying[ZT_SHOWS];        // references: the main thread closes them
    zt_metrics  past;           // of test patterns that have ended and of encoders: the engine does not know them
    uint64_t    rejected;
} zt_serve;

// From any thread. A reference to the show of that id, or NULL.
zt_show *zt_serve_find(zt_serve *s, const char *id);
// Somebody watches it: `live` begins its session. 0, or as zt_show_begin().
int      zt_serve_wake(zt_serve *s, zt_show *show, zt_refused *refused);
// Makes a show and begins its session. 0, -EAGAIN (no more may be made), or as zt_show_create() and zt_show_begin().
int      zt_serve_add(zt_serve *s, const zt_show_params *p, int64_t ttl, zt_show **out, zt_refused *refused);
// Takes it out; the main thread ends it. False: there is none.
bool     zt_serve_remove(zt_serve *s, const char *id);
void     zt_serve_touch(zt_serve *s, const zt_show *show);
// The i-th show, a reference, or NULL; *idle: ns since it was touched.
zt_show *zt_serve_at(zt_serve *s, int i, int64_t *idle);
int      zt_serve_viewers(zt_serve *s);
bool     zt_serve_ready(zt_serve *s);
// Whoever chooses among servers asks /readyz; one that stops waits a moment for it to be told.
void     zt_serve_asked(zt_serve *s, bool told);
bool     zt_serve_stopping(const zt_serve *s);
// No more sessions, viewers and clips begin. Returns when /readyz has said so once, if anybody has asked it in the last
// half minute, and after 1.5 s at the latest. The main thread.
void     zt_serve_stop(zt_serve *s);
void     zt_serve_limits(zt_serve *s, const zt_serve *fresh);   // takes those that HTTP does not look at
char    *zt_serve_metrics(zt_serve *s, size_t *bytes);      // malloc

// The main thread, every few ms: begins and ends sessions. 0, or the exit code that ends the program.
int      zt_serve_look_after(zt_serve *s);
int      zt_serve_open_live(zt_serve *s);       // 0 or an exit code
void     zt_serve_close(zt_serve *s);

#ifdef __cplusplus
}
#endif
