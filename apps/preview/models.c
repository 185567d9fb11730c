// SPDX-License-Identifier: Apache-2.0
// The list holds the shipped model, those in the user's folder, and those that were opened from elsewhere.
#include "apps/preview/models.h"

#include <string.h>

#include "apps/paths.h"
#include "base/base.h"

struct zt_models {
    zt_preview *preview;
    GtkWidget  *popover, *list;
    GtkFileChooserNative *dialog;       // that is open, or NULL
};

// ---- the list

static bool is_model(const char *path)
{
    char *config = g_build_filename(path, "config.json", NULL);
    const bool is = g_file_test(config, G_FILE_TEST_IS_REGULAR);
    g_free(config);
    return is;
}

static void add_row(zt_models *m, const char *path, const char *title, const char *subtitle, bool now)
{
    GtkWidget *row = adw_action_row_new(), *mark = gtk_image_new_from_icon_name("object-select-symbolic");
    char *safe = g_markup_escape_text(subtitle, -1);
    adw_preferences_row_set_use_markup(ADW_PREFERENCES_ROW(row), FALSE);
    adw_preferences_row_set_title(ADW_PREFERENCES_ROW(row), title);
    adw_action_row_set_subtitle(ADW_ACTION_ROW(row), safe);
    adw_action_row_set_subtitle_lines(ADW_ACTION_ROW(row), 1);
    gtk_list_box_row_set_activatable(GTK_LIST_BOX_ROW(row), TRUE);
    gtk_widget_set_visible(mark, now);
    adw_action_row_add_suffix(ADW_ACTION_ROW(row), mark);
    g_object_set_data_full(G_OBJECT(row), "path", g_strdup(path), g_free);
    gtk_list_box_append(GTK_LIST_BOX(m->list), row);
    g_free(safe);
}

static void add_folder(zt_models *m, const char *folder, const char *now)
{
    GDir *dir = g_dir_open(folder, 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        char *path = g_build_filename(folder, name, NULL);
        if (is_model(path))
            add_row(m, path, name, folder, now && !strcmp(now, path));
        g_free(path);
    }
    if (dir)
        g_dir_close(dir);
}

static void fill(zt_models *m)
{
    const char *now = m->preview->settings.model;
    char *own = g_build_filename(g_get_user_data_dir(), "zoetrope", "models", NULL);
    GtkWidget *row;
    while ((row = gtk_widget_get_first_child(m->list)))
        gtk_list_box_remove(GTK_LIST_BOX(m->list), row);
    add_row(m, NULL, "Flyover", "Comes with Zoetrope", !now);
    add_folder(m, own, now);
    if (now && strncmp(now, own, strlen(own))) {
        char *name = g_path_get_basename(now), *folder = g_path_get_dirname(now);
        add_row(m, now, name, folder, true);
        g_free(folder);
        g_free(name);
    }
    g_free(own);
}

static void on_row(GtkListBox *list, GtkListBoxRow *row, zt_models *m)
{
    gtk_popover_popdown(GTK_POPOVER(m->popover));
    zt_window_open_model(m->preview, g_object_get_data(G_OBJECT(row), "path"));
}

// ---- files

// A model is a folder or a file; a log is replayed; a picture is where a session begins.
static void open_path(zt_models *m, const char *path)
{
    static const char *const pictures[] = { ".png", ".jpg", ".jpeg", ".webp" };
    char *lower = g_ascii_strdown(path, -1);
    bool picture = false;
    for (size_t i = 0; i < ZT_LEN(pictures); i++)
        picture = picture || g_str_has_suffix(lower, pictures[i]);
    if (g_str_has_suffix(lower, ".jsonl"))
        gtk_widget_activate_action(GTK_WIDGET(m->preview->window), "win.replay", "s", path);
    else if (picture)
        zt_window_start_from(m->preview, path);
    else
        zt_window_open_model(m->preview, path);
    g_free(lower);
}

static void on_chosen(GtkNativeDialog *dialog, int response, zt_models *m)
{
    GFile *file = response == GTK_RESPONSE_ACCEPT ? gtk_file_chooser_get_file(GTK_FILE_CHOOSER(dialog)) : NULL;
    char *path = file ? g_file_get_path(file) : NULL;
    if (path)
        open_path(m, path);
    g_free(path);
    g_clear_object(&file);
    g_clear_object(&m->dialog);
}

