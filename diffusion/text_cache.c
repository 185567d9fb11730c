// SPDX-License-Identifier: Apache-2.0
// The cache of encoded prompts.
#include "diffusion/text_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "base/log.h"
#include "diffusion/weights.h"

enum { PATH_BYTES = 4096, FILE_MAX = 64 << 20, KEPT = 256 };

// Makes the folders when `make`. False when there is no place for them.
static bool find_folder(char *out, bool make)
{
    const char *const names[] = { getenv("ZOETROPE_CACHE"), getenv("XDG_CACHE_HOME"), getenv("HOME") };
    static const char *const below[] = { "", "/zoetrope", "/.cache/zoetrope" };
    for (size_t i = 0; i < ZT_LEN(names); i++) {
        if (!names[i] || names[i][0] != '/')
            continue;
        if (snprintf(out, PATH_BYTES, "%s%s/text", names[i], below[i]) >= PATH_BYTES)
            return false;
        for (char *at = out + 1; make && (at = strchr(at, '/')) != NULL; at++) {
            *at = 0;
            mkdir(out, 0777);                   // it may be there
            *at = '/';
        }
        return !make || mkdir(out, 0700) == 0 || errno == EEXIST;
    }
    return false;
}

static bool find_file(char *path, bool make, uint64_t encoder, const int32_t *id, int n)
{
    char folder[PATH_BYTES];
    const uint64_t ids = zt_hash(encoder, id, (size_t)n * sizeof(*id));
    return find_folder(folder, make)
        && snprintf(path, PATH_BYTES, "%s/%016" PRIx64 "%016" PRIx64 ".safetensors", folder, encoder, ids) < PATH_BYTES;
}

int zt_text_cache_get(uint64_t encoder, const int32_t *id, int n, int width, float *rows)
{
    char path[PATH_BYTES];
    void *bytes = NULL;
    size_t size;
    zt_weights *w = NULL;
    if (!find_file(path, false, encoder, id, n) || zt_file_read(&bytes, &size, path, FILE_MAX) < 0)
        return -ENOENT;
    int err = zt_weights_parse(&w, bytes, size, path) < 0 ? -ENOENT : 0;
    const zt_weight *const i = err ? NULL : zt_weights_find(w, "ids"), *const r = err ? NULL : zt_weights_find(w, "rows");
    if (!i || !r || i->type != ZT_I32 || i->elements != n || memcmp(i->data, id, (size_t)n * sizeof(*id)) != 0
        || r->type != ZT_F32 || r->coding != ZT_PLAIN || r->rank != 2 || r->shape[0] != n || r->shape[1] != width)
        err = -ENOENT;
    if (!err) {
        zt_weight_read(r, 0, r->elements, rows);
        utimensat(AT_FDCWD, path, NULL, 0);             // it is in use
    }
    zt_weights_close(&w);
    free(bytes);
    return err;
}

// Of KEPT files or more the one that was not asked for longest goes: strangers' prompts must not fill a server's disk.
static void make_room(void)
{
    char folder[PATH_BYTES], name[PATH_BYTES + 300], oldest[PATH_BYTES + 300];
    struct timespec then = { 0 };
    int n = 0;
    DIR *const dir = find_folder(folder, false) ? opendir(folder) : NULL;
    for (struct dirent *e; dir && (e = readdir(dir)) != NULL;) {
        struct stat st;
        snprintf(name, sizeof(name), "%s/%s", folder, e->d_name);
        if (!strstr(e->d_name, ".safetensors") || stat(name, &st) < 0)
            continue;
        if (n++ == 0 || st.st_mtim.tv_sec < then.tv_sec
            || (st.st_mtim.tv_sec == then.tv_sec && st.st_mtim.tv_nsec < then.tv_nsec)) {
            then = st.st_mtim;
            strcpy(oldest, name);
        }
    }
    if (dir)
        closedir(dir);
    if (n >= KEPT)
        unlink(oldest);
}

int zt_text_cache_put(uint64_t encoder, const int32_t *id, int n, int width, const float *rows)
{
    char path[PATH_BYTES], mine[PATH_BYTES + 32];
    if (!find_file(path, true, encoder, id, n))
        return -ENOENT;
    make_room();
    const zt_weight w[] = {
        { .name = "ids", .dtype = "I32", .rank = 1, .shape = { n }, .data = id, .bytes = (size_t)n * sizeof(*id) },
        { .name = "rows", .dtype = "F32", .rank = 2, .shape = { n, width }, .data = rows,
          .bytes = (size_t)n * (size_t)width * sizeof(*rows) },
    };
    snprintf(mine, sizeof(mine), "%s.%d", path, (int)getpid());         // two processes may write the same one
    int err = access(path, F_OK) == 0 ? 0 : zt_weights_write(mine, w, 2);
    if (!err && access(path, F_OK) < 0 && rename(mine, path) < 0)
        err = -errno;
    return err;
}
