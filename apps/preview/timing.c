// SPDX-License-Identifier: Apache-2.0
// The panel's second page: how long frames take from the controls to the screen, and what becomes of them.
#include <stdlib.h>
#include <string.h>

#include "apps/preview/plot.h"
#include "apps/preview/preview.h"
#include "base/base.h"
#include "base/clock.h"

#define REFRESH 125             // ms between drawings
#define FIGURES 500             // ms between figures

struct zt_timing {
    zt_preview *preview;
    zt_shot     ring[ZT_LANES][ZT_PLOT_SHOTS];
    uint64_t    shots[ZT_LANES];
    uint64_t    outcome[ZT_LANES][ZT_OUTCOMES], last[ZT_LANES];
    GtkWidget  *plot, *bar, *count[ZT_OUTCOMES], *fps, *latency, *steps;
    guint       refresh;
    int         turn;
};

static bool is_dark(void)
{
    return adw_style_manager_get_dark(adw_style_manager_get_default());
}

static int64_t budget(const zt_timing *t)
{
    const zt_model *m = zt_player_model(t->preview->player);
    const int fps = t->preview->settings.fps ? t->preview->settings.fps : m ? zt_model_get_info(m)->fps : 24;
    return 2 * (ZT_S / fps);
}

static int newest(const zt_timing *t, int lane, zt_shot *out)
{
    const int n = (int)ZT_MIN(t->shots[lane], ZT_PLOT_SHOTS);
    for (int i = 0; i < n; i++)
        out[i] = t->ring[lane][(t->shots[lane] - (uint64_t)n + (uint64_t)i) % ZT_PLOT_SHOTS];
    return n;
}

void zt_timing_shot(zt_timing *t, int lane, const zt_shot *s)
{
    const uint64_t gap = t->shots[lane] && s->index > t->last[lane] ? s->index - t->last[lane] - 1 : 0;
    t->last[lane] = s->index;
    t->outcome[lane][ZT_DROPPED] += gap;        // slots that were never made
    t->outcome[lane][s->outcome]++;
    t->ring[lane][t->shots[lane]++ % ZT_PLOT_SHOTS] = *s;
}

void zt_timing_started(zt_timing *t)
{
    memset(t->shots, 0, sizeof(t->shots));
    memset(t->outcome, 0, sizeof(t->outcome));
}

// ---- figures

