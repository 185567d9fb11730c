// SPDX-License-Identifier: Apache-2.0
// Writes safetensors files: as OUT.part, then renamed.
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

static int write_all(FILE *f, const zt_weight *w, int n)
{
    char *header = NULL;
    size_t bytes = 0, at = 0;
    FILE *const text = open_memstream(&header, &bytes);
    if (!text)
        return ENOMEM;
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
        return ENOMEM;
    }
    const uint64_t length = bytes;
    fwrite(&length, sizeof(length), 1, f);
    fwrite(header, 1, bytes, f);
    free(header);
    for (int i = 0; i < n; i++)
        fwrite(w[i].data, 1, w[i].bytes, f);
    return fflush(f) != 0 || ferror(f) ? (errno ? errno : EIO) : 0;
}

int zt_weights_write(const char *path, const zt_weight *w, int n)
{
    char part[4096];
    if (snprintf(part, sizeof(part), "%s.part", path) >= (int)sizeof(part)) {
        zt_error("%s: %s", path, strerror(ENAMETOOLONG));
        return -ENAMETOOLONG;
    }
    FILE *const f = fopen(part, "wbe");
    int err = f ? write_all(f, w, n) : errno;
    if (f && !err && fsync(fileno(f)) < 0)
        err = errno;
    if (f && fclose(f) != 0 && !err)
        err = errno;
    if (!err && rename(part, path) < 0)
        err = errno;
    if (err)
        zt_error("%s: %s", path, strerror(err));
    return -err;
}
