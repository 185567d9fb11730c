// SPDX-License-Identifier: Apache-2.0
// A live session under a load that comes and goes, made again from its log: the same bytes. And what is no log is refused.
//   test_replay MODEL
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "engine/replay.h"

#define FRAMES 500

static const char *model_path;
static char log_path[64];

typedef struct rig {
    zt_device  *device;
    zt_model   *model;
    zt_engine  *engine;
    zt_session *session;
    bool        live;
    uint64_t    random, hash[FRAMES], n;
    int         steps_seen[ZT_MAX_STEPS + 1];
} rig;

static uint64_t hash(uint64_t h, const zt_frame *f)
{
    for (int i = 0; i < 3; i++) {
        const int w = i ? f->w / 2 : f->w, rows = i ? f->h / 2 : f->h;
        for (int y = 0; y < rows; y++)
            for (int x = 0; x < w; x++)
                h = (h ^ f->plane[i][y * f->pitch[i] + x]) * 1099511628211ull;
    }
    return h;
}

static uint64_t draw(rig *r)
{
    r->random ^= r->random << 13, r->random ^= r->random >> 7, r->random ^= r->random << 17;
    return r->random;
}

static void on_frame(void *cookie, zt_frame *f)
{
    static const char *const prompts[] = { "volcano at night", "desert", "islands in fog", "no such words" };
    rig *r = cookie;
    if (!f->repeated && f->model_frame < FRAMES) {
        r->hash[f->model_frame] = hash(14695981039346656037ull, f);
        r->n++;
        r->steps_seen[f->steps]++;
    }
    if (!r->session)
        return;
    zt_session_delivered(r->session, f->index, zt_now());
    if (!r->live)
        return;
    if (draw(r) % 20 == 0)
        zt_session_prompt(r->session, prompts[draw(r) % ZT_LEN(prompts)]);
    if (draw(r) % 5 == 0)
        zt_session_control(r->session, (int)(draw(r) % 4), (float)(draw(r) % 2001) / 1000 - 1);
    if (r->n / 50 % 2 && draw(r) % 3 == 0)              // the engine stands still for a while, every other second
        zt_sleep_until(zt_now() + (int64_t)(draw(r) % 160) * ZT_MS);
}

static int open_rig(rig *r)
{
    *r = (rig){ .random = 88172645463325252ull };
    int err = zt_device_open(&r->device, &(zt_device_params){ .device = "cpu", .threads = 2 });
    if (!err)
        err = zt_model_open(&r->model, r->device, model_path, ZT_PRECISION_DEFAULT);
    return err ? err : zt_engine_create(&r->engine, r->device, r->model);
}

static void close_rig(rig *r)
{
    zt_session_destroy(&r->session);
    zt_engine_destroy(&r->engine);
    zt_model_close(&r->model);
    zt_device_close(&r->device);
}

static int start(rig *r, zt_session_params p)
{
    p.on_frame = on_frame, p.cookie = r;
    return zt_session_create(&r->session, r->engine, &p);
}

static void a_log_gives_the_same_bytes(void **state)
{
    static rig live, again;
    (void)state;
    assert_int_equal(open_rig(&live), 0);
    live.live = true;
    assert_int_equal(start(&live, (zt_session_params){ .fps = 50, .budget = 100 * ZT_MS, .steps_max = 4, .seed = 7,
                                                       .frames = FRAMES, .prompt = "mountains", .log = log_path }), 0);
    assert_int_equal(zt_session_wait(live.session), 0);
    close_rig(&live);
    assert_int_equal(live.n, FRAMES);
    int kinds = 0;
    for (int i = 1; i <= 4; i++)
        kinds += live.steps_seen[i] > 0;
    assert_true(kinds >= 2);                            // else the load was none

    assert_int_equal(open_rig(&again), 0);
    zt_replay *log = NULL;
    assert_int_equal(zt_replay_read(&log, log_path, again.model), 0);
    assert_int_equal(log->frames, FRAMES);
    assert_int_equal(log->seed, 7);
    assert_int_equal(log->hash, zt_model_get_info(again.model)->hash);
    assert_int_equal(start(&again, (zt_session_params){ .fps = log->fps, .w = log->w, .h = log->h, .seed = log->seed,
                                                        .event = log->event, .events = log->events, .offline = true,
                                                        .script = log->script, .scripted = log->frames,
                                                        .frames = log->frames }), 0);
    assert_int_equal(zt_session_wait(again.session), 0);
    for (int i = 0; i < FRAMES; i++)
        assert_int_equal(live.hash[i], again.hash[i]);
    assert_memory_equal(live.steps_seen, again.steps_seen, sizeof(live.steps_seen));
    close_rig(&again);
    zt_replay_free(&log);
}

