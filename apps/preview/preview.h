// SPDX-License-Identifier: Apache-2.0
// The preview's window and the parts that it is made of. Everything here belongs to the main thread.
#pragma once

#include <adwaita.h>

#include "apps/preview/player.h"
#include "apps/preview/settings.h"
#include "apps/preview/view.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ZT_PREVIEW_ID "org.zoetrope.Preview"

typedef struct zt_prompt_box zt_prompt_box;
typedef struct zt_steer      zt_steer;
typedef struct zt_timing     zt_timing;
typedef struct zt_models     zt_models;
typedef struct zt_compare    zt_compare;
typedef struct zt_files      zt_files;
typedef struct zt_share      zt_share;
typedef struct zt_fullscreen zt_fullscreen;

// What was shown since the first picture, for --report.
typedef struct zt_tally {
    gint64  first, last;        // monotonic ns of pictures of the first lane
    guint64 outcome[ZT_OUTCOMES];
    guint64 painted;            // counted where GTK paints
} zt_tally;

typedef struct zt_preview {
    AdwApplication *app;
    GtkBuilder     *ui;
    GtkWindow      *window;
    zt_player      *player;
    zt_settings     settings;
    int64_t         threads;
    const char     *asked_model, *asked_prompt;     // by the command line, or NULL
    char           *opening;                        // path of the model that is being opened, or NULL: the shipped one
    ZtView         *view[ZT_LANES];
    zt_prompt_box  *prompt;
    zt_steer       *steer;
    zt_timing      *timing;
    zt_models      *models;
    zt_compare     *compare;
    zt_files       *files;
    zt_share       *share;
    zt_fullscreen  *fullscreen;
    struct zt_look *look;
    struct zt_transport *transport;
    char           *notice;     // what to say once a model is open, or NULL
    guint           busy;       // timer: shown when it takes longer
    guint           folding;    // idle: the panel opens or closes
    guint           retry;      // timer
    int             retries;
    zt_tally        tally;
} zt_preview;

// A widget of the window, by its id.
#define ZT_WIDGET(p, id) GTK_WIDGET(gtk_builder_get_object((p)->ui, id))

// window.c
void zt_window_create(zt_preview *p);
void zt_window_destroy(zt_preview *p);          // after it was closed
void zt_window_open_model(zt_preview *p, const char *path);     // NULL: the shipped one
void zt_window_start(zt_preview *p);            // sessions anew, as the settings say
void zt_window_start_from(zt_preview *p, const char *picture);     // a file's name
void zt_window_toast(zt_preview *p, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
void zt_window_busy(zt_preview *p, const char *what);           // NULL: no more
void zt_window_page(zt_preview *p, const char *name);           // opens the panel at it
// Where recordings and pictures go: a new name in the user's folder; the caller frees. NULL: said why not.
char *zt_window_new_file(zt_preview *p, GUserDirectory folder, const char *suffix);

// prompt.c: entry, suggestions, the model's words
zt_prompt_box *zt_prompt_box_create(zt_preview *p);
void zt_prompt_box_destroy(zt_prompt_box **b);
void zt_prompt_box_model(zt_prompt_box *b);     // there is another model
void zt_prompt_box_set(zt_prompt_box *b, const char *text);     // as if it had been typed and shown
void zt_prompt_box_focus(zt_prompt_box *b);

// steer.c: keys, dragging, gamepads
zt_steer *zt_steer_create(zt_preview *p);
void zt_steer_destroy(zt_steer **s);
void zt_steer_model(zt_steer *s);
void zt_steer_again(zt_steer *s);               // there is a new session: hint at the keys

// look.c: the panel's settings
struct zt_look *zt_look_create(zt_preview *p);
void zt_look_destroy(struct zt_look **l);
void zt_look_model(struct zt_look *l);

// transport.c: play, pause, stop, restart, replay
struct zt_transport *zt_transport_create(zt_preview *p);
void zt_transport_destroy(struct zt_transport **t);
void zt_transport_started(struct zt_transport *t);
void zt_transport_stopped(struct zt_transport *t);
void zt_transport_leave(struct zt_transport *t);        // a replay, if there is one: something else begins
// The first lane's; is it to be shown?
bool zt_transport_shot(struct zt_transport *t, const zt_shot *s, const zt_frame *f);
bool zt_transport_is_live(const struct zt_transport *t);

// files.c: recordings, pictures, session logs
zt_files *zt_files_create(zt_preview *p);
void zt_files_destroy(zt_files **f);            // what is being recorded is finished
void zt_files_started(zt_files *f, int w, int h, int fps);
void zt_files_tick(zt_files *f);                // now and then
const char *zt_files_log(const zt_files *f);    // where the session is written down

// compare.c: two sessions side by side
zt_compare *zt_compare_create(zt_preview *p);
void zt_compare_destroy(zt_compare **c);
int  zt_compare_takes(const zt_compare *c, zt_take take[ZT_LANES]);     // from the first makes the second: returns how many
void zt_compare_started(zt_compare *c);
void zt_compare_shot(zt_compare *c, int lane, const zt_shot *s);
bool zt_compare_is_on(const zt_compare *c);
char *zt_compare_badge(const zt_compare *c);    // of the first picture; the caller frees; NULL: nothing is compared

// share.c: others watch and steer
zt_share *zt_share_create(zt_preview *p);
void zt_share_destroy(zt_share **s);
void zt_share_started(zt_share *s);             // ends it when the pictures are other ones

// fullscreen.c
zt_fullscreen *zt_fullscreen_create(zt_preview *p);
void zt_fullscreen_destroy(zt_fullscreen **f);

// timing.c: the panel's plot and counts
zt_timing *zt_timing_create(zt_preview *p);
void zt_timing_destroy(zt_timing **t);
void zt_timing_started(zt_timing *t);
void zt_timing_shot(zt_timing *t, int lane, const zt_shot *s);

#ifdef __cplusplus
}
#endif
