// SPDX-License-Identifier: Apache-2.0
// Steering: keys while they are held, dragging on the picture, gamepads. Keys as on the viewer page.
#include <math.h>
#include <string.h>

#include "apps/preview/gamepad.h"
#include "apps/preview/preview.h"
#include "base/base.h"

static const struct {
    const char *control;
    guint       key[2];         // 0: none
    float       value;
} keys[] = {
    { "yaw", { GDK_KEY_Left, GDK_KEY_a }, -1 }, { "yaw", { GDK_KEY_Right, GDK_KEY_d }, 1 },
    { "pitch", { GDK_KEY_Down }, -1 },          { "pitch", { GDK_KEY_Up }, 1 },
    { "speed", { GDK_KEY_s }, -1 },             { "speed", { GDK_KEY_w }, 1 },
    { "climb", { GDK_KEY_f }, -1 },             { "climb", { GDK_KEY_r }, 1 },
};

struct zt_steer {
    zt_preview *preview;
    zt_gamepad *gamepad;
    bool        held[ZT_LEN(keys)];
    float       value[ZT_MAX_CONTROLS];
    guint       hint;           // timer: takes it away
    bool        steered;        // whoever has is told no more
};

static void hide_hint(zt_steer *s)
{
    gtk_revealer_set_reveal_child(GTK_REVEALER(ZT_WIDGET(s->preview, "hint")), FALSE);
    if (s->hint)
        g_source_remove(s->hint);
    s->hint = 0;
}

static void set(zt_steer *s, const char *name, float value)
{
    const zt_model *m = zt_player_model(s->preview->player);
    const int i = m ? zt_model_control(m, name) : -1;
    value = CLAMP(value, -1, 1);
    if (i < 0 || s->value[i] == value)
        return;
    s->value[i] = value;
    zt_player_control(s->preview->player, i, value);
    if (value == 0)
        return;
    s->steered = true;
    hide_hint(s);
}

// ---- keys

static void send_keys(zt_steer *s, const char *control)
{
    float sum = 0;
    for (size_t i = 0; i < ZT_LEN(keys); i++)
        if (!strcmp(keys[i].control, control) && s->held[i])
            sum += keys[i].value;
    set(s, control, sum);
}

static void release_all(zt_steer *s)
{
    if (!s->preview->player)            // the window is gone
        return;
    memset(s->held, 0, sizeof(s->held));
    for (size_t i = 0; i < ZT_LEN(keys); i++)
        set(s, keys[i].control, 0);
}

// Keys belong to what has the focus, unless that is the picture.
static bool is_steering(zt_steer *s)
{
    GtkWidget *focus = gtk_window_get_focus(s->preview->window), *stage = ZT_WIDGET(s->preview, "stage");
    return !focus || focus == stage || gtk_widget_is_ancestor(focus, stage);
}

static gboolean on_key(zt_steer *s, guint key, bool down)
{
    key = gdk_keyval_to_lower(key);
    bool any = false;
    for (size_t i = 0; i < ZT_LEN(keys); i++) {
        if (keys[i].key[0] != key && keys[i].key[1] != key)
            continue;
        any = true;
        if (s->held[i] == down)
            continue;
        s->held[i] = down;
        send_keys(s, keys[i].control);
    }
    return any;
}

static gboolean on_pressed(GtkEventControllerKey *c, guint key, guint code, GdkModifierType state, zt_steer *s)
{
    if ((state & (GDK_CONTROL_MASK | GDK_ALT_MASK | GDK_SUPER_MASK)) || !is_steering(s))
        return FALSE;
    if (key == GDK_KEY_space) {
        gtk_widget_activate_action(GTK_WIDGET(s->preview->window), "win.play", NULL);
        return TRUE;
    }
    if (key == GDK_KEY_Escape && gtk_window_is_fullscreen(s->preview->window)) {
        gtk_window_unfullscreen(s->preview->window);
        return TRUE;
    }
    if (key == GDK_KEY_slash) {
        zt_prompt_box_focus(s->preview->prompt);
        return TRUE;
    }
    return on_key(s, key, true);
}

static void on_released(GtkEventControllerKey *c, guint key, guint code, GdkModifierType state, zt_steer *s)
{
    on_key(s, key, false);
}

// ---- dragging: from where the pointer went down, a third of the picture is all the way

