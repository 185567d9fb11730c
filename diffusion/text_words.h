// SPDX-License-Identifier: Apache-2.0
// The text encoder of models that know a list of words.
#pragma once

#include "diffusion/config.h"
#include "diffusion/load.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_words {
    const zt_text_config *c;
    const float *embedding;     // [tokens][text_dim]
    zt_matrix    mix;
} zt_words;

int zt_words_load(zt_words *w, const zt_text_config *c, zt_loader *l);

// Token ids of a prompt, distinct, in order of appearance, token 0 first; at most c->max_tokens. Returns how many there
// are, token 0 included. `ignored` (may be NULL) gets the unknown words, each once, separated by spaces, without those
// that do not fit; articles, prepositions and the like are passed over.
int zt_words_parse(const zt_text_config *c, const char *text, int *id, char *ignored, size_t bytes);

// Adds to n ids the usual token of each group that none of them is of, as long as there is room; the new number.
int zt_words_complete(const zt_text_config *c, int *id, int n);

// rows [n][text_dim], mean and mixed [text_dim]: the caller's device memory.
void zt_words_rows(const zt_words *w, zt_device *d, const int *id, int n, float *rows, float *mean, float *mixed);

#ifdef __cplusplus
}
#endif
