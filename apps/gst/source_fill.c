// SPDX-License-Identifier: Apache-2.0
// A picture becomes a buffer: its colours, its time, and a message where slots were missed.
#include "apps/gst/source.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"

#define DRIFT (5 * ZT_MS)       // of the pipeline's clock against the engine's before time stamps follow

static int begin(ZtSource *s)
{
    zt_feed_params p = { 0 };
    GST_OBJECT_LOCK(s);
    const bool again = s->again;
    s->again = false;
    if (again) {
        p.set = zt_source_controls(s->controls, zt_feed_model(s->feed), p.control);
        p.prompt = s->prompt ? g_strdup(s->prompt) : NULL;
        p.seed = s->seed;
        p.steps = s->steps;
        p.w = s->info.width;
        p.h = s->info.height;
        p.fps = s->info.fps_n;
    }
    GST_OBJECT_UNLOCK(s);
    if (!again)
        return 0;
    const int err = zt_feed_start(s->feed, &p);
    g_free((char *)p.prompt);
    s->based = false;
    s->next = 0;
    memset(s->told, 0, sizeof(s->told));
    return err;
}

// Running time of the pipeline at a moment of the engine's clock.
static int64_t running_at(ZtSource *s, int64_t moment)
{
    GstClock *clock = gst_element_get_clock(GST_ELEMENT(s));
    if (!clock)
        return 0;
    const int64_t now = (int64_t)(gst_clock_get_time(clock) - gst_element_get_base_time(GST_ELEMENT(s)));
    gst_object_unref(clock);
    return now - (zt_now() - moment);
}

// A picture's time is when its controls were read: its due time less the budget. Slots are a period apart; the
// pipeline's clock is followed when it goes astray, and after a pause.
static GstClockTime time_of(ZtSource *s, const zt_frame *f, int64_t period)
{
    const int64_t due = f->index ? f->due : zt_now();       // the first is due when it is there
    const int64_t base = MAX(running_at(s, due) - zt_feed_budget(s->feed, s->info.fps_n) - f->pts, 0);
    if (!s->based || ABS(base - s->base) > DRIFT)
        s->base = base;
    s->based = true;
    int64_t pts = s->base + f->pts;
    if (GST_CLOCK_TIME_IS_VALID(s->last))
        pts = MAX(pts, (int64_t)s->last + period / 2);
    s->last = (GstClockTime)pts;
    return s->last;
}

static void report(ZtSource *s, uint64_t index, GstClockTime pts)
{
    static const enum zt_outcome missed[] = { ZT_LATE, ZT_REPEATED, ZT_DROPPED };
    zt_metrics m;
    bool any = false;
    if (!zt_feed_metrics(s->feed, &m))
        return;
    for (int i = 0; i < (int)G_N_ELEMENTS(missed); i++)
        any |= m.outcome[missed[i]] > s->told[missed[i]];
    if (!any)
        return;
    GstStructure *t = gst_structure_new("zoetrope-missed", "index", G_TYPE_UINT64, index, "running-time", G_TYPE_UINT64,
                                          pts, NULL);
    for (int i = 0; i < (int)G_N_ELEMENTS(missed); i++) {
        const enum zt_outcome o = missed[i];
        gst_structure_set(t, zt_outcome_name[o], G_TYPE_UINT64, m.outcome[o] - s->told[o], NULL);
        s->told[o] = m.outcome[o];
    }
    gst_element_post_message(GST_ELEMENT(s), gst_message_new_element(GST_OBJECT(s), t));
}

static bool convert(ZtSource *s, const zt_frame *f, GstBuffer *buffer)
{
    GstVideoFrame out, in = { .info = *gst_video_converter_get_in_info(s->converter) };
    if (!gst_video_frame_map(&out, &s->info, buffer, GST_MAP_WRITE))
        return false;
    for (int i = 0; i < 3; i++) {
        in.data[i] = f->plane[i];
        in.info.stride[i] = (int)f->pitch[i];
    }
    gst_video_converter_frame(s->converter, &in, &out);
    gst_video_frame_unmap(&out);
    return true;
}

static void stamp(ZtSource *s, const zt_frame *f, GstBuffer *buffer)
{
    const int64_t period = ZT_S / s->info.fps_n;
    GST_BUFFER_PTS(buffer) = time_of(s, f, period);
    GST_BUFFER_DTS(buffer) = GST_CLOCK_TIME_NONE;
    GST_BUFFER_DURATION(buffer) = (GstClockTime)period;
    GST_BUFFER_OFFSET(buffer) = f->index;
    GST_BUFFER_OFFSET_END(buffer) = f->index + 1;
    if (f->index != s->next)
        GST_BUFFER_FLAG_SET(buffer, GST_BUFFER_FLAG_DISCONT);
    s->next = f->index + 1;
    GST_OBJECT_LOCK(s);
    s->shown = f->repeated ? s->shown : f->steps;
    GST_OBJECT_UNLOCK(s);
}

GstFlowReturn zt_source_fill(GstPushSrc *push, GstBuffer *buffer)
{
    ZtSource *s = ZT_SOURCE(push);
    zt_frame *f = NULL;
    int err = begin(s);
    if (!err)
        err = zt_feed_take(s->feed, &f);
    if (err == -EINTR)
        return GST_FLOW_FLUSHING;
    if (err < 0) {
        GST_ELEMENT_ERROR(s, RESOURCE, FAILED, ("The session failed."), ("%s", g_strerror(-err)));
        return GST_FLOW_ERROR;
    }
    const uint64_t index = f->index;
    const bool ok = convert(s, f, buffer);
    stamp(s, f, buffer);
    zt_frame_unref(&f);
    if (!ok) {
        GST_ELEMENT_ERROR(s, RESOURCE, WRITE, ("A picture does not fit its buffer."), (NULL));
        return GST_FLOW_ERROR;
    }
    zt_feed_delivered(s->feed, index, zt_now());
    report(s, index, GST_BUFFER_PTS(buffer));
    return GST_FLOW_OK;
}
