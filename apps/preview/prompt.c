// SPDX-License-Identifier: Apache-2.0
// The prompt: an entry that suggests the model's words and earlier prompts, and a chip for each word of a group.
#include <string.h>

#include "apps/preview/preview.h"
#include "base/base.h"

#define SUGGESTIONS 6

static const char *const groups[] = { "place", "time", "weather" };

struct zt_prompt_box {
    zt_preview *preview;
    GtkEntry   *entry;
    GtkWidget  *popover, *list, *chips;
    bool        quiet;          // the entry or the chips are being set: nobody has typed or clicked
    guint       focusing;       // timer
    int         at;             // in the history while it is walked through, -1: not
};

// ---- words

static bool is_letter(char c)
{
    return g_ascii_isalnum(c) || c == '-' || c == '\'' || (unsigned char)c >= 0x80;
}

static bool has_word(const char *text, const char *word)
{
    const size_t n = strlen(word);
    for (const char *at = text; *at; at++) {
        if (g_ascii_strncasecmp(at, word, n) == 0 && (at == text || !is_letter(at[-1])) && !is_letter(at[n]))
            return true;
    }
    return false;
}

// The last word, that is being typed.
static const char *last_word(const char *text)
{
    const char *at = text + strlen(text);
    while (at > text && is_letter(at[-1]))
        at--;
    return at;
}

// The text without the words of a group.
static void drop_group(zt_prompt_box *b, GString *text, const char *group)
{
    const zt_model *m = zt_player_model(b->preview->player);
    char **part = g_strsplit_set(text->str, " \t", -1);
    g_string_truncate(text, 0);
    for (int i = 0; part[i]; i++) {
        bool in_group = !*part[i];
        const char *word;
        for (int k = 0; (word = zt_model_word(m, group, k)) && !in_group; k++)
            in_group = !g_ascii_strcasecmp(part[i], word);
        if (!in_group)
            g_string_append_printf(text, "%s%s", text->len ? " " : "", part[i]);
    }
    g_strfreev(part);
}

// ---- what is shown

static void set_text(zt_prompt_box *b, const char *text)
{
    b->quiet = true;
    gtk_editable_set_text(GTK_EDITABLE(b->entry), text);
    gtk_editable_set_position(GTK_EDITABLE(b->entry), -1);
    b->quiet = false;
}

static void mark_chips(zt_prompt_box *b)
{
    const char *text = gtk_editable_get_text(GTK_EDITABLE(b->entry));
    b->quiet = true;
    for (GtkWidget *row = gtk_widget_get_first_child(b->chips); row; row = gtk_widget_get_next_sibling(row))
        for (GtkWidget *g = gtk_widget_get_first_child(row); g; g = gtk_widget_get_next_sibling(g))
            for (GtkWidget *c = gtk_widget_get_first_child(g); c; c = gtk_widget_get_next_sibling(c))
                gtk_toggle_button_set_active(GTK_TOGGLE_BUTTON(c), has_word(text, gtk_button_get_label(GTK_BUTTON(c))));
    b->quiet = false;
}

static void say_unknown(zt_prompt_box *b, const char *text)
{
    char ignored[512] = "";
    const zt_model *m = zt_player_model(b->preview->player);
    const int known = zt_model_words(m, text, ignored, sizeof(ignored));
    const char *standard = zt_model_get_info(m)->default_prompt;
    char *line = NULL;
    if (!known && standard)
        line = g_strdup_printf("%s knows none of these words and shows “%s”", zt_model_get_info(m)->name, standard);
    else if (*ignored)
        line = g_strdup_printf("%s does not know: %s", zt_model_get_info(m)->name, g_strdelimit(ignored, " ", ' '));
    if (line)
        gtk_label_set_text(GTK_LABEL(ZT_WIDGET(b->preview, "unknown")), line);
    gtk_revealer_set_reveal_child(GTK_REVEALER(ZT_WIDGET(b->preview, "unknown_revealer")), line != NULL);
    g_free(line);
}

