// SPDX-License-Identifier: Apache-2.0
// A key file: every value is checked before it is used, whoever has edited it.
#include "apps/preview/settings.h"

#include <string.h>

#include "base/log.h"

#define GROUP "preview"

static char *path(void)
{
    return g_build_filename(g_get_user_config_dir(), "zoetrope", "preview.ini", NULL);
}

static int number(GKeyFile *f, const char *key, int standard, int least, int most)
{
    GError *error = NULL;
    const int n = g_key_file_get_integer(f, GROUP, key, &error);
    const gboolean good = !error && n >= least && n <= most;
    g_clear_error(&error);
    return good ? n : standard;
}

static gboolean flag(GKeyFile *f, const char *key, gboolean standard)
{
    GError *error = NULL;
    const gboolean on = g_key_file_get_boolean(f, GROUP, key, &error);
    const gboolean good = !error;
    g_clear_error(&error);
    return good ? on : standard;
}

static char *text(GKeyFile *f, const char *key)
{
    char *value = g_key_file_get_string(f, GROUP, key, NULL);
    if (value && !*value)
        g_clear_pointer(&value, g_free);
    return value;
}

void zt_settings_load(zt_settings *s)
{
    GKeyFile *f = g_key_file_new();
    char *name = path();
    g_key_file_load_from_file(f, name, G_KEY_FILE_NONE, NULL);
    *s = (zt_settings){
        .model = text(f, "model"), .prompt = text(f, "prompt"), .seed = g_key_file_get_uint64(f, GROUP, "seed", NULL),
        .steps = number(f, "steps", 0, 0, 64), .fps = number(f, "fps", 0, 0, 60), .times = number(f, "times", 2, 1, 4),
        .compare = number(f, "compare", 0, 0, 1), .other_seed = (guint64)number(f, "other-seed", 1, 0, 99999),
        .other_steps = number(f, "other-steps", 1, 1, 64), .panel = flag(f, "panel", TRUE), .page = text(f, "page"),
        .width = number(f, "width", 1180, 360, 16384), .height = number(f, "height", 760, 480, 16384),
        .maximized = flag(f, "maximized", FALSE), .scheme = number(f, "scheme", 0, 0, ZT_SCHEMES - 1),
        .network = flag(f, "network", TRUE),
    };
    char **list = g_key_file_get_string_list(f, GROUP, "history", NULL, NULL);
    for (int i = 0; list && list[i] && i < ZT_HISTORY - 1; i++)
        s->history[i] = g_strdup(list[i]);
    g_strfreev(list);
    g_key_file_free(f);
    g_free(name);
}

void zt_settings_save(const zt_settings *s)
{
    GKeyFile *f = g_key_file_new();
    char *name = path(), *folder = g_path_get_dirname(name);
    GError *error = NULL;
    g_key_file_set_string(f, GROUP, "model", s->model ? s->model : "");
    g_key_file_set_string(f, GROUP, "prompt", s->prompt ? s->prompt : "");
    g_key_file_set_uint64(f, GROUP, "seed", s->seed);
    g_key_file_set_integer(f, GROUP, "steps", s->steps);
    g_key_file_set_integer(f, GROUP, "fps", s->fps);
    g_key_file_set_integer(f, GROUP, "times", s->times);
    g_key_file_set_integer(f, GROUP, "compare", s->compare);
    g_key_file_set_integer(f, GROUP, "other-seed", (int)s->other_seed);
    g_key_file_set_integer(f, GROUP, "other-steps", s->other_steps);
    g_key_file_set_boolean(f, GROUP, "panel", s->panel);
    g_key_file_set_string(f, GROUP, "page", s->page ? s->page : "");
    g_key_file_set_integer(f, GROUP, "width", s->width);
    g_key_file_set_integer(f, GROUP, "height", s->height);
    g_key_file_set_boolean(f, GROUP, "maximized", s->maximized);
    g_key_file_set_integer(f, GROUP, "scheme", s->scheme);
    g_key_file_set_boolean(f, GROUP, "network", s->network);
    g_key_file_set_string_list(f, GROUP, "history", (const char *const *)s->history, g_strv_length((char **)s->history));
    g_mkdir_with_parents(folder, 0700);
    if (!g_key_file_save_to_file(f, name, &error))
        zt_warn("%s: %s", name, error->message);
    g_clear_error(&error);
    g_key_file_free(f);
    g_free(folder);
    g_free(name);
}

void zt_settings_finish(zt_settings *s)
{
    g_free(s->model);
    g_free(s->prompt);
    g_free(s->page);
    for (int i = 0; i < ZT_HISTORY; i++)
        g_free(s->history[i]);
    memset(s, 0, sizeof(*s));
}

void zt_settings_remember(zt_settings *s, const char *prompt)
{
    int at = 0;
    while (at < ZT_HISTORY - 2 && s->history[at] && strcmp(s->history[at], prompt))
        at++;
    g_free(s->history[at]);
    memmove(s->history + 1, s->history, (size_t)at * sizeof(*s->history));
    s->history[0] = g_strdup(prompt);
}
