// SPDX-License-Identifier: Apache-2.0
// Tells how far a rendering is.
#include "apps/progress.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

int zt_progress_open(zt_progress *p, const char *path, int64_t frames, int quiet)
{
    *p = (zt_progress){ .frames = frames };
    if (!quiet && isatty(STDERR_FILENO))
        p->terminal = stderr;
    if (!path)
        return 0;
    p->file = strcmp(path, "-") ? fopen(path, "w") : stdout;
    if (!p->file) {
        const int err = -errno;
        zt_error("%s: %s", path, strerror(-err));
        return err;
    }
    return 0;
}

// A reader that stands still does not hold up the work.
static bool has_room(FILE *f, int wait_ms)
{
    struct pollfd room = { .fd = fileno(f), .events = POLLOUT };
    return poll(&room, 1, wait_ms) != 0;
}

static void tell(zt_progress *p, int64_t done, int64_t now, const char *how, int wait_ms)
{
    const double seconds = p->started ? (double)(now - p->started) / (double)ZT_S : 0;
    const double fps = seconds > 0 ? (double)(done - 1) / seconds : 0;
    const double left = fps > 0 ? (double)(p->frames - done) / fps : 0;
    if (p->terminal)
        fprintf(p->terminal, "\r%lld/%lld frames  %.1f fps  ETA %.0f s \033[K", (long long)done, (long long)p->frames,
                fps, left);
    if (p->file && has_room(p->file, wait_ms)) {
        fprintf(p->file, "frame=%lld\nframes=%lld\nfps=%.2f\neta_s=%.1f\nprogress=%s\n", (long long)done,
                (long long)p->frames, fps, left, how);
        fflush(p->file);
    }
}

void zt_progress_tell(zt_progress *p, int64_t done, int64_t now)
{
    if (!p->started)
        p->started = now;
    if (now - p->told < ZT_S / 10)
        return;
    p->told = now;
    tell(p, done, now, "continue", 0);
}

void zt_progress_close(zt_progress *p, int64_t done, int64_t now, const char *how)
{
    tell(p, done, now, how, 2000);
    if (p->terminal)
        fputc('\n', p->terminal);
    if (p->file && p->file != stdout)
        fclose(p->file);
    *p = (zt_progress){ 0 };
}
