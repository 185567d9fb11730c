// SPDX-License-Identifier: Apache-2.0
// A show: one session and the streams that carry it, H.264 always, VP8 and JPEG once somebody asks.
#pragma once

#include "apps/setup.h"
#include "stream/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_show zt_show;

// What was handed to the transports.
typedef struct zt_shown {
    uint64_t index;
    int64_t  sampled, due;          // monotonic ns
    double   t;                     // the newest control or prompt that it used: the client's clock, and its number
    double   seq;                   // -1: none yet
    enum zt_outcome outcome;
} zt_shown;

// A session that the program runs itself: the show only carries its pictures, see zt_show_push(). From any thread.
typedef struct zt_guest {
    int  (*prompt)(void *cookie, const char *text);             // as zt_session_prompt()
    int  (*control)(void *cookie, int control, float value);    // as zt_session_control()
    void (*metrics)(void *cookie, zt_metrics *out);
    void *cookie;
} zt_guest;

// What all shows share; borrowed.
typedef struct zt_studio {
    zt_setup       *setup;
    zt_rtsp_server *rtsp;           // or NULL
    zt_whep_server *whep;           // or NULL
    const zt_guest *guest;          // or NULL: shows have sessions of their own
    int64_t         bitrate;
    bool            test_pattern;   // no model runs; marks in the pictures
    bool            marks;          // marks in the pictures of the model
    const char     *log_folder;     // where sessions are written down, or NULL
    // From threads of the streams; the first only while zt_show_reports() is above 0.
    void          (*shown)(void *cookie, zt_show *s, const zt_shown *what);
    void          (*jpeg)(void *cookie, zt_show *s);     // a new one, or there will be no more
    void           *cookie;
} zt_studio;

// Zero means the default in parentheses. Strings are copied.
typedef struct zt_show_params {
    const char *id;                 // its name in urls; required
    const char *prompt;             // (the model's own)
    int         fps, out_w, out_h;  // (the model's own; twice its size)
    int         steps_min, steps_max;
    int64_t     budget;             // ns
    uint64_t    seed;
} zt_show_params;

// Opens the stream; there is no session yet. 0 or as zt_stream_open(). The caller owns one reference.
int      zt_show_create(zt_show **out, const zt_studio *studio, const zt_show_params *p);
zt_show *zt_show_ref(zt_show *s);
void     zt_show_unref(zt_show **s);            // takes NULL inside
// Ends session and streams, once; what is left of it waits for its references. Not on the engine's thread.
void     zt_show_close(zt_show *s);

// The session, from any thread. Begin returns 0 (also when there is one) or as zt_session_create(), whose refused it
// passes on.
int      zt_show_begin(zt_show *s, zt_refused *refused);
void     zt_show_end(zt_show *s);
bool     zt_show_runs(zt_show *s);
bool     zt_show_closed(zt_show *s);            // there will be no more pictures
int      zt_show_failed(zt_show *s);            // the session's or the stream's error, 0: none

// A picture of the guest, whose indices rise: carried between begin and end. On one thread; never
// waits. Not any more when the show is closed.
void     zt_show_push(zt_show *s, zt_frame *f);

// From any thread.
int      zt_show_prompt(zt_show *s, const char *text);
int      zt_show_control(zt_show *s, int control, float value);
// Before them: t and seq of the client, that frames from here on will name.
void     zt_show_mark(zt_show *s, double t, double seq);
// The streams besides H.264: 0 or as zt_stream_open().
int      zt_show_want_vp8(zt_show *s);
int      zt_show_want_jpeg(zt_show *s);         // keeps it for some seconds
zt_packet *zt_show_jpeg(zt_show *s, zt_shown *what);        // the latest, a reference; NULL: none yet
void     zt_show_reports(zt_show *s, int more); // how many want to be told of each frame: added
int      zt_show_viewers(zt_show *s);           // of WHEP and RTSP, and of JPEG pictures
const zt_show_params *zt_show_get_params(const zt_show *s);
void     zt_show_prompt_text(zt_show *s, char *out, size_t bytes);      // the latest
void     zt_show_metrics(zt_show *s, zt_metrics *out);      // session and encoder
void     zt_show_lease(zt_show *s, int64_t until);          // zt_session_lease()
// Tells the session when all who watch have had so poor a line for so long that more steps would not be seen; call it
// now and then.
void     zt_show_hint(zt_show *s);
int64_t  zt_show_last_packet(zt_show *s);       // monotonic ns; 0: there is no session

#ifdef __cplusplus
}
#endif
