// SPDX-License-Identifier: Apache-2.0
// Opens device, model and engine for a program.
#include "apps/setup.h"

#include "apps/exits.h"
#include "apps/paths.h"
#include "base/base.h"
#include "base/log.h"

static const enum zt_precision precisions[] = { ZT_PRECISION_DEFAULT, ZT_PRECISION_F32, ZT_PRECISION_BF16,
                                                ZT_PRECISION_INT8, ZT_PRECISION_INT4 };

int zt_setup_open(zt_setup *s, bool engine)
{
    if (s->precision_name >= (int)ZT_LEN(precisions)) {
        zt_error("precision %s is not in this version", zt_precision_names[s->precision_name]);
        return ZT_EXIT_UNAVAILABLE;
    }
    const zt_device_params p = { .device = s->device_name ? zt_device_names[s->device_name] : NULL,
                                 .threads = (int)s->threads, .keep = s->live, .realtime = s->realtime };
    int err = zt_device_open(&s->device, &p);
    if (err < 0)
        return err == -EINVAL ? ZT_EXIT_USAGE : ZT_EXIT_UNAVAILABLE;
    if (s->on_device)
        s->on_device(s->device);
    err = zt_model_open_kv(&s->model, s->device, s->path ? s->path : zt_path_default_model(),
                           precisions[s->precision_name], (enum zt_kv_choice)s->kv);
    if (err < 0)
        return zt_exit_input(err);
    if (!engine)
        return 0;
    if (zt_engine_create(&s->engine, s->device, s->model) < 0)
        return ZT_EXIT_UNAVAILABLE;
    char folder[4096];
    if (zt_path_cache(folder, sizeof(folder)) == 0)
        zt_engine_remember(s->engine, folder);
    return 0;
}

void zt_setup_close(zt_setup *s)
{
    zt_engine_destroy(&s->engine);
    zt_model_close(&s->model);
    zt_device_close(&s->device);
}

void zt_setup_report_prompt(const zt_setup *s, zt_session *session)
{
    char ignored[512];
    const int known = zt_session_ignored(session, ignored, sizeof(ignored));
    if (*ignored)
        zt_warn("ignored: %s", ignored);
    if (!known)
        zt_warn("no word of the prompt is known to %s: it shows \"%s\"", zt_model_get_info(s->model)->name,
                zt_model_get_info(s->model)->default_prompt);
}
