// SPDX-License-Identifier: Apache-2.0
// The playout-delay RTP header extension (webrtc.org), always 0: the browser shows a picture as soon as it has it.
#include "stream/whep_internal.h"

#include <string.h>

typedef struct ZtPlayoutDelay {
    GstRTPHeaderExtension base;
} ZtPlayoutDelay;
typedef struct ZtPlayoutDelayClass {
    GstRTPHeaderExtensionClass base;
} ZtPlayoutDelayClass;

static GType zt_playout_delay_get_type(void);
G_DEFINE_TYPE(ZtPlayoutDelay, zt_playout_delay, GST_TYPE_RTP_HEADER_EXTENSION)

#define BYTES 3     // least and most, 12 bits each, of 10 ms

static GstRTPHeaderExtensionFlags flags(GstRTPHeaderExtension *e)
{
    (void)e;
    return GST_RTP_HEADER_EXTENSION_ONE_BYTE | GST_RTP_HEADER_EXTENSION_TWO_BYTE;
}

static gsize max_size(GstRTPHeaderExtension *e, const GstBuffer *b)
{
    (void)e, (void)b;
    return BYTES;
}

static gssize write_it(GstRTPHeaderExtension *e, const GstBuffer *b, GstRTPHeaderExtensionFlags f, GstBuffer *out,
                       guint8 *data, gsize size)
{
    (void)e, (void)b, (void)f, (void)out;
    if (size < BYTES)
        return -1;
    memset(data, 0, BYTES);
    return BYTES;
}

static gboolean read_it(GstRTPHeaderExtension *e, GstRTPHeaderExtensionFlags f, const guint8 *data, gsize size,
                        GstBuffer *b)
{
    (void)e, (void)f, (void)data, (void)b;
    return size >= BYTES;
}

static gboolean set_caps(GstRTPHeaderExtension *e, GstCaps *caps)
{
    return gst_rtp_header_extension_set_caps_from_attributes_helper(e, caps, NULL);
}

static void zt_playout_delay_init(ZtPlayoutDelay *e)
{
    (void)e;
}

static void zt_playout_delay_class_init(ZtPlayoutDelayClass *c)
{
    GstRTPHeaderExtensionClass *base = &c->base;
    base->get_supported_flags = flags;
    base->get_max_size = max_size;
    base->write = write_it;
    base->read = read_it;
    base->set_caps_from_attributes = set_caps;
    gst_rtp_header_extension_class_set_uri(base, ZT_PLAYOUT_DELAY);
    gst_element_class_set_static_metadata(GST_ELEMENT_CLASS(c), "Playout delay", GST_RTP_HDREXT_ELEMENT_CLASS,
                                          "Asks for no delay before display", "Zoetrope");
}

GstRTPHeaderExtension *zt_playout_delay_create(int id)
{
    GstRTPHeaderExtension *e = g_object_new(zt_playout_delay_get_type(), NULL);
    gst_rtp_header_extension_set_id(e, (guint)id);
    return e;
}
