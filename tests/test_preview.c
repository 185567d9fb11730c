// SPDX-License-Identifier: Apache-2.0
// The preview's window as assistive technology sees it, and its parts that need no display.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "apps/preview/plot.h"
#include "apps/preview/preview.h"
#include "apps/preview/tape.h"
#include "base/clock.h"

static zt_preview preview;
static int nameless;
static double sunset;                   // how light it is
static const char *wrong;               // the last thing that was

// ---- without a display

static zt_frame *numbered(zt_frame_pool *pool, int n)
{
    zt_frame *f = zt_frame_get(pool);
    memset(f->plane[0], n, (size_t)(f->pitch[0] * f->h));
    f->model_frame = (uint64_t)n;
    return f;
}

static void test_a_ring_keeps_the_newest(void **state)
{
    zt_frame_pool *pool = NULL;
    zt_tape *t = NULL;
    assert_int_equal(zt_frame_pool_create(&pool, 32, 16, 2), 0);
    assert_int_equal(zt_tape_create(&t, 32, 16, 4, 1 << 20, true), 0);
    for (int i = 0; i < 7; i++) {
        zt_frame *f = numbered(pool, i);
        assert_int_equal(zt_tape_push(t, f), 0);
        zt_frame_unref(&f);
    }
    assert_int_equal(zt_tape_length(t), 4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(zt_tape_get(t, i)->model_frame, 3 + i);
        assert_int_equal(zt_tape_get(t, i)->plane[0][16 * 32 - 1], 3 + i);
    }
    zt_tape_destroy(&t);
    zt_frame_pool_destroy(&pool);
}

static void test_a_tape_ends_when_it_is_full_and_refuses_other_sizes(void **state)
{
    zt_frame_pool *pool = NULL, *large = NULL;
    zt_tape *t = NULL;
    assert_int_equal(zt_frame_pool_create(&pool, 32, 16, 2), 0);
    assert_int_equal(zt_frame_pool_create(&large, 64, 16, 1), 0);
    const size_t one = sizeof(zt_frame) + 32 * 16 * 3 / 2;
    assert_int_equal(zt_tape_create(&t, 32, 16, 100, 3 * one, false), 0);
    assert_int_equal(zt_tape_room(t), 3);
    zt_frame *f = numbered(pool, 1), *other = numbered(large, 2);
    assert_int_equal(zt_tape_push(t, other), -EINVAL);
    for (int i = 0; i < 3; i++)
        assert_int_equal(zt_tape_push(t, f), 0);
    assert_int_equal(zt_tape_push(t, f), -ENOSPC);
    zt_frame_unref(&f);
    zt_frame_unref(&other);
    zt_tape_destroy(&t);
    zt_frame_pool_destroy(&pool);
    zt_frame_pool_destroy(&large);
}

static void test_the_parts_of_a_frame_add_up_to_its_latency(void **state)
{
    int64_t part[ZT_LATENCY_PARTS], sum = 0;
    zt_shot s = { .sampled = 100 * ZT_MS, .made = 130 * ZT_MS, .shown = 133 * ZT_MS };
    s.stage[ZT_DENOISE_STAGE] = 20 * ZT_MS;
    s.stage[ZT_DECODE] = 4 * ZT_MS;
    s.stage[ZT_CONVERT] = 1 * ZT_MS;
    zt_plot_parts(&s, part);
    for (int i = 0; i < ZT_LATENCY_PARTS; i++)
        sum += part[i];
    assert_int_equal(sum, 33 * ZT_MS);
    assert_int_equal(part[ZT_PART_WAIT], 5 * ZT_MS);
    assert_int_equal(part[ZT_PART_SHOW], 3 * ZT_MS);
}

// ---- with one

static bool has_text(GtkWidget *w)
{
    if (GTK_IS_LABEL(w))
        return *gtk_label_get_text(GTK_LABEL(w)) != 0;
    for (GtkWidget *c = gtk_widget_get_first_child(w); c; c = gtk_widget_get_next_sibling(c))
        if (has_text(c))
            return true;
    return false;
}

// Buttons, fields, sliders and pictures must say what they are. The parts that GTK builds its own widgets of have names
// of their own.
static void look_at(GtkWidget *w)
{
    GtkAccessible *a = GTK_ACCESSIBLE(w);
    const bool ours = !GTK_IS_WINDOW_CONTROLS(w) && !GTK_IS_SPIN_BUTTON(w) && !GTK_IS_ENTRY(w);
    if (GTK_IS_BUTTON(w) || GTK_IS_ENTRY(w) || GTK_IS_SCALE(w) || GTK_IS_SPIN_BUTTON(w) || GTK_IS_PICTURE(w) || GTK_IS_SPINNER(w)) {
        const bool inner = GTK_IS_MENU_BUTTON(gtk_widget_get_parent(w)) || GTK_IS_DROP_DOWN(gtk_widget_get_parent(w));
        if (!inner && !has_text(w) && !gtk_test_accessible_has_property(a, GTK_ACCESSIBLE_PROPERTY_LABEL) &&
            !(GTK_IS_PICTURE(w) && gtk_picture_get_alternative_text(GTK_PICTURE(w)))) {
            fprintf(stderr, "without a name: %s %s\n", G_OBJECT_TYPE_NAME(w), gtk_buildable_get_buildable_id(GTK_BUILDABLE(w)));
            nameless++;
        }
    }
    for (GtkWidget *c = gtk_widget_get_first_child(w); ours && c; c = gtk_widget_get_next_sibling(c))
        look_at(c);
}

