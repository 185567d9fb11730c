// SPDX-License-Identifier: Apache-2.0
// zoetropesrc: pictures of a prompt as a live source.
#pragma once

#include <gst/base/gstpushsrc.h>
#include <gst/video/video.h>
#include <stdbool.h>
#include <stdint.h>

#include "apps/gst/feed.h"
#include "apps/gst/keys.h"

G_BEGIN_DECLS

#define ZT_TYPE_SOURCE (zt_source_get_type())
G_DECLARE_FINAL_TYPE(ZtSource, zt_source, ZT, SOURCE, GstPushSrc)

struct _ZtSource {
    GstPushSrc parent;

    // Under the object's lock.
    char         *model, *prompt;   // or NULL: the shipped one, the model's own
    uint64_t      seed;
    int           steps, fps;       // 0: the model's own
    GstStructure *controls;         // what was set, by name
    bool          other_model, again;   // asked for while it runs: open another model; begin anew
    zt_keys       keys;
    zt_feed      *feed;             // between start and stop; changed by the streaming thread only
    GstVideoInfo  info;             // negotiated
    int           shown;            // steps of the last picture

    // The streaming thread.
    GstVideoConverter *converter;
    GstClockTime  last;             // PTS of the last picture
    int64_t       base;             // running time of slot 0's sampling
    bool          based;            // base is known
    uint64_t      next;             // slot that follows the last one
    uint64_t      told[ZT_OUTCOMES];    // of what messages have said
};

// Where pictures are made into buffers (source_fill.c), on the streaming thread.
GstFlowReturn zt_source_fill(GstPushSrc *push, GstBuffer *buffer);
// Properties (source_props.c).
void zt_source_add_properties(GObjectClass *object);
// Of the structure `controls`: bits and values for the model.
unsigned zt_source_controls(const GstStructure *s, const zt_model *m, float value[ZT_MAX_CONTROLS]);

G_END_DECLS