static void on_drag(GtkGestureDrag *g, double x, double y, zt_steer *s)
{
    const double w = gtk_widget_get_width(ZT_WIDGET(s->preview, "stage")) / 3.0;
    const double h = gtk_widget_get_height(ZT_WIDGET(s->preview, "stage")) / 3.0;
    set(s, "yaw", (float)(x / w));
    set(s, "pitch", (float)(-y / h));
}

static void on_drag_begin(GtkGestureDrag *g, double x, double y, zt_steer *s)
{
    gtk_widget_grab_focus(ZT_WIDGET(s->preview, "stage"));
}

static void on_drag_end(GtkGestureDrag *g, double x, double y, zt_steer *s)
{
    set(s, "yaw", 0);
    set(s, "pitch", 0);
}

static void on_clicked(GtkGestureClick *g, int n, double x, double y, zt_steer *s)
{
    if (n == 2)
        gtk_widget_activate_action(GTK_WIDGET(s->preview->window), "win.fullscreen", NULL);
}

// ---- gamepads

static void on_gamepad(void *cookie, const char *control, float value)
{
    set(cookie, control, value);
}

static void on_gamepad_named(void *cookie, const char *name)
{
    zt_steer *s = cookie;
    zt_window_toast(s->preview, "Gamepad: %s", name);
}

// ---- life

void zt_steer_model(zt_steer *s)
{
    memset(s->value, 0, sizeof(s->value));
    memset(s->held, 0, sizeof(s->held));
}

static gboolean on_hint(gpointer cookie)
{
    zt_steer *s = cookie;
    s->hint = 0;
    hide_hint(s);
    return G_SOURCE_REMOVE;
}

void zt_steer_again(zt_steer *s)
{
    const zt_model *m = zt_player_model(s->preview->player);
    if (s->steered || zt_model_control(m, "yaw") < 0)
        return;
    hide_hint(s);
    gtk_label_set_text(GTK_LABEL(ZT_WIDGET(s->preview, "hint_label")),
                       zt_model_control(m, "speed") < 0 ? "← → ↑ ↓ to steer, or drag the picture"
                                                        : "← → ↑ ↓ to look around, W S for speed, or drag the picture");
    gtk_revealer_set_reveal_child(GTK_REVEALER(ZT_WIDGET(s->preview, "hint")), TRUE);
    s->hint = g_timeout_add_seconds(8, on_hint, s);
}

static void listen_keys(zt_steer *s)
{
    GtkEventController *c = gtk_event_controller_key_new(), *focus = gtk_event_controller_focus_new();
    gtk_event_controller_set_propagation_phase(c, GTK_PHASE_CAPTURE);
    g_signal_connect(c, "key-pressed", G_CALLBACK(on_pressed), s);
    g_signal_connect(c, "key-released", G_CALLBACK(on_released), s);
    gtk_widget_add_controller(GTK_WIDGET(s->preview->window), c);
    g_signal_connect_swapped(focus, "leave", G_CALLBACK(release_all), s);
    gtk_widget_add_controller(ZT_WIDGET(s->preview, "stage"), focus);
}

zt_steer *zt_steer_create(zt_preview *p)
{
    zt_steer *s = g_new0(zt_steer, 1);
    s->preview = p;
    listen_keys(s);
    GtkGesture *drag = gtk_gesture_drag_new(), *click = gtk_gesture_click_new();
    g_signal_connect(drag, "drag-begin", G_CALLBACK(on_drag_begin), s);
    g_signal_connect(drag, "drag-update", G_CALLBACK(on_drag), s);
    g_signal_connect(drag, "drag-end", G_CALLBACK(on_drag_end), s);
    g_signal_connect(click, "pressed", G_CALLBACK(on_clicked), s);
    gtk_widget_add_controller(ZT_WIDGET(p, "lanes"), GTK_EVENT_CONTROLLER(drag));
    gtk_widget_add_controller(ZT_WIDGET(p, "lanes"), GTK_EVENT_CONTROLLER(click));
    s->gamepad = zt_gamepad_open(on_gamepad, on_gamepad_named, s);
    return s;
}

void zt_steer_destroy(zt_steer **steer)
{
    zt_steer *s = *steer;
    if (!s)
        return;
    if (s->hint)
        g_source_remove(s->hint);
    zt_gamepad_close(&s->gamepad);
    g_free(s);
    *steer = NULL;
}
