// SPDX-License-Identifier: Apache-2.0
// Pictures of the engine as something that GTK paints.
#pragma once

#include <gtk/gtk.h>

#include "base/frame.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ZT_TYPE_VIEW zt_view_get_type()
G_DECLARE_FINAL_TYPE(ZtView, zt_view, ZT, VIEW, GObject)        // a GdkPaintable

ZtView *zt_view_new(void);
// Shows a copy of the picture, `times` as large (1..8, Lanczos).
void zt_view_show(ZtView *v, const zt_frame *f, int times);
void zt_view_clear(ZtView *v);
GdkTexture *zt_view_texture(ZtView *v);         // borrowed; NULL: nothing is shown
// Pictures that were painted, each counted once.
guint64 zt_view_painted(ZtView *v);

#ifdef __cplusplus
}
#endif