// As the quality ladder leaves it in a log: a frame is committed with the experts that it was made with, by itself.
static void experts_may_change_from_frame_to_frame(void **state)
{
    static const int top_k[] = { 0, 0, 1, 1, 2, 1, 0, 0, 1, 0 };
    enum { N = 10 };
    zt_script script[2][N] = { 0 };
    static rig r[3];
    (void)state;
    for (int i = 0; i < N; i++) {
        script[0][i] = (zt_script){ .n = 2, .t = { 1000, 750, 0 } };
        script[1][i] = script[0][i];
        script[1][i].top_k = top_k[i];
    }
    for (int k = 0; k < 3; k++) {               // with all of them, with those, with those again
        assert_int_equal(open_rig(&r[k]), 0);
        assert_int_equal(start(&r[k], (zt_session_params){ .seed = 7, .offline = true, .script = script[k > 0], .scripted = N,
                                                           .frames = N + 2, .prompt = "mountains" }), 0);
        assert_int_equal(zt_session_wait(r[k].session), 0);
        close_rig(&r[k]);
        assert_int_equal(r[k].n, N + 2);
    }
    for (int i = 0; i < N + 2; i++) {
        assert_int_equal(r[1].hash[i], r[2].hash[i]);
        assert_true((r[0].hash[i] == r[1].hash[i]) == (i < 2));
    }
}

#define HEAD "{\"zoetrope\": 1, \"model\": \"m\", \"hash\": \"1f\", \"seed\": 1, \"width\": 64, \"height\": 48, \"fps\": 24}\n"
#define FRAME "{\"frame\": 0, \"t\": [1000, 0]"

static int read_text(const char *text)
{
    rig r;
    zt_replay *log = NULL;
    char path[] = "/tmp/zt-replay-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    assert_int_equal(open_rig(&r), 0);
    const int err = zt_replay_read(&log, path, r.model);
    zt_replay_free(&log);
    close_rig(&r);
    unlink(path);
    return err;
}

static void what_is_no_log_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "\n", "{}\n", HEAD, "null\n", HEAD "{}\n", HEAD "{\"frame\": 1, \"t\": [1000, 0]}\n", HEAD "{\"frame\": 0}\n",
        HEAD "{\"frame\": 0, \"t\": [1000]}\n", HEAD "{\"frame\": 0, \"t\": [500, 600]}\n",
        HEAD "{\"frame\": 0, \"t\": [1001, 0]}\n", HEAD "{\"frame\": 0, \"t\": [1000, -1]}\n",
        HEAD FRAME ", \"controls\": {\"no\": 0}}\n", HEAD FRAME ", \"controls\": {\"yaw\": 2}}\n",
        HEAD FRAME ", \"prompt\": \"\"}\n", HEAD FRAME ", \"prompt\": 3}\n", HEAD FRAME ", \"window\": -1}\n",
        HEAD FRAME "} x\n", HEAD FRAME "}", "{\"zoetrope\": 2, \"width\": 64, \"height\": 48, \"fps\": 24}\n" FRAME "}\n",
        "{\"zoetrope\": 1, \"width\": 64, \"height\": 48, \"fps\": 999}\n" FRAME "}\n",
    };
    for (size_t i = 0; i < ZT_LEN(bad); i++)
        assert_int_equal(read_text(bad[i]), -EINVAL);
    assert_int_equal(read_text(HEAD FRAME "}\n"), 0);
    assert_int_equal(read_text(HEAD FRAME ", \"controls\": {\"yaw\": -1}, \"prompt\": \"sea\", \"later\": [{}]}\n"), 0);
    assert_int_equal(read_text(HEAD FRAME "}\n{\"frame\": 1, \"t\": [10"), 0);      // killed while it wrote
    zt_replay *log = NULL;
    assert_int_equal(zt_replay_read(&log, "/no/such/file", NULL), -ENOENT);
}

static void quiet(void *cookie, enum zt_level level, const char *line)
{
    (void)cookie, (void)level, (void)line;
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    model_path = argv[1];
    snprintf(log_path, sizeof(log_path), "/tmp/zt-replay-%d.jsonl", (int)getpid());
    zt_log_set(quiet, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_log_gives_the_same_bytes),
        cmocka_unit_test(experts_may_change_from_frame_to_frame),
        cmocka_unit_test(what_is_no_log_is_refused),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(log_path);
    return failed;
}
