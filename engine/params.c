// SPDX-License-Identifier: Apache-2.0
// Parameters of a session: defaults, limits, and what the scheduler makes of them.
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "engine/internal.h"

#define SLICE_ROWS 96   // with fewer, weights are read for too little

int zt_prompt_check(const char *text)
{
    const size_t bytes = strnlen(text, ZT_PROMPT_BYTES + 1);
    if (bytes > ZT_PROMPT_BYTES) {
        zt_error("prompt: longer than %d bytes", ZT_PROMPT_BYTES);
        return -EINVAL;
    }
    if (strspn(text, " \t\r\n") == bytes) {
        zt_error("prompt: empty");
        return -EINVAL;
    }
    for (const char *s = text; *s;) {
        const int n = zt_utf8_length(s, 4);
        if (!n) {
            zt_error("prompt: byte %td is not UTF-8", s - text);
            return -EINVAL;
        }
        s += n;
    }
    return 0;
}

static int in_range(const char *name, int64_t value, int64_t min, int64_t max)
{
    if (value >= min && value <= max)
        return 0;
    zt_error("session: %s is %lld, not in %lld..%lld", name, (long long)value, (long long)min, (long long)max);
    return -EINVAL;
}

static int model_index(const zt_engine *e, const zt_model *m)
{
    for (int i = 0; i < e->models; i++)
        if (e->model[i] == m)
            return i;
    return -1;
}

static int check_scripts(const zt_session_params *p)
{
    int err = p->prompt ? zt_prompt_check(p->prompt) : 0;
    for (int i = 0; i < p->events && !err; i++)
        err = p->event[i].prompt ? zt_prompt_check(p->event[i].prompt) : 0;
    if (!err && p->scripted && !p->offline)
        err = -EINVAL;
    for (uint64_t i = 0; i < p->scripted && !err; i++)
        err = in_range("a scripted frame's steps", p->script[i].n, 1, ZT_MAX_STEPS);
    return err;
}

static bool is_live(const zt_session_params *p)
{
    return !p->offline && !p->unpaced;
}

static int check_saved(const zt_session_params *p)
{
    uint64_t begun;
    if ((p->saved || p->on_saved) && is_live(p)) {
        zt_error("session: a live one is not saved");
        return -EINVAL;
    }
    return p->saved ? zt_state_saved(p->model, p->saved, p->saved_bytes, &begun) : 0;
}

int zt_params_settle(const zt_engine *e, zt_session_params *p)
{
    p->model = p->model ? p->model : e->model[0];
    assert(model_index(e, p->model) >= 0);
    const zt_model_info *info = zt_model_get_info(p->model);
    p->w = p->w ? p->w : info->w;
    p->h = p->h ? p->h : info->h;
    p->fps = p->fps ? p->fps : info->fps;
    p->steps_min = p->steps_min ? p->steps_min : 1;
    p->steps_max = p->steps_max ? p->steps_max : ZT_MAX(info->steps, p->steps_min);
    p->first_steps = p->first_steps ? p->first_steps : ZT_MAX(info->first_frame_steps, 1);
    p->pool = ZT_MAX(p->pool ? p->pool : 8, info->pictures + 1);
    int err = check_scripts(p);
    if (!err)
        err = check_saved(p);
    if (!err)
        err = in_range("fps", p->fps, 1, 60);
    if (!err)
        err = in_range("steps", p->steps_max, 1, ZT_MAX_STEPS);
    if (!err)
        err = in_range("steps_min", p->steps_min, 1, p->steps_max);
    if (!err)
        err = in_range("first_steps", p->first_steps, 1, ZT_MAX_STEPS);
    if (!err)
        err = in_range("pool", p->pool, 1, 128);
    if (!err && !p->budget)
        p->budget = ZT_MIN((info->pictures > 1 ? info->pictures + 1 : 2) * (ZT_S / p->fps), 60 * ZT_S);
    if (!err)
        err = in_range("budget_ns", p->budget, 1, 60 * ZT_S);
    if (!err)
        err = in_range("pictures at once", info->pictures, 1, ZT_MAX_PICTURES);
    return err;
}

// Model frames that make so many pictures.
static uint64_t model_frames(const zt_model_info *info, uint64_t pictures)
{
    const uint64_t first = (uint64_t)info->first_pictures, each = (uint64_t)info->pictures;
    return pictures <= first ? pictures > 0 : 1 + (pictures - first + each - 1) / each;
}

zt_pace zt_params_pace(const zt_engine *e, const zt_session_params *p)
{
    const zt_model_info *info = zt_model_get_info(p->model);
    zt_pace pace = {
        .pacing = p->offline ? ZT_OFFLINE : p->unpaced ? ZT_UNPACED : ZT_LIVE, .period = ZT_S / p->fps,
        .budget = p->budget, .chunk = info->pictures, .first_chunk = info->first_pictures,
        .latents = info->chunk_frames, .steps_min = p->steps_min, .steps_max = p->steps_max,
        .first_steps = p->first_steps, .frames = model_frames(info, p->frames), .pictures = p->frames, .model = model_index(e, p->model),
        .tokens = ZT_MAX(p->w / info->unit * (p->h / info->unit), 1) * info->chunk_frames, .layers = info->layers, .window = info->window_frames,
        .rows = SLICE_ROWS, .keep_rate = p->keep_rate,
    };
    if (p->saved)
        zt_state_saved(p->model, p->saved, p->saved_bytes, &pace.begun);
    for (int i = 0; i < info->n_windows; i++)
        if (info->window[i] > info->sink_frames)
            pace.smaller[pace.windows++] = info->window[i];
    memcpy(pace.part, info->part, sizeof(pace.part));
    pace.top_ks = info->n_top_k;
    memcpy(pace.fewer, info->fewer_k, sizeof(pace.fewer));
    return pace;
}
