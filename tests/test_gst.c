// SPDX-License-Identifier: Apache-2.0
// zoetropesrc in a harness, its pictures compared with those that the engine makes offline.
//   test_gst      with GST_PLUGIN_PATH, and ZOETROPE_MODEL a small model of 64x48 at 24 pictures a second
#include <errno.h>
#include <gst/check/gstharness.h>
#include <gst/video/navigation.h>
#include <gst/video/video.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "apps/paths.h"
#include "base/clock.h"
#include "engine/engine.h"

enum { W = 64, H = 48, FPS = 24, KNOWN = 1200 };

#define PERIOD (GST_SECOND / FPS)

// ---- pictures by their hashes

static uint64_t hash_rows(uint64_t hash, const uint8_t *row, ptrdiff_t pitch, int w, int h)
{
    for (int y = 0; y < h; y++, row += pitch)
        for (int x = 0; x < w; x++)
            hash = (hash ^ row[x]) * UINT64_C(0x100000001b3);
    return hash;
}

typedef struct known {
    uint64_t hash[KNOWN];
    int      n;
} known;

static void keep(void *cookie, zt_frame *f)
{
    known *k = cookie;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (int i = 0; i < 3; i++)
        hash = hash_rows(hash, f->plane[i], f->pitch[i], i ? f->w / 2 : f->w, i ? f->h / 2 : f->h);
    k->hash[k->n++] = hash;
}

// The first n pictures of a stream whose pictures take one step.
static void make_known(known *k, const char *prompt, uint64_t seed, int n)
{
    zt_device *d = NULL;
    zt_model *m = NULL;
    zt_engine *e = NULL;
    zt_session *s = NULL;
    k->n = 0;
    assert_int_equal(zt_device_open(&d, NULL), 0);
    assert_int_equal(zt_model_open(&m, d, zt_path_default_model(), ZT_PRECISION_DEFAULT), 0);
    assert_int_equal(zt_engine_create(&e, d, m), 0);
    assert_int_equal(zt_session_create(&s, e, &(zt_session_params){ .prompt = prompt, .seed = seed, .steps_max = 1,
                                                                    .frames = (uint64_t)n, .offline = true,
                                                                    .on_frame = keep, .cookie = k }), 0);
    assert_int_equal(zt_session_wait(s), 0);
    zt_session_destroy(&s);
    zt_engine_destroy(&e);
    zt_model_close(&m);
    zt_device_close(&d);
    assert_int_equal(k->n, n);
}

static bool is_known(const known *k, uint64_t hash)
{
    for (int i = 0; i < k->n; i++)
        if (k->hash[i] == hash)
            return true;
    return false;
}

// ---- the element in a harness

static GstHarness *start(const char *caps)
{
    GstHarness *h = gst_harness_new("zoetropesrc");
    assert_non_null(h);
    gst_harness_use_systemclock(h);
    gst_harness_set_sink_caps_str(h, caps);
    GstBus *bus = gst_bus_new();
    gst_element_set_bus(h->element, bus);
    gst_object_unref(bus);
    return h;
}

static GstHarness *play(const char *caps, const char *prompt, int steps)
{
    GstHarness *h = start(caps);
    g_object_set(h->element, "prompt", prompt, "steps", steps, NULL);
    gst_harness_play(h);
    return h;
}

static void end(GstHarness *h)
{
    GstBus *bus = gst_element_get_bus(h->element);
    gst_element_set_bus(h->element, NULL);
    gst_bus_set_flushing(bus, TRUE);
    gst_object_unref(bus);
    gst_harness_teardown(h);
}

static GstBuffer *pull(GstHarness *h)
{
    GstBuffer *b = gst_harness_pull(h);     // waits a minute
    assert_non_null(b);
    return b;
}

static void map(GstVideoFrame *f, GstHarness *h, GstBuffer *b)
{
    GstCaps *caps = gst_pad_get_current_caps(h->sinkpad);
    GstVideoInfo info;
    assert_non_null(caps);
    assert_true(gst_video_info_from_caps(&info, caps));
    gst_caps_unref(caps);
    assert_true(gst_video_frame_map(f, &info, b, GST_MAP_READ));
}