static const char *shots;               // folder for pictures of states that pass too fast for others to see, or NULL

static void shoot(const char *name)
{
    char *command[] = { "import", "-window", "root", NULL, NULL };
    command[3] = g_strdup_printf("%s/%s.png", shots, name);
    if (!g_spawn_sync(NULL, command, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL))
        fprintf(stderr, "no picture %s\n", command[3]);
    g_free(command[3]);
}

static gboolean hold(gpointer cookie)
{
    return G_SOURCE_CONTINUE;
}

static gboolean on_busy(gpointer cookie)
{
    shoot("02-busy");
    gtk_window_close(preview.window);
    return G_SOURCE_REMOVE;
}

// Of the latest picture, 0..255.
static double mean_light(void)
{
    GdkTexture *t = zt_view_texture(preview.view[0]);
    const int w = t ? gdk_texture_get_width(t) : 0, h = t ? gdk_texture_get_height(t) : 0;
    guchar *pixel = g_malloc((gsize)w * (gsize)h * 4 + 1);
    double sum = 0;
    if (t)
        gdk_texture_download(t, pixel, (gsize)w * 4);
    for (int i = 0; i < w * h * 4; i++)
        sum += pixel[i];
    g_free(pixel);
    return w ? sum / (w * h * 4.0) : 0;
}

// One that cannot be read ends in a word about it, not in a session.
static gboolean on_refused(gpointer cookie)
{
    if (zt_player_runs(preview.player))
        wrong = "a session began from what is no picture";
    zt_window_busy(&preview, "Opening the model…");
    g_timeout_add(600, on_busy, NULL);
    return G_SOURCE_REMOVE;
}

static gboolean on_pictured(gpointer cookie)
{
    shoot("02-from-picture");
    if (mean_light() < sunset + 10)     // measured: 194 and 223 after 0.7 s, alpha included
        wrong = "a session that begins with a white picture is no lighter than one that does not";
    zt_window_start_from(&preview, __FILE__);
    g_timeout_add(800, on_refused, NULL);
    return G_SOURCE_REMOVE;
}

static gboolean on_live(gpointer cookie)
{
    sunset = mean_light();
    char *white = g_strdup_printf("%s/01-loading.png", shots);
    zt_window_start_from(&preview, white);
    g_free(white);
    g_timeout_add(700, on_pictured, NULL);
    return G_SOURCE_REMOVE;
}

static gboolean on_loading(gpointer held)
{
    shoot("01-loading");
    g_source_remove(GPOINTER_TO_UINT(held));
    g_timeout_add(1500, on_live, NULL);
    return G_SOURCE_REMOVE;
}

static void on_activate(GApplication *app, gpointer cookie)
{
    zt_window_create(&preview);
    look_at(GTK_WIDGET(preview.window));
    if (!shots) {
        gtk_window_close(preview.window);
        return;
    }
    // What is ready before the idle ones keeps the player's news out, though not the drawing: the model stays unopened.
    const guint held = g_idle_add_full(GDK_PRIORITY_REDRAW + 10, hold, NULL, NULL);
    g_timeout_add(700, on_loading, GUINT_TO_POINTER(held));
}

static void test_the_window_has_names_and_begins_with_pictures(void **state)
{
    if (!gtk_init_check())
        skip();
    char *none[] = { "test", NULL };
    zt_settings_load(&preview.settings);
    preview.app = adw_application_new(ZT_PREVIEW_ID, G_APPLICATION_NON_UNIQUE);
    g_signal_connect(preview.app, "activate", G_CALLBACK(on_activate), NULL);
    assert_int_equal(g_application_run(G_APPLICATION(preview.app), 1, none), 0);
    zt_window_destroy(&preview);
    zt_settings_finish(&preview.settings);
    g_object_unref(preview.app);
    assert_int_equal(nameless, 0);
    if (wrong)
        fail_msg("%s", wrong);
}

static void test_settings_come_back_and_nonsense_does_not(void **state)
{
    zt_settings s;
    zt_settings_load(&s);
    s.seed = UINT64_MAX;
    s.steps = 3;
    s.times = 99;                       // cannot be
    zt_settings_remember(&s, "desert; \"at\" night");
    zt_settings_remember(&s, "ice");
    zt_settings_remember(&s, "desert; \"at\" night");
    zt_settings_save(&s);
    zt_settings_finish(&s);
    zt_settings_load(&s);
    assert_true(s.seed == UINT64_MAX);
    assert_int_equal(s.steps, 3);
    assert_int_equal(s.times, 2);
    assert_string_equal(s.history[0], "desert; \"at\" night");
    assert_string_equal(s.history[1], "ice");
    assert_null(s.history[2]);
    s.seed = 0, s.steps = 0;
    zt_settings_save(&s);
    zt_settings_finish(&s);
}

int main(int argc, char **argv)
{
    shots = argc > 1 ? argv[1] : NULL;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_ring_keeps_the_newest),
        cmocka_unit_test(test_a_tape_ends_when_it_is_full_and_refuses_other_sizes),
        cmocka_unit_test(test_the_parts_of_a_frame_add_up_to_its_latency),
        cmocka_unit_test(test_settings_come_back_and_nonsense_does_not),
        cmocka_unit_test(test_the_window_has_names_and_begins_with_pictures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
