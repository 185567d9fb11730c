// SPDX-License-Identifier: Apache-2.0
// Reads manifests line by line.
#include "apps/batch/manifest.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "apps/exits.h"
#include "base/base.h"
#include "base/log.h"

#define MAX_BYTES ((size_t)1 << 30)
#define MAX_LINE  ((size_t)1 << 20)
#define MAX_CLIPS 1000000

static int bad(const char *name, int line, const char *wrong)
{
    zt_error("%s: line %d: %s", name, line, wrong);
    return ZT_EXIT_DATA;
}

static int no_memory(const char *name)
{
    zt_error("%s: not enough memory", name);
    return ZT_EXIT_UNAVAILABLE;
}

static zt_clip *append(zt_manifest *m)
{
    if ((m->n & (m->n - 1)) == 0) {
        zt_clip *more = realloc(m->clip, (size_t)ZT_MAX(2 * m->n, 1) * sizeof(*more));
        if (!more)
            return NULL;
        m->clip = more;
    }
    m->clip[m->n] = (zt_clip){ 0 };
    return &m->clip[m->n++];
}

// `line` ends with a zero that its `bytes` do not count.
static int read_line(zt_manifest *m, const char *name, int number, char *line, size_t bytes)
{
    char wrong[200];
    while (bytes && strchr(" \t\r", line[bytes - 1]))
        line[--bytes] = 0;
    if (!bytes)
        return 0;
    if (bytes > MAX_LINE)
        return bad(name, number, "longer than 1 MiB");
    if (strlen(line) != bytes)
        return bad(name, number, "a zero byte");
    if (m->n == MAX_CLIPS)
        return bad(name, number, "more than 1000000 clips");
    zt_clip *c = append(m);
    if (!c)
        return no_memory(name);
    const char *what = zt_clip_parse(c, line, wrong, sizeof(wrong));
    c->line = number;
    return what ? bad(name, number, what) : 0;
}

static int by_id(const void *left, const void *right)
{
    const zt_clip *a = *(const zt_clip *const *)left, *b = *(const zt_clip *const *)right;
    const int order = strcmp(a->id, b->id);
    return order ? order : a->line - b->line;
}

// The first line whose id an earlier one has.
static int check_ids(const zt_manifest *m, const char *name)
{
    const zt_clip **p = malloc((size_t)ZT_MAX(m->n, 1) * sizeof(zt_clip *)), *again = NULL, *first = NULL;
    if (!p)
        return no_memory(name);
    for (int i = 0; i < m->n; i++)
        p[i] = &m->clip[i];
    qsort(p, (size_t)m->n, sizeof(*p), by_id);
    for (int i = 1, start = 0; i < m->n; i++) {
        if (strcmp(p[i]->id, p[start]->id)) {
            start = i;
        } else if (!again || p[i]->line < again->line) {
            again = p[i];
            first = p[start];
        }
    }
    free(p);
    if (!again)
        return 0;
    zt_error("%s: line %d: \"id\": \"%s\" is the id of line %d", name, again->line, again->id, first->line);
    return ZT_EXIT_DATA;
}

int zt_manifest_parse(zt_manifest *out, const char *name, char *text, size_t bytes)
{
    zt_manifest m = { 0 };
    int code = 0, number = 1;
    for (char *at = text, *end = text + bytes; !code && at < end; number++) {
        char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop ? stop : end;
        *stop = 0;
        code = read_line(&m, name, number, at, (size_t)(stop - at));
        at = stop + 1;
    }
    if (!code && !m.n) {
        zt_error("%s: no clips", name);
        code = ZT_EXIT_DATA;
    }
    if (!code)
        code = check_ids(&m, name);
    if (code)
        zt_manifest_free(&m);
    else
        *out = m;
    return code;
}

int zt_manifest_read(zt_manifest *out, const char *path)
{
    void *text = NULL;
    size_t bytes = 0;
    const int err = zt_file_read(&text, &bytes, path, MAX_BYTES);
    if (err < 0) {
        zt_error("%s: %s", path, strerror(-err));
        return zt_exit_input(err);
    }
    const int code = zt_manifest_parse(out, path, text, bytes);
    free(text);
    return code;
}

void zt_manifest_free(zt_manifest *m)
{
    for (int i = 0; i < m->n; i++)
        zt_clip_finish(&m->clip[i]);
    free(m->clip);
    *m = (zt_manifest){ 0 };
}
