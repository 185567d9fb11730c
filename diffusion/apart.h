// SPDX-License-Identifier: Apache-2.0
// Runs parsers of untrusted files in a child process that can do nothing but compute and answer: what they break, they
// break there. Without libseccomp the child is a process of its own all the same, but may call what it likes.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_apart {
    pid_t       pid;            // 0: none
    int         fd;             // a socket; the child has the other end
    int         farewell;       // a pipe: what the child says when it ends
    const char *label;          // borrowed: names the file in messages
} zt_apart;

// In the child: reads and writes fd, allocates, nothing else. What it logs is logged by the parent. Its return value
// is what zt_apart_finish() gives.
typedef int zt_apart_fn(void *cookie, int fd);

// 0 or -errno (logged). The child sees the parent's memory as it is now.
int zt_apart_start(zt_apart *a, zt_apart_fn *fn, void *cookie, const char *label);
// From the parent, within `timeout` ns. 0, -ETIME, -EPIPE (the child has ended).
int zt_apart_read(zt_apart *a, void *out, size_t n, int64_t timeout);
int zt_apart_write(zt_apart *a, const void *bytes, size_t n, int64_t timeout);
// Closes the socket, waits up to `timeout` ns for the child to end, then kills it. What fn returned; -EINVAL when it broke
// or took longer (logged). Does nothing when there is no child.
int zt_apart_finish(zt_apart *a, int64_t timeout);

// In the child: n bytes, whole. 0 or -EPIPE.
int zt_apart_get(int fd, void *out, size_t n);
int zt_apart_put(int fd, const void *bytes, size_t n);

// In the child: gives up all but memory, reading `fd` and writing `fd` and `farewell`. 0 or -errno. In one of apart_*.c.
int zt_apart_confine(int fd, int farewell);
// Does zt_apart_confine() forbid anything here?
int zt_apart_confines(void);

#ifdef __cplusplus
}
#endif
