// SPDX-License-Identifier: Apache-2.0
// Play, pause (the last seconds can be looked at again), stop, restart; and the same for a session that is replayed.
#include <math.h>
#include <string.h>

#include "apps/preview/preview.h"
#include "apps/preview/replayer.h"
#include "apps/preview/tape.h"
#include "base/base.h"
#include "base/clock.h"

#define LOOK_BACK_S     30
#define LOOK_BACK_BYTES ((size_t)96 << 20)
#define REFRESH         500     // ms between labels
#define MARKS           12      // prompts that are marked on the scrubber

enum mode { STOPPED, LIVE, PAUSED, REPLAY };

typedef struct zt_transport {
    zt_preview  *preview;
    enum mode    mode;
    zt_tape     *tape;          // of the live session
    zt_replayer *replayer;
    bool         playing;       // of a replay
    guint        turn;          // timer: a replay's next picture
    int          fps;           // of what is shown
    GtkAdjustment *position;
    GtkWidget   *scrubber, *clock, *badge;
    gint64       since;         // monotonic ns
    int          shown;         // pictures since the labels were made
    gint64       shown_since;
    guint        refresh;
    bool         quiet;         // the scrubber is being set
} zt_transport;

static void set_label(GtkWidget *label, char *text)
{
    if (strcmp(gtk_label_get_text(GTK_LABEL(label)), text))
        gtk_label_set_text(GTK_LABEL(label), text);
    g_free(text);
}

static char *minutes(gint64 ns)
{
    const int s = (int)(ns / ZT_S);
    return g_strdup_printf("%d:%02d", s / 60, s % 60);
}

static int at(const zt_transport *t)
{
    return (int)lround(gtk_adjustment_get_value(t->position));
}

// The tape that is looked at, or NULL.
static const zt_tape *tape(const zt_transport *t)
{
    return t->replayer ? zt_replayer_info(t->replayer).tape : t->tape;
}

static void set_icon(zt_transport *t)
{
    const bool plays = t->mode == LIVE || (t->mode == REPLAY && t->playing);
    GtkWidget *button = ZT_WIDGET(t->preview, "play_button");
    gtk_button_set_icon_name(GTK_BUTTON(button), plays ? "media-playback-pause-symbolic" : "media-playback-start-symbolic");
    gtk_widget_set_tooltip_text(button, plays ? "Pause (Space)" : "Play (Space)");
    gtk_widget_set_visible(ZT_WIDGET(t->preview, "big_play"), t->mode == STOPPED && !t->preview->retry);
    gtk_widget_set_sensitive(t->scrubber, t->mode == PAUSED || t->mode == REPLAY);
    gtk_widget_set_sensitive(ZT_WIDGET(t->preview, "stop_button"), t->mode != STOPPED);
}

static char *replay_text(const zt_transport *t)
{
    const zt_replay_info info = zt_replayer_info(t->replayer);
    const int n = zt_tape_length(info.tape);
    bool changed;
    const char *prompt = n ? zt_replayer_prompt(t->replayer, zt_tape_get(info.tape, CLAMP(at(t), 0, n - 1))->model_frame, &changed) : NULL;
    if (n < info.frames)
        return g_strdup_printf("Replay · %d %% made", 100 * n / info.frames);
    return prompt ? g_strdup_printf("Replay · %.60s", prompt) : g_strdup("Replay");
}

static void set_badge(zt_transport *t, double fps)
{
    gtk_widget_set_visible(t->badge, true);
    if (t->mode == STOPPED) {
        set_label(t->badge, g_strdup("Stopped"));
    } else if (t->mode == REPLAY) {
        set_label(t->badge, replay_text(t));
    } else if (t->mode == PAUSED) {
        const double back = (gtk_adjustment_get_upper(t->position) - gtk_adjustment_get_value(t->position)) / t->fps;
        set_label(t->badge, back < 0.05 ? g_strdup("Paused") : g_strdup_printf("Paused · −%.1f s", back));
    } else {
        char *mine = zt_compare_badge(t->preview->compare);
        set_label(t->badge, g_strdup_printf("%s · %.1f fps", mine ? mine : "Live", fps));
        g_free(mine);
    }
}

static void set_clock(zt_transport *t, gint64 now)
{
    if (t->mode == LIVE) {
        set_label(t->clock, minutes(now - t->since));
    } else if (t->mode == REPLAY) {
        char *here = minutes((gint64)at(t) * ZT_S / t->fps), *all = minutes((gint64)zt_replayer_info(t->replayer).frames * ZT_S / t->fps);
        set_label(t->clock, g_strdup_printf("%s / %s", here, all));
        g_free(here);
        g_free(all);
    }
}