static int compare(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void set_figure(GtkWidget *label, char *text)
{
    if (strcmp(gtk_label_get_text(GTK_LABEL(label)), text))
        gtk_label_set_text(GTK_LABEL(label), text);
    g_free(text);
}

static void set_figures(zt_timing *t)
{
    zt_shot shot[ZT_PLOT_SHOTS];
    int64_t latency[ZT_PLOT_SHOTS];
    const int n = newest(t, 0, shot);
    int shown = 0, steps = 0;
    for (int i = 0; i < n; i++) {
        if (!shot[i].shown || shot[i].outcome == ZT_REPEATED)
            continue;
        latency[shown++] = shot[i].shown - shot[i].sampled;
        steps += shot[i].steps;
    }
    if (shown < 2)
        return;
    qsort(latency, (size_t)shown, sizeof(*latency), compare);
    const double seconds = (double)(shot[n - 1].made - shot[0].made) / ZT_S;
    set_figure(t->fps, g_strdup_printf("%.1f", seconds > 0 ? (shown - 1) / seconds : 0.0));
    set_figure(t->latency, g_strdup_printf("%.0f ms", (double)latency[shown / 2] / ZT_MS));
    set_figure(t->steps, g_strdup_printf("%.1f", (double)steps / shown));
    for (int i = 0; i < ZT_OUTCOMES; i++)
        set_figure(t->count[i], g_strdup_printf("%" G_GUINT64_FORMAT, t->outcome[0][i]));
    char *text = g_strdup_printf("Half of the frames are on the screen %.0f ms after the controls were read",
                                 (double)latency[shown / 2] / ZT_MS);
    gtk_accessible_update_property(GTK_ACCESSIBLE(t->plot), GTK_ACCESSIBLE_PROPERTY_DESCRIPTION, text, -1);
    g_free(text);
}

static gboolean on_refresh(gpointer cookie)
{
    zt_timing *t = cookie;
    if (!gtk_widget_get_mapped(t->plot))
        return G_SOURCE_CONTINUE;
    gtk_widget_queue_draw(t->plot);
    if (t->turn++ % (FIGURES / REFRESH) == 0) {
        set_figures(t);
        gtk_widget_queue_draw(t->bar);
    }
    return G_SOURCE_CONTINUE;
}

// ---- drawing

static void draw_plot(GtkDrawingArea *area, cairo_t *cr, int w, int h, gpointer cookie)
{
    zt_timing *t = cookie;
    zt_shot shot[ZT_PLOT_SHOTS];
    const int n = newest(t, 0, shot);
    zt_plot_draw(cr, w, h, shot, n, budget(t), is_dark());
}

static void draw_bar(GtkDrawingArea *area, cairo_t *cr, int w, int h, gpointer cookie)
{
    zt_timing *t = cookie;
    uint64_t sum = 0;
    double x = 0;
    for (int i = 0; i < ZT_OUTCOMES; i++)
        sum += t->outcome[0][i];
    for (int i = 0; i < ZT_OUTCOMES && sum; i++) {
        GdkRGBA color;
        const double wide = (double)t->outcome[0][i] / (double)sum * w;
        zt_outcome_color((enum zt_outcome)i, is_dark(), &color);
        gdk_cairo_set_source_rgba(cr, &color);
        cairo_rectangle(cr, x, 0, wide, h);
        cairo_fill(cr);
        x += wide;
    }
}

static void draw_dot(GtkDrawingArea *area, cairo_t *cr, int w, int h, gpointer cookie)
{
    const int what = GPOINTER_TO_INT(cookie);
    GdkRGBA color;
    if (what < ZT_LATENCY_PARTS)
        zt_part_color((enum zt_part)what, is_dark(), &color);
    else
        zt_outcome_color((enum zt_outcome)(what - ZT_LATENCY_PARTS), is_dark(), &color);
    gdk_cairo_set_source_rgba(cr, &color);
    cairo_arc(cr, w / 2.0, h / 2.0, 5, 0, 2 * G_PI);
    cairo_fill(cr);
}

static GtkWidget *dot(int what)
{
    GtkWidget *area = gtk_drawing_area_new();
    gtk_widget_set_size_request(area, 12, 12);
    gtk_widget_set_valign(area, GTK_ALIGN_CENTER);
    gtk_drawing_area_set_draw_func(GTK_DRAWING_AREA(area), draw_dot, GINT_TO_POINTER(what), NULL);
    return area;
}

// ---- widgets

static GtkWidget *figure(GtkWidget *into, const char *title)
{
    GtkWidget *box = gtk_box_new(GTK_ORIENTATION_VERTICAL, 0), *value = gtk_label_new("–"), *name = gtk_label_new(title);
    gtk_widget_add_css_class(value, "figure");
    gtk_widget_add_css_class(value, "numeric");
    gtk_widget_add_css_class(name, "caption");
    gtk_widget_add_css_class(name, "dim-label");
    gtk_widget_set_hexpand(box, TRUE);
    gtk_box_append(GTK_BOX(box), value);
    gtk_box_append(GTK_BOX(box), name);
    gtk_box_append(GTK_BOX(into), box);
    gtk_accessible_update_property(GTK_ACCESSIBLE(value), GTK_ACCESSIBLE_PROPERTY_LABEL, title, -1);
    return value;
}

static GtkWidget *heading(const char *text)
{
    GtkWidget *label = gtk_label_new(text);
    gtk_label_set_xalign(GTK_LABEL(label), 0);
    gtk_widget_add_css_class(label, "heading");
    return label;
}

static GtkWidget *legend(void)
{
    GtkWidget *flow = gtk_flow_box_new();
    gtk_flow_box_set_selection_mode(GTK_FLOW_BOX(flow), GTK_SELECTION_NONE);
    gtk_flow_box_set_max_children_per_line(GTK_FLOW_BOX(flow), 3);
    gtk_flow_box_set_min_children_per_line(GTK_FLOW_BOX(flow), 3);
    for (int i = 0; i < ZT_LATENCY_PARTS; i++) {
        GtkWidget *box = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 6), *label = gtk_label_new(zt_part_name[i]);
        gtk_widget_add_css_class(label, "caption");
        gtk_box_append(GTK_BOX(box), dot(i));
        gtk_box_append(GTK_BOX(box), label);
        gtk_flow_box_append(GTK_FLOW_BOX(flow), box);
        gtk_widget_set_focusable(gtk_widget_get_parent(box), FALSE);
    }
    return flow;
}

