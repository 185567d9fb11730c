// SPDX-License-Identifier: Apache-2.0
// Arithmetic and cairo; knows nothing of widgets.
#include "apps/preview/plot.h"

#include "base/base.h"
#include "base/clock.h"

#define LEFT   30               // room for the scale
#define BOTTOM 12               // for the outcomes

const char *const zt_part_name[ZT_LATENCY_PARTS] = { "Waiting", "Denoise", "Decode", "Convert", "To screen" };
const char *const zt_outcome_title[ZT_OUTCOMES] = { "On time", "Fewer steps", "Late", "Repeated", "Dropped" };

static void parse(const char *text, GdkRGBA *out)
{
    gdk_rgba_parse(out, text);
}

void zt_part_color(enum zt_part part, bool dark, GdkRGBA *out)
{
    static const char *const colors[ZT_LATENCY_PARTS][2] = {
        { "#d8cfc6", "#4a423a" }, { "#c8482a", "#ff8a65" }, { "#c08a1e", "#e2b24e" }, { "#7a6bb0", "#a99ae6" }, { "#3b7ea1", "#6cb8dd" },
    };
    parse(colors[part][dark], out);
}

void zt_outcome_color(enum zt_outcome outcome, bool dark, GdkRGBA *out)
{
    static const char *const colors[ZT_OUTCOMES][2] = {
        { "#2f7d5b", "#5cc496" }, { "#c08a1e", "#e2b24e" }, { "#b3352b", "#f0776b" }, { "#7a6bb0", "#a99ae6" }, { "#8b8279", "#7d746b" },
    };
    parse(colors[outcome][dark], out);
}

void zt_plot_parts(const zt_shot *s, int64_t part[ZT_LATENCY_PARTS])
{
    const int64_t made = ZT_MAX(s->made - s->sampled, 0);
    part[ZT_PART_DENOISE] = s->stage[ZT_DENOISE_STAGE] + s->stage[ZT_TEXT];
    part[ZT_PART_DECODE] = s->stage[ZT_DECODE];
    part[ZT_PART_CONVERT] = s->stage[ZT_CONVERT];
    part[ZT_PART_WAIT] = ZT_MAX(made - part[ZT_PART_DENOISE] - part[ZT_PART_DECODE] - part[ZT_PART_CONVERT], 0);
    part[ZT_PART_SHOW] = s->shown ? ZT_MAX(s->shown - s->made, 0) : 0;
}

static void ink(cairo_t *cr, bool dark, double alpha)
{
    const double v = dark ? 1 : 0;
    cairo_set_source_rgba(cr, v, v, v, alpha);
}

// The upper end of the scale: the deadline is two thirds up.
static double top_ms(int64_t budget)
{
    return (double)budget / ZT_MS * 1.5;
}

static void draw_scale(cairo_t *cr, int w, double h, double top, double deadline, bool dark)
{
    cairo_select_font_face(cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(cr, 10);
    const double step = top > 240 ? 100 : top > 120 ? 50 : top > 60 ? 25 : 10;
    for (double ms = 0; ms < top; ms += step) {
        char text[16];
        const double y = h - ms / top * h;
        ink(cr, dark, 0.09);
        cairo_rectangle(cr, LEFT, (int)y, w - LEFT, 1);
        cairo_fill(cr);
        g_snprintf(text, sizeof(text), "%.0f", ms);
        cairo_text_extents_t size;
        cairo_text_extents(cr, text, &size);
        ink(cr, dark, 0.55);
        cairo_move_to(cr, LEFT - 6 - size.x_advance, ms > 0 ? y + 4 : y);
        cairo_show_text(cr, text);
    }
    const double y = h - deadline / top * h;
    const double dash[] = { 4, 3 };
    ink(cr, dark, 0.75);
    cairo_set_line_width(cr, 1);
    cairo_set_dash(cr, dash, 2, 0);
    cairo_move_to(cr, LEFT, y + 0.5);
    cairo_line_to(cr, w, y + 0.5);
    cairo_stroke(cr);
    cairo_set_dash(cr, NULL, 0, 0);
    char text[32];
    g_snprintf(text, sizeof(text), "deadline %.0f ms", deadline);
    cairo_move_to(cr, LEFT + 4, y - 4);
    cairo_show_text(cr, text);
}

static void draw_shot(cairo_t *cr, const zt_shot *s, double x, double width, double h, double top, bool dark)
{
    int64_t part[ZT_LATENCY_PARTS];
    GdkRGBA color;
    double y = h;
    zt_plot_parts(s, part);
    for (int i = 0; i < ZT_LATENCY_PARTS && s->outcome != ZT_DROPPED && s->outcome != ZT_REPEATED; i++) {
        const double tall = ZT_MIN((double)part[i] / ZT_MS / top * h, y);
        zt_part_color((enum zt_part)i, dark, &color);
        gdk_cairo_set_source_rgba(cr, &color);
        cairo_rectangle(cr, x, y - tall, width, tall);
        cairo_fill(cr);
        y -= tall;
    }
    zt_outcome_color(s->outcome, dark, &color);
    gdk_cairo_set_source_rgba(cr, &color);
    cairo_rectangle(cr, x, h + 5, width, BOTTOM - 6);
    cairo_fill(cr);
}

void zt_plot_draw(cairo_t *cr, int w, int h, const zt_shot *shot, int n, int64_t budget, bool dark)
{
    const double top = top_ms(budget), tall = h - BOTTOM, one = (double)(w - LEFT) / ZT_PLOT_SHOTS;
    cairo_set_antialias(cr, CAIRO_ANTIALIAS_NONE);
    for (int i = 0; i < n; i++)
        draw_shot(cr, &shot[i], LEFT + one * (ZT_PLOT_SHOTS - n + i), one + 0.5, tall, top, dark);
    cairo_set_antialias(cr, CAIRO_ANTIALIAS_DEFAULT);
    draw_scale(cr, w, tall, top, (double)budget / ZT_MS, dark);
}
