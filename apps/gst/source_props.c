// SPDX-License-Identifier: Apache-2.0
// Properties. All may change while it plays: prompt, controls and steps hold from the next picture on; model, seed and
// fps begin anew.
#include "apps/gst/source.h"

#include <math.h>
#include <string.h>

#include "base/log.h"

enum { PROP_MODEL = 1, PROP_PROMPT, PROP_SEED, PROP_STEPS, PROP_FPS, PROP_CONTROLS, PROP_STATS };

static bool to_float(const GValue *value, float *out)
{
    GValue number = G_VALUE_INIT;
    g_value_init(&number, G_TYPE_DOUBLE);
    const bool ok = g_value_transform(value, &number) && isfinite(g_value_get_double(&number));
    if (ok)
        *out = (float)CLAMP(g_value_get_double(&number), -1, 1);
    g_value_unset(&number);
    return ok;
}

unsigned zt_source_controls(const GstStructure *s, const zt_model *m, float value[ZT_MAX_CONTROLS])
{
    unsigned set = 0;
    for (int i = 0; i < gst_structure_n_fields(s); i++) {
        const char *name = gst_structure_nth_field_name(s, (guint)i);
        const int control = zt_model_control(m, name);
        if (control < 0 || !to_float(gst_structure_get_value(s, name), &value[control]))
            zt_warn("zoetropesrc: \"%s\" is no control of the model, or no number", name);
        else
            set |= 1u << control;
    }
    return set;
}

// Under the object's lock. Those that are not given keep their values.
static void set_controls(ZtSource *s, const GstStructure *given)
{
    for (int i = 0; i < gst_structure_n_fields(given); i++) {
        const char *name = gst_structure_nth_field_name(given, (guint)i);
        gst_structure_set_value(s->controls, name, gst_structure_get_value(given, name));
    }
    if (!s->feed)
        return;
    float value[ZT_MAX_CONTROLS];
    const unsigned set = zt_source_controls(given, zt_feed_model(s->feed), value);
    for (int i = 0; i < ZT_MAX_CONTROLS; i++)
        if (set & 1u << i)
            zt_feed_control(s->feed, i, value[i]);
}

// Under the object's lock. One that is not text is refused, and said so in the log.
static void set_prompt(ZtSource *s, const char *prompt)
{
    if (prompt && (s->feed ? zt_feed_prompt(s->feed, prompt) : zt_prompt_check(prompt)) < 0)
        return;
    s->again |= !prompt && s->prompt;
    g_free(s->prompt);
    s->prompt = g_strdup(prompt);
}

static void set(GObject *object, guint id, const GValue *value, GParamSpec *spec)
{
    ZtSource *s = ZT_SOURCE(object);
    bool renegotiate = false;
    GST_OBJECT_LOCK(s);
    switch (id) {
    case PROP_MODEL:
        g_free(s->model);
        s->model = g_value_dup_string(value);
        s->other_model = renegotiate = true;
        break;
    case PROP_PROMPT:
        set_prompt(s, g_value_get_string(value));
        break;
    case PROP_SEED:
        s->again |= s->seed != g_value_get_uint64(value);
        s->seed = g_value_get_uint64(value);
        break;
    case PROP_STEPS:
        s->steps = g_value_get_int(value);
        if (s->feed)
            zt_feed_steps(s->feed, s->steps);
        break;
    case PROP_FPS:
        s->fps = g_value_get_int(value);
        renegotiate = true;
        break;
    case PROP_CONTROLS:
        if (g_value_get_boxed(value))
            set_controls(s, g_value_get_boxed(value));
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
    }
    renegotiate &= s->feed != NULL;
    GST_OBJECT_UNLOCK(s);
    if (renegotiate)
        gst_pad_mark_reconfigure(GST_BASE_SRC_PAD(s));
}

// Under the object's lock.
static GstStructure *stats(ZtSource *s)
{
    zt_metrics m = { 0 };
    if (s->feed)
        zt_feed_metrics(s->feed, &m);
    GstStructure *all = gst_structure_new("zoetrope-stats", "steps", G_TYPE_INT, s->shown, NULL);
    for (int i = 0; i < ZT_OUTCOMES; i++)
        gst_structure_set(all, zt_outcome_name[i], G_TYPE_UINT64, m.outcome[i], NULL);
    return all;
}

static void get(GObject *object, guint id, GValue *value, GParamSpec *spec)
{
    ZtSource *s = ZT_SOURCE(object);
    GST_OBJECT_LOCK(s);
    switch (id) {
    case PROP_MODEL: g_value_set_string(value, s->model); break;
    case PROP_PROMPT: g_value_set_string(value, s->prompt); break;
    case PROP_SEED: g_value_set_uint64(value, s->seed); break;
    case PROP_STEPS: g_value_set_int(value, s->steps); break;
    case PROP_FPS: g_value_set_int(value, s->fps); break;
    case PROP_CONTROLS: g_value_set_boxed(value, s->controls); break;
    case PROP_STATS: g_value_take_boxed(value, stats(s)); break;
    default: G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
    }
    GST_OBJECT_UNLOCK(s);
}

void zt_source_add_properties(GObjectClass *object)
{
    const GParamFlags both = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_PLAYING;
    object->set_property = set;
    object->get_property = get;
    g_object_class_install_property(object, PROP_MODEL, g_param_spec_string("model", "Model",
        "Directory of a model (the shipped one); begins anew", NULL, both));
    g_object_class_install_property(object, PROP_PROMPT, g_param_spec_string("prompt", "Prompt",
        "What to show (the model's own)", NULL, both));
    g_object_class_install_property(object, PROP_SEED, g_param_spec_uint64("seed", "Seed",
        "Same seed, same pictures; begins anew", 0, G_MAXUINT64, 0, both));
    g_object_class_install_property(object, PROP_STEPS, g_param_spec_int("steps", "Steps",
        "Denoising steps per picture where time allows (0: the model's own)", 0, ZT_MAX_STEPS, 0, both));
    g_object_class_install_property(object, PROP_FPS, g_param_spec_int("fps", "Pictures per second",
        "The only rate that is offered (0: any, the model's own by choice); begins anew", 0, 60, 0, both));
    g_object_class_install_property(object, PROP_CONTROLS, g_param_spec_boxed("controls", "Controls",
        "Values from -1 to 1, such as \"controls,yaw=0.5,speed=1.0\"; those that are not given stay",
        GST_TYPE_STRUCTURE, both));
    g_object_class_install_property(object, PROP_STATS, g_param_spec_boxed("stats", "Statistics",
        "Slots by outcome, and steps of the last picture", GST_TYPE_STRUCTURE,
        G_PARAM_READABLE | G_PARAM_STATIC_STRINGS));
}