static uint64_t pull_hash(GstHarness *h)
{
    GstVideoFrame f;
    GstBuffer *b = pull(h);
    map(&f, h, b);
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (int i = 0; i < 3; i++)
        hash = hash_rows(hash, GST_VIDEO_FRAME_PLANE_DATA(&f, i), GST_VIDEO_FRAME_PLANE_STRIDE(&f, i),
                         GST_VIDEO_FRAME_COMP_WIDTH(&f, i), GST_VIDEO_FRAME_COMP_HEIGHT(&f, i));
    gst_video_frame_unmap(&f);
    gst_buffer_unref(b);
    return hash;
}

// How many of the next n pictures are known.
static int count_known(GstHarness *h, const known *k, int n)
{
    int found = 0;
    for (int i = 0; i < n; i++)
        found += is_known(k, pull_hash(h));
    return found;
}

static void drop(GstHarness *h, int n)
{
    for (int i = 0; i < n; i++)
        gst_buffer_unref(pull(h));
}

// What was made, or begun, before now.
static void settle(GstHarness *h)
{
    drop(h, (int)gst_harness_buffers_in_queue(h) + 8);
}

static int shown_steps(GstHarness *h)
{
    GstStructure *stats;
    int steps = -1;
    g_object_get(h->element, "stats", &stats, NULL);
    gst_structure_get_int(stats, "steps", &steps);
    gst_structure_free(stats);
    return steps;
}

// Pictures until one has so many steps; a busy machine may need seconds to get there. False: none of n.
static bool reaches(GstHarness *h, int steps, int n)
{
    for (int i = 0; i < n; i++) {
        drop(h, 1);
        if (shown_steps(h) == steps)
            return true;
    }
    return false;
}

static double control(GstHarness *h, const char *name)
{
    GstStructure *all;
    double value = -9;
    g_object_get(h->element, "controls", &all, NULL);
    gst_structure_get_double(all, name, &value);
    gst_structure_free(all);
    return value;
}

// ---- tests

static const uint8_t *row(const GstVideoFrame *f, int y)
{
    return (const uint8_t *)f->data[0] + y * f->info.stride[0];
}

static void formats_are_the_same_picture(void **state)
{
    (void)state;
    GstVideoFrame i420, nv12, rgb;
    GstHarness *a = play("video/x-raw, format=I420", "volcano", 1);
    GstHarness *b = play("video/x-raw, format=NV12", "volcano", 1);
    GstHarness *c = play("video/x-raw, format=RGB", "volcano", 1);
    GstBuffer *x = pull(a), *y = pull(b), *z = pull(c);
    map(&i420, a, x);
    map(&nv12, b, y);
    map(&rgb, c, z);
    assert_int_equal(i420.info.width, W);
    assert_int_equal(i420.info.height, H);
    assert_int_equal(i420.info.fps_n, FPS);
    assert_true(gst_video_colorimetry_matches(&i420.info.colorimetry, GST_VIDEO_COLORIMETRY_BT709));
    assert_int_equal(i420.info.chroma_site, GST_VIDEO_CHROMA_SITE_MPEG2);
    uint8_t *again = calloc(1, rgb.info.size);          // what others make of the I420 by what its caps say
    GstBuffer *other = gst_buffer_new_wrapped_full(0, again, rgb.info.size, 0, rgb.info.size, again, free);
    GstVideoConverter *converter = gst_video_converter_new(&i420.info, &rgb.info, NULL);
    GstVideoFrame made;
    assert_true(gst_video_frame_map(&made, &rgb.info, other, GST_MAP_WRITE));
    gst_video_converter_frame(converter, &i420, &made);
    for (int r = 0; r < H; r++) {
        assert_memory_equal(row(&i420, r), row(&nv12, r), W);
        assert_memory_equal(row(&made, r), row(&rgb, r), 3 * W);
    }
    gst_video_frame_unmap(&made);
    gst_video_converter_free(converter);
    gst_buffer_unref(other);
    for (int r = 0; r < H / 2; r++)
        for (int q = 0; q < W / 2; q++)
            for (int i = 0; i < 2; i++)
                assert_int_equal(((uint8_t *)i420.data[1 + i])[r * i420.info.stride[1 + i] + q],
                                 ((uint8_t *)nv12.data[1])[r * nv12.info.stride[1] + 2 * q + i]);
    gst_video_frame_unmap(&i420);
    gst_video_frame_unmap(&nv12);
    gst_video_frame_unmap(&rgb);
    gst_buffer_unref(x);
    gst_buffer_unref(y);
    gst_buffer_unref(z);
    end(a);
    end(b);
    end(c);
}

