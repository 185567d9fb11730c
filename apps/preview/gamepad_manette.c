// SPDX-License-Identifier: Apache-2.0
// Gamepads through libmanette, which knows how each maps to a common layout.
#include <libmanette.h>
#include <linux/input-event-codes.h>
#include <math.h>

#include "apps/preview/gamepad.h"

#define DEAD 0.12               // of a stick's way

struct zt_gamepad {
    ManetteMonitor      *monitor;
    zt_gamepad_fn       *fn;
    zt_gamepad_named_fn *named;
    void                *cookie;
    double               faster, slower;        // triggers, 0..1
};

static float past_dead(double v)
{
    return fabs(v) < DEAD ? 0 : (float)v;
}

static void on_axis(ManetteDevice *d, ManetteEvent *e, zt_gamepad *g)
{
    guint16 axis;
    double value;
    if (!manette_event_get_absolute(e, &axis, &value))
        return;
    switch (axis) {
    case ABS_X:  g->fn(g->cookie, "yaw", past_dead(value)); break;
    case ABS_Y:  g->fn(g->cookie, "pitch", past_dead(-value)); break;
    case ABS_RY: g->fn(g->cookie, "climb", past_dead(-value)); break;
    default: break;
    }
}

// Triggers are buttons in the common layout.
static void on_button(ManetteEvent *e, zt_gamepad *g, double value)
{
    guint16 button;
    if (!manette_event_get_button(e, &button))
        return;
    if (button == BTN_TR2)
        g->faster = value;
    if (button == BTN_TL2)
        g->slower = value;
    g->fn(g->cookie, "speed", (float)(g->faster - g->slower));
}

static void on_pressed(ManetteDevice *d, ManetteEvent *e, zt_gamepad *g)
{
    on_button(e, g, 1);
}

static void on_released(ManetteDevice *d, ManetteEvent *e, zt_gamepad *g)
{
    on_button(e, g, 0);
}

static void add(zt_gamepad *g, ManetteDevice *d)
{
    g_signal_connect(d, "absolute-axis-event", G_CALLBACK(on_axis), g);
    g_signal_connect(d, "button-press-event", G_CALLBACK(on_pressed), g);
    g_signal_connect(d, "button-release-event", G_CALLBACK(on_released), g);
    g->named(g->cookie, manette_device_get_name(d));
}

static void on_connected(ManetteMonitor *m, ManetteDevice *d, zt_gamepad *g)
{
    add(g, d);
}

static void on_disconnected(ManetteMonitor *m, ManetteDevice *d, zt_gamepad *g)
{
    static const char *const controls[] = { "yaw", "pitch", "climb", "speed" };
    for (size_t i = 0; i < G_N_ELEMENTS(controls); i++)
        g->fn(g->cookie, controls[i], 0);       // nobody holds them any more
}

zt_gamepad *zt_gamepad_open(zt_gamepad_fn *fn, zt_gamepad_named_fn *named, void *cookie)
{
    zt_gamepad *g = g_new0(zt_gamepad, 1);
    *g = (zt_gamepad){ .monitor = manette_monitor_new(), .fn = fn, .named = named, .cookie = cookie };
    g_signal_connect(g->monitor, "device-connected", G_CALLBACK(on_connected), g);
    g_signal_connect(g->monitor, "device-disconnected", G_CALLBACK(on_disconnected), g);
    ManetteMonitorIter *i = manette_monitor_iterate(g->monitor);
    ManetteDevice *d;
    while (manette_monitor_iter_next(i, &d))
        add(g, d);
    manette_monitor_iter_free(i);
    return g;
}

void zt_gamepad_close(zt_gamepad **gamepad)
{
    zt_gamepad *g = *gamepad;
    if (!g)
        return;
    ManetteMonitorIter *i = manette_monitor_iterate(g->monitor);
    ManetteDevice *d;
    while (manette_monitor_iter_next(i, &d))
        g_signal_handlers_disconnect_by_data(d, g);
    manette_monitor_iter_free(i);
    g_signal_handlers_disconnect_by_data(g->monitor, g);
    g_object_unref(g->monitor);
    g_free(g);
    *gamepad = NULL;
}
