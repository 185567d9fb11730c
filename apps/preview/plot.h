// SPDX-License-Identifier: Apache-2.0
// Draws what the last frames cost: a stack of stages for each, the line that they must stay under, and their outcomes.
#pragma once

#include <gtk/gtk.h>

#include "apps/preview/player.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ZT_PLOT_SHOTS 192       // eight seconds at 24 fps

enum zt_part { ZT_PART_WAIT, ZT_PART_DENOISE, ZT_PART_DECODE, ZT_PART_CONVERT, ZT_PART_SHOW, ZT_LATENCY_PARTS };

extern const char *const zt_part_name[ZT_LATENCY_PARTS];
extern const char *const zt_outcome_title[ZT_OUTCOMES];
void zt_part_color(enum zt_part part, bool dark, GdkRGBA *out);
void zt_outcome_color(enum zt_outcome outcome, bool dark, GdkRGBA *out);

// From sampling the controls to showing the picture, in ns by parts that add up to it.
void zt_plot_parts(const zt_shot *s, int64_t part[ZT_LATENCY_PARTS]);
// The n newest shots, the oldest first. budget: ns.
void zt_plot_draw(cairo_t *cr, int w, int h, const zt_shot *shot, int n, int64_t budget, bool dark);

#ifdef __cplusplus
}
#endif
