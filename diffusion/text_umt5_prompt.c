// SPDX-License-Identifier: Apache-2.0
// UMT5 as a model's text encoder: its tokenizer and its weights, found where publishers of Wan models put them.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/base.h"
#include "base/log.h"
#include "diffusion/text.h"
#include "diffusion/text_cache.h"
#include "diffusion/text_umt5.h"
#include "diffusion/tokenizer.h"

struct umt5 {
    zt_umt5       net;
    zt_tokenizer *tokens;
};

static int open_tokens(struct umt5 *u, const char *folder)
{
    static const char *const names[] = { "google/umt5-xxl/spiece.model", "tokenizer/spiece.model", "../tokenizer/spiece.model",
                                         "spiece.model" };
    char path[4096];
    for (size_t i = 0; i < ZT_LEN(names); i++) {
        const int n = snprintf(path, sizeof(path), "%s%s", folder, names[i]);
        if (n > 0 && n < (int)sizeof(path) && access(path, F_OK) == 0)
            return zt_tokenizer_open(&u->tokens, path);
    }
    zt_error("%s: a text encoder, but no tokenizer: %s is missing", folder[0] ? folder : ".", names[0]);
    return -ENOENT;
}

static int open_umt5(zt_text_encoder *t, const zt_text_source *s)
{
    struct umt5 *const u = calloc(1, sizeof(*u));
    if (!u)
        return -ENOMEM;
    t->self = u;
    if (!s->path) {
        zt_error("the configuration asks for the text encoder \"umt5\", but its file is not there");
        return -ENOENT;
    }
    int err = open_tokens(u, s->folder);
    if (!err)
        err = zt_umt5_open(&u->net, s->d, s->path, s->l->block);
    if (!err && zt_tokenizer_pieces(u->tokens) > u->net.vocabulary) {
        zt_error("%s: the tokenizer knows %d pieces, the text encoder %d", s->path, zt_tokenizer_pieces(u->tokens),
                 u->net.vocabulary);
        err = -EINVAL;
    }
    t->width = u->net.dim;
    t->max = s->c->text_len;
    t->least = 1;                       // the end token
    t->bytes = u->net.memory.bytes;
    t->files = u->net.memory.files;
    if (!t->default_prompt[0])
        t->default_prompt = "a slow flight over snowy mountains at sunset";
    return err;
}

static void close_umt5(zt_text_encoder *t)
{
    struct umt5 *const u = t->self;
    zt_umt5_finish(&u->net);
    zt_tokenizer_close(&u->tokens);
    free(u);
}

static int parse(zt_text_encoder *t, const char *text, int *id, char *ignored, size_t bytes)
{
    struct umt5 *const u = t->self;
    (void)ignored, (void)bytes;         // every word has tokens
    return ZT_MAX(zt_tokenizer_encode(u->tokens, text, id, t->max), 0);
}

static int rows(zt_text_encoder *t, const int *id, int n, float *to)
{
    struct umt5 *const u = t->self;
    const uint64_t key = zt_umt5_key(&u->net, id, n);
    if (zt_text_cache_get(key, id, n, u->net.dim, to) == 0)
        return 0;
    const int err = zt_umt5_encode(&u->net, id, n, to);
    if (!err)
        zt_text_cache_put(key, id, n, u->net.dim, to);
    return err;
}

extern const zt_text_kind zt_text_umt5;
const zt_text_kind zt_text_umt5 = {
    .name = "umt5",
    .files = { "models_t5_umt5-xxl-enc-bf16.safetensors", "models_t5_umt5-xxl-enc-bf16.pth", "umt5-xxl-enc-bf16.safetensors",
               "umt5_xxl.gguf", "text_encoder", "../text_encoder" },
    .open = open_umt5, .close = close_umt5, .parse = parse, .rows = rows,
};
