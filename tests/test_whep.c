// SPDX-License-Identifier: Apache-2.0
// WHEP without HTTP: real WebRTC viewers on loopback against one stream, read from their pictures.
#include <errno.h>
#include <glib.h>
#include <stdatomic.h>

#include "base/base.h"
#include "stream/offer.h"
#include "stream/whep.h"
#include "tests/streams.h"
#include "tests/whep_client.h"

#define SIDE_W 256
#define SIDE_H 144

// ---- the control thread

static GMainContext *context;
static GMainLoop    *loop;
static GThread      *control;

static gpointer run_control(gpointer cookie)
{
    g_main_context_push_thread_default(context);
    g_main_loop_run(loop);
    g_main_context_pop_thread_default(context);
    return NULL;
}

// One viewer as both sides see it.
typedef struct pair {
    whep_client *client;
    zt_viewer   *viewer;
    zt_whep_server *server;
    zt_viewer_params p;
    char  answer[65536], heard[256], why[64];
    int   status, error;
    atomic_int done, connected, gone, messages;
    // what the client saw
    atomic_int pictures, gaps, first, last;
} pair;

typedef struct call {
    void (*fn)(pair *p);
    pair *p;
    atomic_int done;
} call;

static gboolean run_call(gpointer cookie)
{
    call *c = cookie;
    c->fn(c->p);
    atomic_store(&c->done, 1);
    return G_SOURCE_REMOVE;
}

static bool wait_until(atomic_int *flag, int value, int ms)
{
    const int64_t until = zt_now() + ms * ZT_MS;
    while (atomic_load(flag) < value && zt_now() < until)
        zt_sleep_until(zt_now() + ZT_MS);
    return atomic_load(flag) >= value;
}

static void on_control(void (*fn)(pair *p), pair *p)
{
    call c = { fn, p };
    g_main_context_invoke(context, run_call, &c);
    assert_true(wait_until(&c.done, 1, 10000));
}

static void on_answer(void *cookie, int status, const char *sdp)
{
    pair *p = cookie;
    snprintf(p->answer, sizeof(p->answer), "%s", sdp ? sdp : "");
    p->status = status;
    atomic_store(&p->done, 1);
}

static void on_connected(void *cookie)
{
    atomic_store(&((pair *)cookie)->connected, 1);
}

static void on_gone(void *cookie, const char *why)
{
    pair *p = cookie;
    snprintf(p->why, sizeof(p->why), "%s", why);
    atomic_store(&p->gone, 1);
}

// The viewer's messages come back with a ">" in front.
static void on_message(void *cookie, const char *text)
{
    pair *p = cookie;
    char back[ZT_MESSAGE_BYTES + 2];
    snprintf(back, sizeof(back), ">%s", text);
    zt_viewer_send(p->viewer, back);
}

static void create(pair *p)
{
    p->error = zt_viewer_create(&p->viewer, p->server, &p->p);
}

static void close_viewer(pair *p)
{
    zt_viewer_close(&p->viewer);
}

static void on_picture(void *cookie, const uint8_t *luma, int pitch, int w, int h, uint32_t rtp)
{
    pair *p = cookie;
    if (!luma)
        return;
    const int k = picture_number(luma, pitch, w);
    if (!atomic_load(&p->pictures))
        atomic_store(&p->first, k);
    else if (k != atomic_load(&p->last) + 1)
        atomic_fetch_add(&p->gaps, 1);
    atomic_store(&p->last, k);
    atomic_fetch_add(&p->pictures, 1);
}

static void on_heard(void *cookie, const char *text)
{
    pair *p = cookie;
    snprintf(p->heard, sizeof(p->heard), "%s", text);
    atomic_fetch_add(&p->messages, 1);
}

// ---- a stream that runs

static zt_whep_server *server;
static zt_stream      *stream;
static zt_frame_pool  *pool;
static GThread        *pusher;
static atomic_int      pushed, stop, unmade;   // unmade: every frame was in use

