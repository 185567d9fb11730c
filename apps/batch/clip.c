// SPDX-License-Identifier: Apache-2.0
// One clip: frames come from the engine's thread through a queue, chunks go to the disk, the clip's thread between.
#include "apps/batch/clip.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps/batch/finish.h"
#include "apps/contact_sheet.h"
#include "apps/exits.h"
#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/queue.h"
#include "engine/replay.h"
#include "kernels/device.h"
#include "stream/stream.h"

#define POOL 16
#define LOOK (50 * ZT_MS)       // between looks whether to stop

void zt_clip_shape_of(const zt_clip *c, const zt_model_info *info, zt_clip_shape *out)
{
    const bool pictures = !c->codec;
    out->w = c->w ? c->w : info->w * (pictures ? 1 : 2);
    out->h = c->h ? c->h : info->h * (pictures ? 1 : 2);
    out->fps = c->fps ? c->fps : info->fps;
    out->frames = c->frames ? c->frames : 10 * out->fps;
    out->steps = c->steps ? c->steps : info->steps;
}

static uint64_t mix(uint64_t h, const void *data, size_t n)
{
    for (size_t i = 0; i < n; i++)
        h = (h ^ ((const uint8_t *)data)[i]) * UINT64_C(0x100000001b3);
    return h;
}

uint64_t zt_clip_key(const zt_clip *c, const zt_model_info *info, int64_t chunk)
{
    const int precision = (int)info->precision;
    uint64_t h = mix(c->key, &info->hash, sizeof(info->hash));
    h = mix(h, &chunk, sizeof(chunk));
    h = mix(h, &precision, sizeof(precision));
    return mix(h, ZT_VERSION, sizeof(ZT_VERSION));
}

static void on_frame(void *cookie, zt_frame *f)
{
    zt_rendering *r = cookie;
    zt_frame *mine = zt_frame_ref(f);
    if (zt_queue_push(r->queue, mine, 0) < 0)       // has room for the whole pool; closed when nobody wants more
        zt_frame_unref(&mine);
}

static void on_saved(void *cookie, uint64_t next, void *data, size_t bytes)
{
    zt_rendering *r = cookie;
    zt_carry_take(&r->carry, next, data, bytes);
}

static void chunk_name(char name[64], const char *format, int64_t number, bool part)
{
    if (strcmp(format, "png"))
        snprintf(name, 64, "chunk-%05" PRId64 ".%s", number, format);
    else
        snprintf(name, 64, "chunk-%05" PRId64 "%s", number, part ? ".part" : "");
}

void zt_rendering_chunk(const zt_rendering *r, char path[ZT_FOLDER_PATH], int64_t number, bool part)
{
    char name[64];
    chunk_name(name, r->chunk_format, number, part);
    zt_folder_work(&r->folder, path, name);
}

// Chunks that are complete; what follows a gap is made again.
static int64_t count_chunks(const zt_rendering *r)
{
    char path[ZT_FOLDER_PATH];
    int64_t n = 0;
    struct stat st;
    while (n < r->chunks) {
        zt_rendering_chunk(r, path, n, false);
        if (stat(path, &st) < 0)
            break;
        n++;
    }
    return n;
}

static int open_chunk(zt_rendering *r, int64_t number, int w, int h)
{
    char path[ZT_FOLDER_PATH];
    const zt_clip *c = r->job->clip;
    zt_rendering_chunk(r, path, number, true);
    if (!c->codec && !strcmp(c->format, "png")) {
        if (zt_folder_wipe(path, true) < 0 || mkdir(path, 0777) < 0) {
            zt_error("%s: %s", path, strerror(errno));
            return -errno;
        }
        strncat(path, "/%06d.png", sizeof(path) - strlen(path) - 1);
    }
    const zt_stream_params p = {
        .url = path, .w = w, .h = h, .out_w = r->shape.w, .out_h = r->shape.h, .fps = r->shape.fps, .codec = c->codec,
        .crf = c->crf, .bitrate = c->bitrate, .overwrite = true,
    };
    return zt_stream_open(&r->stream, &p);
}

