// SPDX-License-Identifier: Apache-2.0
// Tells how far a run of many clips is.
#include "apps/batch/tell.h"

#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "apps/exits.h"
#include "apps/progress.h"
#include "base/clock.h"

int zt_tell_open(zt_tell *t, const char *path, int clips, int64_t frames, int quiet)
{
    zt_progress p;
    const int err = zt_progress_open(&p, path, frames, quiet);
    if (err < 0)
        return err;
    *t = (zt_tell){ .terminal = p.terminal, .file = p.file, .clips = clips, .frames = frames, .started = zt_now() };
    return 0;
}

void zt_tell_begin(zt_tell *t, int place, const char *id, int64_t frames)
{
    zt_tell_place *p = &t->place[place];
    *p = (zt_tell_place){ .frames = frames, .started = zt_now() };
    snprintf(p->id, sizeof(p->id), "%s", id);
}

void zt_tell_frame(zt_tell *t, int place, int64_t frame)
{
    t->made += frame - t->place[place].frame;
    t->place[place].frame = frame;
}

void zt_tell_end(zt_tell *t, int place, int code)
{
    zt_tell_place *p = &t->place[place];
    t->done += !code;
    t->failed += code && code != ZT_EXIT_AGAIN;
    t->ended += code == ZT_EXIT_AGAIN ? 0 : p->frames;
    p->id[0] = 0;
}

static double left_of(int64_t made, int64_t left, int64_t ns)
{
    return made > 0 ? (double)left * (double)ns / (double)ZT_S / (double)made : 0;
}

static void tell(zt_tell *t, int64_t now, const char *how)
{
    int64_t left = t->frames - t->ended;
    const zt_tell_place *first = NULL;
    for (int i = 0; i < ZT_TELL_PLACES; i++) {
        const zt_tell_place *p = &t->place[i];
        left -= *p->id ? p->frame : 0;
        first = *p->id && (!first || p->started < first->started) ? p : first;
    }
    const double seconds = (double)(now - t->started) / (double)ZT_S, fps = seconds > 0 ? (double)t->made / seconds : 0;
    const double eta = left_of(t->made, left, now - t->started);
    if (t->terminal)
        fprintf(t->terminal, "\r%d/%d clips  %.1f fps  ETA %.0f s  %s %" PRId64 "/%" PRId64 " ETA %.0f s\033[K", t->done,
                t->clips, fps, eta, first ? first->id : "", first ? first->frame : 0, first ? first->frames : 0,
                first ? left_of(first->frame, first->frames - first->frame, now - first->started) : 0);
    struct pollfd room = { .fd = t->file ? fileno(t->file) : -1, .events = POLLOUT };
    if (!t->file || poll(&room, 1, strcmp(how, "continue") ? 2000 : 0) == 0)
        return;                 // a reader that stands still does not hold up the work
    fprintf(t->file, "clips_done=%d\nclips_failed=%d\nclips=%d\nframe=%" PRId64 "\nframes=%" PRId64 "\nfps=%.2f\neta_s=%.1f\n",
            t->done, t->failed, t->clips, t->frames - left, t->frames, fps, eta);
    for (int i = 0; i < ZT_TELL_PLACES; i++) {
        const zt_tell_place *p = &t->place[i];
        if (*p->id)
            fprintf(t->file, "clip=%s\nclip_frame=%" PRId64 "\nclip_frames=%" PRId64 "\nclip_eta_s=%.1f\n", p->id, p->frame,
                    p->frames, left_of(p->frame, p->frames - p->frame, now - p->started));
    }
    fprintf(t->file, "progress=%s\n", how);
    fflush(t->file);
}

void zt_tell_now(zt_tell *t, int64_t now)
{
    if (now - t->told < ZT_S / 5)
        return;
    t->told = now;
    tell(t, now, "continue");
}

void zt_tell_close(zt_tell *t, int64_t now, const char *how)
{
    tell(t, now, how);
    if (t->terminal)
        fputc('\n', t->terminal);
    if (t->file && t->file != stdout)
        fclose(t->file);
    *t = (zt_tell){ 0 };
}
