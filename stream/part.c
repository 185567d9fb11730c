// SPDX-License-Identifier: Apache-2.0
// Files that are complete or called .part. Never clobbers a file that appeared meanwhile.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "stream/part.h"

#define PATIENCE (2 * ZT_S)         // with a reader, when in a hurry
#define LOOK     100                // ms between looks whether there is a hurry

// Opens NAME.part for this process alone: two that wrote it together would end up with a mixture.
static int open_part(zt_part *p)
{
    if (asprintf(&p->part, "%s.part", p->name) < 0) {
        p->part = NULL;
        return -ENOMEM;
    }
    p->fd = open(p->part, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (p->fd < 0)
        return -errno;
    struct stat mine, named;
    if (flock(p->fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        return -EBUSY;
    if (fstat(p->fd, &mine) < 0 || stat(p->part, &named) < 0 || mine.st_ino != named.st_ino)
        return -EBUSY;              // its writer finished between the two: what is open here has its final name
    return ftruncate(p->fd, 0) < 0 ? -errno : 0;
}

int zt_part_open(zt_part *p, const char *name, bool overwrite)
{
    struct stat st;
    const bool there = strcmp(name, "-") && stat(name, &st) == 0;
    *p = (zt_part){ .fd = -1, .overwrite = overwrite, .name = strdup(name) };
    int err = 0;
    if (!p->name) {
        err = -ENOMEM;
    } else if (!strcmp(name, "-")) {
        p->direct = true;
        p->fd = STDOUT_FILENO;
    } else if (there && S_ISREG(st.st_mode) && !overwrite) {
        err = -EEXIST;
    } else if (there && S_ISDIR(st.st_mode)) {
        err = -EISDIR;
    } else if (there && !S_ISREG(st.st_mode)) {
        p->direct = true;
        p->fd = open(name, O_WRONLY | O_CLOEXEC);
        err = p->fd < 0 ? -errno : 0;
    } else {
        err = open_part(p);
    }
    p->waits = !err && p->direct && (fstat(p->fd, &st) < 0 || !S_ISREG(st.st_mode));
    if (err < 0) {
        zt_error("cannot write %s: %s", name, err == -EBUSY ? "another process is writing it" : strerror(-err));
        zt_part_close(p);
    }
    return err;
}

// Until the reader has room. 0, or -EINTR when in a hurry. A reader that is gone is left to write().
static int wait_for_room(const zt_part *p)
{
    int64_t hurried = 0;
    struct pollfd room = { .fd = p->fd, .events = POLLOUT };
    while (poll(&room, 1, LOOK) == 0) {
        if (!p->hurry || !__atomic_load_n(p->hurry, __ATOMIC_RELAXED))
            continue;
        hurried = hurried ? hurried : zt_now();
        if (zt_now() - hurried >= PATIENCE)
            return -EINTR;
    }
    return 0;
}

int zt_part_write(zt_part *p, const void *data, size_t bytes)
{
    const char *at = data;
    while (!p->err && bytes) {
        const int err = p->waits ? wait_for_room(p) : 0;
        // a pipe with room takes so much without blocking
        const ssize_t n = err ? -1 : write(p->fd, at, p->waits && bytes > PIPE_BUF ? PIPE_BUF : bytes);
        if (n >= 0) {
            at += n;
            bytes -= (size_t)n;
        } else if (err || errno != EINTR) {
            p->err = err ? err : -errno;
            zt_error("cannot write %s: %s", p->part ? p->part : p->name,
                     err ? "interrupted, and its reader takes nothing" : strerror(errno));
        }
    }
    return p->err;
}

static int rename_to_name(zt_part *p)
{
    if (p->overwrite)
        return rename(p->part, p->name) < 0 ? -errno : 0;
    if (renameat2(AT_FDCWD, p->part, AT_FDCWD, p->name, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -errno;

    // The file system cannot: link() does not replace either.
    if (link(p->part, p->name) == 0)
        return unlink(p->part) < 0 ? -errno : 0;
    return errno == EPERM || errno == ENOTSUP ? (rename(p->part, p->name) < 0 ? -errno : 0) : -errno;
}

int zt_part_commit(zt_part *p)
{
    if (p->err || p->direct)
        return p->err;

    p->err = fsync(p->fd) < 0 ? -errno : rename_to_name(p);
    if (p->err < 0)
        zt_error("cannot finish %s: %s", p->name, strerror(-p->err));
    return p->err;
}

void zt_part_close(zt_part *p)
{
    if (!p->name)
        return;

    if (p->fd > STDERR_FILENO || (p->fd >= 0 && !p->direct))
        close(p->fd);
    free(p->part);
    free(p->name);
    *p = (zt_part){ 0 };
}
