// SPDX-License-Identifier: Apache-2.0
// An offline session with the log's script; its frames are kept, not shown.
#include "apps/preview/replayer.h"

#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "engine/replay.h"
#include "kernels/device.h"

#define MOST_FRAMES 7200        // five minutes at 24 fps
#define MOST_BYTES  ((size_t)512 << 20)

struct zt_replayer {
    zt_player      *player;
    zt_setup        setup;      // as it was: the model may be changed meanwhile, and goes after this
    char           *path, *error;
    zt_replayer_fn *ready;      // NULL: closed before it was
    void           *cookie;
    zt_replay      *log;
    zt_session     *session;
    zt_tape        *tape;
};

// The engine's thread. A full tape is the end.
static void on_frame(void *cookie, zt_frame *f)
{
    zt_replayer *r = cookie;
    if (!f->repeated && zt_tape_push(r->tape, f) < 0)
        zt_session_stop(r->session);
}

static int check(zt_replayer *r)
{
    const zt_model_info *info = zt_model_get_info(r->setup.model);
    const zt_replay *log = r->log;
    if (log->hash != info->hash) {
        zt_error("this log was made with another model, “%s”: open that one first", log->model);
        return -EINVAL;
    }
    if (!log->frames) {
        zt_error("there are no frames in this log");
        return -EINVAL;
    }
    if (strcmp(log->level, r->setup.device->level))
        zt_warn("%s was made by kernels %s, these are %s: frames may differ in their last bits", r->path, log->level,
                r->setup.device->level);
    return 0;
}

// That all of its model_frames make.
static int pictures(const zt_replayer *r)
{
    const zt_model_info *info = zt_model_get_info(r->setup.model);
    const uint64_t n = ZT_MIN(r->log->frames, MOST_FRAMES);
    return (int)ZT_MIN((uint64_t)info->first_pictures + (n - 1) * (uint64_t)info->pictures, MOST_FRAMES);
}

static void run_open(void *cookie)
{
    zt_replayer *r = cookie;
    free(zt_player_error());
    int err = zt_replay_read(&r->log, r->path, r->setup.model);
    if (!err)
        err = check(r);
    if (!err)
        err = zt_tape_create(&r->tape, r->log->w, r->log->h, pictures(r), MOST_BYTES, false);
    if (!err) {
        const zt_session_params p = {
            .model = r->setup.model, .event = r->log->event, .events = r->log->events, .w = r->log->w, .h = r->log->h,
            .fps = r->log->fps, .seed = r->log->seed, .script = r->log->script, .scripted = r->log->frames,
            .frames = (uint64_t)zt_tape_room(r->tape), .offline = true, .on_frame = on_frame, .cookie = r,
        };
        err = zt_session_create(&r->session, r->setup.engine, &p);
    }
    if (err) {
        r->error = zt_player_error();
        r->error = r->error ? r->error : strdup(strerror(-err));
    }
}

static void opened(void *cookie)
{
    zt_replayer *r = cookie;
    if (r->ready)
        r->ready(r->cookie, r->error);
}

zt_replayer *zt_replayer_open(zt_player *p, const char *path, zt_replayer_fn *ready, void *cookie)
{
    zt_replayer *r = g_new0(zt_replayer, 1);
    *r = (zt_replayer){ .player = p, .setup = *zt_player_setup(p), .path = g_strdup(path), .ready = ready, .cookie = cookie };
    zt_player_stop(p);
    zt_player_do(p, run_open, opened, r);
    return r;
}

zt_replay_info zt_replayer_info(const zt_replayer *r)
{
    return (zt_replay_info){ r->tape, zt_tape_room(r->tape), r->log->fps };
}

const char *zt_replayer_prompt(const zt_replayer *r, uint64_t frame, bool *changed)
{
    const char *prompt = NULL;
    *changed = false;
    for (int i = 0; i < r->log->events && r->log->event[i].frame <= frame; i++) {
        if (!r->log->event[i].prompt)
            continue;
        prompt = r->log->event[i].prompt;
        *changed = r->log->event[i].frame == frame;
    }
    return prompt;
}

static void run_close(void *cookie)
{
    zt_replayer *r = cookie;
    if (r->session) {
        zt_session_stop(r->session);
        zt_session_wait(r->session);
    }
    zt_session_destroy(&r->session);
    zt_replay_free(&r->log);
}

static void closed(void *cookie)
{
    zt_replayer *r = cookie;
    zt_tape_destroy(&r->tape);
    free(r->error);
    g_free(r->path);
    g_free(r);
}

void zt_replayer_close(zt_replayer **replayer)
{
    zt_replayer *r = *replayer;
    if (!r)
        return;
    *replayer = NULL;
    r->ready = NULL;
    zt_player_do(r->player, run_close, closed, r);
}
