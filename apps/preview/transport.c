// SPDX-License-Identifier: Apache-2.0
// Play, pause (the last seconds can be looked at again), stop, restart; recording; pictures saved.
#include <math.h>
#include <string.h>

#include "apps/preview/preview.h"
#include "apps/preview/recorder.h"
#include "apps/preview/tape.h"
#include "base/base.h"
#include "base/clock.h"

#define LOOK_BACK_S     30
#define LOOK_BACK_BYTES (96 << 20)
#define REFRESH         500     // ms between labels

enum mode { STOPPED, LIVE, PAUSED };

typedef struct zt_transport {
    zt_preview  *preview;
    enum mode    mode;
    zt_tape     *tape;
    int          w, h, fps;     // of what is on it
    GtkAdjustment *position;
    GtkWidget   *scrubber, *clock, *badge;
    gint64       since, record_since;   // monotonic ns
    int          shown;         // pictures since the labels were made
    gint64       shown_since;
    zt_recorder *recorder;
    guint        refresh;
    bool         quiet;         // the scrubber is being set
} zt_transport;

static void set_label(GtkWidget *label, char *text)
{
    if (strcmp(gtk_label_get_text(GTK_LABEL(label)), text))
        gtk_label_set_text(GTK_LABEL(label), text);
    g_free(text);
}

static char *minutes(gint64 ns)
{
    const int s = (int)(ns / ZT_S);
    return g_strdup_printf("%d:%02d", s / 60, s % 60);
}

static void set_icon(zt_transport *t)
{
    const bool plays = t->mode == LIVE;
    GtkWidget *button = ZT_WIDGET(t->preview, "play_button");
    gtk_button_set_icon_name(GTK_BUTTON(button), plays ? "media-playback-pause-symbolic" : "media-playback-start-symbolic");
    gtk_widget_set_tooltip_text(button, plays ? "Pause (Space)" : "Play (Space)");
    gtk_widget_set_visible(ZT_WIDGET(t->preview, "big_play"), t->mode == STOPPED);
    gtk_widget_set_sensitive(t->scrubber, t->mode == PAUSED);
    gtk_widget_set_sensitive(ZT_WIDGET(t->preview, "stop_button"), t->mode != STOPPED);
}

static void set_badge(zt_transport *t, double fps)
{
    gtk_widget_set_visible(t->badge, true);
    if (t->mode == STOPPED) {
        set_label(t->badge, g_strdup("Stopped"));
    } else if (t->mode == PAUSED) {
        const double back = (gtk_adjustment_get_upper(t->position) - gtk_adjustment_get_value(t->position)) / t->fps;
        set_label(t->badge, back < 0.05 ? g_strdup("Paused") : g_strdup_printf("Paused · −%.1f s", back));
    } else {
        set_label(t->badge, g_strdup_printf("Live · %.1f fps", fps));
    }
}

// The scrubber covers the tape; live it is at its end.
static void set_scrubber(zt_transport *t)
{
    const int n = t->tape ? zt_tape_length(t->tape) : 0;
    t->quiet = true;
    gtk_adjustment_set_upper(t->position, n > 1 ? n - 1 : 1);
    gtk_adjustment_set_value(t->position, n > 1 ? n - 1 : 1);
    t->quiet = false;
}

static gboolean on_refresh(gpointer cookie)
{
    zt_transport *t = cookie;
    const gint64 now = zt_now();
    if (t->mode == LIVE) {
        set_label(t->clock, minutes(now - t->since));
        set_badge(t, (double)t->shown * ZT_S / (double)(now - t->shown_since));
    }
    if (now - t->shown_since > 2 * ZT_S) {
        t->shown = 0;
        t->shown_since = now;
    }
    if (t->recorder)
        set_label(ZT_WIDGET(t->preview, "badge_record"), g_strconcat("● ", minutes(now - t->record_since), NULL));
    return G_SOURCE_CONTINUE;
}

// ---- modes

