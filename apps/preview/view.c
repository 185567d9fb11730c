// SPDX-License-Identifier: Apache-2.0
// I420 to BGRA by libswscale, into a texture in memory: no GL is needed.
#include "apps/preview/view.h"

#include <libswscale/swscale.h>

#include "base/base.h"

#define SPARE 4                 // buffers that are kept for the next pictures

struct _ZtView {
    GObject            parent;
    GdkTexture        *texture;
    guint64            shown, counted, painted;
    struct SwsContext *sws;
    int                w, h, in_w;
    GAsyncQueue       *spare;   // buffers of w x h; textures give theirs back from any thread
    gsize              bytes;
};

static void view_init(GdkPaintableInterface *i);
G_DEFINE_TYPE_WITH_CODE(ZtView, zt_view, G_TYPE_OBJECT, G_IMPLEMENT_INTERFACE(GDK_TYPE_PAINTABLE, view_init))

static void snapshot(GdkPaintable *p, GdkSnapshot *s, double w, double h)
{
    ZtView *v = ZT_VIEW(p);
    if (!v->texture)
        return;
    gdk_paintable_snapshot(GDK_PAINTABLE(v->texture), s, w, h);
    v->painted += v->counted != v->shown;
    v->counted = v->shown;
}

static GdkPaintable *current_image(GdkPaintable *p)
{
    ZtView *v = ZT_VIEW(p);
    return v->texture ? GDK_PAINTABLE(g_object_ref(v->texture)) : gdk_paintable_new_empty(0, 0);
}

static int intrinsic_width(GdkPaintable *p)
{
    return ZT_VIEW(p)->w;
}

static int intrinsic_height(GdkPaintable *p)
{
    return ZT_VIEW(p)->h;
}

static double intrinsic_aspect(GdkPaintable *p)
{
    const ZtView *v = ZT_VIEW(p);
    return v->h ? (double)v->w / v->h : 0;
}

static void view_init(GdkPaintableInterface *i)
{
    i->snapshot = snapshot;
    i->get_current_image = current_image;
    i->get_intrinsic_width = intrinsic_width;
    i->get_intrinsic_height = intrinsic_height;
    i->get_intrinsic_aspect_ratio = intrinsic_aspect;
}

// A buffer knows where it goes back to.
typedef struct buffer {
    GAsyncQueue *home;          // a reference
    guint8      *data;
    gsize        bytes;
} buffer;

static void buffer_free(gpointer b)
{
    buffer *mine = b;
    g_async_queue_unref(mine->home);
    g_free(mine->data);
    g_free(mine);
}

static void give_back(gpointer b)
{
    buffer *mine = b;
    GAsyncQueue *home = g_async_queue_ref(mine->home);
    g_async_queue_lock(home);
    const gboolean kept = g_async_queue_length_unlocked(home) < SPARE;
    if (kept)
        g_async_queue_push_unlocked(home, mine);
    g_async_queue_unlock(home);
    if (!kept)
        buffer_free(mine);
    g_async_queue_unref(home);
}

static buffer *get_buffer(ZtView *v)
{
    buffer *b = g_async_queue_try_pop(v->spare);
    if (b && b->bytes == v->bytes)
        return b;
    if (b)
        buffer_free(b);
    b = g_new(buffer, 1);
    *b = (buffer){ g_async_queue_ref(v->spare), g_malloc(v->bytes), v->bytes };
    return b;
}

// BT.709, limited range in, full range out.
static gboolean prepare(ZtView *v, const zt_frame *f, int times)
{
    const int w = f->w * times, h = f->h * times;
    const gboolean changed = w != v->w || h != v->h;
    if (v->sws && !changed && v->in_w == f->w)
        return TRUE;
    sws_freeContext(v->sws);
    v->sws = sws_getContext(f->w, f->h, AV_PIX_FMT_YUV420P, w, h, AV_PIX_FMT_BGRA,
                            times > 1 ? SWS_LANCZOS : SWS_BILINEAR, NULL, NULL, NULL);
    if (!v->sws)
        return FALSE;
    const int *bt709 = sws_getCoefficients(SWS_CS_ITU709);
    sws_setColorspaceDetails(v->sws, bt709, 0, bt709, 1, 0, 1 << 16, 1 << 16);
    v->w = w;
    v->h = h;
    v->in_w = f->w;
    v->bytes = (gsize)w * (gsize)h * 4;
    if (changed)
        gdk_paintable_invalidate_size(GDK_PAINTABLE(v));
    return TRUE;
}

void zt_view_show(ZtView *v, const zt_frame *f, int times)
{
    if (!prepare(v, f, times))
        return;
    buffer *b = get_buffer(v);
    const int from[4] = { (int)f->pitch[0], (int)f->pitch[1], (int)f->pitch[2] }, to[4] = { v->w * 4 };
    const uint8_t *const src[4] = { f->plane[0], f->plane[1], f->plane[2] };
    uint8_t *const dst[4] = { b->data };
    sws_scale(v->sws, src, from, 0, f->h, dst, to);
    GBytes *bytes = g_bytes_new_with_free_func(b->data, v->bytes, give_back, b);
    g_clear_object(&v->texture);
    v->texture = gdk_memory_texture_new(v->w, v->h, GDK_MEMORY_B8G8R8A8_PREMULTIPLIED, bytes, (gsize)v->w * 4);
    g_bytes_unref(bytes);
    v->shown++;
    gdk_paintable_invalidate_contents(GDK_PAINTABLE(v));
}

void zt_view_clear(ZtView *v)
{
    g_clear_object(&v->texture);
    gdk_paintable_invalidate_contents(GDK_PAINTABLE(v));
}

GdkTexture *zt_view_texture(ZtView *v)
{
    return v->texture;
}

guint64 zt_view_painted(ZtView *v)
{
    return v->painted;
}

static void dispose(GObject *o)
{
    ZtView *v = ZT_VIEW(o);
    g_clear_object(&v->texture);
    if (v->spare) {
        buffer *b;
        while ((b = g_async_queue_try_pop(v->spare)))
            buffer_free(b);
        g_async_queue_unref(v->spare);
        v->spare = NULL;
    }
    sws_freeContext(v->sws);
    v->sws = NULL;
    G_OBJECT_CLASS(zt_view_parent_class)->dispose(o);
}

static void zt_view_class_init(ZtViewClass *c)
{
    G_OBJECT_CLASS(c)->dispose = dispose;
}

static void zt_view_init(ZtView *v)
{
    v->spare = g_async_queue_new();
}

ZtView *zt_view_new(void)
{
    return g_object_new(ZT_TYPE_VIEW, NULL);
}
