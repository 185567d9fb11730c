// SPDX-License-Identifier: Apache-2.0
// The panel's page for sharing: on and off, addresses, a QR code of the page's, how many watch.
#include <string.h>

#include "apps/preview/preview.h"
#include "apps/preview/qr.h"
#include "apps/preview/sharing.h"
#include "base/base.h"

struct zt_share {
    zt_preview *preview;
    zt_sharing *sharing;
    int         w, h, fps, times;       // of what is shared
    char       *page, *rtsp;
    guint       refresh;
};

static GSimpleAction *action(zt_share *s)
{
    return G_SIMPLE_ACTION(g_action_map_lookup_action(G_ACTION_MAP(s->preview->window), "share"));
}

static void show(zt_share *s, bool on)
{
    g_simple_action_set_state(action(s), g_variant_new_boolean(s->sharing != NULL));
    gtk_revealer_set_reveal_child(GTK_REVEALER(ZT_WIDGET(s->preview, "share_revealer")), on);
    gtk_widget_set_sensitive(ZT_WIDGET(s->preview, "share_network"), !s->sharing);
}

static void stop(zt_share *s)
{
    zt_sharing_close(&s->sharing);
    show(s, false);
}

// ---- what is told

static void show_address(zt_share *s, const char *row, const char *address)
{
    char *safe = g_markup_escape_text(address ? address : "", -1);
    adw_action_row_set_subtitle(ADW_ACTION_ROW(ZT_WIDGET(s->preview, row)), safe);
    gtk_widget_set_visible(ZT_WIDGET(s->preview, row), address != NULL);
    g_free(safe);
}

static void on_ready(void *cookie, const char *error, const char *page, const char *rtsp)
{
    zt_share *s = cookie;
    if (error) {
        zt_window_toast(s->preview, "Cannot share: %s", error);
        stop(s);
        return;
    }
    g_free(s->page);
    g_free(s->rtsp);
    s->page = g_strdup(page);
    s->rtsp = g_strdup(rtsp);
    show_address(s, "share_page_row", page);
    show_address(s, "share_rtsp_row", rtsp);
    gtk_widget_set_visible(ZT_WIDGET(s->preview, "share_qr"), page && zt_qr_is_there());
    gtk_widget_queue_draw(ZT_WIDGET(s->preview, "share_qr"));
    show(s, true);
}

static void on_prompt(void *cookie, const char *text)
{
    zt_share *s = cookie;
    zt_player_prompt(s->preview->player, text);
    zt_prompt_box_set(s->preview->prompt, text);
}

static void on_control(void *cookie, int control, float value)
{
    zt_share *s = cookie;
    if (control < zt_model_get_info(zt_player_model(s->preview->player))->n_controls)
        zt_player_control(s->preview->player, control, value);
}

static gboolean on_refresh(gpointer cookie)
{
    zt_share *s = cookie;
    if (!s->sharing)
        return G_SOURCE_CONTINUE;
    const int n = zt_sharing_viewers(s->sharing);
    char *text = n == 0 ? g_strdup("Nobody watches yet") : n == 1 ? g_strdup("One viewer") : g_strdup_printf("%d viewers", n);
    gtk_label_set_text(GTK_LABEL(ZT_WIDGET(s->preview, "share_viewers")), text);
    g_free(text);
    return G_SOURCE_CONTINUE;
}

// ---- what is done

static void on_share(GSimpleAction *a, GVariant *v, gpointer cookie)
{
    zt_share *s = cookie;
    const zt_settings *set = &s->preview->settings;
    if (s->sharing) {
        stop(s);
        return;
    }
    const zt_model_info *info = zt_model_get_info(zt_player_model(s->preview->player));
    s->w = info->w, s->h = info->h, s->fps = set->fps ? set->fps : info->fps, s->times = set->times;
    const zt_sharing_params p = { .player = s->preview->player, .network = set->network, .fps = s->fps, .times = s->times,
                                  .ready = on_ready, .prompt = on_prompt, .control = on_control, .cookie = s };
    s->sharing = zt_sharing_open(&p);
    show(s, false);
    zt_window_page(s->preview, "share");
}

void zt_share_started(zt_share *s)
{
    const zt_model_info *info = zt_model_get_info(zt_player_model(s->preview->player));
    const int fps = s->preview->settings.fps ? s->preview->settings.fps : info->fps;
    if (!s->sharing || (info->w == s->w && info->h == s->h && fps == s->fps))
        return;
    stop(s);
    zt_window_toast(s->preview, "Sharing has ended: the picture has another size or rate");
}

static void on_network(zt_share *s)
{
    s->preview->settings.network = gtk_switch_get_active(GTK_SWITCH(ZT_WIDGET(s->preview, "share_network")));
}

static void copy(zt_share *s, const char *text)
{
    if (!text)
        return;
    gdk_clipboard_set_text(gtk_widget_get_clipboard(GTK_WIDGET(s->preview->window)), text);
    zt_window_toast(s->preview, "Copied");
}

static void on_copy_page(zt_share *s)
{
    copy(s, s->page);
}

static void on_copy_rtsp(zt_share *s)
{
    copy(s, s->rtsp);
}

static void draw_qr(GtkDrawingArea *area, cairo_t *cr, int w, int h, gpointer cookie)
{
    const zt_share *s = cookie;
    if (s->page)
        zt_qr_draw(cr, w, h, s->page);
}

// ---- life

zt_share *zt_share_create(zt_preview *p)
{
    static const GActionEntry entries[] = { { "share", on_share, NULL, "false" } };
    zt_share *s = g_new0(zt_share, 1);
    s->preview = p;
    gtk_switch_set_active(GTK_SWITCH(ZT_WIDGET(p, "share_network")), p->settings.network);
    gtk_drawing_area_set_draw_func(GTK_DRAWING_AREA(ZT_WIDGET(p, "share_qr")), draw_qr, s, NULL);
    g_action_map_add_action_entries(G_ACTION_MAP(p->window), entries, 1, s);
    g_signal_connect_swapped(ZT_WIDGET(p, "share_network"), "notify::active", G_CALLBACK(on_network), s);
    g_signal_connect_swapped(ZT_WIDGET(p, "share_page_copy"), "clicked", G_CALLBACK(on_copy_page), s);
    g_signal_connect_swapped(ZT_WIDGET(p, "share_rtsp_copy"), "clicked", G_CALLBACK(on_copy_rtsp), s);
    s->refresh = g_timeout_add(500, on_refresh, s);
    return s;
}

void zt_share_destroy(zt_share **share)
{
    zt_share *s = *share;
    if (!s)
        return;
    *share = NULL;
    g_source_remove(s->refresh);
    zt_sharing_close(&s->sharing);
    g_free(s->page);
    g_free(s->rtsp);
    g_free(s);
}
