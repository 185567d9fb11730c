// SPDX-License-Identifier: Apache-2.0
// What survives the server: lines of the queue, and what zoetrope-render's files say.
#include "apps/serve/clips_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "base/log.h"

#define QUEUE ".queue.d"        // no id has a dot
#define MARK_BYTES (1 << 20)

static int said(const char *path, int err)
{
    zt_error("%s: %s", path, err == -EWOULDBLOCK ? "another server has it" : strerror(-err));
    return err;
}

int zt_store_open(const char *folder, int *lock)
{
    char path[ZT_FOLDER_PATH];
    if (mkdir(folder, 0777) < 0 && errno != EEXIST)
        return said(folder, -errno);
    snprintf(path, sizeof(path), "%s/" QUEUE, folder);
    if (mkdir(path, 0777) < 0 && errno != EEXIST)
        return said(folder, -errno);
    *lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*lock >= 0 && flock(*lock, LOCK_EX | LOCK_NB) == 0)
        return 0;
    const int err = said(folder, -errno);
    if (*lock >= 0)
        close(*lock);
    *lock = -1;
    return err;
}

static void line_path(char path[ZT_FOLDER_PATH], const char *folder, unsigned number, const char *id)
{
    snprintf(path, ZT_FOLDER_PATH, "%s/" QUEUE "/%010u-%s", folder, number, id);
}

int zt_store_put(const char *folder, unsigned number, const char *id, const char *line)
{
    char path[ZT_FOLDER_PATH], part[ZT_FOLDER_PATH], queue[ZT_FOLDER_PATH];
    line_path(path, folder, number, id);
    snprintf(queue, sizeof(queue), "%s/" QUEUE, folder);
    snprintf(part, sizeof(part), "%s/" QUEUE "/.part", folder);
    const int err = zt_folder_put(part, path, line);
    return err ? err : zt_folder_sync(queue);
}

void zt_store_drop(const char *folder, unsigned number, const char *id)
{
    char path[ZT_FOLDER_PATH];
    line_path(path, folder, number, id);
    if (unlink(path) < 0 && errno != ENOENT)
        said(path, -errno);
}

void zt_store_erase(const char *folder, const char *id, const char *format)
{
    char path[ZT_FOLDER_PATH];
    static const char *const named[] = { "%s/%s.json", "%s/.%s" };
    int err = 0;
    for (size_t i = 0; i < ZT_LEN(named) && !err; i++) {
        snprintf(path, sizeof(path), named[i], folder, id);
        err = zt_folder_wipe(path, true);
    }
    if (!err) {
        snprintf(path, sizeof(path), "%s/%s.%s", folder, id, format);
        err = unlink(path) < 0 && errno != ENOENT ? -errno : 0;
    }
    if (err < 0)
        said(path, err);
}

int64_t zt_store_working(const char *folder, const char *id)
{
    char path[ZT_FOLDER_PATH];
    int64_t bytes = 0;
    snprintf(path, sizeof(path), "%s/.%s", folder, id);
    DIR *d = opendir(path);
    for (const struct dirent *e; d && (e = readdir(d));) {
        struct stat st;
        if (fstatat(dirfd(d), e->d_name, &st, 0) == 0 && S_ISREG(st.st_mode))
            bytes += st.st_size;
    }
    if (d)
        closedir(d);
    return bytes;
}

// ---- what is there

static int is_mark(const struct dirent *e)
{
    const char *dot = strchr(e->d_name, '.');
    return dot && dot > e->d_name && dot - e->d_name <= ZT_CLIP_ID && !strcmp(dot, ".json");
}

static int is_line(const struct dirent *e)
{
    return strlen(e->d_name) > 11 && strlen(e->d_name) <= 11 + ZT_CLIP_ID && strspn(e->d_name, "0123456789") >= 10 &&
           e->d_name[10] == '-';
}

static void each(const char *folder, int (*is)(const struct dirent *), zt_store_fn *fn, void *cookie)
{
    struct dirent **list = NULL;
    const int n = scandir(folder, &list, is, alphasort);
    for (int i = 0; i < n; i++) {
        char path[ZT_FOLDER_PATH], id[ZT_CLIP_ID + 1];
        const char *name = list[i]->d_name + (is == is_line ? 11 : 0);
        const size_t length = strcspn(name, ".");
        void *text = NULL;
        size_t bytes;
        snprintf(path, sizeof(path), "%s/%s", folder, list[i]->d_name);
        snprintf(id, sizeof(id), "%.*s", (int)length, name);
        if (zt_file_read(&text, &bytes, path, MARK_BYTES) == 0)
            fn(cookie, (unsigned)strtoul(list[i]->d_name, NULL, 10), id, text);
        free(text);
        free(list[i]);
    }
    free(list);
}

void zt_store_marks(const char *folder, zt_store_fn *fn, void *cookie)
{
    each(folder, is_mark, fn, cookie);
}

void zt_store_lines(const char *folder, zt_store_fn *fn, void *cookie)
{
    char queue[ZT_FOLDER_PATH];
    snprintf(queue, sizeof(queue), "%s/" QUEUE, folder);
    each(queue, is_line, fn, cookie);
}