static void a_rate_or_size_that_it_cannot_make_is_not_negotiated(void **state)
{
    (void)state;
    static const char *const caps[] = { "video/x-raw, width=70", "video/x-raw, framerate=30000/1001",
                                        "video/x-raw, format=YUY2" };
    for (size_t i = 0; i < G_N_ELEMENTS(caps); i++) {
        GstHarness *h = play(caps[i], "volcano", 1);
        GstBus *bus = gst_element_get_bus(h->element);
        GstMessage *m = gst_bus_timed_pop_filtered(bus, 20 * GST_SECOND, GST_MESSAGE_ERROR);
        assert_non_null(m);
        gst_message_unref(m);
        gst_object_unref(bus);
        end(h);
    }
}

// Nothing but the element's own pace holds it up here: the harness takes what comes.
static void pictures_come_at_their_rate(void **state)
{
    (void)state;
    for (int fps = 12; fps <= 24; fps += 12) {
        char caps[64];
        snprintf(caps, sizeof(caps), "video/x-raw, format=I420, framerate=%d/1", fps);
        GstHarness *h = play(caps, "volcano", 1);
        GstBuffer *b = pull(h);
        const int64_t began = zt_now();
        const GstClockTime first = GST_BUFFER_PTS(b), index = GST_BUFFER_OFFSET(b), period = GST_SECOND / (guint)fps;
        assert_int_equal(GST_BUFFER_DURATION(b), period);
        gst_buffer_unref(b);
        GstClockTime last = first;
        for (int i = 0; i < 2 * fps; i++) {
            b = pull(h);
            assert_true(GST_BUFFER_PTS(b) > last);
            last = GST_BUFFER_PTS(b);
            const GstClockTime slot = first + (GST_BUFFER_OFFSET(b) - index) * period;
            assert_true(ABS(GST_CLOCK_DIFF(slot, last)) < (int64_t)period);      // after a first one that was late
            gst_buffer_unref(b);
        }
        assert_true(zt_now() - began > (2 * fps - 3) * (int64_t)period);    // at most the budget, two periods, ahead
        end(h);
    }
}

static void latency_is_the_budget(void **state)
{
    (void)state;
    for (int fps = 12; fps <= 24; fps += 12) {
        char caps[64];
        snprintf(caps, sizeof(caps), "video/x-raw, framerate=%d/1", fps);
        GstHarness *h = play(caps, "volcano", 1);
        drop(h, 1);
        GstQuery *q = gst_query_new_latency();
        assert_true(gst_pad_peer_query(h->sinkpad, q));
        gboolean live;
        GstClockTime least, most;
        gst_query_parse_latency(q, &live, &least, &most);
        assert_true(live);
        assert_int_equal(least, 2 * (GST_SECOND / (guint)fps));
        assert_true(most > least);
        gst_query_unref(q);
        end(h);
    }
}

static void another_prompt_is_another_picture(void **state)
{
    (void)state;
    known *k = malloc(sizeof(*k));
    make_known(k, "volcano night", 7, 600);
    GstHarness *h = start("video/x-raw, format=I420");
    g_object_set(h->element, "prompt", "volcano night", "seed", G_GUINT64_CONSTANT(7), "steps", 1, NULL);
    gst_harness_play(h);
    assert_int_equal(count_known(h, k, 48), 48);        // the engine's own pictures, as long as nothing changes
    g_object_set(h->element, "prompt", "forest snow", NULL);
    settle(h);
    assert_int_equal(count_known(h, k, 24), 0);
    end(h);
    free(k);
}