static int close_chunk(zt_rendering *r)
{
    char path[ZT_FOLDER_PATH], done[ZT_FOLDER_PATH];
    int err = zt_stream_finish(r->stream);
    zt_stream_close(&r->stream);
    if (!err && !strcmp(r->chunk_format, "png")) {
        zt_rendering_chunk(r, path, r->at, true);
        zt_rendering_chunk(r, done, r->at, false);
        err = zt_folder_sync(path);
        if (!err && rename(path, done) < 0)
            err = -errno;
        if (err < 0)
            zt_error("%s: %s", done, strerror(-err));
    }
    zt_folder_work(&r->folder, path, "");
    if (!err)
        err = zt_folder_sync(path);
    return err;
}

static int take(zt_rendering *r, zt_frame *f)
{
    const zt_clip_job *job = r->job;
    const int64_t index = (int64_t)f->index, number = index / job->chunk;
    int err = 0;
    if (r->sheet && number >= r->carry.number)
        zt_sheet_add(r->sheet, f);
    if (number >= r->kept) {
        if (!r->stream) {
            err = open_chunk(r, number, f->w, f->h);
            r->at = number;
        }
        if (!err)
            err = zt_stream_push(r->stream, f, INT64_MAX);
        if (!err && ((index + 1) % job->chunk == 0 || index + 1 == r->shape.frames)) {
            err = close_chunk(r);
            if (!err)
                zt_carry_store(&r->carry, number, r->sheet);
        }
    }
    if (!err && job->told)
        job->told(job->cookie, index + 1);
    return err;
}

static bool stopped(const zt_rendering *r)
{
    return __atomic_load_n(r->job->stop, __ATOMIC_RELAXED);
}

static int follow(zt_rendering *r, zt_session *s)
{
    for (int64_t n = r->first; n < r->shape.frames;) {
        void *item;
        if (stopped(r))
            return ZT_EXIT_AGAIN;
        const bool done = zt_session_done(s);
        const int got = zt_queue_pop(r->queue, &item, done ? 0 : zt_now() + LOOK);
        if (got < 0 && done)
            return zt_session_wait(s) == -ENOMEM ? ZT_EXIT_UNAVAILABLE : ZT_EXIT_BUG;
        if (got < 0)
            continue;
        zt_frame *f = item;
        const int err = take(r, f);
        zt_frame_unref(&f);
        if (err < 0)
            return zt_exit_output(err);
        n++;
    }
    return 0;
}

static int make_frames(zt_rendering *r)
{
    const zt_clip *c = r->job->clip;
    const zt_replay *log = r->log;
    const bool again = log && !c->steps;        // with steps better, else just so
    const zt_session_params p = {
        .model = r->job->setup->model, .prompt = c->prompt, .event = log ? log->event : c->event,
        .events = log ? log->events : c->events, .w = log ? log->w : 0, .h = log ? log->h : 0,
        .script = again ? log->script : NULL, .scripted = again ? log->frames : 0, .fps = r->shape.fps,
        .steps_min = r->shape.steps, .steps_max = r->shape.steps, .seed = log ? log->seed : c->seed,
        .frames = (uint64_t)r->shape.frames, .offline = r->job->slack || log, .unpaced = true, .pool = POOL,
        .on_frame = on_frame, .cookie = r, .save_every = (uint64_t)r->job->chunk, .on_saved = on_saved,
        .saved = r->carry.state, .saved_bytes = r->carry.bytes,
    };
    zt_session *s = NULL;
    int err = zt_queue_create(&r->queue, POOL + 4);
    if (!err)
        err = zt_session_create(&s, r->job->setup->engine, &p);
    int code = err == -EINVAL ? ZT_EXIT_DATA : err < 0 ? ZT_EXIT_UNAVAILABLE : follow(r, s);
    if (r->queue)
        zt_queue_close(r->queue);
    zt_session_destroy(&s);
    for (void *item; r->queue && zt_queue_pop(r->queue, &item, 0) == 0;)
        zt_frame_unref((zt_frame **)&item);
    zt_queue_destroy(&r->queue);
    zt_stream_close(&r->stream);                // what is not a whole chunk goes
    return code;
}

