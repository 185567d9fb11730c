// SPDX-License-Identifier: Apache-2.0
// Prompts to rows of text, whichever way a model does it. A kind of encoder is one file and a line in texts.c.
#pragma once

#include "diffusion/config.h"
#include "diffusion/load.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_text_encoder zt_text_encoder;

// What an encoder may be made from.
typedef struct zt_text_source {
    zt_device       *d;
    const zt_config *c;
    zt_loader       *l;                 // the model's own weights
    const char      *path;              // a file or folder of its own; NULL: the model's
    const char      *folder;            // of the model, with its slash
} zt_text_source;

typedef struct zt_text_kind {
    const char *name;                   // "encoder" in config.json
    const char *files[8];               // names by which it is found beside a model that names none; NULL ends
    int       (*open)(zt_text_encoder *t, const zt_text_source *s);     // fills self and the numbers; 0 or -errno
    void      (*close)(zt_text_encoder *t);
    // Token ids of a prompt, at most t->max; how many there are. `ignored` (may be NULL) as zt_state_prompt() has it.
    int       (*parse)(zt_text_encoder *t, const char *text, int *id, char *ignored, size_t bytes);
    // rows f32 [n][width] of n ids. 0, -EINVAL or -ENOMEM; says so.
    int       (*rows)(zt_text_encoder *t, const int *id, int n, float *rows);
} zt_text_kind;

struct zt_text_encoder {
    const zt_text_kind *kind;           // NULL: none, every prompt has no rows
    void       *self;
    zt_device  *d;
    int         width, max;             // of rows; tokens of a prompt
    int         least;                  // tokens of a prompt that says nothing
    const char *default_prompt;
    int64_t     bytes, files;           // of weights: in memory, in files of its own
};

extern const zt_text_kind *const zt_texts[];            // NULL ends

// The encoder that the configuration names, or one whose file lies beside the model; kind stays NULL when there is none.
// 0, -EINVAL (logged), -ENOMEM, -ENOENT.
int  zt_text_open(zt_text_encoder *t, const zt_text_source *s);
void zt_text_close(zt_text_encoder *t);

#ifdef __cplusplus
}
#endif
