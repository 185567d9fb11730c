// SPDX-License-Identifier: Apache-2.0
// The window: its pages, what happens when a model opens or fails, and the actions that belong to no part.
#include <stdarg.h>
#include <string.h>

#include "apps/preview/models.h"
#include "apps/preview/preview.h"
#include "base/base.h"
#include "base/clock.h"

#define BUSY_AFTER 250          // ms until a wait is shown
#define RETRIES    4            // after 1, 2, 4 and 8 s
#define STEADY     120          // frames after which all is well again

// ---- pages

static bool is_narrow(zt_preview *p)
{
    return adw_flap_get_folded(ADW_FLAP(ZT_WIDGET(p, "flap")));
}

static void show_page(zt_preview *p, const char *name)
{
    gtk_stack_set_visible_child_name(GTK_STACK(ZT_WIDGET(p, "pages")), name);
    gtk_spinner_set_spinning(GTK_SPINNER(ZT_WIDGET(p, "loading_spinner")), !strcmp(name, "loading"));
    gtk_widget_set_visible(ZT_WIDGET(p, "panel_button"), !strcmp(name, "stage"));
    adw_flap_set_locked(ADW_FLAP(ZT_WIDGET(p, "flap")), TRUE);
    adw_flap_set_reveal_flap(ADW_FLAP(ZT_WIDGET(p, "flap")), !strcmp(name, "stage") && p->settings.panel && !is_narrow(p));
    static const char *const live[] = { "play", "restart", "stop", "record", "snapshot", "dice", "prompt", "compare", "save-log",
                                        "open-log", "open-picture", "panel", "share", "replay-this" };
    for (size_t i = 0; i < ZT_LEN(live); i++) {
        GAction *a = g_action_map_lookup_action(G_ACTION_MAP(p->window), live[i]);
        if (a)
            g_simple_action_set_enabled(G_SIMPLE_ACTION(a), !strcmp(name, "stage"));
    }
}

void zt_window_toast(zt_preview *p, const char *fmt, ...)
{
    va_list list;
    va_start(list, fmt);
    char *text = g_strdup_vprintf(fmt, list);
    va_end(list);
    char *safe = g_markup_escape_text(text, -1);
    adw_toast_overlay_add_toast(ADW_TOAST_OVERLAY(ZT_WIDGET(p, "toasts")), adw_toast_new(safe));
    g_free(safe);
    g_free(text);
}

static gboolean on_busy(gpointer cookie)
{
    zt_preview *p = cookie;
    p->busy = 0;
    gtk_spinner_set_spinning(GTK_SPINNER(ZT_WIDGET(p, "busy_spinner")), TRUE);
    gtk_revealer_set_reveal_child(GTK_REVEALER(ZT_WIDGET(p, "busy")), TRUE);
    return G_SOURCE_REMOVE;
}

void zt_window_busy(zt_preview *p, const char *what)
{
    if (p->busy)
        g_source_remove(p->busy);
    p->busy = what ? g_timeout_add(BUSY_AFTER, on_busy, p) : 0;
    if (what) {
        gtk_label_set_text(GTK_LABEL(ZT_WIDGET(p, "busy_label")), what);
        return;
    }
    gtk_spinner_set_spinning(GTK_SPINNER(ZT_WIDGET(p, "busy_spinner")), FALSE);
    gtk_revealer_set_reveal_child(GTK_REVEALER(ZT_WIDGET(p, "busy")), FALSE);
}

static void describe(zt_preview *p)
{
    const zt_model_info *info = zt_model_get_info(zt_player_model(p->player));
    const int fps = p->settings.fps ? p->settings.fps : info->fps;
    char *text = g_strdup_printf("%d × %d · %d fps", info->w, info->h, fps);
    adw_window_title_set_subtitle(ADW_WINDOW_TITLE(ZT_WIDGET(p, "title")), text);
    g_free(text);
    gtk_label_set_text(GTK_LABEL(ZT_WIDGET(p, "models_label")), info->name);
    for (int i = 0; i < ZT_LANES; i++) {
        char id[16];
        g_snprintf(id, sizeof(id), "frame_%d", i);
        gtk_aspect_frame_set_ratio(GTK_ASPECT_FRAME(ZT_WIDGET(p, id)), (float)info->w / (float)info->h);
    }
}

