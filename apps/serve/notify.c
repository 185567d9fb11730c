// SPDX-License-Identifier: Apache-2.0
// sd_notify(3) as its manual page gives the protocol: datagrams of lines to the socket named in the environment.
#include "apps/serve/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int zt_notify(const char *lines)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    const size_t n = path ? strlen(path) : 0;
    if (!n)
        return 0;
    if ((path[0] != '/' && path[0] != '@') || n >= sizeof(to.sun_path))
        return -EAFNOSUPPORT;
    memcpy(to.sun_path, path, n);
    if (path[0] == '@')
        to.sun_path[0] = 0;                     // the abstract namespace
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    const ssize_t sent = sendto(fd, lines, strlen(lines), MSG_NOSIGNAL, (const struct sockaddr *)&to,
                                (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
    const int err = sent < 0 ? -errno : 0;
    close(fd);
    return err;
}

// ns, or 0: nobody waits for a sign of life from this process.
static int64_t watchdog(void)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    const long long n = usec ? atoll(usec) : 0;
    if (n <= 0 || n > INT64_MAX / 1000 || (pid && atoll(pid) != getpid()))
        return 0;
    return n * 1000;
}

void zt_notify_alive(int64_t now, int64_t beat)
{
    static int64_t interval = -1, last;         // the main thread's
    if (interval < 0)
        interval = watchdog();
    if (!interval || now - last < interval / 3 || (beat < now && now - beat > interval / 2))
        return;
    last = now;
    zt_notify("WATCHDOG=1");
}