static bool noisy;      // pictures that take all the bits there are

static void add_noise(zt_frame *f, int k)
{
    uint32_t x = (uint32_t)k * 2654435761u + 1;
    for (int y = SIDE_H / 2; y < SIDE_H; y++)
        for (int i = 0; i < SIDE_W; i++)
            f->plane[0][y * f->pitch[0] + i] = (uint8_t)((x = x * 1664525u + 1013904223u) >> 24);
}

static gpointer push_pictures(gpointer cookie)
{
    const int64_t start = zt_now();
    for (int k = 0; !atomic_load(&stop); k++) {
        zt_sleep_until(start + k * ZT_S / FPS);
        zt_frame *f = zt_frame_get(pool);
        if (!f) {
            atomic_fetch_add(&unmade, 1);
            continue;
        }
        picture_draw(f, k, FPS);
        if (noisy)
            add_noise(f, k);
        zt_stream_push(stream, f, 0);
        zt_frame_unref(&f);
        atomic_store(&pushed, k);
    }
    return NULL;
}

static void start_with(const char *codec, const zt_whep_params *more)
{
    zt_whep_params w = more ? *more : (zt_whep_params){ 0 };
    w.context = context;
    w.local = "127.0.0.1";
    const int err = zt_whep_server_open(&server, &w);
    if (err == -ENOSYS || !can_encode())
        skip();
    assert_int_equal(err, 0);
    const zt_stream_params p = {
        .url = "whep:/live", .w = SIDE_W, .h = SIDE_H, .fps = FPS, .codec = codec, .live = true, .whep = server,
        .bitrate = noisy ? 400000 : 0,      // a little more than the narrow line takes
    };
    assert_int_equal(zt_stream_open(&stream, &p), 0);
    assert_int_equal(zt_frame_pool_create(&pool, SIDE_W, SIDE_H, 16), 0);
    atomic_store(&stop, 0);
    atomic_store(&unmade, 0);
    pusher = g_thread_new("pusher", push_pictures, NULL);
}

static void finish(void)
{
    atomic_store(&stop, 1);
    g_thread_join(pusher);
    zt_stream_close(&stream);
    zt_whep_server_close(&server);
    zt_frame_pool_destroy(&pool);
}

// Pictures that a busy machine had no time for: no viewer can have seen them.
static int never_encoded(void)
{
    return (int)zt_stream_skipped(stream) + atomic_load(&unmade);
}

static void offer_text(pair *p, const char *offer)
{
    p->server = server;
    p->p = (zt_viewer_params){ .mount = "/live", .offer = offer, .bytes = strlen(offer), .local_peer = true,
                               .answer = on_answer, .connected = on_connected, .message = on_message, .gone = on_gone,
                               .cookie = p };
    on_control(create, p);
}

// The peer is told the source of what is sent again; here GStreamer makes no name of it, which it would never forget.
static void check_source(const char *answer)
{
    unsigned source, again;
    char line[48];
    const char *group = strstr(answer, "a=ssrc-group:FID ");
    assert_non_null(group);
    assert_int_equal(sscanf(group, "a=ssrc-group:FID %u %u", &source, &again), 2);
    snprintf(line, sizeof(line), "a=ssrc:%u cname:", again);
    assert_non_null(strstr(answer, line));
    snprintf(line, sizeof(line), "a=ssrc:%u cname:", source);
    assert_non_null(strstr(answer, line));
    snprintf(line, sizeof(line), "ssrc-%u-cname", again);
    assert_int_equal(g_quark_try_string(line), 0);
}

static void join_late(pair *p, const char *codec, int latency)
{
    *p = (pair){ 0 };
    const whep_client_params c = { .codec = codec, .channel = true, .decode = true, .latency = latency,
                                   .picture = on_picture, .message = on_heard, .cookie = p };
    p->client = whep_client_create(&c);
    const char *offer = whep_client_offer(p->client);
    assert_non_null(offer);
    offer_text(p, offer);
    assert_int_equal(p->error, 0);
    assert_true(wait_until(&p->done, 1, 5000));
    assert_int_equal(p->status, 201);
    check_source(p->answer);
    whep_client_answer(p->client, p->answer);
}