// The scrubber covers the tape; live it is at its end.
static void set_scrubber(zt_transport *t)
{
    const int n = t->tape ? zt_tape_length(t->tape) : 0;
    t->quiet = true;
    gtk_adjustment_set_upper(t->position, n > 1 ? n - 1 : 1);
    gtk_adjustment_set_value(t->position, n > 1 ? n - 1 : 1);
    t->quiet = false;
}

static gboolean on_refresh(gpointer cookie)
{
    zt_transport *t = cookie;
    const gint64 now = zt_now();
    if (t->mode == LIVE || t->mode == REPLAY)
        set_badge(t, (double)t->shown * ZT_S / (double)(now - t->shown_since));
    set_clock(t, now);
    if (t->mode == REPLAY)
        gtk_range_set_fill_level(GTK_RANGE(t->scrubber), zt_tape_length(zt_replayer_info(t->replayer).tape) - 1);
    if (now - t->shown_since > 2 * ZT_S) {
        t->shown = 0;
        t->shown_since = now;
    }
    zt_files_tick(t->preview->files);
    return G_SOURCE_CONTINUE;
}

// ---- modes

static void show_at(zt_transport *t)
{
    const zt_tape *from = tape(t);
    const int n = from ? zt_tape_length(from) : 0;
    if (n)
        zt_view_show(t->preview->view[0], zt_tape_get(from, CLAMP(at(t), 0, n - 1)), t->preview->settings.times);
}

static void on_scrubbed(zt_transport *t)
{
    if (t->quiet || (t->mode != PAUSED && t->mode != REPLAY))
        return;
    show_at(t);
    set_badge(t, 0);
    set_clock(t, zt_now());
}

static void set_mode(zt_transport *t, enum mode mode)
{
    t->mode = mode;
    t->shown = 0;
    t->shown_since = zt_now();
    set_icon(t);
    set_badge(t, 0);
}

static void leave_replay(zt_transport *t)
{
    if (t->turn)
        g_source_remove(t->turn);
    t->turn = 0;
    t->playing = false;
    if (!t->replayer)
        return;
    zt_replayer_close(&t->replayer);
    gtk_scale_clear_marks(GTK_SCALE(t->scrubber));
    gtk_range_set_show_fill_level(GTK_RANGE(t->scrubber), FALSE);
    gtk_range_set_restrict_to_fill_level(GTK_RANGE(t->scrubber), FALSE);
}

void zt_transport_leave(zt_transport *t)
{
    leave_replay(t);
}

void zt_transport_started(zt_transport *t)
{
    const zt_model_info *info = zt_model_get_info(zt_player_model(t->preview->player));
    t->fps = t->preview->settings.fps ? t->preview->settings.fps : info->fps;
    zt_files_started(t->preview->files, info->w, info->h, t->fps);
    zt_tape_destroy(&t->tape);
    zt_tape_create(&t->tape, info->w, info->h, LOOK_BACK_S * t->fps, LOOK_BACK_BYTES, true);
    t->since = zt_now();
    set_mode(t, LIVE);
    set_scrubber(t);
}

void zt_transport_stopped(zt_transport *t)
{
    leave_replay(t);
    set_mode(t, STOPPED);
}

bool zt_transport_shot(zt_transport *t, const zt_shot *s, const zt_frame *f)
{
    if (!f || t->mode != LIVE)          // paused: the world goes on
        return false;
    t->shown += s->outcome != ZT_REPEATED;
    if (t->tape && s->outcome != ZT_REPEATED && zt_tape_push(t->tape, f) == 0 && zt_tape_length(t->tape) % 12 == 0)
        set_scrubber(t);
    return true;
}

bool zt_transport_is_live(const zt_transport *t)
{
    return t->mode == LIVE;
}

static void play_replay(zt_transport *t)
{
    t->playing = !t->playing;
    if (t->playing && at(t) >= zt_replayer_info(t->replayer).frames - 1)
        gtk_adjustment_set_value(t->position, 0);
    set_icon(t);
}

static void on_play(GSimpleAction *a, GVariant *v, gpointer cookie)
{
    zt_transport *t = cookie;
    if (t->mode == STOPPED) {
        zt_window_start(t->preview);
    } else if (t->mode == REPLAY) {
        play_replay(t);
    } else {
        if (t->mode == LIVE)
            set_scrubber(t);
        set_mode(t, t->mode == LIVE ? PAUSED : LIVE);
    }
}

