// SPDX-License-Identifier: Apache-2.0
// Prompt to tokens by a sorted table; tokens to rows.
#include "diffusion/text_words.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "diffusion/text.h"

int zt_words_load(zt_words *w, const zt_text_config *c, zt_loader *l)
{
    w->c = c;
    const int err = zt_load_floats(l, &w->embedding, "words.embedding.weight", 2,
                                   (const int64_t[]){ c->tokens, c->text_dim });
    return err ? err : zt_load_linear(l, &w->mix, ZT_F32, c->text_dim, c->text_dim, "words.mix");
}

static int by_text(const void *a, const void *b)
{
    return strcmp(((const zt_word *)a)->text, ((const zt_word *)b)->text);
}

// Words that say nothing about the picture.
static bool is_stop_word(const char *word)
{
    static const char *const list[] = {
        "a", "above", "across", "along", "an", "and", "are", "around", "as", "at", "be", "below", "by", "during", "for",
        "from", "has", "in", "into", "is", "it", "its", "near", "of", "on", "or", "over", "some", "that", "the",
        "there", "through", "to", "towards", "under", "very", "while", "with",
    };
    for (size_t i = 0; i < ZT_LEN(list); i++) {
        if (strcmp(list[i], word) == 0)
            return true;
    }
    return false;
}

static bool is_letter(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '\''
        || c >= 0x80;
}

// The next word, ASCII letters in lower case; over-long ones are cut and so match nothing. False at the end.
static bool next_word(const char **at, char word[ZT_WORD_BYTES])
{
    const char *p = *at;
    int n = 0;
    while (*p && !is_letter((unsigned char)*p))
        p++;
    for (; is_letter((unsigned char)*p) && n < ZT_WORD_BYTES - 1; p++)
        word[n++] = *p >= 'A' && *p <= 'Z' ? (char)(*p + 'a' - 'A') : *p;
    const char *const cut = p;
    while (is_letter((unsigned char)*p))
        p++;
    if (((unsigned char)*cut & 0xc0) == 0x80) { // never half a UTF-8 sequence
        while (n > 0 && ((unsigned char)word[n - 1] & 0xc0) == 0x80)
            n--;
        n -= n > 0;
    }
    word[n] = 0;
    *at = p;
    return n > 0;
}

static void note(char *list, size_t bytes, const char *word)
{
    const size_t used = strlen(list), n = strlen(word);
    for (const char *p = list; (p = strstr(p, word)) != NULL; p++) {
        if ((p == list || p[-1] == ' ') && (p[n] == ' ' || !p[n]))
            return;
    }
    if (used + n + 2 > bytes)
        return;
    if (used)
        strcat(list, " ");
    strcat(list, word);
}

int zt_words_parse(const zt_text_config *c, const char *text, int *id, char *ignored, size_t bytes)
{
    int n = 0;
    id[n++] = 0;
    if (bytes > 0 && ignored)
        ignored[0] = 0;
    zt_word word = { .token = 0 };
    while (next_word(&text, word.text)) {
        const zt_word *const known = bsearch(&word, c->word, (size_t)c->n, sizeof(*c->word), by_text);
        if (!known) {
            if (ignored && bytes > 0 && !is_stop_word(word.text))
                note(ignored, bytes, word.text);
            continue;
        }
        int i = 0;
        while (i < n && id[i] != known->token)
            i++;
        if (i == n && n < c->max_tokens)
            id[n++] = known->token;
    }
    return n;
}

int zt_words_complete(const zt_text_config *c, int *id, int n)
{
    for (int g = 0; g < c->n_usual && n < c->max_tokens; g++) {
        int i = 0;
        while (i < n && (id[i] < c->group[g].first || id[i] > c->group[g].last))
            i++;
        if (i == n)
            id[n++] = c->usual[g];
    }
    return n;
}

void zt_words_rows(const zt_words *w, zt_device *d, const int *id, int n, float *rows, float *mean, float *mixed)
{
    const int width = w->c->text_dim;
    for (int j = 0; j < width; j++) {
        double sum = 0;
        for (int i = 0; i < n; i++)
            sum += w->embedding[(size_t)id[i] * (size_t)width + (size_t)j];
        mean[j] = (float)(sum / n);
    }
    d->k.linear(d, zt_tensor_2d(mixed, ZT_F32, 1, width), zt_tensor_2d(mean, ZT_F32, 1, width), &w->mix,
                &(zt_epilogue){ .act = ZT_ACT_SILU });
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < width; j++)
            rows[i * width + j] = w->embedding[(size_t)id[i] * (size_t)width + (size_t)j] + mixed[j];
    }
}

// The encoder with room for mean and mixed rows.
struct words {
    zt_words w;
    float   *spare;                     // [2][text_dim]
};

static int open_words(zt_text_encoder *t, const zt_text_source *s)
{
    const zt_text_config *const c = &s->c->text;
    struct words *const own = calloc(1, sizeof(*own));
    t->self = own;
    if (!own)
        return -ENOMEM;
    t->width = c->text_dim;
    t->max = c->max_tokens;
    t->least = 1;                       // token 0
    own->spare = zt_device_alloc(s->d, 2 * (size_t)c->text_dim * sizeof(float));
    return own->spare ? zt_words_load(&own->w, c, s->l) : -ENOMEM;
}

static void close_words(zt_text_encoder *t)
{
    struct words *const own = t->self;
    zt_device_free(t->d, own->spare);
    free(own);
}

static int parse_words(zt_text_encoder *t, const char *text, int *id, char *ignored, size_t bytes)
{
    const struct words *const own = t->self;
    return zt_words_parse(own->w.c, text, id, ignored, bytes);
}

static int words_to_rows(zt_text_encoder *t, const int *id, int n, float *rows)
{
    const struct words *const own = t->self;
    zt_words_rows(&own->w, t->d, id, n, rows, own->spare, own->spare + t->width);
    return 0;
}

extern const zt_text_kind zt_text_words;
const zt_text_kind zt_text_words = {
    .name = "words", .open = open_words, .close = close_words, .parse = parse_words, .rows = words_to_rows,
};
