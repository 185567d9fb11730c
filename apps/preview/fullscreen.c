// SPDX-License-Identifier: Apache-2.0
// Fullscreen: nothing but the picture; the controls lie on it while the pointer moves.
#include <math.h>

#include "apps/preview/preview.h"

#define STILL 2500              // ms without a move until the controls go

struct zt_fullscreen {
    zt_preview *preview;
    GtkWidget  *transport, *home;       // where it is otherwise
    GtkWidget  *revealer;
    double      x, y;
    guint       still;
    bool        on;
};

static void hide_controls(zt_fullscreen *f)
{
    if (f->revealer)
        gtk_revealer_set_reveal_child(GTK_REVEALER(f->revealer), FALSE);
    gtk_widget_set_cursor_from_name(ZT_WIDGET(f->preview, "stage"), f->on ? "none" : NULL);
}

static gboolean on_still(gpointer cookie)
{
    zt_fullscreen *f = cookie;
    f->still = 0;
    hide_controls(f);
    return G_SOURCE_REMOVE;
}

static void show_controls(zt_fullscreen *f)
{
    if (!f->on)
        return;
    gtk_widget_set_cursor_from_name(ZT_WIDGET(f->preview, "stage"), NULL);
    gtk_revealer_set_reveal_child(GTK_REVEALER(f->revealer), TRUE);
    if (f->still)
        g_source_remove(f->still);
    f->still = g_timeout_add(STILL, on_still, f);
}

// GTK tells of moves where only the picture below has changed.
static void on_motion(GtkEventControllerMotion *c, double x, double y, zt_fullscreen *f)
{
    if (fabs(x - f->x) + fabs(y - f->y) < 2)
        return;
    f->x = x, f->y = y;
    show_controls(f);
}

static void enter(zt_fullscreen *f)
{
    f->revealer = gtk_revealer_new();
    gtk_revealer_set_transition_type(GTK_REVEALER(f->revealer), GTK_REVEALER_TRANSITION_TYPE_CROSSFADE);
    gtk_widget_set_valign(f->revealer, GTK_ALIGN_END);
    g_object_ref(f->transport);
    gtk_box_remove(GTK_BOX(f->home), f->transport);
    gtk_revealer_set_child(GTK_REVEALER(f->revealer), f->transport);
    g_object_unref(f->transport);
    gtk_overlay_add_overlay(GTK_OVERLAY(ZT_WIDGET(f->preview, "stage")), f->revealer);
}

static void leave(zt_fullscreen *f)
{
    g_object_ref(f->transport);
    gtk_revealer_set_child(GTK_REVEALER(f->revealer), NULL);
    gtk_box_insert_child_after(GTK_BOX(f->home), f->transport, ZT_WIDGET(f->preview, "toasts"));
    g_object_unref(f->transport);
    gtk_overlay_remove_overlay(GTK_OVERLAY(ZT_WIDGET(f->preview, "stage")), f->revealer);
    f->revealer = NULL;
    if (f->still)
        g_source_remove(f->still);
    f->still = 0;
    hide_controls(f);
}

static void on_changed(zt_fullscreen *f)
{
    zt_preview *p = f->preview;
    const bool on = gtk_window_is_fullscreen(p->window);
    if (on == f->on)
        return;
    f->on = on;
    gtk_widget_set_visible(ZT_WIDGET(p, "header"), !on);
    gtk_widget_set_visible(ZT_WIDGET(p, "desk"), !on);
    gtk_button_set_icon_name(GTK_BUTTON(ZT_WIDGET(p, "fullscreen_button")), on ? "view-restore-symbolic" : "view-fullscreen-symbolic");
    if (on) {
        gtk_widget_add_css_class(GTK_WIDGET(p->window), "immersive");
        gtk_widget_add_css_class(f->transport, "osd");
        adw_flap_set_reveal_flap(ADW_FLAP(ZT_WIDGET(p, "flap")), FALSE);
        enter(f);
        show_controls(f);
    } else {
        gtk_widget_remove_css_class(GTK_WIDGET(p->window), "immersive");
        gtk_widget_remove_css_class(f->transport, "osd");
        leave(f);
    }
}

static void on_fullscreen(GSimpleAction *a, GVariant *v, gpointer cookie)
{
    zt_fullscreen *f = cookie;
    if (gtk_window_is_fullscreen(f->preview->window))
        gtk_window_unfullscreen(f->preview->window);
    else
        gtk_window_fullscreen(f->preview->window);
}

zt_fullscreen *zt_fullscreen_create(zt_preview *p)
{
    static const GActionEntry entries[] = { { "fullscreen", on_fullscreen } };
    zt_fullscreen *f = g_new0(zt_fullscreen, 1);
    f->preview = p;
    f->transport = ZT_WIDGET(p, "transport");
    f->home = gtk_widget_get_parent(f->transport);
    GtkEventController *motion = gtk_event_controller_motion_new();
    g_signal_connect(motion, "motion", G_CALLBACK(on_motion), f);
    gtk_widget_add_controller(GTK_WIDGET(p->window), motion);
    g_action_map_add_action_entries(G_ACTION_MAP(p->window), entries, 1, f);
    g_signal_connect_swapped(p->window, "notify::fullscreened", G_CALLBACK(on_changed), f);
    return f;
}

void zt_fullscreen_destroy(zt_fullscreen **fullscreen)
{
    zt_fullscreen *f = *fullscreen;
    if (f && f->still)
        g_source_remove(f->still);
    g_clear_pointer(fullscreen, g_free);
}