static void on_scrubbed(zt_transport *t)
{
    if (t->quiet || t->mode != PAUSED || !t->tape || !zt_tape_length(t->tape))
        return;
    const int n = zt_tape_length(t->tape), i = (int)lround(gtk_adjustment_get_value(t->position));
    zt_view_show(t->preview->view[0], zt_tape_get(t->tape, CLAMP(i, 0, n - 1)), t->preview->settings.times);
    set_badge(t, 0);
}

static void set_mode(zt_transport *t, enum mode mode)
{
    t->mode = mode;
    t->shown = 0;
    t->shown_since = zt_now();
    set_icon(t);
    set_badge(t, 0);
}

void zt_transport_started(zt_transport *t)
{
    const zt_model_info *info = zt_model_get_info(zt_player_model(t->preview->player));
    const int fps = t->preview->settings.fps ? t->preview->settings.fps : info->fps;
    if (t->recorder && (info->w != t->w || info->h != t->h || fps != t->fps))
        g_action_group_activate_action(G_ACTION_GROUP(t->preview->window), "record", NULL);     // a file has one size and rate
    zt_tape_destroy(&t->tape);
    zt_tape_create(&t->tape, info->w, info->h, LOOK_BACK_S * fps, LOOK_BACK_BYTES, true);
    t->w = info->w, t->h = info->h, t->fps = fps;
    t->since = zt_now();
    set_mode(t, LIVE);
    set_scrubber(t);
}

void zt_transport_stopped(zt_transport *t)
{
    set_mode(t, STOPPED);
}

void zt_transport_shot(zt_transport *t, const zt_shot *s, const zt_frame *f)
{
    if (!f || t->mode == STOPPED)
        return;
    if (t->mode == PAUSED)      // the world goes on
        return;
    t->shown += s->outcome != ZT_REPEATED;
    if (t->tape && s->outcome != ZT_REPEATED && zt_tape_push(t->tape, f) == 0 && zt_tape_length(t->tape) % 12 == 0)
        set_scrubber(t);
    zt_view_show(t->preview->view[0], f, t->preview->settings.times);
}

static void on_play(GSimpleAction *a, GVariant *v, gpointer cookie)
{
    zt_transport *t = cookie;
    if (t->mode == STOPPED) {
        zt_window_start(t->preview);
        return;
    }
    if (t->mode == LIVE)
        set_scrubber(t);
    set_mode(t, t->mode == LIVE ? PAUSED : LIVE);
}

static void on_stop(GSimpleAction *a, GVariant *v, gpointer cookie)
{
    zt_transport *t = cookie;
    zt_player_stop(t->preview->player);
    zt_window_busy(t->preview, NULL);
    set_mode(t, STOPPED);
}

static void on_restart(GSimpleAction *a, GVariant *v, gpointer cookie)
{
    zt_window_start(((zt_transport *)cookie)->preview);
}

// ---- files

static void saved(zt_transport *t, const char *path, const char *error)
{
    char *name = g_path_get_basename(path), *safe = g_markup_escape_text(name, -1);
    if (error) {
        zt_window_toast(t->preview, "%s: %s", name, error);
    } else {
        char *text = g_strconcat("Saved ", safe, NULL);
        AdwToast *toast = adw_toast_new(text);
        adw_toast_set_button_label(toast, "Show");
        adw_toast_set_action_name(toast, "win.show-folder");
        adw_toast_set_action_target_value(toast, g_variant_new_string(path));
        adw_toast_overlay_add_toast(ADW_TOAST_OVERLAY(ZT_WIDGET(t->preview, "toasts")), toast);
        g_free(text);
    }
    g_free(safe);
    g_free(name);
}

static void on_show_folder(GSimpleAction *a, GVariant *v, gpointer cookie)
{
    zt_transport *t = cookie;
    char *folder = g_path_get_dirname(g_variant_get_string(v, NULL)), *uri = g_filename_to_uri(folder, NULL, NULL);
    if (uri)
        gtk_show_uri(t->preview->window, uri, GDK_CURRENT_TIME);
    g_free(uri);
    g_free(folder);
}