// ---- the player

static void start(zt_preview *p, const char *picture)
{
    const zt_settings *s = &p->settings;
    if (!zt_player_model(p->player))
        return;
    zt_take take[ZT_LANES] = { { .seed = s->seed, .steps = s->steps, .fps = s->fps } };
    const int n = zt_compare_takes(p->compare, take);
    if (p->retry)
        g_source_remove(p->retry);
    p->retry = 0;
    describe(p);
    zt_transport_leave(p->transport);
    zt_window_busy(p, "Starting…");
    zt_player_start(p->player, take, n, zt_files_log(p->files), picture);
}

void zt_window_start(zt_preview *p)
{
    start(p, NULL);
}

void zt_window_start_from(zt_preview *p, const char *picture)
{
    start(p, picture);
}

static void on_opened(void *cookie, const char *error, bool missing)
{
    zt_preview *p = cookie;
    if (!p->transport)          // the window is closing
        return;
    zt_window_busy(p, NULL);
    if (error && zt_player_model(p->player)) {
        zt_window_toast(p, "%s", error);        // the old one goes on
        return;
    }
    if (error && missing && p->opening && !p->asked_model) {        // it was there the last time
        g_free(p->notice);
        p->notice = g_strdup(error);
        zt_window_open_model(p, NULL);
        return;
    }
    if (error) {
        char *safe = g_markup_escape_text(error, -1);
        adw_status_page_set_description(ADW_STATUS_PAGE(ZT_WIDGET(p, missing ? "empty_page" : "error_page")), safe);
        g_free(safe);
        show_page(p, missing ? "empty" : "error");
        return;
    }
    zt_share_started(p->share);
    zt_transport_leave(p->transport);           // its session is of the model before
    g_free(p->settings.model);
    p->settings.model = g_strdup(p->opening);
    zt_look_model(p->look);
    zt_prompt_box_model(p->prompt);
    zt_steer_model(p->steer);
    show_page(p, "stage");
    gtk_widget_grab_focus(ZT_WIDGET(p, "stage"));
    zt_window_start(p);
    if (p->notice)
        zt_window_toast(p, "%s", p->notice);
    g_clear_pointer(&p->notice, g_free);
}

void zt_window_open_model(zt_preview *p, const char *path)
{
    char *copy = g_strdup(path);
    g_free(p->opening);
    p->opening = copy;
    if (zt_player_model(p->player)) {
        zt_window_busy(p, "Opening the model…");
    } else {
        char *name = path ? g_path_get_basename(path) : g_strdup("The one that comes with Zoetrope");
        adw_status_page_set_description(ADW_STATUS_PAGE(ZT_WIDGET(p, "loading_page")), name);
        g_free(name);
        show_page(p, "loading");
    }
    zt_player_open(p->player, path);
}

static void on_started(void *cookie, const char *error)
{
    zt_preview *p = cookie;
    if (error) {
        zt_window_busy(p, NULL);
        zt_window_toast(p, "%s", error);
        zt_transport_stopped(p->transport);
        return;
    }
    zt_timing_started(p->timing);
    zt_compare_started(p->compare);
    zt_share_started(p->share);
    zt_transport_started(p->transport);
    zt_steer_again(p->steer);
}

static gboolean on_retry(gpointer cookie)
{
    zt_preview *p = cookie;
    p->retry = 0;
    zt_window_start(p);
    return G_SOURCE_REMOVE;
}

// Other programs may keep this computer busy: it is tried again, less and less often.
static void on_ended(void *cookie, const char *error, bool busy)
{
    zt_preview *p = cookie;
    const bool again = busy && p->retries < RETRIES;
    if (again)
        p->retry = g_timeout_add_seconds(1u << p->retries++, on_retry, p);
    zt_transport_stopped(p->transport);
    if (!again) {
        zt_window_toast(p, "It stopped: %s", error);
        return;
    }
    zt_window_busy(p, "This computer is busy, one moment…");
}

