// SPDX-License-Identifier: Apache-2.0
// What a key does is as on the viewer's page.
#include "apps/gst/keys.h"

#include <gst/video/navigation.h>

#include "base/base.h"

static const struct {
    const char *control, *key;      // keys as X calls them
    int         value;
} keys[] = {
    { "yaw", "Left", -1 },   { "yaw", "Right", 1 },   { "yaw", "a", -1 },   { "yaw", "d", 1 },
    { "pitch", "Down", -1 }, { "pitch", "Up", 1 },    { "speed", "s", -1 }, { "speed", "w", 1 },
    { "climb", "f", -1 },    { "climb", "r", 1 },
};

static unsigned set(const zt_model *m, const char *control, float v, float value[ZT_MAX_CONTROLS])
{
    const int i = zt_model_control(m, control);
    if (i < 0)
        return 0;
    value[i] = v;
    return 1u << i;
}

static unsigned on_key(zt_keys *k, const char *name, bool down, const zt_model *m, float value[ZT_MAX_CONTROLS])
{
    const char *control = NULL;
    for (size_t i = 0; i < ZT_LEN(keys); i++)
        if (!g_ascii_strcasecmp(keys[i].key, name)) {
            k->held = down ? k->held | 1u << i : k->held & ~(1u << i);
            control = keys[i].control;
        }
    if (!control)
        return 0;
    int v = 0;
    for (size_t i = 0; i < ZT_LEN(keys); i++)
        if (!strcmp(keys[i].control, control) && k->held & 1u << i)
            v += keys[i].value;
    return set(m, control, (float)CLAMP(v, -1, 1), value);
}

static unsigned point(const zt_model *m, double x, double y, float value[ZT_MAX_CONTROLS])
{
    return set(m, "yaw", (float)CLAMP(x, -1, 1), value) | set(m, "pitch", (float)CLAMP(-y, -1, 1), value);
}

unsigned zt_keys_read(zt_keys *k, GstEvent *event, const zt_model *m, int w, int h, float value[ZT_MAX_CONTROLS])
{
    const GstNavigationEventType type = gst_navigation_event_get_type(event);
    const char *key;
    double x, y;
    int button;
    switch (type) {
    case GST_NAVIGATION_EVENT_KEY_PRESS:
    case GST_NAVIGATION_EVENT_KEY_RELEASE:
        if (!gst_navigation_event_parse_key_event(event, &key))
            return 0;
        return on_key(k, key, type == GST_NAVIGATION_EVENT_KEY_PRESS, m, value);
    case GST_NAVIGATION_EVENT_MOUSE_BUTTON_PRESS:
    case GST_NAVIGATION_EVENT_MOUSE_BUTTON_RELEASE:
        if (!gst_navigation_event_parse_mouse_button_event(event, &button, &x, &y) || button != 1)
            return 0;
        k->dragging = type == GST_NAVIGATION_EVENT_MOUSE_BUTTON_PRESS;
        return k->dragging ? point(m, 2 * x / w - 1, 2 * y / h - 1, value) : point(m, 0, 0, value);
    case GST_NAVIGATION_EVENT_MOUSE_MOVE:
        if (!k->dragging || !gst_navigation_event_parse_mouse_move_event(event, &x, &y))
            return 0;
        return point(m, 2 * x / w - 1, 2 * y / h - 1, value);
    default:
        return 0;
    }
}