static void on_recorded(void *cookie, const char *path, const char *error)
{
    zt_transport *t = cookie;
    if (t->preview->transport)          // else the window is closing
        saved(t, path, error);
}

static void show_recording(zt_transport *t)
{
    gtk_widget_set_visible(ZT_WIDGET(t->preview, "badge_record"), t->recorder != NULL);
    gtk_widget_set_tooltip_text(ZT_WIDGET(t->preview, "record_button"), t->recorder ? "Stop recording (Ctrl+Shift+R)"
                                                                                    : "Record (Ctrl+Shift+R)");
    set_label(ZT_WIDGET(t->preview, "badge_record"), g_strdup("● 0:00"));
}

static void on_record(GSimpleAction *a, GVariant *v, gpointer cookie)
{
    zt_transport *t = cookie;
    if (t->recorder) {
        zt_recorder_stop(&t->recorder, false);
    } else if (t->mode != STOPPED) {
        char *path = zt_window_new_file(t->preview, G_USER_DIRECTORY_VIDEOS, ".mp4");
        const int err = path ? zt_recorder_start(&t->recorder, t->preview->player, path, t->w, t->h, t->preview->settings.times,
                                                 t->fps, on_recorded, t) : 0;
        char *line = err ? zt_player_error() : NULL;
        if (err)
            zt_window_toast(t->preview, "Cannot record: %s", line ? line : g_strerror(-err));
        t->record_since = zt_now();
        free(line);
        g_free(path);
    }
    g_simple_action_set_state(a, g_variant_new_boolean(t->recorder != NULL));
    show_recording(t);
}

typedef struct picture {
    zt_transport *transport;
    GdkTexture   *texture;
    char         *path;
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
    saved(pic->transport, pic->path, good ? NULL : "it cannot be written");
    g_object_unref(pic->texture);
    g_free(pic->path);
    g_free(pic);
}

static void on_snapshot(GSimpleAction *a, GVariant *v, gpointer cookie)
{
    zt_transport *t = cookie;
    GdkTexture *texture = zt_view_texture(t->preview->view[0]);
    char *path = texture ? zt_window_new_file(t->preview, G_USER_DIRECTORY_PICTURES, ".png") : NULL;
    if (!path)
        return;
    picture *pic = g_new(picture, 1);
    *pic = (picture){ t, g_object_ref(texture), path };
    GTask *task = g_task_new(t->preview->window, NULL, on_picture, pic);
    g_task_set_task_data(task, pic, NULL);
    g_task_run_in_thread(task, save_picture);
    g_object_unref(task);
}

// ---- life

zt_transport *zt_transport_create(zt_preview *p)
{
    static const GActionEntry entries[] = {
        { "play", on_play }, { "stop", on_stop }, { "restart", on_restart }, { "record", on_record, NULL, "false" },
        { "snapshot", on_snapshot }, { "show-folder", on_show_folder, "s" },
    };
    zt_transport *t = g_new0(zt_transport, 1);
    t->preview = p;
    t->position = GTK_ADJUSTMENT(gtk_builder_get_object(p->ui, "position"));
    t->scrubber = ZT_WIDGET(p, "scrubber");
    t->clock = ZT_WIDGET(p, "clock");
    t->badge = ZT_WIDGET(p, "badge_0");
    t->fps = 24;
    g_action_map_add_action_entries(G_ACTION_MAP(p->window), entries, G_N_ELEMENTS(entries), t);
    g_signal_connect_swapped(t->position, "value-changed", G_CALLBACK(on_scrubbed), t);
    t->refresh = g_timeout_add(REFRESH, on_refresh, t);
    return t;
}

void zt_transport_destroy(zt_transport **transport)
{
    zt_transport *t = *transport;
    if (!t)
        return;
    *transport = NULL;
    g_source_remove(t->refresh);
    zt_recorder_stop(&t->recorder, true);
    zt_tape_destroy(&t->tape);
    g_free(t);
}