static int open_log(zt_rendering *r)
{
    const zt_clip *c = r->job->clip;
    const zt_model *m = r->job->setup->model;
    const zt_model_info *info = zt_model_get_info(m);
    const int err = zt_replay_read(&r->log, c->replay, m);
    if (err < 0)
        return zt_exit_input(err);
    if (r->log->hash != info->hash) {
        zt_error("%s: was made with another model, \"%s\"", c->replay, r->log->model);
        return ZT_EXIT_DATA;
    }
    const int64_t most = (int64_t)ZT_MIN(r->log->frames, INT32_MAX);
    r->shape.frames = c->frames ? ZT_MIN(c->frames, most) : most;
    r->shape.fps = c->fps ? c->fps : r->log->fps;
    r->shape.w = c->w ? c->w : r->log->w * (c->codec ? 2 : 1);
    r->shape.h = c->h ? c->h : r->log->h * (c->codec ? 2 : 1);
    return 0;
}

// The container whose times are exact for the codec: libavformat reads Matroska's pictures in the order they are shown.
static const char *chunk_format(const zt_clip *c)
{
    if (!c->codec)
        return c->format;
    return !strcmp(c->codec, "h264") || !strcmp(c->codec, "h265") ? "mp4" : !strcmp(c->codec, "prores") ? "mov" : "mkv";
}

static int render(zt_rendering *r)
{
    const zt_clip *c = r->job->clip;
    const zt_model_info *info = zt_model_get_info(r->job->setup->model);
    zt_clip_shape_of(c, info, &r->shape);
    int code = c->replay ? open_log(r) : 0;
    if (code)
        return code;
    r->chunk_format = chunk_format(c);
    r->chunks = (r->shape.frames + r->job->chunk - 1) / r->job->chunk;
    r->kept = count_chunks(r);
    if (c->sheet && zt_sheet_create(&r->sheet, r->log ? r->log->w : info->w, r->log ? r->log->h : info->h, r->shape.frames) < 0)
        return ZT_EXIT_UNAVAILABLE;
    if (r->kept < r->chunks || r->sheet)
        r->first = zt_carry_load(&r->carry, r->job->setup->model, ZT_MIN(r->kept, r->chunks - 1), r->sheet);
    if (r->first)
        zt_info("clip %s: goes on with frame %" PRId64, c->id, r->first);
    if (r->kept < r->chunks || r->sheet)
        code = make_frames(r);
    return code ? code : zt_rendering_finish(r);
}

// A killed process may have written the mark and left the rest.
static int clean(zt_folder *f)
{
    char path[ZT_FOLDER_PATH];
    zt_folder_work(f, path, "");
    if (access(path, F_OK) < 0)
        return 0;
    const int err = zt_folder_lock(f);
    return err == -EBUSY ? 0 : err < 0 ? zt_exit_output(err) : zt_exit_output(zt_folder_remove(f));
}

int zt_clip_render(const zt_clip_job *job)
{
    const zt_model_info *info = zt_model_get_info(job->setup->model);
    const zt_origin from = { zt_clip_key(job->clip, info, job->chunk), job->setup->device->level };
    zt_rendering r = { .job = job, .from = from, .folder = { job->out, job->clip, -1 } };
    if (!job->anew && zt_folder_look(&r.folder, from.key) == ZT_THERE_DONE)
        return clean(&r.folder);
    int code = 0, err = zt_folder_lock(&r.folder);
    if (err < 0)
        return err == -EBUSY ? ZT_EXIT_AGAIN : zt_exit_output(err);
    zt_carry_init(&r.carry, &r.folder, job->chunk);
    if (!job->anew && zt_folder_look(&r.folder, from.key) == ZT_THERE_DONE) {       // another process was quicker
        err = zt_folder_remove(&r.folder);
    } else {
        err = zt_folder_plan(&r.folder, &from, job->anew);
        code = err ? 0 : render(&r);
    }
    code = err ? zt_exit_output(err) : code;
    zt_carry_finish(&r.carry);
    zt_sheet_destroy(&r.sheet);
    zt_replay_free(&r.log);
    zt_folder_close(&r.folder);
    return code;
}