static GtkWidget *counts(zt_timing *t)
{
    GtkWidget *list = gtk_list_box_new();
    gtk_list_box_set_selection_mode(GTK_LIST_BOX(list), GTK_SELECTION_NONE);
    gtk_widget_add_css_class(list, "boxed-list");
    gtk_widget_add_css_class(list, "counts");
    for (int i = 0; i < ZT_OUTCOMES; i++) {
        GtkWidget *row = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 10), *title = gtk_label_new(zt_outcome_title[i]);
        t->count[i] = gtk_label_new("0");
        gtk_widget_add_css_class(t->count[i], "numeric");
        gtk_widget_set_hexpand(title, TRUE);
        gtk_label_set_xalign(GTK_LABEL(title), 0);
        gtk_box_append(GTK_BOX(row), dot(ZT_LATENCY_PARTS + i));
        gtk_box_append(GTK_BOX(row), title);
        gtk_box_append(GTK_BOX(row), t->count[i]);
        gtk_list_box_append(GTK_LIST_BOX(list), row);
    }
    return list;
}

static GtkWidget *area(GtkDrawingAreaDrawFunc draw, zt_timing *t, int h, const char *name)
{
    GtkWidget *a = gtk_drawing_area_new();
    gtk_drawing_area_set_content_height(GTK_DRAWING_AREA(a), h);
    gtk_drawing_area_set_draw_func(GTK_DRAWING_AREA(a), draw, t, NULL);
    gtk_accessible_update_property(GTK_ACCESSIBLE(a), GTK_ACCESSIBLE_PROPERTY_LABEL, name, -1);
    return a;
}

zt_timing *zt_timing_create(zt_preview *p)
{
    zt_timing *t = g_new0(zt_timing, 1);
    GtkBox *into = GTK_BOX(ZT_WIDGET(p, "timing"));
    GtkWidget *figures = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 6);
    t->preview = p;
    gtk_box_set_homogeneous(GTK_BOX(figures), TRUE);
    t->fps = figure(figures, "Frame rate");
    t->latency = figure(figures, "Latency");
    t->steps = figure(figures, "Steps");
    t->plot = area(draw_plot, t, 170, "Latency of the latest frames by stage");
    t->bar = area(draw_bar, t, 10, "Shares of the outcomes");
    gtk_box_append(into, figures);
    gtk_box_append(into, heading("From the controls to the screen, in ms"));
    gtk_box_append(into, t->plot);
    gtk_box_append(into, legend());
    gtk_box_append(into, heading("What became of the frames"));
    gtk_box_append(into, t->bar);
    gtk_box_append(into, counts(t));
    t->refresh = g_timeout_add(REFRESH, on_refresh, t);
    return t;
}

void zt_timing_destroy(zt_timing **timing)
{
    zt_timing *t = *timing;
    if (!t)
        return;
    g_source_remove(t->refresh);
    g_free(t);
    *timing = NULL;
}
