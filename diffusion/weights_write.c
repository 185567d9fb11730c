// SPDX-License-Identifier: Apache-2.0
// Writes safetensors files: as OUT.part, then renamed.
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/log.h"
#include "diffusion/weights.h"

static void string(FILE *f, const char *s)
{
    fputc('"', f);
    for (; *s; s++) {
        if ((unsigned char)*s < 0x20) {
            fprintf(f, "\\u%04x", (unsigned)*s);
            continue;
        }
        if (*s == '"' || *s == '\\')
            fputc('\\', f);
        fputc(*s, f);
    }
    fputc('"', f);
}

// One entry of the header
static void entry(FILE *f, const zt_weight *w, size_t at)
{
    fputc(',', f);
    string(f, w->name);
    fprintf(f, ":{\"dtype\":\"%s\",\"shape\":[", w->dtype);
    for (int i = 0; i < w->rank; i++)
        fprintf(f, "%s%lld", i ? "," : "", (long long)w->shape[i]);
    fprintf(f, "],\"data_offsets\":[%zu,%zu]}", at, at + w->bytes);
}

static int write_header(FILE *f, const zt_weight *w, int n)
{
    char *header = NULL;
    size_t bytes = 0, at = 0;
    FILE *const text = open_memstream(&header, &bytes);
    if (!text)
        return -ENOMEM;
    fputs("{\"__metadata__\":{\"format\":\"pt\"}", text);
    for (int i = 0; i < n; i++) {
        entry(text, &w[i], at);
        at += w[i].bytes;
    }
    fputc('}', text);
    while (ftell(text) % 8)                     // data begins aligned
        fputc(' ', text);
    if (fclose(text) != 0) {
        free(header);
        return -ENOMEM;
    }
    const uint64_t length = bytes;
    fwrite(&length, sizeof(length), 1, f);
    fwrite(header, 1, bytes, f);
    free(header);
    return 0;
}

static int failure(FILE *f)
{
    return ferror(f) ? (errno ? -errno : -EIO) : 0;
}

static int write_all(FILE *f, const zt_weight *w, int n, zt_weights_fill_fn *fill, void *cookie)
{
    int err = write_header(f, w, n);
    for (int i = 0; i < n && !err; i++) {
        const long before = ftell(f);
        err = fill(cookie, i, f);
        if (!err)
            err = failure(f);
        assert(err || (size_t)(ftell(f) - before) == w[i].bytes);
    }
    if (!err && (fflush(f) != 0 || fsync(fileno(f)) < 0))
        err = errno ? -errno : -EIO;
    return err;
}

int zt_weights_write_by(const char *path, const zt_weight *w, int n, zt_weights_fill_fn *fill, void *cookie)
{
    char part[4096];
    if (snprintf(part, sizeof(part), "%s.part", path) >= (int)sizeof(part)) {
        zt_error("%s: %s", path, strerror(ENAMETOOLONG));
        return -ENAMETOOLONG;
    }
    errno = 0;
    FILE *const f = fopen(part, "wbe");
    int err = f ? write_all(f, w, n, fill, cookie) : -errno;
    if (f && fclose(f) != 0 && !err)
        err = -errno;
    if (!err && rename(part, path) < 0)
        err = -errno;
    if (err)
        zt_error("%s: %s", path, strerror(-err));
    return err;
}

static int copy(void *cookie, int i, FILE *f)
{
    const zt_weight *const w = cookie;
    fwrite(w[i].data, 1, w[i].bytes, f);
    return 0;
}

int zt_weights_write(const char *path, const zt_weight *w, int n)
{
    return zt_weights_write_by(path, w, n, copy, (void *)w);
}
