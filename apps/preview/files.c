// SPDX-License-Identifier: Apache-2.0
// What is written for the user: recordings, pictures, session logs; each under a new name in the user's folders.
#include <errno.h>
#include <gio/gio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apps/preview/preview.h"
#include "apps/preview/recorder.h"
#include "base/base.h"
#include "base/clock.h"

typedef struct zt_files {
    zt_preview  *preview;
    zt_recorder *recorder;
    gint64       since;         // monotonic ns: of the recording
    int          w, h, fps;     // of the session
    char        *log;           // where the session is written down
} zt_files;

static void saved(zt_files *s, const char *path, const char *error)
{
    char *name = g_path_get_basename(path), *safe = g_markup_escape_text(name, -1);
    if (error) {
        zt_window_toast(s->preview, "%s: %s", name, error);
    } else {
        char *text = g_strconcat("Saved ", safe, NULL);
        AdwToast *toast = adw_toast_new(text);
        adw_toast_set_button_label(toast, "Show");
        adw_toast_set_action_name(toast, "win.show-folder");
        adw_toast_set_action_target_value(toast, g_variant_new_string(path));
        adw_toast_overlay_add_toast(ADW_TOAST_OVERLAY(ZT_WIDGET(s->preview, "toasts")), toast);
        g_free(text);
    }
    g_free(safe);
    g_free(name);
}

static void on_show_folder(GSimpleAction *a, GVariant *v, gpointer cookie)
{
    zt_files *s = cookie;
    char *folder = g_path_get_dirname(g_variant_get_string(v, NULL)), *uri = g_filename_to_uri(folder, NULL, NULL);
    if (uri)
        gtk_show_uri(s->preview->window, uri, GDK_CURRENT_TIME);
    g_free(uri);
    g_free(folder);
}

// ---- recordings

static void on_recorded(void *cookie, const char *path, const char *error)
{
    zt_files *s = cookie;
    if (s->preview->files)              // else the window is closing
        saved(s, path, error);
}

void zt_files_tick(zt_files *s)
{
    GtkWidget *badge = ZT_WIDGET(s->preview, "badge_record");
    gtk_widget_set_visible(badge, s->recorder != NULL);
    if (!s->recorder)
        return;
    const int seconds = (int)((zt_now() - s->since) / ZT_S);
    char *text = g_strdup_printf("● %d:%02d", seconds / 60, seconds % 60);
    gtk_label_set_text(GTK_LABEL(badge), text);
    g_free(text);
}

static void begin_recording(zt_files *s)
{
    zt_preview *p = s->preview;
    char *path = zt_window_new_file(p, G_USER_DIRECTORY_VIDEOS, ".mp4");
    const int err = path ? zt_recorder_start(&s->recorder, p->player, path, s->w, s->h, p->settings.times, s->fps, on_recorded, s) : 0;
    char *line = err ? zt_player_error() : NULL;
    if (err)
        zt_window_toast(p, "Cannot record: %s", line ? line : g_strerror(-err));
    s->since = zt_now();
    free(line);
    g_free(path);
}

static void on_record(GSimpleAction *a, GVariant *v, gpointer cookie)
{
    zt_files *s = cookie;
    if (s->recorder)
        zt_recorder_stop(&s->recorder, false);
    else if (zt_player_runs(s->preview->player))
        begin_recording(s);
    g_simple_action_set_state(a, g_variant_new_boolean(s->recorder != NULL));
    gtk_widget_set_tooltip_text(ZT_WIDGET(s->preview, "record_button"), s->recorder ? "Stop recording (Ctrl+Shift+R)"
                                                                                    : "Record (Ctrl+Shift+R)");
    zt_files_tick(s);
}

void zt_files_started(zt_files *s, int w, int h, int fps)
{
    if (s->recorder && (w != s->w || h != s->h || fps != s->fps))
        g_action_group_activate_action(G_ACTION_GROUP(s->preview->window), "record", NULL);     // a file has one size and rate
    s->w = w, s->h = h, s->fps = fps;
}

