// SPDX-License-Identifier: Apache-2.0
// The prompt of a stream: its tokens, and their keys and values in two sets that take turns; the negative prompt.
#include <math.h>
#include <string.h>

#include "base/base.h"
#include "diffusion/internal.h"
#include "diffusion/text_words.h"

int zt_state_prompt(zt_state *s, const char *text, char *ignored, size_t bytes)
{
    zt_text_encoder *const t = &s->m->text;
    if (ignored && bytes > 0)
        ignored[0] = 0;
    s->embedding = 0;
    s->n_prompt = 0;
    if (!t->kind)
        return 0;
    const int n = t->kind->parse(t, text ? text : "", s->prompt, ignored, bytes);
    // the default prompt's own unknown words are nobody's business
    s->n_prompt = n > t->least ? n : t->kind->parse(t, t->default_prompt, s->prompt, NULL, 0);
    s->n_prompt = zt_words_complete(&s->m->c.text, s->prompt, s->n_prompt);
    return ZT_MAX(n - t->least, 0);
}

void zt_state_embedding(zt_state *s, const float *rows, int n)
{
    const zt_model *const m = s->m;
    s->n_prompt = ZT_MIN(n, m->max_text);
    memcpy(s->rows, rows, (size_t)s->n_prompt * (size_t)m->dit.text_dim * sizeof(*rows));
    s->embedding = ++s->embeddings;
}

static bool is_current(const zt_state *s, const struct zt_text *t)
{
    if (!t->set || t->embedding != s->embedding || t->n != s->n_prompt)
        return false;
    return s->embedding || memcmp(t->id, s->prompt, (size_t)t->n * sizeof(int)) == 0;
}

// Rows of the next frame's prompt; a zero row stands for all that pad it. Returns their number.
static int make_rows(zt_state *s, const struct zt_text *t)
{
    zt_model *const m = s->m;
    const size_t width = (size_t)m->dit.text_dim;
    int n = t->n;
    zt_device_wait(m->d);
    if (s->embedding)
        memcpy(m->text_rows, s->rows, (size_t)n * width * sizeof(float));
    else if (n > 0 && m->text.kind->rows(&m->text, t->id, n, m->text_rows) < 0)
        n = 0;                          // said; the frame goes on without words
    if (n < m->padded_text)
        memset(m->text_rows + (size_t)n++ * width, 0, width * sizeof(float));
    return n;
}

// The keys and values of n rows, in m->text_rows, for each transformer.
static void set_keys(zt_state *s, struct zt_text *t, int n)
{
    zt_model *const m = s->m;
    for (int net = 0; net < m->nets; net++) {
        zt_cache *const cache = &t->cache[net];
        zt_device_clear(m->d, cache->memory, (size_t)cache->bytes);     // padding is zero
        for (int i = 0; i < cache->layers; i++) {
            cache->kv[i].valid = n;
            cache->kv[i].keys = (int)zt_round_up(n, 16);
        }
        // its room was made when the model was opened
        zt_dit_text(zt_model_dit(m, net, false), cache->kv, m->text_rows, n, net ? NULL : t->mean);
    }
    // The rows that pad a text are alike, and so are their keys: one of them, as heavy as all (their sum of exponentials
    // is one exponential, times their number).
    t->biased = m->padded_text > n;
    for (int i = 0; i < n; i++)
        t->bias[i] = i == n - 1 && t->biased ? logf((float)(m->padded_text - n + 1)) : 0;
}

int zt_state_text_for(zt_state *s, int current)
{
    if (is_current(s, &s->text[current]))
        return current;
    struct zt_text *const t = &s->text[!current];
    t->set = true;
    t->embedding = s->embedding;
    t->n = s->n_prompt;
    memcpy(t->id, s->prompt, (size_t)t->n * sizeof(int));
    set_keys(s, t, make_rows(s, t));
    return !current;
}

void zt_state_text_against(zt_state *s)
{
    zt_text_encoder *const e = &s->m->text;
    struct zt_text *const t = &s->negative;
    t->n = e->kind ? e->kind->parse(e, s->m->c.negative_prompt, t->id, NULL, 0) : 0;
    set_keys(s, t, make_rows(s, t));
}
