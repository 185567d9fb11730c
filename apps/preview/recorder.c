// SPDX-License-Identifier: Apache-2.0
// A stream into a file, fed from the engine's thread; closing it may take a moment and has a thread of its own.
#include "apps/preview/recorder.h"

#include <errno.h>
#include <glib.h>
#include <stdatomic.h>
#include <string.h>

#include "base/base.h"
#include "stream/stream.h"

#define QUEUE 32                // frames: encoders look ahead

struct zt_recorder {
    zt_player      *player;
    zt_stream      *stream;
    char           *path;
    zt_recorded_fn *done;
    void           *cookie;
    atomic_int      err;
};

// The engine's thread. Full is a frame less.
static void on_frame(void *cookie, zt_frame *f)
{
    zt_recorder *r = cookie;
    const int err = atomic_load(&r->err) ? 0 : zt_stream_push(r->stream, f, 0);
    if (err && err != -EAGAIN)
        atomic_store(&r->err, err);
}

int zt_recorder_start(zt_recorder **out, zt_player *p, const char *path, int w, int h, int times, int fps,
                      zt_recorded_fn *done, void *cookie)
{
    zt_recorder *r = zt_alloc(sizeof(*r));
    if (!r)
        return -ENOMEM;
    const zt_stream_params params = {
        .url = path, .w = w, .h = h, .out_w = w * times, .out_h = h * times, .fps = fps, .queue = QUEUE, .crf = 18,
        .title = zt_player_get_prompt(p),
    };
    const int err = zt_stream_open(&r->stream, &params);
    if (err) {
        zt_free(r);
        return err;
    }
    r->player = p;
    r->path = g_strdup(path);
    r->done = done;
    r->cookie = cookie;
    zt_player_tap(p, 0, on_frame, r);
    *out = r;
    return 0;
}

static gboolean tell(gpointer cookie)
{
    zt_recorder *r = cookie;
    const int err = atomic_load(&r->err);
    r->done(r->cookie, r->path, err ? strerror(-err) : NULL);
    g_free(r->path);
    zt_free(r);
    return G_SOURCE_REMOVE;
}

static gpointer finish(gpointer cookie)
{
    zt_recorder *r = cookie;
    const int err = zt_stream_finish(r->stream);
    if (err)
        atomic_store(&r->err, err);
    zt_stream_close(&r->stream);
    return NULL;
}

static gpointer finish_later(gpointer cookie)
{
    finish(cookie);
    g_idle_add(tell, cookie);
    return NULL;
}

void zt_recorder_stop(zt_recorder **recorder, bool wait)
{
    zt_recorder *r = *recorder;
    if (!r)
        return;
    *recorder = NULL;
    zt_player_tap(r->player, 0, NULL, NULL);
    if (!wait) {
        g_thread_unref(g_thread_new("zt-recorded", finish_later, r));
        return;
    }
    finish(r);
    tell(r);
}
