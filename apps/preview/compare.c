// SPDX-License-Identifier: Apache-2.0
// Two sessions side by side under the same prompt and controls: another seed, or other steps.
#include <stdlib.h>
#include <string.h>

#include "apps/preview/preview.h"
#include "base/base.h"
#include "base/clock.h"

#define FIGURES 500             // ms between figures
#define WINDOW  96              // shots that they are made of

enum { BY_SEED, BY_STEPS };
enum { ROW_WHAT, ROW_FPS, ROW_LATENCY, ROW_MISSED, ROWS };

struct zt_compare {
    zt_preview *preview;
    bool        on;
    GtkWidget  *kind, *seed, *steps, *seed_row, *steps_row;
    GtkWidget  *cell[ROWS][ZT_LANES];
    zt_shot     ring[ZT_LANES][WINDOW];
    uint64_t    shots[ZT_LANES], missed[ZT_LANES], last[ZT_LANES];
    guint       refresh, soon;
};

static int model_steps(const zt_compare *c)
{
    const zt_model *m = zt_player_model(c->preview->player);
    const int own = m ? zt_model_get_info(m)->steps : 2;
    return c->preview->settings.steps ? c->preview->settings.steps : own;
}

int zt_compare_takes(const zt_compare *c, zt_take take[ZT_LANES])
{
    if (!c->on)
        return 1;
    take[1] = take[0];
    take[0].exact = take[1].exact = true;       // else a busy machine would make them alike
    if (c->preview->settings.compare == BY_SEED)
        take[1].seed = c->preview->settings.other_seed;
    else
        take[1].steps = c->preview->settings.other_steps;
    return 2;
}

bool zt_compare_is_on(const zt_compare *c)
{
    return c->on;
}

static char *what(const zt_compare *c, int lane)
{
    const zt_settings *s = &c->preview->settings;
    if (s->compare == BY_SEED)
        return g_strdup_printf("Seed %" G_GUINT64_FORMAT, lane ? s->other_seed : s->seed);
    const int n = lane ? s->other_steps : model_steps(c);
    return g_strdup_printf("%d step%s", n, n == 1 ? "" : "s");
}

static void set_text(GtkWidget *label, char *text)
{
    if (strcmp(gtk_label_get_text(GTK_LABEL(label)), text))
        gtk_label_set_text(GTK_LABEL(label), text);
    g_free(text);
}

void zt_compare_started(zt_compare *c)
{
    memset(c->shots, 0, sizeof(c->shots));
    memset(c->missed, 0, sizeof(c->missed));
    gtk_widget_set_visible(ZT_WIDGET(c->preview, "frame_1"), c->on);
    gtk_widget_set_visible(ZT_WIDGET(c->preview, "badge_1"), c->on);
    gtk_widget_set_visible(ZT_WIDGET(c->preview, "compare_figures"), c->on);
    if (!c->on)
        zt_view_clear(c->preview->view[1]);
    for (int i = 0; i < ZT_LANES; i++)
        set_text(c->cell[ROW_WHAT][i], what(c, i));
    set_text(ZT_WIDGET(c->preview, "badge_1"), what(c, 1));
}

// The first lane's badge says what it is, too.
char *zt_compare_badge(const zt_compare *c)
{
    return c->on ? what(c, 0) : NULL;
}

void zt_compare_shot(zt_compare *c, int lane, const zt_shot *s)
{
    const uint64_t gap = c->shots[lane] && s->index > c->last[lane] ? s->index - c->last[lane] - 1 : 0;
    c->missed[lane] += gap + (s->outcome == ZT_LATE || s->outcome == ZT_REPEATED || s->outcome == ZT_DROPPED);
    c->last[lane] = s->index;
    c->ring[lane][c->shots[lane]++ % WINDOW] = *s;
}

// ---- figures

