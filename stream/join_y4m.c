// SPDX-License-Identifier: Apache-2.0
// Joins y4m files: the first one's header, and the pictures of all.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "stream/join.h"
#include "stream/part.h"

#define COPY ((size_t)1 << 20)

// The header's length with its newline, and a picture's bytes with its own; 0: not one of ours.
static size_t measure(const char *head, size_t bytes, size_t *picture)
{
    int w = 0, h = 0;
    const char *end = memchr(head, '\n', bytes);
    if (!end || sscanf(head, "YUV4MPEG2 W%d H%d", &w, &h) != 2 || w <= 0 || h <= 0)
        return 0;
    *picture = strlen("FRAME\n") + (size_t)w * (size_t)h * 3 / 2;
    return (size_t)(end - head) + 1;
}

static int add(zt_part *out, const char *path, bool first, char *buffer, int64_t *frames)
{
    FILE *f = fopen(path, "rbe");
    if (!f) {
        const int err = -errno;
        zt_error("%s: %s", path, strerror(-err));
        return err;
    }
    size_t n = fread(buffer, 1, COPY, f), picture = 0, total = 0;
    buffer[n] = 0;
    const size_t head = measure(buffer, n, &picture);
    int err = head ? 0 : -EBADMSG;
    for (size_t skip = first ? 0 : head; !err && n; skip = 0) {
        err = zt_part_write(out, buffer + skip, n - skip);
        total += n;
        n = fread(buffer, 1, COPY, f);
    }
    if (!err && (ferror(f) || (total - head) % picture))
        err = -EBADMSG;
    if (err == -EBADMSG)
        zt_error("%s: not whole pictures", path);
    else if (!err)
        *frames += (int64_t)((total - head) / picture);
    fclose(f);
    return err;
}

int zt_join_y4m(const zt_join_params *p, int64_t *frames)
{
    zt_part out;
    int64_t n = 0;
    char *buffer = malloc(COPY + 1);
    if (!buffer)
        return -ENOMEM;
    int err = zt_part_open(&out, p->url, p->overwrite);
    for (int i = 0; i < p->n && !err; i++)
        err = add(&out, p->part[i], i == 0, buffer, &n);
    if (!err)
        err = zt_part_commit(&out);
    zt_part_close(&out);
    free(buffer);
    if (!err)
        *frames = n;
    return err;
}
