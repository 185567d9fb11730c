// SPDX-License-Identifier: Apache-2.0
// A clip's files: names, the lock with its owner, marks that appear at once or not at all.
#include "apps/batch/folder.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "base/log.h"

void zt_folder_work(const zt_folder *f, char path[ZT_FOLDER_PATH], const char *what)
{
    snprintf(path, ZT_FOLDER_PATH, "%s/.%s%s%s", f->out, f->clip->id, *what ? "/" : "", what);
}

void zt_folder_final(const zt_folder *f, char path[ZT_FOLDER_PATH], const char *end)
{
    snprintf(path, ZT_FOLDER_PATH, "%s/%s%s", f->out, f->clip->id, end);
}

void zt_folder_output(const zt_folder *f, char path[ZT_FOLDER_PATH])
{
    char end[16];
    snprintf(end, sizeof(end), ".%s", f->clip->format);
    zt_folder_final(f, path, strcmp(f->clip->format, "png") ? end : "");
}

static int said(const char *path, int err)
{
    zt_error("%s: %s", path, strerror(-err));
    return err;
}

// The "key" of a mark, and its "level" when asked for.
static bool read_mark(const char *path, uint64_t *key, char *level, size_t room)
{
    void *text = NULL;
    size_t bytes;
    if (zt_file_read(&text, &bytes, path, 1 << 20) < 0)
        return false;
    cJSON *root = cJSON_Parse(text);
    const cJSON *k = cJSON_GetObjectItemCaseSensitive(root, "key"), *l = cJSON_GetObjectItemCaseSensitive(root, "level");
    const bool good = cJSON_IsString(k) && cJSON_IsString(l) && sscanf(k->valuestring, "%" SCNx64, key) == 1;
    if (good && level)
        snprintf(level, room, "%s", l->valuestring);
    cJSON_Delete(root);
    free(text);
    return good;
}

enum zt_there zt_folder_look(const zt_folder *f, uint64_t key)
{
    char path[ZT_FOLDER_PATH];
    uint64_t theirs = 0;
    struct stat st;
    zt_folder_final(f, path, ".json");
    if (read_mark(path, &theirs, NULL, 0)) {
        zt_folder_output(f, path);
        return theirs == key && stat(path, &st) == 0 ? ZT_THERE_DONE : ZT_THERE_OTHER;
    }
    if (stat(path, &st) == 0)
        return ZT_THERE_OTHER;
    zt_folder_work(f, path, "plan.json");
    if (read_mark(path, &theirs, NULL, 0))
        return theirs == key ? ZT_THERE_BEGUN : ZT_THERE_OTHER;
    zt_folder_work(f, path, "");
    if (stat(path, &st) == 0)
        return ZT_THERE_BEGUN;
    zt_folder_output(f, path);
    return stat(path, &st) == 0 ? ZT_THERE_OTHER : ZT_THERE_NOTHING;
}

int zt_folder_sync(const char *path)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int err = fd < 0 ? -errno : 0;
    if (!err && fsync(fd) < 0 && errno != EINVAL)       // file systems that cannot say so
        err = -errno;
    if (fd >= 0)
        close(fd);
    return err;
}

int zt_folder_wipe(const char *path, bool self)
{
    DIR *d = opendir(path);
    if (!d)
        return errno == ENOENT ? 0 : errno == ENOTDIR ? (unlink(path) < 0 ? -errno : 0) : -errno;
    int err = 0;
    for (const struct dirent *e; !err && (e = readdir(d));) {
        char inside[ZT_FOLDER_PATH];
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") || (!self && !strcmp(e->d_name, "owner")))
            continue;
        if (snprintf(inside, sizeof(inside), "%s/%s", path, e->d_name) >= (int)sizeof(inside))
            err = -ENAMETOOLONG;
        else if (unlink(inside) < 0)
            err = errno == EISDIR || errno == EPERM ? zt_folder_wipe(inside, true) : -errno;
    }
    closedir(d);
    return err ? err : self && rmdir(path) < 0 ? -errno : 0;
}

int zt_folder_write(const zt_folder *f, const char *what, const char *path, const char *text)
{
    char part[ZT_FOLDER_PATH];
    zt_folder_work(f, part, what);
    return zt_folder_put(part, path, text);
}