static void on_shot(void *cookie, int lane, const zt_shot *shot, const zt_frame *f)
{
    zt_preview *p = cookie;
    if (f)
        zt_window_busy(p, NULL);
    zt_timing_shot(p->timing, lane, shot);
    zt_compare_shot(p->compare, lane, shot);
    if (lane == 0) {
        p->tally.first = p->tally.first ? p->tally.first : shot->shown;
        p->tally.last = shot->shown ? shot->shown : p->tally.last;
        p->tally.outcome[shot->outcome]++;
        if (shot->model_frame > STEADY)
            p->retries = 0;
    }
    if (lane == 0 ? zt_transport_shot(p->transport, shot, f) : f && zt_transport_is_live(p->transport))
        zt_view_show(p->view[lane], f, p->settings.times);
}

// ---- actions

static void on_about(GSimpleAction *a, GVariant *v, gpointer cookie)
{
    zt_preview *p = cookie;
    adw_show_about_window(p->window, "application-name", "Zoetrope", "application-icon", ZT_PREVIEW_ID, "version", ZT_VERSION,
                          "developer-name", "The Zoetrope authors", "license-type", GTK_LICENSE_APACHE_2_0, "comments",
                          "A causal diffusion transformer makes the picture while you watch and steer it.", NULL);
}

static void on_panel(GSimpleAction *a, GVariant *v, gpointer cookie)
{
    zt_preview *p = cookie;
    AdwFlap *flap = ADW_FLAP(ZT_WIDGET(p, "flap"));
    adw_flap_set_reveal_flap(flap, !adw_flap_get_reveal_flap(flap));
}

void zt_window_page(zt_preview *p, const char *name)
{
    adw_view_stack_set_visible_child_name(ADW_VIEW_STACK(ZT_WIDGET(p, "panels")), name);
    adw_flap_set_reveal_flap(ADW_FLAP(ZT_WIDGET(p, "flap")), TRUE);
}

static void on_page(GSimpleAction *a, GVariant *v, gpointer cookie)
{
    zt_window_page(cookie, g_variant_get_string(v, NULL));
}

static void on_prompt(GSimpleAction *a, GVariant *v, gpointer cookie)
{
    zt_prompt_box_focus(((zt_preview *)cookie)->prompt);
}

static void on_again(zt_preview *p)
{
    char *path = g_strdup(p->opening);
    zt_window_open_model(p, path);
    g_free(path);
}

static bool is_stage(zt_preview *p)
{
    const char *page = gtk_stack_get_visible_child_name(GTK_STACK(ZT_WIDGET(p, "pages")));
    return page && !strcmp(page, "stage");
}

// The user's wish is remembered, not what a small window makes of it.
static void on_revealed(zt_preview *p)
{
    if (is_stage(p) && !gtk_window_is_fullscreen(p->window) && !is_narrow(p))
        p->settings.panel = adw_flap_get_reveal_flap(ADW_FLAP(ZT_WIDGET(p, "flap")));
}

// A panel that covers the picture is opened by hand only.
static gboolean on_settled(gpointer cookie)
{
    zt_preview *p = cookie;
    p->folding = 0;
    gtk_widget_set_visible(ZT_WIDGET(p, "models_label"), !is_narrow(p));
    if (is_stage(p) && !gtk_window_is_fullscreen(p->window))
        adw_flap_set_reveal_flap(ADW_FLAP(ZT_WIDGET(p, "flap")), !is_narrow(p) && p->settings.panel);
    return G_SOURCE_REMOVE;
}

// It folds while sizes are being made out, which is no time for changes.
static void on_folded(zt_preview *p)
{
    if (!p->folding)
        p->folding = g_idle_add(on_settled, p);
}

static void on_fullscreened(zt_preview *p)
{
    if (!gtk_window_is_fullscreen(p->window))
        on_folded(p);           // the panel, as it was
}