static void show(zt_prompt_box *b)
{
    zt_preview *p = b->preview;
    char *text = g_strstrip(g_strdup(gtk_editable_get_text(GTK_EDITABLE(b->entry))));
    gtk_popover_popdown(GTK_POPOVER(b->popover));
    b->at = -1;
    if (*text && zt_player_model(p->player) && zt_player_prompt(p->player, text) == 0) {
        say_unknown(b, text);
        zt_settings_remember(&p->settings, text);
        mark_chips(b);
        if (!zt_player_runs(p->player))         // stopped, or a replay: whoever asks for a picture gets it
            zt_window_start(p);
    }
    g_free(text);
}

// ---- suggestions

static void suggest(zt_prompt_box *b, const char *shown, const char *text)
{
    GtkWidget *label = gtk_label_new(shown);
    gtk_label_set_xalign(GTK_LABEL(label), 0);
    gtk_label_set_ellipsize(GTK_LABEL(label), PANGO_ELLIPSIZE_END);
    GtkWidget *row = gtk_list_box_row_new();
    gtk_list_box_row_set_child(GTK_LIST_BOX_ROW(row), label);
    g_object_set_data_full(G_OBJECT(row), "text", g_strdup(text), g_free);
    gtk_list_box_append(GTK_LIST_BOX(b->list), row);
}

static int suggest_words(zt_prompt_box *b, const char *text)
{
    const zt_model *m = zt_player_model(b->preview->player);
    const char *last = last_word(text), *word;
    int n = 0;
    for (int i = 0; *last && n < SUGGESTIONS && (word = zt_model_known_word(m, i)); i++) {
        if (g_ascii_strncasecmp(word, last, strlen(last)) || !g_ascii_strcasecmp(word, last))
            continue;
        char *whole = g_strdup_printf("%.*s%s ", (int)(last - text), text, word);
        suggest(b, word, whole);
        g_free(whole);
        n++;
    }
    return n;
}

static int suggest_history(zt_prompt_box *b, const char *text, int n)
{
    const zt_settings *s = &b->preview->settings;
    for (int i = 0; i < ZT_HISTORY && s->history[i] && n < SUGGESTIONS; i++) {
        if (strcmp(s->history[i], text) == 0 || g_ascii_strncasecmp(s->history[i], text, strlen(text)))
            continue;
        suggest(b, s->history[i], s->history[i]);
        n++;
    }
    return n;
}

static void on_typed(zt_prompt_box *b)
{
    const char *text = gtk_editable_get_text(GTK_EDITABLE(b->entry));
    GtkWidget *row;
    if (b->quiet || !zt_player_model(b->preview->player))
        return;
    while ((row = gtk_widget_get_first_child(b->list)))
        gtk_list_box_remove(GTK_LIST_BOX(b->list), row);
    const int n = *text ? suggest_history(b, text, suggest_words(b, text)) : 0;
    if (n)
        gtk_popover_popup(GTK_POPOVER(b->popover));
    else
        gtk_popover_popdown(GTK_POPOVER(b->popover));
    mark_chips(b);
}

static void take(zt_prompt_box *b, GtkListBoxRow *row)
{
    set_text(b, g_object_get_data(G_OBJECT(row), "text"));
    gtk_popover_popdown(GTK_POPOVER(b->popover));
    mark_chips(b);
}

// ---- keys

static void select_row(zt_prompt_box *b, int by)
{
    GtkListBoxRow *now = gtk_list_box_get_selected_row(GTK_LIST_BOX(b->list));
    const int at = now ? gtk_list_box_row_get_index(now) + by : by > 0 ? 0 : -1;
    gtk_list_box_select_row(GTK_LIST_BOX(b->list), at < 0 ? NULL : gtk_list_box_get_row_at_index(GTK_LIST_BOX(b->list), at));
}

static void walk_history(zt_prompt_box *b, int by)
{
    const zt_settings *s = &b->preview->settings;
    const int at = b->at + by;
    if (at < 0 || at >= ZT_HISTORY || !s->history[at])
        return;
    b->at = at;
    set_text(b, s->history[at]);
    mark_chips(b);
}

