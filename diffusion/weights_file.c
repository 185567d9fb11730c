// SPDX-License-Identifier: Apache-2.0
// One weights file: read or mapped, its format known by its first bytes.
#include "diffusion/weights_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "base/log.h"

// Up to here a file is read into memory, so that what was checked cannot change any more; above, it is mapped.
static const off_t read_max = 256 << 20;

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
    void *const p = mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return errno;
    f->bytes = p;
    f->n = n;
    f->mapped = f->owned = true;
    struct stat now;
    return fstat(fd, &now) < 0 || (size_t)now.st_size != n ? EIO : 0;
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

int zt_weights_file_open(struct zt_weights_file *f, const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return fail(path, errno);
    struct stat st;
    int err = fstat(fd, &st) < 0 ? errno : 0;
    if (!err && !S_ISREG(st.st_mode))
        err = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
    if (!err)
        err = st.st_size <= read_max ? read_all(f, fd, (size_t)st.st_size) : map_all(f, fd, (size_t)st.st_size);
    close(fd);
    if (err)
        return fail(path, err);
    return zt_weights_reader(f->bytes, f->n, path)(&f->part, f->bytes, f->n, path);
}

void zt_weights_file_close(struct zt_weights_file *f)
{
    if (f->mapped)
        munmap(f->bytes, f->n);
    else if (f->owned)
        free(f->bytes);
    free(f->part.w);
    free(f->part.names);
    free(f->path);
    *f = (struct zt_weights_file){ 0 };
}
