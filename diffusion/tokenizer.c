// SPDX-License-Identifier: Apache-2.0
// The parent and the child of a tokenizer: a text there, ids back.
#include "diffusion/tokenizer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "diffusion/apart.h"
#include "diffusion/spiece.h"

enum { CLEAN_MAX = 2 * ZT_PROMPT_MAX, TOKENS_MAX = 1 << 16 };
static const int64_t patience = 20 * ZT_S;

struct zt_tokenizer {
    zt_apart a;
    char    *path;
    int      pieces;
    char     clean[CLEAN_MAX];
    int32_t  id[TOKENS_MAX];
};

struct model {
    void  *bytes;
    size_t n;
    const char *path;
};

// ---- in the child

static int answer(const zt_spiece *s, int fd, char *text, int *id)
{
    uint32_t n;
    while (zt_apart_get(fd, &n, sizeof(n)) == 0) {
        if (n > CLEAN_MAX || zt_apart_get(fd, text, n) < 0)
            return -EINVAL;
        const int32_t count = zt_spiece_encode(s, text, n, id, TOKENS_MAX);
        if (zt_apart_put(fd, &count, sizeof(count)) < 0
            || (count > 0 && zt_apart_put(fd, id, (size_t)ZT_MIN(count, TOKENS_MAX) * sizeof(*id)) < 0))
            return -EPIPE;
    }
    return 0;
}

static int serve(void *cookie, int fd)
{
    const struct model *const m = cookie;
    zt_spiece *const s = zt_spiece_open(m->bytes, m->n);
    const int32_t pieces = s ? zt_spiece_pieces(s) : 0;
    if (!s) {
        zt_error("%s: not a sentencepiece model", m->path);
        return -EINVAL;
    }
    char *const text = malloc(CLEAN_MAX);
    int *const id = malloc(TOKENS_MAX * sizeof(*id));
    int err = text && id ? zt_apart_put(fd, &pieces, sizeof(pieces)) : -ENOMEM;
    if (!err)
        err = answer(s, fd, text, id);
    free(text);
    free(id);
    zt_spiece_close(s);
    return err;
}

// ---- in the parent

static int start(zt_tokenizer *t, const char *path)
{
    struct model m = { .path = path };
    int32_t pieces;
    int err = zt_file_read(&m.bytes, &m.n, path, ZT_TOKENIZER_MAX);
    if (err < 0) {
        zt_error("%s: %s", path, err == -EINVAL ? "not a file" : err == -EFBIG ? "more than 64 MiB" : strerror(-err));
        return err;
    }
    err = zt_apart_start(&t->a, serve, &m, t->path);
    free(m.bytes);                              // the child has its own
    if (!err && zt_apart_read(&t->a, &pieces, sizeof(pieces), patience) < 0) {
        err = zt_apart_finish(&t->a, ZT_S);
        return err ? err : -EINVAL;
    }
    if (!err && (pieces < 1 || pieces > 1 << 24)) {
        zt_error("%s: a sentencepiece model of %d pieces", path, pieces);
        err = -EINVAL;
    }
    t->pieces = err ? 0 : pieces;
    return err;
}

int zt_tokenizer_open(zt_tokenizer **out, const char *path)
{
    if (!zt_spiece_here()) {
        zt_error("%s: this build has no sentencepiece (package libsentencepiece-dev)", path);
        return -ENOTSUP;
    }
    zt_tokenizer *t = calloc(1, sizeof(*t));
    if (t)
        t->path = strdup(path);
    int err = t && t->path ? start(t, path) : -ENOMEM;
    if (err)
        zt_tokenizer_close(&t);
    else
        *out = t;
    return err;
}

void zt_tokenizer_close(zt_tokenizer **t)
{
    if (!*t)
        return;
    zt_apart_finish(&(*t)->a, ZT_S);
    free((*t)->path);
    free(*t);
    *t = NULL;
}

int zt_tokenizer_pieces(const zt_tokenizer *t)
{
    return t->pieces;
}

static int fail(zt_tokenizer *t)
{
    if (zt_apart_finish(&t->a, 0) == 0)
        zt_error("%s: the tokenizer does not answer", t->path);
    return -EINVAL;
}

int zt_tokenizer_encode(zt_tokenizer *t, const char *text, int32_t *id, int max)
{
    const size_t bytes = strlen(text);
    if (bytes > ZT_PROMPT_MAX || zt_prompt_clean(text, t->clean, sizeof(t->clean)) < 0) {
        zt_error("a prompt is %s", bytes > ZT_PROMPT_MAX ? "longer than 64 KiB" : "not UTF-8");
        return -EINVAL;
    }
    const uint32_t n = (uint32_t)strlen(t->clean);
    int32_t count;
    if (!t->a.pid || zt_apart_write(&t->a, &n, sizeof(n), patience) < 0 || zt_apart_write(&t->a, t->clean, n, patience) < 0
        || zt_apart_read(&t->a, &count, sizeof(count), patience) < 0)
        return fail(t);
    const int sent = ZT_MIN(count, TOKENS_MAX);
    if (count < 0 || zt_apart_read(&t->a, t->id, (size_t)sent * sizeof(*t->id), patience) < 0)
        return fail(t);
    const int kept = ZT_MIN(sent, max - 1);
    for (int i = 0; i < kept; i++) {
        if (t->id[i] < 0 || t->id[i] >= t->pieces)
            return fail(t);
        id[i] = t->id[i];
    }
    id[kept] = ZT_TOKEN_END;
    return kept + 1;
}
