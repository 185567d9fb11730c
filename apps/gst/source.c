// SPDX-License-Identifier: Apache-2.0
// The element: caps, latency, events and states. Its pace is the engine's own: nothing is begun before its time.
#include "apps/gst/source.h"

#include <errno.h>
#include <string.h>

#include "apps/paths.h"
#include "base/clock.h"
#include "base/version.h"

GST_DEBUG_CATEGORY_STATIC(zt_source_debug);
#define GST_CAT_DEFAULT zt_source_debug

#define MOST_FPS 60

G_DEFINE_TYPE_WITH_CODE(ZtSource, zt_source, GST_TYPE_PUSH_SRC,
                        GST_DEBUG_CATEGORY_INIT(zt_source_debug, "zoetropesrc", 0, "Zoetrope's source"))

static GstStaticPadTemplate template = GST_STATIC_PAD_TEMPLATE("src", GST_PAD_SRC, GST_PAD_ALWAYS,
    GST_STATIC_CAPS("video/x-raw, format = (string) { I420, NV12, RGB }, width = (int) [ 2, 4096 ], "
                    "height = (int) [ 2, 4096 ], framerate = (fraction) [ 1/1, 60/1 ]"));

// ---- the model

static gboolean open_model(ZtSource *s)
{
    GST_OBJECT_LOCK(s);
    char *path = g_strdup(s->model ? s->model : zt_path_default_model());
    s->other_model = false;
    s->again = true;
    GST_OBJECT_UNLOCK(s);
    zt_feed *feed = NULL;
    const int err = zt_feed_open(&feed, path);
    if (err < 0)
        GST_ELEMENT_ERROR(s, RESOURCE, NOT_FOUND, ("The model \"%s\" cannot be opened.", path),
                          ("%s", g_strerror(-err)));
    g_free(path);
    GST_OBJECT_LOCK(s);
    zt_feed *old = s->feed;
    s->feed = feed;
    GST_OBJECT_UNLOCK(s);
    zt_feed_close(&old);
    return !err;
}

static gboolean start(GstBaseSrc *base)
{
    return open_model(ZT_SOURCE(base));
}

static gboolean stop(GstBaseSrc *base)
{
    ZtSource *s = ZT_SOURCE(base);
    GST_OBJECT_LOCK(s);
    zt_feed *old = s->feed;
    s->feed = NULL;
    s->keys = (zt_keys){ 0 };
    GST_OBJECT_UNLOCK(s);
    zt_feed_close(&old);
    g_clear_pointer(&s->converter, gst_video_converter_free);
    s->based = false;
    s->last = GST_CLOCK_TIME_NONE;
    return TRUE;
}

// ---- caps

static gboolean negotiate(GstBaseSrc *base)
{
    ZtSource *s = ZT_SOURCE(base);
    GST_OBJECT_LOCK(s);
    const bool other = s->other_model;
    GST_OBJECT_UNLOCK(s);
    return (!other || open_model(s)) && GST_BASE_SRC_CLASS(zt_source_parent_class)->negotiate(base);
}

// Sizes are multiples of the model's unit, rates are whole.
static GstCaps *narrow(const zt_model_info *info, int fps)
{
    GstCaps *caps = gst_static_pad_template_get_caps(&template);
    caps = gst_caps_make_writable(caps);
    GValue size = G_VALUE_INIT, rates = G_VALUE_INIT, rate = G_VALUE_INIT;
    g_value_init(&size, GST_TYPE_INT_RANGE);
    gst_value_set_int_range_step(&size, info->unit, 4096 / info->unit * info->unit, info->unit);
    gst_caps_set_value(caps, "width", &size);
    gst_caps_set_value(caps, "height", &size);
    g_value_unset(&size);
    g_value_init(&rates, GST_TYPE_LIST);
    for (int i = fps ? fps : 1; i <= (fps ? fps : MOST_FPS); i++) {
        g_value_init(&rate, GST_TYPE_FRACTION);
        gst_value_set_fraction(&rate, i, 1);
        gst_value_list_append_and_take_value(&rates, &rate);
    }
    gst_caps_set_value(caps, "framerate", &rates);
    g_value_unset(&rates);
    return caps;
}

static GstCaps *get_caps(GstBaseSrc *base, GstCaps *filter)
{
    ZtSource *s = ZT_SOURCE(base);
    GST_OBJECT_LOCK(s);
    GstCaps *caps = s->feed ? narrow(zt_model_get_info(zt_feed_model(s->feed)), s->fps)
                            : gst_static_pad_template_get_caps(&template);
    GST_OBJECT_UNLOCK(s);
    if (filter) {
        GstCaps *both = gst_caps_intersect_full(filter, caps, GST_CAPS_INTERSECT_FIRST);
        gst_caps_unref(caps);
        caps = both;
    }
    return caps;
}