static void add_actions(zt_preview *p)
{
    static const GActionEntry entries[] = {
        { "about", on_about }, { "panel", on_panel }, { "page", on_page, "s" },
        { "prompt", on_prompt },
    };
    static const struct {
        const char *action, *key[3];
    } keys[] = {
        { "win.fullscreen", { "F11" } }, { "win.panel", { "F9" } }, { "win.prompt", { "<Primary>l" } },
        { "win.page::look", { "<Alt>1", "<Primary>comma" } }, { "win.page::timing", { "<Alt>2" } },
        { "win.page::compare", { "<Alt>3" } }, { "win.page::share", { "<Alt>4" } }, { "win.restart", { "<Primary>r" } },
        { "win.record", { "<Primary><Shift>r" } }, { "win.snapshot", { "<Primary>s" } }, { "win.save-log", { "<Primary><Shift>s" } }, { "win.dice", { "<Primary>n" } },
        { "win.compare", { "<Primary>d" } }, { "win.open-model", { "<Primary>o" } }, { "win.open-log", { "<Primary><Shift>o" } },
        { "win.replay-this", { "<Primary>p" } }, { "win.share", { "<Primary><Shift>n" } },
        { "win.show-help-overlay", { "<Primary>question", "F1" } }, { "window.close", { "<Primary>w" } },
    };
    g_action_map_add_action_entries(G_ACTION_MAP(p->window), entries, G_N_ELEMENTS(entries), p);
    for (size_t i = 0; i < ZT_LEN(keys); i++)
        gtk_application_set_accels_for_action(GTK_APPLICATION(p->app), keys[i].action, keys[i].key);
    gtk_application_set_accels_for_action(GTK_APPLICATION(p->app), "app.quit", (const char *const[]){ "<Primary>q", NULL });
}

static void on_quit(GSimpleAction *a, GVariant *v, gpointer cookie)
{
    gtk_window_close(((zt_preview *)cookie)->window);
}

char *zt_window_new_file(zt_preview *p, GUserDirectory folder, const char *suffix)
{
    const char *special = g_get_user_special_dir(folder);
    char *home = special ? g_strdup(special) : g_build_filename(g_get_home_dir(), folder == G_USER_DIRECTORY_VIDEOS ? "Videos"
                                                                                 : "Pictures", NULL);
    char *into = g_build_filename(home, "Zoetrope", NULL);
    GDateTime *now = g_date_time_new_now_local();
    char *stamp = g_date_time_format(now, "%Y-%m-%d %H-%M-%S"), *path = NULL;
    for (int i = 1; !path && i < 100; i++) {
        char *name = i > 1 ? g_strdup_printf("%s %d%s", stamp, i, suffix) : g_strconcat(stamp, suffix, NULL);
        path = g_build_filename(into, name, NULL);
        if (g_file_test(path, G_FILE_TEST_EXISTS))
            g_clear_pointer(&path, g_free);
        g_free(name);
    }
    if (g_mkdir_with_parents(into, 0755) < 0) {
        zt_window_toast(p, "Cannot make the folder %s", into);
        g_clear_pointer(&path, g_free);
    }
    g_free(stamp);
    g_date_time_unref(now);
    g_free(into);
    g_free(home);
    return path;
}

// ---- life

static void add_panel(zt_preview *p, const char *id, const char *name, const char *title, const char *icon)
{
    adw_view_stack_add_titled(ADW_VIEW_STACK(ZT_WIDGET(p, "panels")), ZT_WIDGET(p, id), name, title);
    AdwViewStackPage *page = adw_view_stack_get_page(ADW_VIEW_STACK(ZT_WIDGET(p, "panels")), ZT_WIDGET(p, id));
    adw_view_stack_page_set_icon_name(page, icon);
}

static gboolean on_close(zt_preview *p)
{
    zt_settings *s = &p->settings;
    gtk_window_get_default_size(p->window, &s->width, &s->height);
    s->maximized = gtk_window_is_maximized(p->window);
    g_free(s->page);
    s->page = g_strdup(adw_view_stack_get_visible_child_name(ADW_VIEW_STACK(ZT_WIDGET(p, "panels"))));
    const char *prompt = zt_player_get_prompt(p->player);
    g_free(s->prompt);
    s->prompt = g_strdup(prompt);
    p->tally.painted = zt_view_painted(p->view[0]);
    zt_settings_save(s);
    zt_player_stop(p->player);                  // nothing is told any more
    zt_transport_destroy(&p->transport);
    zt_share_destroy(&p->share);
    zt_files_destroy(&p->files);                // what is being recorded is finished
    return FALSE;
}

static void make_views(zt_preview *p)
{
    for (int i = 0; i < ZT_LANES; i++) {
        char id[16];
        g_snprintf(id, sizeof(id), "picture_%d", i);
        p->view[i] = zt_view_new();
        gtk_picture_set_paintable(GTK_PICTURE(ZT_WIDGET(p, id)), GDK_PAINTABLE(p->view[i]));
    }
}

