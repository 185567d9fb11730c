// SPDX-License-Identifier: Apache-2.0
// The panel's first page: seed, steps, frame rate, size, what the model is, light or dark.
#include <errno.h>
#include <stdlib.h>

#include "apps/preview/preview.h"
#include "base/base.h"
#include "kernels/device.h"

#define SETTLE 350              // ms without a change before sessions begin anew

typedef struct zt_look {
    zt_preview *preview;
    GtkWidget  *seed, *steps, *fps;
    GPtrArray  *fact;           // rows
    guint       soon;
    bool        quiet;
} zt_look;

static gboolean on_settled(gpointer cookie)
{
    zt_look *l = cookie;
    l->soon = 0;
    zt_window_start(l->preview);
    return G_SOURCE_REMOVE;
}

static void start_soon(zt_look *l)
{
    if (l->soon)
        g_source_remove(l->soon);
    l->soon = g_timeout_add(SETTLE, on_settled, l);
}

// ---- seed

static void show_seed(zt_look *l)
{
    char text[32];
    g_snprintf(text, sizeof(text), "%" G_GUINT64_FORMAT, l->preview->settings.seed);
    gtk_editable_set_text(GTK_EDITABLE(l->seed), text);
    gtk_widget_remove_css_class(l->seed, "error");
}

static void on_seed(zt_look *l)
{
    const char *text = gtk_editable_get_text(GTK_EDITABLE(l->seed));
    char *end;
    errno = 0;
    const guint64 seed = g_ascii_strtoull(text, &end, 10);
    const bool good = g_ascii_isdigit(*text) && !*end && !errno;
    if (good)
        gtk_widget_remove_css_class(l->seed, "error");
    else
        gtk_widget_add_css_class(l->seed, "error");
    if (!good || seed == l->preview->settings.seed)
        return;
    l->preview->settings.seed = seed;
    start_soon(l);
}

static void on_dice(GSimpleAction *a, GVariant *v, gpointer cookie)
{
    zt_look *l = cookie;
    l->preview->settings.seed = g_random_int_range(0, 100000);
    show_seed(l);
    zt_window_start(l->preview);
}

// ---- the others

static void on_steps(zt_look *l)
{
    if (l->quiet)
        return;
    const zt_model_info *info = zt_model_get_info(zt_player_model(l->preview->player));
    const int n = gtk_spin_button_get_value_as_int(GTK_SPIN_BUTTON(l->steps));
    l->preview->settings.steps = n == info->steps ? 0 : n;
    start_soon(l);
}

static void on_fps(zt_look *l)
{
    if (l->quiet)
        return;
    const zt_model_info *info = zt_model_get_info(zt_player_model(l->preview->player));
    const int n = gtk_spin_button_get_value_as_int(GTK_SPIN_BUTTON(l->fps));
    l->preview->settings.fps = n == info->fps ? 0 : n;
    start_soon(l);
}

static void on_times(zt_look *l)
{
    if (!l->quiet)
        l->preview->settings.times = 1 + (int)adw_combo_row_get_selected(ADW_COMBO_ROW(ZT_WIDGET(l->preview, "times")));
}

static void set_scheme(const zt_preview *p)
{
    static const AdwColorScheme schemes[ZT_SCHEMES] = { ADW_COLOR_SCHEME_DEFAULT, ADW_COLOR_SCHEME_FORCE_LIGHT,
                                                        ADW_COLOR_SCHEME_FORCE_DARK };
    adw_style_manager_set_color_scheme(adw_style_manager_get_default(), schemes[p->settings.scheme]);
}

static void on_scheme(zt_look *l)
{
    l->preview->settings.scheme = (int)adw_combo_row_get_selected(ADW_COMBO_ROW(ZT_WIDGET(l->preview, "scheme")));
    set_scheme(l->preview);
}

// ---- the model