static void ask(zt_models *m, const char *title, GtkFileChooserAction action, const char *name, const char *const *pattern)
{
    if (m->dialog)
        return;
    m->dialog = gtk_file_chooser_native_new(title, m->preview->window, action, "_Open", "_Cancel");
    if (name) {
        GtkFileFilter *filter = gtk_file_filter_new();
        gtk_file_filter_set_name(filter, name);
        for (int i = 0; pattern[i]; i++)
            gtk_file_filter_add_pattern(filter, pattern[i]);
        gtk_file_chooser_add_filter(GTK_FILE_CHOOSER(m->dialog), filter);
        g_object_unref(filter);
    }
    g_signal_connect(m->dialog, "response", G_CALLBACK(on_chosen), m);
    gtk_native_dialog_show(GTK_NATIVE_DIALOG(m->dialog));
}

static void on_open_model(GSimpleAction *a, GVariant *v, gpointer cookie)
{
    ask(cookie, "Open a Model's Folder", GTK_FILE_CHOOSER_ACTION_SELECT_FOLDER, NULL, NULL);
}

static void on_open_log(GSimpleAction *a, GVariant *v, gpointer cookie)
{
    ask(cookie, "Replay a Session Log", GTK_FILE_CHOOSER_ACTION_OPEN, "Session logs", (const char *const[]){ "*.jsonl", NULL });
}

static void on_open_picture(GSimpleAction *a, GVariant *v, gpointer cookie)
{
    ask(cookie, "Start from a Picture", GTK_FILE_CHOOSER_ACTION_OPEN, "Pictures",
        (const char *const[]){ "*.png", "*.jpg", "*.jpeg", "*.webp", NULL });
}

// ---- dropping

static GdkDragAction on_enter(GtkDropTarget *t, double x, double y, zt_models *m)
{
    gtk_revealer_set_reveal_child(GTK_REVEALER(ZT_WIDGET(m->preview, "drop_hint")), TRUE);
    return GDK_ACTION_COPY;
}

static void on_leave(GtkDropTarget *t, zt_models *m)
{
    gtk_revealer_set_reveal_child(GTK_REVEALER(ZT_WIDGET(m->preview, "drop_hint")), FALSE);
}

static gboolean on_drop(GtkDropTarget *t, const GValue *value, double x, double y, zt_models *m)
{
    on_leave(t, m);
    const GSList *files = g_value_get_boxed(value);
    char *path = files ? g_file_get_path(files->data) : NULL;
    if (path)
        open_path(m, path);
    g_free(path);
    return path != NULL;
}

// ---- life

static GtkWidget *make_popover(zt_models *m)
{
    GtkWidget *popover = gtk_popover_new(), *box = gtk_box_new(GTK_ORIENTATION_VERTICAL, 8);
    GtkWidget *open = gtk_button_new_with_label("Open Model…");
    m->list = gtk_list_box_new();
    gtk_list_box_set_selection_mode(GTK_LIST_BOX(m->list), GTK_SELECTION_NONE);
    gtk_widget_add_css_class(m->list, "boxed-list");
    gtk_widget_set_size_request(m->list, 260, -1);
    gtk_accessible_update_property(GTK_ACCESSIBLE(m->list), GTK_ACCESSIBLE_PROPERTY_LABEL, "Models", -1);
    gtk_actionable_set_action_name(GTK_ACTIONABLE(open), "win.open-model");
    gtk_box_append(GTK_BOX(box), m->list);
    gtk_box_append(GTK_BOX(box), open);
    gtk_popover_set_child(GTK_POPOVER(popover), box);
    g_signal_connect_swapped(open, "clicked", G_CALLBACK(gtk_popover_popdown), popover);
    g_signal_connect_swapped(popover, "show", G_CALLBACK(fill), m);
    g_signal_connect(m->list, "row-activated", G_CALLBACK(on_row), m);
    return popover;
}

zt_models *zt_models_create(zt_preview *p)
{
    static const GActionEntry entries[] = {
        { "open-model", on_open_model }, { "open-log", on_open_log }, { "open-picture", on_open_picture },
    };
    zt_models *m = g_new0(zt_models, 1);
    m->preview = p;
    m->popover = make_popover(m);
    gtk_menu_button_set_popover(GTK_MENU_BUTTON(ZT_WIDGET(p, "models")), m->popover);
    g_action_map_add_action_entries(G_ACTION_MAP(p->window), entries, G_N_ELEMENTS(entries), m);
    GtkDropTarget *target = gtk_drop_target_new(GDK_TYPE_FILE_LIST, GDK_ACTION_COPY);
    g_signal_connect(target, "enter", G_CALLBACK(on_enter), m);
    g_signal_connect(target, "leave", G_CALLBACK(on_leave), m);
    g_signal_connect(target, "drop", G_CALLBACK(on_drop), m);
    gtk_widget_add_controller(GTK_WIDGET(p->window), GTK_EVENT_CONTROLLER(target));
    return m;
}

void zt_models_destroy(zt_models **models)
{
    zt_models *m = *models;
    if (!m)
        return;
    g_clear_object(&m->dialog);
    g_free(m);
    *models = NULL;
}
