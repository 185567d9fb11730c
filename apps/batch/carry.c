// SPDX-License-Identifier: Apache-2.0
// OUT/.ID/state-NNNNN: a head, the session as bytes, the contact sheet so far.
#include "apps/batch/carry.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/base.h"
#include "base/log.h"

#define ROOM 4                  // times a state's size that the disk must have left

static const char magic[8] = "ztclip1";

typedef struct head {
    char     magic[8];
    uint64_t state_bytes, sheet_bytes;
} head;

struct zt_kept {
    struct zt_kept *before;
    int64_t         number;     // of the chunk that it is for
    void           *data;
    size_t          bytes;
};

void zt_carry_init(zt_carry *c, const zt_folder *folder, int64_t chunk)
{
    *c = (zt_carry){ .folder = folder, .chunk = chunk };
    pthread_mutex_init(&c->lock, NULL);
}

// All of the list from `k` on.
static void forget(struct zt_kept *k)
{
    while (k) {
        struct zt_kept *const before = k->before;
        free(k->data);
        free(k);
        k = before;
    }
}

void zt_carry_finish(zt_carry *c)
{
    forget(c->kept);
    free(c->data);
    pthread_mutex_destroy(&c->lock);
    *c = (zt_carry){ 0 };
}

static void path_of(const zt_carry *c, char path[ZT_FOLDER_PATH], int64_t number, const char *end)
{
    char name[64];
    snprintf(name, sizeof(name), "state-%05" PRId64 "%s", number, end);
    zt_folder_work(c->folder, path, name);
}

// ---- in

static bool read_state(zt_carry *c, const zt_model *m, int64_t number, zt_sheet *sheet, int64_t *next)
{
    char path[ZT_FOLDER_PATH];
    const zt_model_info *const info = zt_model_get_info(m);
    void *data = NULL;
    size_t bytes = 0;
    head h;
    uint64_t begun = 0;
    path_of(c, path, number, "");
    if (zt_file_read(&data, &bytes, path, SIZE_MAX / 2) < 0)
        return false;
    const size_t left = bytes >= sizeof(h) ? bytes - sizeof(h) : 0;
    if (left)
        memcpy(&h, data, sizeof(h));
    const char *const state = (const char *)data + sizeof(h);
    bool good = left && !memcmp(h.magic, magic, sizeof(magic)) && h.state_bytes <= left && h.sheet_bytes == left - h.state_bytes;
    if (good)
        good = zt_state_saved(m, state, (size_t)h.state_bytes, &begun) == 0;
    *next = good ? (int64_t)(begun - 1) * info->pictures + info->first_pictures : 0;
    good = good && *next <= number * c->chunk && *next + info->pictures > number * c->chunk;
    if (good && sheet)
        good = zt_sheet_restore(sheet, state + h.state_bytes, (size_t)h.sheet_bytes);
    if (!good) {
        zt_warn("%s: is of no use, what is missing is made from the beginning", path);
        free(data);
        return false;
    }
    c->data = data;
    c->state = state;
    c->bytes = (size_t)h.state_bytes;
    c->number = number;
    return true;
}

int64_t zt_carry_load(zt_carry *c, const zt_model *m, int64_t kept, zt_sheet *sheet)
{
    char path[ZT_FOLDER_PATH];
    int64_t next = 0;
    for (int64_t number = kept; number > 0; number--) {
        path_of(c, path, number, "");
        if (access(path, F_OK) == 0)
            return read_state(c, m, number, sheet, &next) ? next : 0;
    }
    return 0;
}

// ---- out

void zt_carry_take(zt_carry *c, uint64_t next, void *data, size_t bytes)
{
    struct zt_kept *const k = malloc(sizeof(*k));
    if (!k) {
        free(data);
        return;
    }
    pthread_mutex_lock(&c->lock);
    *k = (struct zt_kept){ c->kept, ((int64_t)next + c->chunk - 1) / c->chunk, data, bytes };
    c->kept = k;
    pthread_mutex_unlock(&c->lock);
}

// Takes it, and all that were before it, out of the list; it is the first of what is returned.
static struct zt_kept *find(zt_carry *c, int64_t number)
{
    pthread_mutex_lock(&c->lock);
    struct zt_kept **place = &c->kept;
    while (*place && (*place)->number > number)
        place = &(*place)->before;
    struct zt_kept *const k = *place;
    *place = NULL;
    pthread_mutex_unlock(&c->lock);
    if (k && k->number == number)
        return k;
    forget(k);
    return NULL;
}

static bool has_room(const char *path, size_t bytes)
{
    struct statvfs disk;
    return statvfs(path, &disk) < 0 || (uint64_t)disk.f_bavail * disk.f_frsize / ROOM > bytes;
}

static int write_all(int fd, const void *data, size_t bytes)
{
    const char *at = data;
    while (bytes) {
        const ssize_t n = write(fd, at, bytes);
        if (n < 0 && errno != EINTR)
            return -errno;
        at += ZT_MAX(n, 0);
        bytes -= (size_t)ZT_MAX(n, 0);
    }
    return 0;
}

static int write_state(const char *part, const struct zt_kept *k, const zt_sheet *sheet)
{
    const size_t sheet_bytes = sheet ? zt_sheet_save(sheet, NULL) : 0;
    char *const drawn = malloc(ZT_MAX(sheet_bytes, 1));
    head h = { .state_bytes = k->bytes, .sheet_bytes = sheet_bytes };
    memcpy(h.magic, magic, sizeof(magic));
    const int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    int err = !drawn ? -ENOMEM : fd < 0 ? -errno : write_all(fd, &h, sizeof(h));
    if (!err && sheet)
        zt_sheet_save(sheet, drawn);
    if (!err)
        err = write_all(fd, k->data, k->bytes);
    if (!err)
        err = write_all(fd, drawn, sheet_bytes);
    if (!err && fsync(fd) < 0)
        err = -errno;
    if (fd >= 0)
        close(fd);
    free(drawn);
    return err;
}

void zt_carry_store(zt_carry *c, int64_t number, const zt_sheet *sheet)
{
    char path[ZT_FOLDER_PATH], part[ZT_FOLDER_PATH], folder[ZT_FOLDER_PATH];
    struct zt_kept *const k = find(c, number + 1);
    zt_folder_work(c->folder, folder, "");
    if (!k || !has_room(folder, k->bytes)) {
        forget(k);
        return;
    }
    path_of(c, path, number + 1, "");
    path_of(c, part, number + 1, ".part");
    int err = write_state(part, k, sheet);
    if (!err && rename(part, path) < 0)
        err = -errno;
    if (!err)
        err = zt_folder_sync(folder);
    if (err < 0) {              // the chunks are there all the same
        zt_warn("%s: %s; if this is interrupted, its frames are made again", path, strerror(-err));
        unlink(part);
    }
    for (int64_t old = number; !err && old > 0; old--) {
        path_of(c, path, old, "");
        if (unlink(path) < 0)
            break;
    }
    forget(k);
}