// ---- pictures

typedef struct picture {
    zt_files   *files;
    GdkTexture *texture;
    char       *path;
} picture;

static void save_picture(GTask *task, gpointer source, gpointer cookie, GCancellable *cancel)
{
    picture *pic = cookie;
    g_task_return_boolean(task, gdk_texture_save_to_png(pic->texture, pic->path));
}

static void on_picture(GObject *source, GAsyncResult *result, gpointer cookie)
{
    picture *pic = cookie;
    const gboolean good = g_task_propagate_boolean(G_TASK(result), NULL);
    saved(pic->files, pic->path, good ? NULL : "it cannot be written");
    g_object_unref(pic->texture);
    g_free(pic->path);
    g_free(pic);
}

static void save(zt_files *s, GdkTexture *texture, const char *suffix)
{
    char *path = texture ? zt_window_new_file(s->preview, G_USER_DIRECTORY_PICTURES, suffix) : NULL;
    if (!path)
        return;
    picture *pic = g_new(picture, 1);
    *pic = (picture){ s, g_object_ref(texture), path };
    GTask *task = g_task_new(s->preview->window, NULL, on_picture, pic);
    g_task_set_task_data(task, pic, NULL);
    g_task_run_in_thread(task, save_picture);
    g_object_unref(task);
}

static void on_snapshot(GSimpleAction *a, GVariant *v, gpointer cookie)
{
    zt_files *s = cookie;
    const bool two = zt_compare_is_on(s->preview->compare);
    save(s, zt_view_texture(s->preview->view[0]), two ? " A.png" : ".png");
    if (two)
        save(s, zt_view_texture(s->preview->view[1]), " B.png");
}

// ---- session logs

const char *zt_files_log(const zt_files *s)
{
    return s->log;
}

static void on_copied(GObject *from, GAsyncResult *result, gpointer cookie)
{
    zt_files *s = cookie;
    GError *error = NULL;
    g_file_copy_finish(G_FILE(from), result, &error);
    char *path = g_object_steal_data(G_OBJECT(from), "path");
    saved(s, path, error ? error->message : NULL);
    g_clear_error(&error);
    g_free(path);
}

// What is written so far, to the latest frame whose outcome is known.
static void on_save_log(GSimpleAction *a, GVariant *v, gpointer cookie)
{
    zt_files *s = cookie;
    char *path = zt_window_new_file(s->preview, G_USER_DIRECTORY_VIDEOS, ".jsonl");
    if (!path)
        return;
    GFile *from = g_file_new_for_path(s->log), *to = g_file_new_for_path(path);
    g_object_set_data_full(G_OBJECT(from), "path", path, g_free);
    g_file_copy_async(from, to, G_FILE_COPY_NONE, G_PRIORITY_DEFAULT, NULL, NULL, NULL, on_copied, s);
    g_object_unref(from);
    g_object_unref(to);
}

// ---- life

static char *log_name(void)
{
    char *folder = g_build_filename(g_get_user_cache_dir(), "zoetrope", NULL), *name = g_strdup_printf("preview-%d.jsonl", (int)getpid());
    g_mkdir_with_parents(folder, 0700);
    char *path = g_build_filename(folder, name, NULL);
    g_free(name);
    g_free(folder);
    return path;
}

zt_files *zt_files_create(zt_preview *p)
{
    static const GActionEntry entries[] = {
        { "record", on_record, NULL, "false" }, { "snapshot", on_snapshot }, { "show-folder", on_show_folder, "s" },
        { "save-log", on_save_log },
    };
    zt_files *s = g_new0(zt_files, 1);
    s->preview = p;
    s->log = log_name();
    g_action_map_add_action_entries(G_ACTION_MAP(p->window), entries, G_N_ELEMENTS(entries), s);
    return s;
}

void zt_files_destroy(zt_files **files)
{
    zt_files *s = *files;
    if (!s)
        return;
    *files = NULL;
    zt_recorder_stop(&s->recorder, true);
    unlink(s->log);
    g_free(s->log);
    g_free(s);
}