static void make_window(zt_preview *p)
{
    p->ui = gtk_builder_new_from_resource("/org/zoetrope/Preview/window.ui");
    GError *error = NULL;
    if (!gtk_builder_add_from_resource(p->ui, "/org/zoetrope/Preview/panels.ui", &error))
        g_error("%s", error->message);          // as gtk_builder_new_from_resource() does
    p->window = GTK_WINDOW(ZT_WIDGET(p, "window"));
    gtk_window_set_application(p->window, GTK_APPLICATION(p->app));
    gtk_window_set_default_size(p->window, p->settings.width, p->settings.height);
    if (p->settings.maximized)
        gtk_window_maximize(p->window);
    GtkBuilder *help = gtk_builder_new_from_resource("/org/zoetrope/Preview/shortcuts.ui");
    gtk_application_window_set_help_overlay(GTK_APPLICATION_WINDOW(p->window),
                                            GTK_SHORTCUTS_WINDOW(gtk_builder_get_object(help, "help_overlay")));
    g_object_unref(help);
    add_panel(p, "panel_look", "look", "Picture", "image-x-generic-symbolic");
    add_panel(p, "panel_timing", "timing", "Timing", "power-profile-performance-symbolic");
    add_panel(p, "panel_compare", "compare", "Compare", "view-dual-symbolic");
    add_panel(p, "panel_share", "share", "Share", "emblem-shared-symbolic");
    make_views(p);
    add_actions(p);
    static const GActionEntry quit[] = { { "quit", on_quit } };
    g_action_map_add_action_entries(G_ACTION_MAP(p->app), quit, 1, p);
}

void zt_window_create(zt_preview *p)
{
    const zt_player_events events = { on_opened, on_started, on_shot, on_ended, p };
    zt_player_create(&p->player, &events, p->threads);
    make_window(p);
    const char *prompt = p->asked_prompt ? p->asked_prompt : p->settings.prompt;
    if (prompt)
        zt_player_prompt(p->player, prompt);
    p->files = zt_files_create(p);
    p->compare = zt_compare_create(p);
    p->share = zt_share_create(p);
    p->transport = zt_transport_create(p);
    p->timing = zt_timing_create(p);
    p->look = zt_look_create(p);
    p->prompt = zt_prompt_box_create(p);
    p->steer = zt_steer_create(p);
    p->models = zt_models_create(p);
    p->fullscreen = zt_fullscreen_create(p);
    if (p->settings.page)
        adw_view_stack_set_visible_child_name(ADW_VIEW_STACK(ZT_WIDGET(p, "panels")), p->settings.page);
    g_signal_connect_swapped(p->window, "close-request", G_CALLBACK(on_close), p);
    g_signal_connect_swapped(p->window, "notify::fullscreened", G_CALLBACK(on_fullscreened), p);
    g_signal_connect_swapped(ZT_WIDGET(p, "flap"), "notify::reveal-flap", G_CALLBACK(on_revealed), p);
    g_signal_connect_swapped(ZT_WIDGET(p, "flap"), "notify::folded", G_CALLBACK(on_folded), p);
    g_signal_connect_swapped(ZT_WIDGET(p, "error_again"), "clicked", G_CALLBACK(on_again), p);
    zt_window_open_model(p, p->asked_model ? p->asked_model : p->settings.model);
    gtk_window_present(p->window);
}

void zt_window_destroy(zt_preview *p)
{
    if (!p->ui)
        return;
    zt_player_destroy(&p->player);
    if (p->busy)
        g_source_remove(p->busy);
    if (p->folding)
        g_source_remove(p->folding);
    if (p->retry)
        g_source_remove(p->retry);
    g_clear_object(&p->ui);             // widgets go before the parts that listen to them
    zt_models_destroy(&p->models);
    zt_fullscreen_destroy(&p->fullscreen);
    zt_compare_destroy(&p->compare);
    zt_share_destroy(&p->share);
    zt_steer_destroy(&p->steer);
    zt_prompt_box_destroy(&p->prompt);
    zt_look_destroy(&p->look);
    zt_timing_destroy(&p->timing);
    zt_transport_destroy(&p->transport);
    zt_files_destroy(&p->files);
    for (int i = 0; i < ZT_LANES; i++)
        g_clear_object(&p->view[i]);
    g_clear_pointer(&p->opening, g_free);
    g_clear_pointer(&p->notice, g_free);
}