static gboolean on_key(GtkEventControllerKey *c, guint key, guint code, GdkModifierType state, zt_prompt_box *b)
{
    const bool open = gtk_widget_get_visible(b->popover);
    GtkListBoxRow *row = open ? gtk_list_box_get_selected_row(GTK_LIST_BOX(b->list)) : NULL;
    switch (key) {
    case GDK_KEY_Down:
        open ? select_row(b, 1) : walk_history(b, -1);
        return TRUE;
    case GDK_KEY_Up:
        open ? select_row(b, -1) : walk_history(b, 1);
        return TRUE;
    case GDK_KEY_Escape:
        gtk_popover_popdown(GTK_POPOVER(b->popover));
        if (!open)
            gtk_widget_grab_focus(ZT_WIDGET(b->preview, "stage"));
        return TRUE;
    case GDK_KEY_Tab:
        if (open && !row)
            row = gtk_list_box_get_row_at_index(GTK_LIST_BOX(b->list), 0);
        if (row)
            take(b, row);
        return row != NULL;
    case GDK_KEY_Return: case GDK_KEY_KP_Enter:
        if (row)
            take(b, row);
        show(b);
        gtk_widget_grab_focus(ZT_WIDGET(b->preview, "stage"));
        return TRUE;
    default:
        return FALSE;
    }
}

static void on_row(GtkListBox *list, GtkListBoxRow *row, zt_prompt_box *b)
{
    take(b, row);
    show(b);
    gtk_widget_grab_focus(ZT_WIDGET(b->preview, "stage"));
}

static void on_left(zt_prompt_box *b)
{
    gtk_popover_popdown(GTK_POPOVER(b->popover));
}

// ---- chips

// The chip's word takes the place of its group's, or is added; a second click takes it out.
static void on_chip(GtkToggleButton *chip, zt_prompt_box *b)
{
    if (b->quiet)
        return;
    GString *text = g_string_new(gtk_editable_get_text(GTK_EDITABLE(b->entry)));
    drop_group(b, text, g_object_get_data(G_OBJECT(chip), "group"));
    if (gtk_toggle_button_get_active(chip))
        g_string_append_printf(text, "%s%s", text->len ? " " : "", gtk_button_get_label(GTK_BUTTON(chip)));
    set_text(b, text->str);
    g_string_free(text, TRUE);
    mark_chips(b);
    show(b);
}

static void add_group(zt_prompt_box *b, GtkWidget *row, const char *group)
{
    const zt_model *m = zt_player_model(b->preview->player);
    GtkWidget *box = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 6);
    const char *word;
    gtk_widget_add_css_class(box, "chip-group");
    gtk_accessible_update_property(GTK_ACCESSIBLE(box), GTK_ACCESSIBLE_PROPERTY_LABEL, group, -1);
    for (int i = 0; (word = zt_model_word(m, group, i)); i++) {
        GtkWidget *chip = gtk_toggle_button_new_with_label(word);
        gtk_widget_add_css_class(chip, "chip");
        gtk_widget_set_focus_on_click(chip, FALSE);
        g_object_set_data(G_OBJECT(chip), "group", (gpointer)group);
        g_signal_connect(chip, "toggled", G_CALLBACK(on_chip), b);
        gtk_box_append(GTK_BOX(box), chip);
    }
    gtk_box_append(GTK_BOX(row), box);
}

void zt_prompt_box_model(zt_prompt_box *b)
{
    GtkWidget *row;
    const zt_model *m = zt_player_model(b->preview->player);
    while ((row = gtk_widget_get_first_child(b->chips)))
        gtk_box_remove(GTK_BOX(b->chips), row);
    bool any = false;
    row = NULL;
    for (size_t i = 0; i < ZT_LEN(groups); i++) {
        if (!zt_model_word(m, groups[i], 0))
            continue;
        if (i < 2) {            // the places fill a row, time and weather share one
            row = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 0);
            gtk_box_append(GTK_BOX(b->chips), row);
        }
        add_group(b, row, groups[i]);
        any = true;
    }
    gtk_widget_set_visible(ZT_WIDGET(b->preview, "chips_scroll"), any);
    const char *now = zt_player_get_prompt(b->preview->player), *standard = zt_model_get_info(m)->default_prompt;
    if (!now && standard)
        zt_player_prompt(b->preview->player, standard);
    set_text(b, now ? now : standard ? standard : "");
    say_unknown(b, gtk_editable_get_text(GTK_EDITABLE(b->entry)));
    mark_chips(b);
}