static void another_seed_begins_anew(void **state)
{
    (void)state;
    known *k = malloc(sizeof(*k));
    make_known(k, "volcano", 5, 300);
    GstHarness *h = play("video/x-raw, format=I420", "volcano", 1);
    assert_int_equal(count_known(h, k, 12), 0);
    g_object_set(h->element, "seed", G_GUINT64_CONSTANT(5), NULL);
    settle(h);
    assert_int_equal(count_known(h, k, 12), 12);
    end(h);
    free(k);
}

static void keys_and_pointer_steer(void **state)
{
    (void)state;
    known *k = malloc(sizeof(*k));
    make_known(k, "volcano", 0, 600);
    GstHarness *h = play("video/x-raw, format=I420", "volcano", 1);
    assert_int_equal(count_known(h, k, 12), 12);
    assert_false(gst_harness_push_upstream_event(h, gst_navigation_event_new_key_press("q", 0)));
    assert_int_equal(count_known(h, k, 12), 12);
    assert_true(gst_harness_push_upstream_event(h, gst_navigation_event_new_key_press("Right", 0)));
    assert_true(control(h, "yaw") == 1);
    settle(h);
    assert_int_equal(count_known(h, k, 12), 0);
    gst_harness_push_upstream_event(h, gst_navigation_event_new_key_press("a", 0));
    assert_true(control(h, "yaw") == 0);                // both are held
    gst_harness_push_upstream_event(h, gst_navigation_event_new_key_release("Right", 0));
    assert_true(control(h, "yaw") == -1);
    gst_harness_push_upstream_event(h, gst_navigation_event_new_key_release("A", 0));
    assert_true(control(h, "yaw") == 0);
    assert_false(gst_harness_push_upstream_event(h, gst_navigation_event_new_mouse_move(W, 0, 0)));
    gst_harness_push_upstream_event(h, gst_navigation_event_new_mouse_button_press(1, W / 2, H / 2, 0));
    gst_harness_push_upstream_event(h, gst_navigation_event_new_mouse_move(W, 0, 0));
    assert_true(control(h, "yaw") == 1 && control(h, "pitch") == 1);
    gst_harness_push_upstream_event(h, gst_navigation_event_new_mouse_button_release(1, W, 0, 0));
    assert_true(control(h, "yaw") == 0 && control(h, "pitch") == 0);
    end(h);
    free(k);
}

static void controls_are_set_by_name(void **state)
{
    (void)state;
    known *k = malloc(sizeof(*k));
    make_known(k, "volcano", 0, 300);
    GstHarness *h = start("video/x-raw, format=I420");
    gst_util_set_object_arg(G_OBJECT(h->element), "controls", "controls,yaw=0.5,speed=1,nonsense=1");
    g_object_set(h->element, "prompt", "volcano", "steps", 1, NULL);
    gst_harness_play(h);
    assert_int_equal(count_known(h, k, 12), 0);         // from the first picture on
    gst_util_set_object_arg(G_OBJECT(h->element), "controls", "controls,speed=-1.0");
    assert_true(control(h, "yaw") == 0.5 && control(h, "speed") == -1);
    end(h);
    free(k);
}

static void qos_takes_steps_and_gives_them_back(void **state)
{
    (void)state;
    GstHarness *h = play("video/x-raw, format=I420", "volcano", 2);
    assert_true(reaches(h, 2, 20 * FPS));
    gst_harness_push_upstream_event(h, gst_event_new_qos(GST_QOS_TYPE_UNDERFLOW, 2, 100 * GST_MSECOND, GST_SECOND));
    settle(h);
    for (int i = 0; i < FPS; i++) {
        drop(h, 1);
        assert_int_equal(shown_steps(h), 1);
    }
    g_usleep(2100 * 1000);
    gst_harness_push_upstream_event(h, gst_event_new_qos(GST_QOS_TYPE_OVERFLOW, 0.5, -20 * ZT_MS, GST_SECOND));
    assert_true(reaches(h, 2, 20 * FPS));
    end(h);
}

static void the_target_of_steps_follows_the_property(void **state)
{
    (void)state;
    GstHarness *h = play("video/x-raw, format=I420", "volcano", 1);
    drop(h, 12);
    assert_int_equal(shown_steps(h), 1);
    g_object_set(h->element, "steps", 3, NULL);
    assert_true(reaches(h, 3, 30 * FPS));
    end(h);
}

