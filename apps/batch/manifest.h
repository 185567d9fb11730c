// SPDX-License-Identifier: Apache-2.0
// Manifests: what to render, one clip a line. Nothing in them is guessed.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ZT_CLIP_ID 100          // bytes of an id at most

// Zero is what the line did not say.
typedef struct zt_clip {
    int         line;           // in the file, from 1
    char        id[ZT_CLIP_ID + 1];     // of A-Z a-z 0-9 _ -
    const char *prompt;         // of frame 0; NULL: replay
    const char *replay;         // a session's log, or NULL
    const char *model;          // a directory, or NULL: the command line's
    const char *format;         // "mp4" "mkv" "webm" "mov" "y4m" "png"; never NULL
    const char *codec;          // as zt_stream_params; NULL: the format's own, or none
    uint64_t    seed;
    int64_t     frames;         // 0: ten seconds
    int64_t     bitrate;        // bits/s; 0: crf rules
    int         w, h;           // of the output
    int         fps, steps;
    int         crf;            // as zt_stream_params: 0 the codec's usual, -1 is 0
    int         precision;      // index into zt_precision_names
    bool        sheet;          // a contact sheet beside it
    uint64_t    key;            // of everything the line says, however it is spaced
    zt_event   *event;          // by frame: prompts, controls and events of the line
    int         events;
    void       *root;           // what the strings point into
} zt_clip;

typedef struct zt_manifest {
    zt_clip *clip;
    int      n;
} zt_manifest;

// Returns 0, or an exit code: 66 (missing), 65 (content: said with its line), 69 (memory).
int  zt_manifest_read(zt_manifest *out, const char *path);
int  zt_manifest_parse(zt_manifest *out, const char *name, char *text, size_t bytes);   // writes into text
void zt_manifest_free(zt_manifest *m);      // takes a zeroed one
// One line's object; nothing is logged. NULL, or what is wrong with it, in `wrong`. Frees nothing; zt_clip_finish().
const char *zt_clip_parse(zt_clip *out, const char *text, char *wrong, size_t bytes);
void zt_clip_finish(zt_clip *c);
// What only the model can tell: its controls, the order of events. NULL, or what is wrong (as above); settle: 0, 65 or 69
// (logged with the line).
const char *zt_clip_bind(zt_clip *c, const zt_model *m, char *wrong, size_t bytes);
int  zt_clip_settle(zt_clip *c, const char *name, const zt_model *m);

#ifdef __cplusplus
}
#endif
