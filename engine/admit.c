// SPDX-License-Identifier: Apache-2.0
// Refuses at the door, with the reason, and remembers between runs what work costs.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "engine/internal.h"
#include "kernels/backend.h"

// Until the earliest end of a lease.
static int retry_after(const zt_engine *e)
{
    int64_t first = INT64_MAX;
    for (int i = 0; i < ZT_SCHED_SESSIONS; i++)
        if (e->session[i] && e->session[i]->lease)
            first = ZT_MIN(first, e->session[i]->lease);
    const int64_t wait = first == INT64_MAX ? 60 * ZT_S : first - zt_now();
    return (int)(ZT_MIN(ZT_MAX(wait, 5 * ZT_S), 60 * ZT_S) / ZT_S);
}

static int64_t bytes_of(const zt_model *m, int w, int h)
{
    const zt_model_info *info = zt_model_get_info(m);
    const int64_t native = ZT_MAX((int64_t)info->w * info->h, 1);
    return (int64_t)((double)info->state_bytes * w * h / (double)native) + (int64_t)w * h * 12;
}

static void explain(const zt_engine *e, const zt_pace *p, int64_t bytes, int64_t left, zt_refused *out)
{
    const zt_estimate show = zt_costs_of(&e->sched.costs, &(zt_shape){ .effort = ZT_EFFORT_SHOW, .model = p->model,
                                                                       .tokens = p->tokens });
    switch (out->reason) {
    case ZT_REFUSED_LOAD:
        snprintf(out->text, sizeof(out->text), "%.0f %% of the machine is promised, this session needs %.0f %% and %.0f %% is the most",
                 100 * zt_sched_load(&e->sched), 100 * zt_sched_load_of(&e->sched, p), 100 * ZT_ADMIT_LOAD);
        break;
    case ZT_REFUSED_BUDGET:
        snprintf(out->text, sizeof(out->text), "a frame cannot be made and shown (%.1f ms) within the budget of %.1f ms",
                 (double)(zt_sched_load_of(&e->sched, p) * (double)p->period + (double)show.p99) / 1e6,
                 (double)p->budget / 1e6);
        break;
    case ZT_REFUSED_MEMORY:
        snprintf(out->text, sizeof(out->text), "a session needs %" PRId64 " MiB and %" PRId64 " MiB are left",
                 bytes >> 20, left >> 20);
        break;
    default:
        snprintf(out->text, sizeof(out->text), "%d sessions are the most", ZT_SCHED_SESSIONS);
    }
}

// Of the memory that states are made in: a GPU's, and the host's beside it.
static int64_t memory_left(const zt_engine *e)
{
    const zt_device *const d = e->device;
    size_t left = SIZE_MAX, all;
    if (d->backend)
        d->backend->memory(d->queue, &left, &all);
    return ZT_MIN(zt_memory_left(), (int64_t)ZT_MIN(left, (size_t)INT64_MAX));
}

int zt_admit_check(zt_engine *e, const zt_model *m, const zt_pace *p, int w, int h, zt_refused *out)
{
    const int64_t bytes = bytes_of(m, w, h), left = memory_left(e);
    e->sched.costs.now = zt_now();
    *out = (zt_refused){ .reason = zt_sched_admit(&e->sched, p) };
    if (out->reason == ZT_ADMITTED && bytes > left - left / 16)
        out->reason = ZT_REFUSED_MEMORY;
    if (out->reason == ZT_ADMITTED)
        return 0;
    out->retry_s = retry_after(e);
    explain(e, p, bytes, left, out);
    return -EBUSY;
}

int zt_engine_admit(zt_engine *e, const zt_session_params *params, zt_refused *out)
{
    zt_session_params p = *params;
    pthread_mutex_lock(&e->lock);
    int err = zt_params_settle(e, &p);
    if (!err) {
        const zt_pace pace = zt_params_pace(e, &p);
        err = zt_admit_check(e, p.model, &pace, p.w, p.h, out);
    }
    pthread_mutex_unlock(&e->lock);
    return err;
}

// ---- what work costs

static void key_of(const zt_engine *e, int model, char *key, size_t bytes)
{
    const zt_model_info *info = zt_model_get_info(e->model[model]);
    snprintf(key, bytes, "%016" PRIx64 "-%s-%d-%d", info->hash, e->device->level, (int)info->precision,
             e->device->threads);
}

static int file_of(const zt_engine *e, int model, const char *end, char *path, size_t bytes)
{
    char key[96];
    key_of(e, model, key, sizeof(key));
    return snprintf(path, bytes, "%s/%s.costs%s", e->folder, key, end) < (int)bytes ? 0 : -EINVAL;
}

void zt_costs_load(zt_engine *e, int model)
{
    char path[4096], key[96];
    if (!e->folder || file_of(e, model, "", path, sizeof(path)) < 0)
        return;
    FILE *f = fopen(path, "re");
    if (!f)
        return;
    key_of(e, model, key, sizeof(key));
    e->sched.costs.now = zt_now();
    if (zt_costs_read(&e->sched.costs, model, key, f) < 0)
        zt_warn("%s is not what it should be: costs are learnt again", path);
    fclose(f);
}

void zt_costs_save(zt_engine *e)
{
    char path[4096], part[4096], key[96];
    for (int i = 0; e->folder && i < e->models; i++) {
        if (file_of(e, i, "", path, sizeof(path)) < 0 || file_of(e, i, ".part", part, sizeof(part)) < 0)
            continue;
        FILE *f = fopen(part, "we");
        if (!f)
            continue;           // a cache: nothing is lost but a second of learning
        key_of(e, i, key, sizeof(key));
        zt_costs_write(&e->sched.costs, i, key, f);
        const int failed = ferror(f);
        if (fclose(f) || failed || rename(part, path))
            remove(part);
    }
}

int zt_engine_remember(zt_engine *e, const char *folder)
{
    char *copy = strdup(folder);
    if (!copy || strlen(folder) > 3800) {
        free(copy);
        return -EINVAL;
    }
    pthread_mutex_lock(&e->lock);
    free(e->folder);
    e->folder = copy;
    for (int i = 0; i < e->models; i++)
        zt_costs_load(e, i);
    pthread_mutex_unlock(&e->lock);
    return 0;
}