int zt_folder_put(const char *part, const char *path, const char *text)
{
    const int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return said(part, -errno);
    const size_t n = strlen(text);
    const ssize_t wrote = write(fd, text, n);
    int err = wrote < 0 ? -errno : (size_t)wrote < n ? -ENOSPC : fsync(fd) < 0 ? -errno : 0;
    close(fd);
    if (!err && rename(part, path) < 0)
        err = -errno;
    return err < 0 ? said(path, err) : 0;
}

static int busy(const zt_folder *f, const char *path)
{
    char owner[200] = "";
    const ssize_t n = pread(f->lock, owner, sizeof(owner) - 1, 0);
    owner[n > 0 ? strcspn(owner, "\n") : 0] = 0;
    zt_warn("%s: %s is rendering it", path, *owner ? owner : "another process");
    return -EBUSY;
}

// -ESTALE: its owner finished between the two, and the lock is of a file that has gone.
static int lock_it(zt_folder *f, const char *folder, const char *path)
{
    struct stat mine, named;
    if (mkdir(folder, 0777) < 0 && errno != EEXIST)
        return said(folder, -errno);
    f->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (f->lock < 0)
        return errno == ENOENT && access(f->out, F_OK) == 0 ? -ESTALE : said(path, -errno);
    if (flock(f->lock, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? busy(f, folder) : said(path, -errno);
    if (fstat(f->lock, &mine) < 0 || stat(path, &named) < 0 || mine.st_ino != named.st_ino)
        return -ESTALE;
    char host[65] = "", owner[200];
    gethostname(host, sizeof(host) - 1);
    const int n = snprintf(owner, sizeof(owner), "%s, process %d\n", host, (int)getpid());
    if (ftruncate(f->lock, 0) < 0 || pwrite(f->lock, owner, (size_t)n, 0) != n)
        return said(path, errno ? -errno : -ENOSPC);
    return 0;
}

// The mark of what was there before goes first: from here on the clip is not done.
static int begin(const zt_folder *f, const zt_origin *from)
{
    char path[ZT_FOLDER_PATH], text[200];
    zt_folder_final(f, path, ".json");
    if (unlink(path) < 0 && errno != ENOENT)
        return said(path, -errno);
    zt_folder_work(f, path, "plan.json");
    snprintf(text, sizeof(text), "{\"key\": \"%016" PRIx64 "\", \"level\": \"%s\"}\n", from->key, from->level);
    return zt_folder_write(f, "plan.json.part", path, text);
}

int zt_folder_lock(zt_folder *f)
{
    char folder[ZT_FOLDER_PATH], path[ZT_FOLDER_PATH];
    zt_folder_work(f, folder, "");
    zt_folder_work(f, path, "owner");
    int err = -ESTALE;
    for (int tries = 0; err == -ESTALE && tries < 100; tries++) {
        zt_folder_close(f);
        err = lock_it(f, folder, path);
    }
    if (err < 0)
        zt_folder_close(f);
    return err;
}

int zt_folder_plan(const zt_folder *f, const zt_origin *from, bool anew)
{
    char folder[ZT_FOLDER_PATH], path[ZT_FOLDER_PATH], level[32] = "";
    uint64_t key = 0;
    zt_folder_work(f, folder, "");
    zt_folder_work(f, path, "plan.json");
    const bool ours = read_mark(path, &key, level, sizeof(level)) && key == from->key;
    const bool same = ours && !strcmp(level, from->level);
    if (ours && !same)
        zt_warn("%s: begun by kernels %s, begins anew with %s", folder, level, from->level);
    if (same && !anew)
        return 0;
    const int err = zt_folder_wipe(folder, false);
    return err < 0 ? said(folder, err) : begin(f, from);
}

void zt_folder_close(zt_folder *f)
{
    if (f->lock >= 0)
        close(f->lock);
    f->lock = -1;
}

int zt_folder_remove(zt_folder *f)
{
    char folder[ZT_FOLDER_PATH], path[ZT_FOLDER_PATH];
    zt_folder_work(f, folder, "");
    zt_folder_work(f, path, "owner");
    int err = zt_folder_wipe(folder, false);
    if (!err && unlink(path) < 0)
        err = -errno;
    if (!err && rmdir(folder) < 0 && errno != ENOTEMPTY && errno != EEXIST && errno != ENOENT)
        err = -errno;           // another process that looks meanwhile makes its lock, and removes it
    zt_folder_close(f);
    return err < 0 ? said(folder, err) : 0;
}