// The model's own size and rate where there is a choice, and the colours that the engine makes.
static GstCaps *fixate(GstBaseSrc *base, GstCaps *caps)
{
    ZtSource *s = ZT_SOURCE(base);
    caps = gst_caps_make_writable(gst_caps_truncate(caps));
    GstStructure *c = gst_caps_get_structure(caps, 0);
    GST_OBJECT_LOCK(s);
    const zt_model_info *info = s->feed ? zt_model_get_info(zt_feed_model(s->feed)) : NULL;
    if (info) {
        gst_structure_fixate_field_nearest_int(c, "width", info->w);
        gst_structure_fixate_field_nearest_int(c, "height", info->h);
        gst_structure_fixate_field_nearest_fraction(c, "framerate", info->fps, 1);
    }
    GST_OBJECT_UNLOCK(s);
    gst_structure_fixate_field_string(c, "format", "I420");
    if (g_strcmp0(gst_structure_get_string(c, "format"), "RGB")) {
        if (!gst_structure_has_field(c, "colorimetry"))
            gst_structure_set(c, "colorimetry", G_TYPE_STRING, GST_VIDEO_COLORIMETRY_BT709, NULL);
        if (!gst_structure_has_field(c, "chroma-site"))
            gst_structure_set(c, "chroma-site", G_TYPE_STRING, "mpeg2", NULL);
    }
    return GST_BASE_SRC_CLASS(zt_source_parent_class)->fixate(base, caps);
}

static gboolean set_caps(GstBaseSrc *base, GstCaps *caps)
{
    ZtSource *s = ZT_SOURCE(base);
    GstVideoInfo out, in;
    if (!gst_video_info_from_caps(&out, caps) || out.fps_d != 1 || out.width % 2 || out.height % 2)
        return FALSE;
    gst_video_info_set_format(&in, GST_VIDEO_FORMAT_I420, (guint)out.width, (guint)out.height);
    in.fps_n = out.fps_n;
    in.fps_d = 1;
    in.chroma_site = GST_VIDEO_CHROMA_SITE_H_COSITED;
    gst_video_colorimetry_from_string(&in.colorimetry, GST_VIDEO_COLORIMETRY_BT709);
    g_clear_pointer(&s->converter, gst_video_converter_free);
    s->converter = gst_video_converter_new(&in, &out, NULL);
    if (!s->converter)
        return FALSE;
    gst_base_src_set_blocksize(base, (guint)GST_VIDEO_INFO_SIZE(&out));
    GST_OBJECT_LOCK(s);
    s->again |= s->info.width != out.width || s->info.height != out.height || s->info.fps_n != out.fps_n;
    s->info = out;
    GST_OBJECT_UNLOCK(s);
    gst_element_post_message(GST_ELEMENT(s), gst_message_new_latency(GST_OBJECT(s)));
    return TRUE;
}

static gboolean decide_allocation(GstBaseSrc *base, GstQuery *query)
{
    ZtSource *s = ZT_SOURCE(base);
    GstBufferPool *pool = NULL;
    guint size = 0, least = 0, most = 0;
    const bool offered = gst_query_get_n_allocation_pools(query);
    if (offered)
        gst_query_parse_nth_allocation_pool(query, 0, &pool, &size, &least, &most);
    if (!pool)
        pool = gst_video_buffer_pool_new();
    size = MAX(size, (guint)GST_VIDEO_INFO_SIZE(&s->info));
    GstCaps *caps = NULL;
    gst_query_parse_allocation(query, &caps, NULL);
    GstStructure *config = gst_buffer_pool_get_config(pool);
    gst_buffer_pool_config_set_params(config, caps, size, least, most);
    if (gst_query_find_allocation_meta(query, GST_VIDEO_META_API_TYPE, NULL))
        gst_buffer_pool_config_add_option(config, GST_BUFFER_POOL_OPTION_VIDEO_META);
    gst_buffer_pool_set_config(pool, config);
    if (offered)
        gst_query_set_nth_allocation_pool(query, 0, pool, size, least, most);
    else
        gst_query_add_allocation_pool(query, pool, size, least, most);
    gst_object_unref(pool);
    return GST_BASE_SRC_CLASS(zt_source_parent_class)->decide_allocation(base, query);
}

// ---- what the pipeline asks

// A picture leaves at most the budget after its controls were read, which is what its time stamp says.
static gboolean query(GstBaseSrc *base, GstQuery *q)
{
    ZtSource *s = ZT_SOURCE(base);
    if (GST_QUERY_TYPE(q) != GST_QUERY_LATENCY)
        return GST_BASE_SRC_CLASS(zt_source_parent_class)->query(base, q);
    GST_OBJECT_LOCK(s);
    const bool known = s->feed && s->info.fps_n;
    if (known) {
        const GstClockTime least = (GstClockTime)zt_feed_budget(s->feed, s->info.fps_n);
        const GstClockTime waiting = (GstClockTime)zt_feed_depth(s->feed) * GST_SECOND / (guint)s->info.fps_n;
        gst_query_set_latency(q, TRUE, least, least + waiting);
    }
    GST_OBJECT_UNLOCK(s);
    return known || GST_BASE_SRC_CLASS(zt_source_parent_class)->query(base, q);     // told again when it is known
}