static void fact(zt_look *l, const char *title, char *text)
{
    GtkWidget *row = adw_action_row_new(), *value = gtk_label_new(text);
    adw_preferences_row_set_title(ADW_PREFERENCES_ROW(row), title);
    gtk_widget_add_css_class(value, "dim-label");
    gtk_widget_add_css_class(value, "numeric");
    gtk_label_set_ellipsize(GTK_LABEL(value), PANGO_ELLIPSIZE_END);
    adw_action_row_add_suffix(ADW_ACTION_ROW(row), value);
    adw_preferences_group_add(ADW_PREFERENCES_GROUP(ZT_WIDGET(l->preview, "facts")), row);
    g_ptr_array_add(l->fact, row);
    g_free(text);
}

static void show_facts(zt_look *l, const zt_model_info *info)
{
    AdwPreferencesGroup *group = ADW_PREFERENCES_GROUP(ZT_WIDGET(l->preview, "facts"));
    const zt_device *d = zt_player_setup(l->preview->player)->device;
    for (guint i = 0; i < l->fact->len; i++)
        adw_preferences_group_remove(group, l->fact->pdata[i]);
    g_ptr_array_set_size(l->fact, 0);
    char *bytes = g_format_size((guint64)info->weight_bytes);
    fact(l, "Name", g_strdup(info->name));
    fact(l, "Parameters", info->parameters < 950000000 ? g_strdup_printf("%.1f million", (double)info->parameters / 1e6)
                                                       : g_strdup_printf("%.1f billion", (double)info->parameters / 1e9));
    fact(l, "Memory", g_strdup_printf("%s · %s", bytes, zt_precision_names[info->precision]));
    fact(l, "Kernels", g_strdup_printf("%s · %d thread%s", d->level, d->threads, d->threads == 1 ? "" : "s"));
    g_free(bytes);
}

void zt_look_model(zt_look *l)
{
    const zt_settings *s = &l->preview->settings;
    const zt_model_info *info = zt_model_get_info(zt_player_model(l->preview->player));
    GtkStringList *sizes = GTK_STRING_LIST(gtk_builder_get_object(l->preview->ui, "times_list"));
    l->quiet = true;
    gtk_spin_button_set_value(GTK_SPIN_BUTTON(l->steps), s->steps ? s->steps : info->steps);
    gtk_spin_button_set_value(GTK_SPIN_BUTTON(l->fps), s->fps ? s->fps : info->fps);
    gtk_string_list_splice(sizes, 0, g_list_model_get_n_items(G_LIST_MODEL(sizes)), NULL);
    for (int i = 1; i <= 4; i++) {
        char *text = g_strdup_printf("%d × %d", i * info->w, i * info->h);
        gtk_string_list_append(sizes, text);
        g_free(text);
    }
    adw_combo_row_set_selected(ADW_COMBO_ROW(ZT_WIDGET(l->preview, "times")), (guint)(s->times - 1));
    l->quiet = false;
    show_facts(l, info);
}

zt_look *zt_look_create(zt_preview *p)
{
    static const GActionEntry entries[] = { { "dice", on_dice } };
    zt_look *l = g_new0(zt_look, 1);
    l->preview = p;
    l->seed = ZT_WIDGET(p, "seed");
    l->steps = ZT_WIDGET(p, "steps");
    l->fps = ZT_WIDGET(p, "fps");
    l->fact = g_ptr_array_new();
    show_seed(l);
    set_scheme(p);
    adw_combo_row_set_selected(ADW_COMBO_ROW(ZT_WIDGET(p, "scheme")), (guint)p->settings.scheme);
    g_action_map_add_action_entries(G_ACTION_MAP(p->window), entries, 1, l);
    g_signal_connect_swapped(l->seed, "changed", G_CALLBACK(on_seed), l);
    g_signal_connect_swapped(l->steps, "value-changed", G_CALLBACK(on_steps), l);
    g_signal_connect_swapped(l->fps, "value-changed", G_CALLBACK(on_fps), l);
    g_signal_connect_swapped(ZT_WIDGET(p, "times"), "notify::selected", G_CALLBACK(on_times), l);
    g_signal_connect_swapped(ZT_WIDGET(p, "scheme"), "notify::selected", G_CALLBACK(on_scheme), l);
    return l;
}

void zt_look_destroy(zt_look **look)
{
    zt_look *l = *look;
    if (!l)
        return;
    if (l->soon)
        g_source_remove(l->soon);
    g_ptr_array_free(l->fact, TRUE);
    g_free(l);
    *look = NULL;
}
