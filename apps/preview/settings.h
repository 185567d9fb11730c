// SPDX-License-Identifier: Apache-2.0
// What the preview remembers from one run to the next: $XDG_CONFIG_HOME/zoetrope/preview.ini.
#pragma once

#include <glib.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ZT_HISTORY 30           // prompts

enum zt_scheme { ZT_SCHEME_SYSTEM, ZT_SCHEME_LIGHT, ZT_SCHEME_DARK, ZT_SCHEMES };

typedef struct zt_settings {
    char    *model;             // path, or NULL: the shipped one
    char    *prompt;            // the latest, or NULL
    guint64  seed;
    int      steps, fps;        // 0: the model's own
    int      times;             // size of pictures, 1..4
    int      compare;           // 0: seeds, 1: steps
    guint64  other_seed;        // of the second picture, when they are compared
    int      other_steps;       // 1..64
    gboolean panel;             // open
    char    *page;              // of the panel
    int      width, height;     // of the window
    gboolean maximized;
    int      scheme;            // enum zt_scheme
    gboolean network;           // sharing: others on the network may watch
    char    *history[ZT_HISTORY];   // prompts, the latest first; NULL ends them
} zt_settings;

// What cannot be read has its default.
void zt_settings_load(zt_settings *s);
void zt_settings_save(const zt_settings *s);
void zt_settings_finish(zt_settings *s);
// Puts a prompt in front of the history, once.
void zt_settings_remember(zt_settings *s, const char *prompt);

#ifdef __cplusplus
}
#endif
