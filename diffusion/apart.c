// SPDX-License-Identifier: Apache-2.0
// The child process of parsers: a fork, a socket, limits, a line of log.
#include "diffusion/apart.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"

enum { LINE_BYTES = 1024 };

// What the child says when it ends, after whatever fn wrote: fn's error and the first line it logged.
struct farewell {
    char mark[8];
    int  err;
    char line[LINE_BYTES];
};

static const char farewell_mark[8] = "farewell";

static void keep_line(void *cookie, enum zt_level level, const char *line)
{
    struct farewell *const f = cookie;
    if (level == ZT_LOG_ERROR && !f->line[0])
        snprintf(f->line, sizeof(f->line), "%s", line);
}

int zt_apart_get(int fd, void *out, size_t n)
{
    for (size_t at = 0; at < n;) {
        const ssize_t got = read(fd, (char *)out + at, n - at);
        if (got == 0 || (got < 0 && errno != EINTR))
            return -EPIPE;
        at += got > 0 ? (size_t)got : 0;
    }
    return 0;
}

int zt_apart_put(int fd, const void *bytes, size_t n)
{
    for (size_t at = 0; at < n;) {
        const ssize_t put = write(fd, (const char *)bytes + at, n - at);
        if (put < 0 && errno != EINTR)
            return -EPIPE;
        at += put > 0 ? (size_t)put : 0;
    }
    return 0;
}

// All descriptors but two and the standard ones.
static void close_others(int a, int b)
{
    const unsigned low = (unsigned)ZT_MIN(a, b), high = (unsigned)ZT_MAX(a, b);
    if (low > 3)
        close_range(3, low - 1, 0);
    if (high > low + 1)
        close_range(low + 1, high - 1, 0);
    close_range(high + 1, ~0u, 0);
}

static _Noreturn void child(zt_apart_fn *fn, void *cookie, int fd, int farewell)
{
    struct farewell f = { .err = 0 };
    const struct rlimit none = { 0, 0 };
    memcpy(f.mark, farewell_mark, sizeof(f.mark));
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN);            // of a terminal: the parent decides
    setrlimit(RLIMIT_CORE, &none);
    close_others(fd, farewell);
    zt_log_set(keep_line, &f);
    f.err = zt_apart_confine(fd, farewell);
    if (!f.err)
        f.err = fn(cookie, fd);
    zt_apart_put(farewell, &f, sizeof(f));
    _exit(0);
}

int zt_apart_start(zt_apart *a, zt_apart_fn *fn, void *cookie, const char *label)
{
    int s[2] = { -1, -1 }, p[2] = { -1, -1 };
    int err = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) < 0 ? errno : 0;
    if (!err && pipe2(p, O_CLOEXEC) < 0)
        err = errno;
    const pid_t pid = err ? -1 : fork();
    if (pid == 0)
        child(fn, cookie, s[1], p[1]);
    if (!err && pid < 0)
        err = errno;
    close(s[1]);
    close(p[1]);
    *a = (zt_apart){ .pid = err ? 0 : pid, .fd = s[0], .farewell = p[0], .label = label };
    if (err) {
        zt_error("%s: no process to read it in: %s", label, strerror(err));
        close(s[0]);
        close(p[0]);
    }
    return -err;
}

// Waits until fd is ready or `until`; 0, -ETIME or -EPIPE.
static int await(int fd, short what, int64_t until)
{
    for (;;) {
        const int64_t left = until - zt_now();
        struct pollfd p = { .fd = fd, .events = what };
        const int n = poll(&p, 1, left <= 0 ? 0 : (int)ZT_MIN(left / ZT_MS + 1, (int64_t)1000));
        if (n > 0)
            return p.revents & what ? 0 : -EPIPE;
        if (n < 0 && errno != EINTR)
            return -EPIPE;
        if (left <= 0)
            return -ETIME;
    }
}

int zt_apart_read(zt_apart *a, void *out, size_t n, int64_t timeout)
{
    const int64_t until = zt_now() + timeout;
    for (size_t at = 0; at < n;) {
        const int err = await(a->fd, POLLIN, until);
        const ssize_t got = err ? 0 : recv(a->fd, (char *)out + at, n - at, MSG_DONTWAIT);
        if (err)
            return err;
        if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN))
            return -EPIPE;
        at += got > 0 ? (size_t)got : 0;
    }
    return 0;
}

int zt_apart_write(zt_apart *a, const void *bytes, size_t n, int64_t timeout)
{
    const int64_t until = zt_now() + timeout;
    for (size_t at = 0; at < n;) {
        const int err = await(a->fd, POLLOUT, until);
        const ssize_t put = err ? 0 : send(a->fd, (const char *)bytes + at, n - at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (err)
            return err;
        if (put < 0 && errno != EINTR && errno != EAGAIN)
            return -EPIPE;
        at += put > 0 ? (size_t)put : 0;
    }
    return 0;
}

// Reads what the child says at its end; false when it said nothing in time.
static bool hear(const zt_apart *a, struct farewell *f, int64_t until)
{
    size_t at = 0;
    while (at < sizeof(*f) && await(a->farewell, POLLIN, until) == 0) {
        const ssize_t got = read(a->farewell, (char *)f + at, sizeof(*f) - at);
        if (got == 0 || (got < 0 && errno != EINTR))
            break;
        at += got > 0 ? (size_t)got : 0;
    }
    f->line[LINE_BYTES - 1] = 0;
    return at == sizeof(*f) && memcmp(f->mark, farewell_mark, sizeof(f->mark)) == 0;
}

int zt_apart_finish(zt_apart *a, int64_t timeout)
{
    struct farewell f = { .err = 0 };
    int status = 0;
    if (!a->pid)
        return 0;
    shutdown(a->fd, SHUT_RDWR);
    const int64_t until = zt_now() + timeout;
    const bool said = hear(a, &f, until), late = !said && zt_now() >= until;
    if (!said)
        kill(a->pid, SIGKILL);
    while (waitpid(a->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    close(a->fd);
    close(a->farewell);
    a->pid = 0;
    if (said && f.line[0])
        zt_error("%s", f.line);
    if (said)
        return f.err <= 0 ? f.err : -EINVAL;
    zt_error("%s: %s", a->label, late ? "takes too long to read" : "broke the process that read it: it is damaged or hostile");
    return -EINVAL;
}