static GstPadProbeReturn hold(GstPad *pad, GstPadProbeInfo *info, gpointer cookie)
{
    (void)pad;
    (void)info;
    (void)cookie;
    return GST_PAD_PROBE_OK;            // stays blocked
}

static void missed_slots_are_told(void **state)
{
    (void)state;
    GstHarness *h = play("video/x-raw, format=I420", "volcano", 1);
    drop(h, 12);
    GstPad *pad = gst_element_get_static_pad(h->element, "src");
    const gulong id = gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BLOCK | GST_PAD_PROBE_TYPE_BUFFER, hold, NULL, NULL);
    g_usleep(1500 * 1000);              // 36 slots: all but those that may wait, and a few, are lost
    gst_pad_remove_probe(pad, id);
    gst_object_unref(pad);
    drop(h, 24);
    GstBus *bus = gst_element_get_bus(h->element);
    guint64 missed = 0;
    GstMessage *m;
    while ((m = gst_bus_pop_filtered(bus, GST_MESSAGE_ELEMENT))) {
        const GstStructure *t = gst_message_get_structure(m);
        guint64 late = 0, repeated = 0, dropped = 0, index = 0;
        assert_string_equal(gst_structure_get_name(t), "zoetrope-missed");
        assert_true(gst_structure_get(t, "late", G_TYPE_UINT64, &late, "repeated", G_TYPE_UINT64, &repeated, "dropped",
                                      G_TYPE_UINT64, &dropped, "index", G_TYPE_UINT64, &index, NULL));
        assert_true(late + repeated + dropped > 0);
        missed += late + repeated + dropped;
        gst_message_unref(m);
    }
    gst_object_unref(bus);
    assert_true(missed >= 24);
    end(h);
}

static void a_model_that_is_not_there_is_an_error(void **state)
{
    (void)state;
    GstHarness *h = play("video/x-raw, format=I420", "volcano", 1);
    drop(h, 3);
    g_object_set(h->element, "model", "/nonexistent", NULL);
    GstBus *bus = gst_element_get_bus(h->element);
    GstMessage *m = gst_bus_timed_pop_filtered(bus, 20 * GST_SECOND, GST_MESSAGE_ERROR);
    assert_non_null(m);
    GError *e;
    gst_message_parse_error(m, &e, NULL);
    assert_true(g_error_matches(e, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NOT_FOUND));
    g_error_free(e);
    gst_message_unref(m);
    gst_object_unref(bus);
    end(h);
}

static void model_and_rate_may_change(void **state)
{
    (void)state;
    GstHarness *h = play("video/x-raw, format=I420", "volcano", 1);
    drop(h, 6);
    g_object_set(h->element, "fps", 12, "model", zt_path_default_model(), NULL);
    for (int i = 0;; i++) {
        assert_true(i < FPS);
        GstBuffer *b = pull(h);
        const bool slower = GST_BUFFER_DURATION(b) == GST_SECOND / 12;
        gst_buffer_unref(b);
        if (slower)
            break;
    }
    drop(h, 6);
    end(h);
}

int main(void)
{
    gst_init(NULL, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_are_the_same_picture),
        cmocka_unit_test(a_rate_or_size_that_it_cannot_make_is_not_negotiated),
        cmocka_unit_test(pictures_come_at_their_rate),
        cmocka_unit_test(latency_is_the_budget),
        cmocka_unit_test(another_prompt_is_another_picture),
        cmocka_unit_test(another_seed_begins_anew),
        cmocka_unit_test(keys_and_pointer_steer),
        cmocka_unit_test(controls_are_set_by_name),
        cmocka_unit_test(qos_takes_steps_and_gives_them_back),
        cmocka_unit_test(the_target_of_steps_follows_the_property),
        cmocka_unit_test(missed_slots_are_told),
        cmocka_unit_test(a_model_that_is_not_there_is_an_error),
        cmocka_unit_test(model_and_rate_may_change),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    gst_deinit();
    return failed;
}