static void join(pair *p, const char *codec)
{
    join_late(p, codec, 0);
}

static void leave(pair *p)
{
    on_control(close_viewer, p);
    whep_client_destroy(p->client);
    p->client = NULL;
}

// ---- the tests

static void viewers_share_an_encode_and_late_ones_get_a_key_frame(void **state)
{
    static pair a, b;
    start_with("h264", NULL);
    join(&a, "h264");
    assert_true(wait_until(&a.pictures, 24, 10000));
    const int joined = atomic_load(&pushed);
    join(&b, "h264");
    assert_true(wait_until(&b.pictures, 24, 10000));
    assert_int_equal(zt_stream_viewers(stream), 2);
    print_message("first viewer: %d pictures, %d gaps; second: first picture %d after joining\n", a.pictures, a.gaps,
                  b.first - joined);
    assert_true(a.gaps + b.gaps <= 2 * never_encoded());
    assert_true(b.first - joined < 3 * FPS);        // else the next one comes after ten seconds
    assert_null(strstr(a.answer, "ssrc-group:FID 0"));
    assert_non_null(strstr(a.answer, "rtx"));
    leave(&b);
    const int before = a.pictures;
    assert_true(wait_until(&a.pictures, before + 12, 5000));
    assert_int_equal(zt_stream_viewers(stream), 1);
    leave(&a);
    finish();
}

static void messages_come_and_go(void **state)
{
    static pair a;
    start_with("h264", NULL);
    join(&a, "h264");
    assert_true(wait_until(&a.connected, 1, 10000));
    for (int i = 0; i < 500 && !whep_client_send(a.client, "hello"); i++)
        zt_sleep_until(zt_now() + 10 * ZT_MS);
    assert_true(wait_until(&a.messages, 1, 5000));
    assert_string_equal(a.heard, ">hello");
    for (int i = 0; i < ZT_MESSAGE_RATE + 10; i++)      // too many a second: closed
        whep_client_send(a.client, "again");
    assert_true(wait_until(&a.gone, 1, 5000));
    leave(&a);
    finish();
}

static void vp8_is_served_to_those_who_have_no_h264(void **state)
{
    static pair a, b;
    start_with("vp8", NULL);
    join_late(&a, "vp8", 200);     // a busy machine delivers late: that is no gap
    assert_true(wait_until(&a.pictures, 24, 10000));
    assert_true(a.gaps <= never_encoded());
    b = (pair){ 0 };
    const whep_client_params c = { .codec = "h264", .cookie = &b };
    b.client = whep_client_create(&c);
    const char *offer = whep_client_offer(b.client);
    assert_string_equal(zt_whep_codec(offer, strlen(offer)), "h264");
    offer_text(&b, offer);
    assert_int_equal(b.error, -ENOTSUP);
    whep_client_destroy(b.client);
    leave(&a);
    finish();
}

static void lost_packets_are_sent_again(void **state)
{
    static pair a;
    start_with("h264", &(zt_whep_params){ .loss_percent = 5 });
    join_late(&a, "h264", 250);
    assert_true(wait_until(&a.pictures, 5 * FPS, 20000));
    const int all = a.last - a.first + 1 - never_encoded();
    print_message("5 %% lost: %d of %d pictures\n", a.pictures, all);
    // This client may ask only once per reporting interval, a browser at once. Without: fewer than half of them.
    assert_true(a.pictures * 100 >= all * 80);
    leave(&a);
    finish();
}