static int by_value(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void set_figures(zt_compare *c, int lane)
{
    int64_t latency[WINDOW];
    const uint64_t n = ZT_MIN(c->shots[lane], WINDOW);
    int shown = 0;
    int64_t first = 0, last = 0;
    for (uint64_t i = 0; i < n; i++) {
        const zt_shot *s = &c->ring[lane][(c->shots[lane] - n + i) % WINDOW];
        if (!s->shown || s->outcome == ZT_REPEATED)
            continue;
        first = shown ? first : s->shown;
        last = s->shown;
        latency[shown++] = s->shown - s->sampled;
    }
    if (shown < 2)
        return;
    qsort(latency, (size_t)shown, sizeof(*latency), by_value);
    set_text(c->cell[ROW_FPS][lane], g_strdup_printf("%.1f", (double)(shown - 1) * ZT_S / (double)ZT_MAX(last - first, 1)));
    set_text(c->cell[ROW_LATENCY][lane], g_strdup_printf("%.0f ms", (double)latency[shown / 2] / ZT_MS));
    set_text(c->cell[ROW_MISSED][lane], g_strdup_printf("%" G_GUINT64_FORMAT, c->missed[lane]));
}

static gboolean on_refresh(gpointer cookie)
{
    zt_compare *c = cookie;
    for (int i = 0; c->on && i < ZT_LANES; i++)
        set_figures(c, i);
    return G_SOURCE_CONTINUE;
}

static void make_figures(zt_compare *c)
{
    static const char *const names[ROWS] = { "", "Frame rate", "Latency", "Missed" };
    GtkGrid *grid = GTK_GRID(ZT_WIDGET(c->preview, "compare_figures"));
    for (int row = 0; row < ROWS; row++) {
        GtkWidget *name = gtk_label_new(names[row]);
        gtk_widget_add_css_class(name, "dim-label");
        gtk_label_set_xalign(GTK_LABEL(name), 0);
        gtk_grid_attach(grid, name, 0, row, 1, 1);
        for (int i = 0; i < ZT_LANES; i++) {
            c->cell[row][i] = gtk_label_new("–");
            gtk_widget_add_css_class(c->cell[row][i], row == ROW_WHAT ? "heading" : "numeric");
            gtk_widget_set_hexpand(c->cell[row][i], TRUE);
            gtk_grid_attach(grid, c->cell[row][i], 1 + i, row, 1, 1);
        }
    }
}

// ---- settings

static gboolean on_settled(gpointer cookie)
{
    zt_compare *c = cookie;
    c->soon = 0;
    if (c->on)
        zt_window_start(c->preview);
    return G_SOURCE_REMOVE;
}

static void changed(zt_compare *c)
{
    gtk_widget_set_visible(c->seed_row, c->preview->settings.compare == BY_SEED);
    gtk_widget_set_visible(c->steps_row, c->preview->settings.compare == BY_STEPS);
    if (c->soon)
        g_source_remove(c->soon);
    c->soon = g_timeout_add(350, on_settled, c);
}

static void on_kind(zt_compare *c)
{
    c->preview->settings.compare = adw_combo_row_get_selected(ADW_COMBO_ROW(c->kind)) == BY_STEPS ? BY_STEPS : BY_SEED;
    changed(c);
}

static void on_seed(zt_compare *c)
{
    c->preview->settings.other_seed = (guint64)gtk_spin_button_get_value(GTK_SPIN_BUTTON(c->seed));
    changed(c);
}

static void on_steps(zt_compare *c)
{
    c->preview->settings.other_steps = gtk_spin_button_get_value_as_int(GTK_SPIN_BUTTON(c->steps));
    changed(c);
}

static void on_compare(GSimpleAction *a, GVariant *v, gpointer cookie)
{
    zt_compare *c = cookie;
    c->on = !c->on;
    g_simple_action_set_state(a, g_variant_new_boolean(c->on));
    zt_window_start(c->preview);
}

zt_compare *zt_compare_create(zt_preview *p)
{
    static const GActionEntry entries[] = { { "compare", on_compare, NULL, "false" } };
    zt_compare *c = g_new0(zt_compare, 1);
    c->preview = p;
    c->kind = ZT_WIDGET(p, "compare_kind");
    c->seed = ZT_WIDGET(p, "other_seed");
    c->steps = ZT_WIDGET(p, "other_steps");
    c->seed_row = ZT_WIDGET(p, "other_seed_row");
    c->steps_row = ZT_WIDGET(p, "other_steps_row");
    make_figures(c);
    adw_combo_row_set_selected(ADW_COMBO_ROW(c->kind), (guint)p->settings.compare);
    gtk_spin_button_set_value(GTK_SPIN_BUTTON(c->seed), (double)p->settings.other_seed);
    gtk_spin_button_set_value(GTK_SPIN_BUTTON(c->steps), p->settings.other_steps);
    gtk_widget_set_visible(c->seed_row, p->settings.compare == BY_SEED);
    gtk_widget_set_visible(c->steps_row, p->settings.compare == BY_STEPS);
    g_action_map_add_action_entries(G_ACTION_MAP(p->window), entries, 1, c);
    g_signal_connect_swapped(c->kind, "notify::selected", G_CALLBACK(on_kind), c);
    g_signal_connect_swapped(c->seed, "value-changed", G_CALLBACK(on_seed), c);
    g_signal_connect_swapped(c->steps, "value-changed", G_CALLBACK(on_steps), c);
    c->refresh = g_timeout_add(FIGURES, on_refresh, c);
    return c;
}

void zt_compare_destroy(zt_compare **compare)
{
    zt_compare *c = *compare;
    if (!c)
        return;
    g_source_remove(c->refresh);
    if (c->soon)
        g_source_remove(c->soon);
    g_free(c);
    *compare = NULL;
}