static gboolean on_qos(ZtSource *s, GstEvent *e)
{
    GstQOSType type;
    GstClockTimeDiff diff;
    gst_event_parse_qos(e, &type, NULL, &diff, NULL);
    GST_OBJECT_LOCK(s);
    const int enough = s->feed ? zt_feed_qos(s->feed, type == GST_QOS_TYPE_THROTTLE || diff > 0, zt_now()) : 0;
    GST_OBJECT_UNLOCK(s);
    GST_LOG_OBJECT(s, "QoS: %" GST_STIME_FORMAT ", %d steps are enough", GST_STIME_ARGS(diff), enough);
    return TRUE;
}

static gboolean on_navigation(ZtSource *s, GstEvent *e)
{
    float value[ZT_MAX_CONTROLS];
    unsigned set = 0;
    GST_OBJECT_LOCK(s);
    if (s->feed && s->info.width) {
        const zt_model *m = zt_feed_model(s->feed);
        set = zt_keys_read(&s->keys, e, m, s->info.width, s->info.height, value);
        for (int i = 0; i < ZT_MAX_CONTROLS; i++)
            if (set & 1u << i) {
                zt_feed_control(s->feed, i, value[i]);
                gst_structure_set(s->controls, zt_model_get_info(m)->control[i], G_TYPE_DOUBLE, (double)value[i], NULL);
            }
    }
    GST_OBJECT_UNLOCK(s);
    return set != 0;
}

static gboolean event(GstBaseSrc *base, GstEvent *e)
{
    ZtSource *s = ZT_SOURCE(base);
    switch (GST_EVENT_TYPE(e)) {
    case GST_EVENT_QOS: return on_qos(s, e);
    case GST_EVENT_NAVIGATION: return on_navigation(s, e);
    default: return GST_BASE_SRC_CLASS(zt_source_parent_class)->event(base, e);
    }
}

static gboolean is_seekable(GstBaseSrc *base)
{
    (void)base;
    return FALSE;
}

// ---- states

static gboolean interrupt(GstBaseSrc *base, bool on)
{
    ZtSource *s = ZT_SOURCE(base);
    GST_OBJECT_LOCK(s);
    if (s->feed)
        zt_feed_interrupt(s->feed, on);
    GST_OBJECT_UNLOCK(s);
    return TRUE;
}

static gboolean unlock(GstBaseSrc *base)
{
    return interrupt(base, true);
}

static gboolean unlock_stop(GstBaseSrc *base)
{
    return interrupt(base, false);
}

// While it is paused the session goes on, as a camera does; what it made meanwhile is of no use.
static GstStateChangeReturn change_state(GstElement *element, GstStateChange change)
{
    ZtSource *s = ZT_SOURCE(element);
    GST_OBJECT_LOCK(s);
    if (change == GST_STATE_CHANGE_PAUSED_TO_PLAYING && s->feed)
        zt_feed_forget(s->feed);
    GST_OBJECT_UNLOCK(s);
    return GST_ELEMENT_CLASS(zt_source_parent_class)->change_state(element, change);
}

// ---- the object

static void finalize(GObject *object)
{
    ZtSource *s = ZT_SOURCE(object);
    g_free(s->model);
    g_free(s->prompt);
    gst_structure_free(s->controls);
    G_OBJECT_CLASS(zt_source_parent_class)->finalize(object);
}

static void zt_source_init(ZtSource *s)
{
    s->controls = gst_structure_new_empty("controls");
    s->last = GST_CLOCK_TIME_NONE;
    gst_base_src_set_live(GST_BASE_SRC(s), TRUE);
    gst_base_src_set_format(GST_BASE_SRC(s), GST_FORMAT_TIME);
}

static void zt_source_class_init(ZtSourceClass *class)
{
    GObjectClass *object = G_OBJECT_CLASS(class);
    GstElementClass *element = GST_ELEMENT_CLASS(class);
    GstBaseSrcClass *base = GST_BASE_SRC_CLASS(class);
    object->finalize = finalize;
    zt_source_add_properties(object);
    gst_element_class_set_static_metadata(element, "Zoetrope", "Source/Video", "Generates video from a prompt, live",
                                          "The Zoetrope authors");
    gst_element_class_add_static_pad_template(element, &template);
    element->change_state = change_state;
    base->start = start;
    base->stop = stop;
    base->negotiate = negotiate;
    base->get_caps = get_caps;
    base->fixate = fixate;
    base->set_caps = set_caps;
    base->decide_allocation = decide_allocation;
    base->query = query;
    base->event = event;
    base->is_seekable = is_seekable;
    base->unlock = unlock;
    base->unlock_stop = unlock_stop;
    GST_PUSH_SRC_CLASS(class)->fill = zt_source_fill;
}

static gboolean plugin_init(GstPlugin *plugin)
{
    return gst_element_register(plugin, "zoetropesrc", GST_RANK_NONE, ZT_TYPE_SOURCE);
}

#define PACKAGE "zoetrope"
GST_PLUGIN_DEFINE(GST_VERSION_MAJOR, GST_VERSION_MINOR, zoetrope, "Video generated from a prompt", plugin_init,
                  ZT_VERSION, "Apache 2.0", PACKAGE, "zoetrope")