static void losses_lower_the_bitrate_until_all_have_left(void **state)
{
    static pair a;
    start_with("h264", &(zt_whep_params){ .loss_percent = 40 });
    join_late(&a, "h264", 250);
    const int64_t until = zt_now() + 60 * ZT_S;
    assert_true(zt_stream_bitrate_share(stream) == 1);
    while (zt_stream_bitrate_share(stream) > 0.5 && !a.gone && zt_now() < until)
        zt_sleep_until(zt_now() + 50 * ZT_MS);
    assert_true(zt_stream_bitrate_share(stream) <= 0.5);
    leave(&a);
    for (int i = 0; zt_stream_bitrate_share(stream) < 1 && i < 200; i++)
        zt_sleep_until(zt_now() + 50 * ZT_MS);
    assert_true(zt_stream_bitrate_share(stream) == 1);      // the next one has done nothing yet
    finish();
}

// Nothing is lost, but the round trip grows with the queue.
static void queues_lower_the_bitrate(void **state)
{
    static pair a;
    noisy = true;
    start_with("h264", NULL);
    join_late(&a, "h264", 250);
    assert_true(wait_until(&a.pictures, 1, 30000));
    const int64_t until = zt_now() + 60 * ZT_S;
    zt_viewer_stats stats = { 0 };
    while (zt_stream_bitrate_share(stream) > 0.7 && !a.gone && zt_now() < until) {
        zt_sleep_until(zt_now() + 50 * ZT_MS);
        zt_viewer_get_stats(a.viewer, &stats);
    }
    print_message("bitrate %.2f of the first, round trip %.0f ms, loss %.3f\n", zt_stream_bitrate_share(stream),
                  stats.round_trip * 1e3, stats.loss);
    assert_true(zt_stream_bitrate_share(stream) <= 0.7);
    assert_true(stats.loss < 0.1);      // it was the queue: more than that would lower it as well
    leave(&a);
    finish();
}

static void dead_peers_are_found(void **state)
{
    static pair a, b;
    start_with("h264", &(zt_whep_params){ .silence = 3 * ZT_S, .setup = 2 * ZT_S });
    join(&a, "h264");
    assert_true(wait_until(&a.pictures, 6, 10000));
    whep_client_destroy(a.client);                  // says nothing
    b = (pair){ 0 };
    const whep_client_params c = { .codec = "h264", .channel = true };
    b.client = whep_client_create(&c);
    offer_text(&b, whep_client_offer(b.client));    // never reads the answer
    assert_int_equal(b.error, 0);
    assert_true(wait_until(&b.gone, 1, 6000));
    assert_string_equal(b.why, "it did not connect");
    assert_true(wait_until(&a.gone, 1, 10000));
    leave(&b);
    on_control(close_viewer, &a);
    finish();
}

static void the_end_of_the_stream_ends_its_viewers(void **state)
{
    static pair a;
    start_with("h264", NULL);
    join(&a, "h264");
    assert_true(wait_until(&a.pictures, 6, 10000));
    atomic_store(&stop, 1);
    g_thread_join(pusher);
    zt_stream_close(&stream);
    assert_true(wait_until(&a.gone, 1, 5000));
    assert_string_equal(a.why, "the stream has ended");
    leave(&a);
    zt_whep_server_close(&server);
    zt_frame_pool_destroy(&pool);
}

static int setup(void **state)
{
    context = g_main_context_new();
    loop = g_main_loop_new(context, FALSE);
    control = g_thread_new("control", run_control, NULL);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest narrow[] = { cmocka_unit_test(queues_lower_the_bitrate) };   // whep_narrow.sh
    if (argc > 1 && !strcmp(argv[1], "narrow"))
        return cmocka_run_group_tests(narrow, setup, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(viewers_share_an_encode_and_late_ones_get_a_key_frame),
        cmocka_unit_test(messages_come_and_go),
        cmocka_unit_test(vp8_is_served_to_those_who_have_no_h264),
        cmocka_unit_test(lost_packets_are_sent_again),
        cmocka_unit_test(losses_lower_the_bitrate_until_all_have_left),
        cmocka_unit_test(dead_peers_are_found),
        cmocka_unit_test(the_end_of_the_stream_ends_its_viewers),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
