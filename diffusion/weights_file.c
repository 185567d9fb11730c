// SPDX-License-Identifier: Apache-2.0
// One weights file: read or mapped, its format known by its first bytes.
#include "diffusion/weights_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "base/log.h"
#include "diffusion/weights_map.h"

// Up to here a file is read into memory, so that what was checked cannot change any more; above, it is mapped.
static const off_t read_max = 16 << 20;

static int fail(const char *path, int err)
{
    zt_error("%s: %s", path, strerror(err));
    return -err;
}

static int read_all(struct zt_weights_file *f, int fd, size_t n)
{
    f->bytes = malloc(n ? n : 1);
    if (!f->bytes)
        return ENOMEM;
    f->owned = true;
    for (f->n = 0; f->n < n;) {
        const ssize_t got = read(fd, (char *)f->bytes + f->n, n - f->n);
        if (got < 0 && errno != EINTR)
            return errno;
        if (got == 0)
            return EIO;                         // became shorter meanwhile
        if (got > 0)
            f->n += (size_t)got;
    }
    return 0;
}

static int map_all(struct zt_weights_file *f, int fd, size_t n)
{
    const int err = zt_weights_map_open(&f->map, fd, n);
    if (err)
        return -err;
    f->bytes = (void *)zt_weights_map_bytes(f->map);
    f->n = n;
    return 0;
}

static bool same(const struct zt_weights_file *f, const struct stat *st)
{
    return st->st_dev == f->device && st->st_ino == f->inode && st->st_size == f->size
        && st->st_mtim.tv_sec == f->changed.tv_sec && st->st_mtim.tv_nsec == f->changed.tv_nsec;
}

static int changed(const struct zt_weights_file *f)
{
    zt_error("%s: was changed while it was read", f->path);
    return -EINVAL;
}

int zt_weights_file_check(const struct zt_weights_file *f)
{
    struct stat st;
    if (f->fd < 0)
        return 0;                               // in memory: what was checked is what is used
    return zt_weights_map_broken(f->map) || fstat(f->fd, &st) < 0 || !same(f, &st) ? changed(f) : 0;
}

static bool ends_with(const char *s, const char *end)
{
    const size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

zt_weights_read_fn *zt_weights_reader(const void *bytes, size_t n, const char *label)
{
    if (n >= 4 && (memcmp(bytes, "PK\3\4", 4) == 0 || memcmp(bytes, "PK\5\6", 4) == 0))
        return zt_torch_read;
    if (n >= 4 && memcmp(bytes, "GGUF", 4) == 0)
        return zt_gguf_read;
    return ends_with(label, ".gguf") ? zt_gguf_read : ends_with(label, ".pt") || ends_with(label, ".pth") ? zt_torch_read
                                                                                              : zt_safetensors_read;
}

// The one open of the file: what the child reads, what is mapped and what is checked later are this descriptor's.
static int open_once(struct zt_weights_file *f, const char *path)
{
    struct stat st, now;
    f->path = strdup(path);
    f->fd = f->path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    if (!f->path)
        return ENOMEM;
    if (f->fd < 0 || fstat(f->fd, &st) < 0)
        return errno;
    if (!S_ISREG(st.st_mode))
        return S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
    f->device = st.st_dev;
    f->inode = st.st_ino;
    f->size = st.st_size;
    f->changed = st.st_mtim;
    const int err = st.st_size <= read_max ? read_all(f, f->fd, (size_t)st.st_size)
                                           : map_all(f, f->fd, (size_t)st.st_size);
    if (!err && (fstat(f->fd, &now) < 0 || !same(f, &now)))
        return EAGAIN;                          // being written
    return err;
}

int zt_weights_file_open(struct zt_weights_file *f, const char *path)
{
    *f = (struct zt_weights_file){ .fd = -1 };
    const int err = open_once(f, path);
    if (err == EAGAIN)
        return changed(f);
    if (err)
        return fail(path, err);
    if (!f->map) {
        close(f->fd);
        f->fd = -1;
    }
    return zt_weights_read_apart(&f->part, f->bytes, f->n, path);
}

void zt_weights_file_close(struct zt_weights_file *f)
{
    if (f->path && f->fd >= 0)
        close(f->fd);
    if (f->owned)
        free(f->bytes);
    zt_weights_map_close(&f->map);
    free(f->part.w);
    free(f->part.names);
    free(f->path);
    *f = (struct zt_weights_file){ .fd = -1 };
}
