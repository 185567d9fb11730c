// SPDX-License-Identifier: Apache-2.0
// zoetrope-preview: a window on a model that makes video while you steer it.
#include <glib-unix.h>
#include <inttypes.h>
#include <stdio.h>

#include "apps/exits.h"
#include "apps/preview/preview.h"
#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"

typedef struct program {
    zt_preview  preview;
    zt_common   common;
    const char *model, *prompt, *report;
    uint64_t    seed;
    int64_t     steps, fps;
    bool        seeded;
} program;

static int parse(program *s, int argc, char **argv)
{
    s->seed = UINT64_MAX;
    const zt_option option[] = {
        { "model", 'm', ZT_OPTION_STRING, &s->model, "DIR", "model directory (the one of the last time, else the shipped one)" },
        { "prompt", 'p', ZT_OPTION_STRING, &s->prompt, "TEXT", "what to show (that of the last time)" },
        { "seed", 0, ZT_OPTION_SEED, &s->seed, "N", "same seed, same frames (that of the last time)" },
        { "steps", 0, ZT_OPTION_INT, &s->steps, "N", "denoising steps per frame (those of the last time)", 1, ZT_MAX_STEPS },
        { "fps", 'r', ZT_OPTION_INT, &s->fps, "N", "frames per second (those of the last time)", 1, 60 },
        { "report", 0, ZT_OPTION_STRING, &s->report, "FILE", "at the end, what was shown, as JSON; - is stdout (none)" },
        { 0 },
    };
    const zt_program p = { "zoetrope-preview", "Shows what a model makes, live, in a window.", "[OPTIONS]", option, 0 };
    const char *none[1];
    const int code = zt_options_parse(&p, argc, argv, &s->common, none);
    if (code < 0 && s->prompt && zt_prompt_check(s->prompt) < 0)
        return ZT_EXIT_USAGE;
    return code;
}

static int report(const program *s)
{
    const zt_tally *t = &s->preview.tally;
    if (!s->report)
        return 0;
    FILE *f = strcmp(s->report, "-") ? fopen(s->report, "we") : stdout;
    if (!f) {
        zt_error("%s: %s", s->report, strerror(errno));
        return ZT_EXIT_NO_OUTPUT;
    }
    const double seconds = (double)(t->last - t->first) / ZT_S;
    fprintf(f, "{\"painted\": %" PRIu64 ", \"seconds\": %.3f, \"fps\": %.2f, \"outcomes\": {", t->painted, seconds,
            seconds > 0 && t->painted ? (double)(t->painted - 1) / seconds : 0.0);
    for (int i = 0; i < ZT_OUTCOMES; i++)
        fprintf(f, "%s\"%s\": %" PRIu64, i ? ", " : "", zt_outcome_name[i], t->outcome[i]);
    fprintf(f, "}}\n");
    return f == stdout || !fclose(f) ? 0 : ZT_EXIT_NO_OUTPUT;
}

static void on_activate(GApplication *app, gpointer cookie)
{
    zt_preview *p = cookie;
    if (p->window)
        gtk_window_present(p->window);
    else
        zt_window_create(p);
}

static gboolean on_signal(gpointer cookie)
{
    zt_preview *p = cookie;
    if (p->window)
        gtk_window_close(p->window);
    return G_SOURCE_CONTINUE;
}

int main(int argc, char **argv)
{
    static program s;
    zt_preview *p = &s.preview;
    int code = parse(&s, argc, argv);
    if (code >= 0)
        return code;
    if (!gtk_init_check()) {
        zt_error("there is no display to open a window on");
        return ZT_EXIT_UNAVAILABLE;
    }
    zt_settings_load(&p->settings);
    if (s.seed != UINT64_MAX)
        p->settings.seed = s.seed;
    if (s.steps)
        p->settings.steps = (int)s.steps;
    if (s.fps)
        p->settings.fps = (int)s.fps;
    p->asked_model = s.model;
    p->asked_prompt = s.prompt;
    p->threads = s.common.threads;
    p->app = adw_application_new(ZT_PREVIEW_ID, G_APPLICATION_NON_UNIQUE);
    g_set_application_name("Zoetrope");
    g_signal_connect(p->app, "activate", G_CALLBACK(on_activate), p);
    g_unix_signal_add(SIGINT, on_signal, p);
    g_unix_signal_add(SIGTERM, on_signal, p);
    code = g_application_run(G_APPLICATION(p->app), 1, argv) ? ZT_EXIT_UNAVAILABLE : 0;
    zt_window_destroy(p);
    zt_settings_finish(&p->settings);
    g_object_unref(p->app);
    return code ? code : report(&s);
}