void zt_prompt_box_set(zt_prompt_box *b, const char *text)
{
    set_text(b, text);
    mark_chips(b);
    if (zt_player_model(b->preview->player))
        say_unknown(b, text);
}

static gboolean focus(gpointer cookie)
{
    zt_prompt_box *b = cookie;
    b->focusing = 0;            // its source ends with this call
    gtk_widget_grab_focus(GTK_WIDGET(b->entry));
    gtk_editable_select_region(GTK_EDITABLE(b->entry), 0, -1);
    return G_SOURCE_REMOVE;
}

void zt_prompt_box_focus(zt_prompt_box *b)
{
    const bool hidden = gtk_window_is_fullscreen(b->preview->window);
    if (hidden)
        gtk_window_unfullscreen(b->preview->window);
    if (!b->focusing && hidden)
        b->focusing = g_timeout_add(300, focus, b);
    else
        focus(b);
}

// ---- life

static void make_popover(zt_prompt_box *b)
{
    b->popover = gtk_popover_new();
    b->list = gtk_list_box_new();
    gtk_list_box_set_selection_mode(GTK_LIST_BOX(b->list), GTK_SELECTION_SINGLE);
    gtk_widget_set_size_request(b->list, 240, -1);
    gtk_accessible_update_property(GTK_ACCESSIBLE(b->list), GTK_ACCESSIBLE_PROPERTY_LABEL, "Suggestions", -1);
    gtk_popover_set_child(GTK_POPOVER(b->popover), b->list);
    gtk_popover_set_autohide(GTK_POPOVER(b->popover), FALSE);
    gtk_popover_set_has_arrow(GTK_POPOVER(b->popover), FALSE);
    gtk_popover_set_position(GTK_POPOVER(b->popover), GTK_POS_TOP);
    gtk_widget_set_halign(b->popover, GTK_ALIGN_START);
    gtk_widget_set_can_focus(b->popover, FALSE);
    gtk_widget_add_css_class(b->popover, "suggestions");
    gtk_widget_set_parent(b->popover, GTK_WIDGET(b->entry));
    g_signal_connect_swapped(b->entry, "destroy", G_CALLBACK(gtk_widget_unparent), b->popover);
    g_signal_connect(b->list, "row-activated", G_CALLBACK(on_row), b);
}

zt_prompt_box *zt_prompt_box_create(zt_preview *p)
{
    zt_prompt_box *b = g_new0(zt_prompt_box, 1);
    b->preview = p;
    b->at = -1;
    b->entry = GTK_ENTRY(ZT_WIDGET(p, "prompt"));
    b->chips = ZT_WIDGET(p, "chips");
    make_popover(b);
    GtkEventController *keys = gtk_event_controller_key_new(), *focus = gtk_event_controller_focus_new();
    gtk_event_controller_set_propagation_phase(keys, GTK_PHASE_CAPTURE);
    g_signal_connect(keys, "key-pressed", G_CALLBACK(on_key), b);
    g_signal_connect_swapped(focus, "leave", G_CALLBACK(on_left), b);
    gtk_widget_add_controller(GTK_WIDGET(b->entry), keys);
    gtk_widget_add_controller(GTK_WIDGET(b->entry), focus);
    g_signal_connect_swapped(b->entry, "changed", G_CALLBACK(on_typed), b);
    g_signal_connect_swapped(ZT_WIDGET(p, "show_button"), "clicked", G_CALLBACK(show), b);
    return b;
}

void zt_prompt_box_destroy(zt_prompt_box **b)
{
    if (*b && (*b)->focusing)
        g_source_remove((*b)->focusing);
    g_clear_pointer(b, g_free);
}