static void on_stop(GSimpleAction *a, GVariant *v, gpointer cookie)
{
    zt_transport *t = cookie;
    zt_player_stop(t->preview->player);
    zt_window_busy(t->preview, NULL);
    zt_transport_stopped(t);
}

static void on_restart(GSimpleAction *a, GVariant *v, gpointer cookie)
{
    zt_transport *t = cookie;
    if (t->mode == REPLAY)
        gtk_adjustment_set_value(t->position, 0);
    else
        zt_window_start(t->preview);
}

// ---- replay

// It goes on as far as frames have been made.
static gboolean on_turn(gpointer cookie)
{
    zt_transport *t = cookie;
    const zt_replay_info info = zt_replayer_info(t->replayer);
    if (!t->playing || at(t) + 1 >= zt_tape_length(info.tape))
        return G_SOURCE_CONTINUE;
    gtk_adjustment_set_value(t->position, at(t) + 1);
    if (at(t) >= info.frames - 1) {
        t->playing = false;
        set_icon(t);
    }
    return G_SOURCE_CONTINUE;
}

static void mark_prompts(zt_transport *t, int frames)
{
    int marks = 0;
    for (int i = 1; i < frames && marks < MARKS; i++) {
        bool changed;
        zt_replayer_prompt(t->replayer, (uint64_t)i, &changed);
        if (changed)
            gtk_scale_add_mark(GTK_SCALE(t->scrubber), i, GTK_POS_BOTTOM, NULL);
        marks += changed;
    }
}

static void on_ready(void *cookie, const char *error)
{
    zt_transport *t = cookie;
    zt_window_busy(t->preview, NULL);
    if (error) {
        zt_window_toast(t->preview, "%s", error);
        zt_transport_stopped(t);
        return;
    }
    const zt_replay_info info = zt_replayer_info(t->replayer);
    t->fps = info.fps;
    t->quiet = true;
    gtk_adjustment_set_value(t->position, 0);
    gtk_adjustment_set_upper(t->position, info.frames > 1 ? info.frames - 1 : 1);
    gtk_range_set_fill_level(GTK_RANGE(t->scrubber), 0);
    gtk_range_set_show_fill_level(GTK_RANGE(t->scrubber), TRUE);
    gtk_range_set_restrict_to_fill_level(GTK_RANGE(t->scrubber), TRUE);
    t->quiet = false;
    mark_prompts(t, info.frames);
    t->playing = true;
    t->turn = g_timeout_add((guint)(1000 / info.fps), on_turn, t);
    set_mode(t, REPLAY);
}

static void replay(zt_transport *t, const char *path)
{
    leave_replay(t);
    zt_window_busy(t->preview, "Reading the session…");
    t->mode = STOPPED;
    t->replayer = zt_replayer_open(t->preview->player, path, on_ready, t);
}

static void on_replay(GSimpleAction *a, GVariant *v, gpointer cookie)
{
    replay(cookie, g_variant_get_string(v, NULL));
}

// The session that has just been watched.
static void on_replay_this(GSimpleAction *a, GVariant *v, gpointer cookie)
{
    zt_transport *t = cookie;
    if (t->mode != REPLAY)
        replay(t, zt_files_log(t->preview->files));
}

// ---- life

zt_transport *zt_transport_create(zt_preview *p)
{
    static const GActionEntry entries[] = {
        { "play", on_play }, { "stop", on_stop }, { "restart", on_restart }, { "replay", on_replay, "s" }, { "replay-this", on_replay_this },
    };
    zt_transport *t = g_new0(zt_transport, 1);
    t->preview = p;
    t->position = GTK_ADJUSTMENT(gtk_builder_get_object(p->ui, "position"));
    t->scrubber = ZT_WIDGET(p, "scrubber");
    t->clock = ZT_WIDGET(p, "clock");
    t->badge = ZT_WIDGET(p, "badge_0");
    t->fps = 24;
    g_action_map_add_action_entries(G_ACTION_MAP(p->window), entries, G_N_ELEMENTS(entries), t);
    g_signal_connect_swapped(t->position, "value-changed", G_CALLBACK(on_scrubbed), t);
    t->refresh = g_timeout_add(REFRESH, on_refresh, t);
    return t;
}

void zt_transport_destroy(zt_transport **transport)
{
    zt_transport *t = *transport;
    if (!t)
        return;
    *transport = NULL;
    g_source_remove(t->refresh);
    if (t->turn)
        g_source_remove(t->turn);
    zt_replayer_close(&t->replayer);
    zt_tape_destroy(&t->tape);
    g_free(t);
}
