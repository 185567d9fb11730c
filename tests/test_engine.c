// SPDX-License-Identifier: Apache-2.0
// The engine's thread with a model that only takes time: order, mailboxes, events, outcomes, ends.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <assert.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "engine/engine.h"
#include "tests/fake_model.h"

#define SEEN 4096

typedef struct rig {
    zt_device  *device;
    zt_model   *model;
    zt_engine  *engine;
    zt_session *session;
    // The consumer
    struct { uint64_t index, model_frame; int64_t pts, due, sampled; int luma, steps; bool repeated; } seen[SEEN];
    atomic_int  n;
    int64_t     hold;           // ns between a picture and its packet
    bool        keep;           // never give a frame back
    int64_t     pass;           // what passes take after the first picture; 0: as before
    zt_frame   *kept[SEEN];
    atomic_int  stages[ZT_STAGES];
} rig;

static void on_frame(void *cookie, zt_frame *f)
{
    rig *r = cookie;
    const int i = r->n;
    assert(i < SEEN);
    r->seen[i].index = f->index, r->seen[i].model_frame = f->model_frame, r->seen[i].pts = f->pts;
    r->seen[i].due = f->due, r->seen[i].sampled = f->sampled, r->seen[i].steps = f->steps;
    r->seen[i].luma = f->plane[0][(f->h - 1) * f->pitch[0] + f->w - 1], r->seen[i].repeated = f->repeated;
    if (r->keep)
        r->kept[i] = zt_frame_ref(f);
    if (r->pass)
        fake.pass = r->pass;
    r->n = i + 1;
    if (r->session)
        zt_session_delivered(r->session, f->index, zt_now() + r->hold);
}

static void on_stage(void *cookie, enum zt_stage stage, int64_t ns)
{
    rig *r = cookie;
    assert(ns >= 0);
    r->stages[stage]++;
}

static void quiet(void *cookie, enum zt_level level, const char *line)
{
    (void)cookie, (void)level, (void)line;
}

static int set_up(void **state)
{
    static rig r;
    memset(&r, 0, sizeof(r));
    memset(&fake, 0, sizeof(fake));
    zt_log_set(quiet, NULL);
    if (zt_device_open(&r.device, &(zt_device_params){ .device = "cpu", .threads = 1 }) < 0)
        return -1;
    r.model = fake_model_open(r.device);
    *state = &r;
    return zt_engine_create(&r.engine, r.device, r.model);
}

static int tear_down(void **state)
{
    rig *r = *state;
    for (int i = 0; i < r->n; i++)
        zt_frame_unref(&r->kept[i]);
    zt_session_destroy(&r->session);
    zt_engine_destroy(&r->engine);
    zt_model_close(&r->model);
    zt_device_close(&r->device);
    return 0;
}

static int start(rig *r, zt_session_params p)
{
    p.on_frame = on_frame, p.on_stage = on_stage, p.cookie = r;
    return zt_session_create(&r->session, r->engine, &p);
}

static void offline_makes_exactly_the_frames_asked_for(void **state)
{
    rig *r = *state;
    fake.pass = fake.decode = ZT_MS / 10;
    assert_int_equal(start(r, (zt_session_params){ .offline = true, .frames = 50, .prompt = "the sea" }), 0);
    assert_int_equal(zt_session_wait(r->session), 0);
    assert_int_equal(r->n, 50);
    for (int k = 0; k < 50; k++) {
        assert_int_equal(r->seen[k].index, k);
        assert_int_equal(r->seen[k].model_frame, k);
        assert_int_equal(r->seen[k].pts, k * 40 * ZT_MS);
        assert_int_equal(r->seen[k].due, 0);
        assert_int_equal(r->seen[k].steps, k ? 2 : 4);
        assert_int_equal(fake.frame[k].steps, k ? 2 : 4);
        assert_string_equal(fake.frame[k].prompt, "the sea");
        assert_int_equal(r->seen[k].luma, r->seen[k % 8].luma);     // the picture is that of its frame
        assert_true(k % 8 == 0 || r->seen[k].luma > r->seen[k - 1].luma);
        assert_true(fabsf(fake.frame[k].t[0] - 1000) < 1e-3f && fake.frame[k].t_next == 0);
    }
    assert_int_equal(fake.merged, 49);
    zt_metrics m;
    zt_session_metrics(r->session, &m);
    assert_int_equal(m.outcome[ZT_ON_TIME], 50);
    assert_int_equal(m.stage[ZT_DECODE].count, 50);
    assert_int_equal(m.stage[ZT_DENOISE_STAGE].count, 50);
    assert_int_equal(m.latency.count, 50);
    assert_int_equal(m.first_frame.count, 1);
    assert_int_equal(r->stages[ZT_CONVERT], 50);
    assert_int_equal(r->stages[ZT_TEXT], 1);
}

static void live_keeps_its_clock(void **state)
{
    rig *r = *state;
    fake.pass = 4 * ZT_MS, fake.decode = 2 * ZT_MS;
    const int64_t before = zt_now();
    assert_int_equal(start(r, (zt_session_params){ .frames = 40, .keep_rate = true }), 0);
    assert_int_equal(zt_session_wait(r->session), 0);
    const int64_t took = zt_now() - before;
    // 39 periods from the first packet to the last due; the last is released two periods before that. A busy machine
    // may repeat and drop, and so take longer.
    assert_in_range(took, 37 * 40 * ZT_MS, 80 * 40 * ZT_MS);
    zt_metrics m;
    zt_session_metrics(r->session, &m);
    uint64_t all = 0;
    for (int i = 0; i < ZT_OUTCOMES; i++)
        all += m.outcome[i];
    assert_int_equal(all - m.outcome[ZT_DROPPED], r->n);
    for (int i = 1; i < r->n; i++) {
        if (i > 1)
            assert_int_equal(r->seen[i].due - r->seen[i - 1].due,
                             (int64_t)(r->seen[i].index - r->seen[i - 1].index) * 40 * ZT_MS);
        const bool moved = r->seen[i - 1].repeated || r->seen[i].index > r->seen[i - 1].index + 1;   // to a later slot
        assert_true(r->seen[i].repeated || moved || r->seen[i].sampled >= r->seen[i].due - 80 * ZT_MS); // nothing stale
    }
    // Released later than the frame before is shown: committed alone, unless the machine is too busy.
    assert_true(fake.merged < 20 || m.outcome[ZT_ON_TIME] < 40);
}

static void mail_is_read_by_the_next_frame_and_the_latest_wins(void **state)
{
    rig *r = *state;
    fake.pass = ZT_MS / 2;
    assert_int_equal(start(r, (zt_session_params){ 0 }), 0);
    while (r->n < 5)
        zt_sleep_until(zt_now() + ZT_MS);
    const int before = r->n;
    assert_int_equal(zt_session_prompt(r->session, "old sea"), 0);
    assert_int_equal(zt_session_prompt(r->session, "new sea"), 0);
    assert_int_equal(zt_session_control(r->session, 1, 0.25f), 0);
    assert_int_equal(zt_session_control(r->session, 1, 0.5f), 0);
    const int at = r->n;
    while (r->n < at + 10)
        zt_sleep_until(zt_now() + ZT_MS);
    zt_session_stop(r->session);
    assert_int_equal(zt_session_wait(r->session), 0);
    int changed = 0;
    for (int k = 1; k < at + 9; k++) {
        if (at <= before + 1)           // else frames may have begun between the two prompts
            assert_true(strcmp(fake.frame[k].prompt, "old sea"));
        if (!strcmp(fake.frame[k].prompt, "new sea") && strcmp(fake.frame[k - 1].prompt, "new sea"))
            changed = k;
    }
    assert_in_range(changed, before, at + 3);
    assert_string_equal(fake.frame[0].prompt, "mountains");
    assert_true(fake.frame[changed].control[1] == 0.5f && fake.frame[changed - 1].control[1] == 0);
    assert_true(fake.frame[at + 8].control[1] == 0.5f);        // holds until changed
    zt_metrics m;
    zt_session_metrics(r->session, &m);
    assert_int_equal(m.prompt_to_frame.count, 1);
}

static void events_happen_at_their_frame(void **state)
{
    rig *r = *state;
    char prompt[] = "sea two";
    zt_event event[] = {
        { .frame = 0, .set = 1, .control = { 0.5f } },
        { .frame = 7, .prompt = prompt, .set = 2, .control = { 0, -1 } },
        { .frame = 9, .set = 1, .control = { -0.5f } },
    };
    assert_int_equal(start(r, (zt_session_params){ .offline = true, .frames = 12, .event = event, .events = 3 }), 0);
    memset(prompt, 'x', sizeof(prompt) - 1);                    // it was copied
    assert_int_equal(zt_session_wait(r->session), 0);
    for (int k = 0; k < 12; k++) {
        assert_string_equal(fake.frame[k].prompt, k < 7 ? "mountains" : "sea two");
        assert_true(fake.frame[k].control[0] == (k < 9 ? 0.5f : -0.5f));
        assert_true(fake.frame[k].control[1] == (k < 7 ? 0 : -1));
    }
}

static void stop_ends_with_the_frame_in_work(void **state)
{
    rig *r = *state;
    fake.pass = 2 * ZT_MS;
    assert_int_equal(start(r, (zt_session_params){ .offline = true, .frames = 100000 }), 0);
    while (r->n < 3)
        zt_sleep_until(zt_now() + ZT_MS);
    assert_false(zt_session_done(r->session));
    zt_session_stop(r->session);
    assert_int_equal(zt_session_wait(r->session), 0);
    assert_true(zt_session_done(r->session));
    assert_in_range(r->n, 3, 6);
    assert_int_equal(fake.decodes, r->n);
}

static void a_failed_pass_ends_the_session_not_the_engine(void **state)
{
    rig *r = *state;
    fake.fail_pass = 9;
    assert_int_equal(start(r, (zt_session_params){ .offline = true, .frames = 30 }), 0);
    assert_int_equal(zt_session_wait(r->session), -ENOMEM);
    zt_session_destroy(&r->session);
    r->n = 0;
    memset(&fake, 0, sizeof(fake));
    assert_int_equal(start(r, (zt_session_params){ .offline = true, .frames = 5 }), 0);
    assert_int_equal(zt_session_wait(r->session), 0);
    assert_int_equal(r->n, 5);
    zt_metrics m;
    zt_engine_metrics(r->engine, &m);
    assert_int_equal(m.outcome[ZT_ON_TIME], 5 + 3);             // 4 passes, 2, 2: three pictures before the ninth
}

static void bad_parameters_are_refused(void **state)
{
    rig *r = *state;
    assert_int_equal(start(r, (zt_session_params){ .fps = 61 }), -EINVAL);
    assert_int_equal(start(r, (zt_session_params){ .steps_min = 3, .steps_max = 2 }), -EINVAL);
    assert_int_equal(start(r, (zt_session_params){ .steps_max = 65 }), -EINVAL);
    assert_int_equal(start(r, (zt_session_params){ .prompt = "" }), -EINVAL);
    assert_int_equal(start(r, (zt_session_params){ .prompt = "a\xff" }), -EINVAL);
    assert_int_equal(start(r, (zt_session_params){ .w = 30, .h = 32 }), -EINVAL);
    fake.fail_state = 1;
    assert_int_equal(start(r, (zt_session_params){ 0 }), -ENOMEM);
    assert_null(r->session);
    fake.fail_state = 0;
    assert_int_equal(start(r, (zt_session_params){ .offline = true, .frames = 2 }), 0);
    assert_int_equal(zt_session_control(r->session, 2, 0), -EINVAL);
    assert_int_equal(zt_session_control(r->session, 0, NAN), -EINVAL);
    assert_int_equal(zt_session_prompt(r->session, "\xed\xa0\x80"), -EINVAL);
    assert_int_equal(zt_session_wait(r->session), 0);
}

static void prompts_must_be_utf8(void **state)
{
    (void)state;
    static char big[ZT_PROMPT_BYTES + 2];
    memset(big, 'a', ZT_PROMPT_BYTES + 1);
    assert_int_equal(zt_prompt_check(big), -EINVAL);
    big[ZT_PROMPT_BYTES] = 0;
    assert_int_equal(zt_prompt_check(big), 0);
    const char *good[] = { "a", "Gr\xc3\xbc\xc3\x9f", "\xe2\x82\xac", "\xf0\x9f\x8c\x8b", "\xf4\x8f\xbf\xbf" };
    const char *bad[] = { " \t\n",        "\x80",         "\xc0\xaf",         "\xc3",
                          "\xe0\x80\xaf", "\xed\xbf\xbf", "\xf0\x80\x80\xaf", "\xf4\x90\x80\x80",
                          "\xff" };
    for (size_t i = 0; i < ZT_LEN(good); i++)
        assert_int_equal(zt_prompt_check(good[i]), 0);
    for (size_t i = 0; i < ZT_LEN(bad); i++)
        assert_int_equal(zt_prompt_check(bad[i]), -EINVAL);
}

static void unknown_words_are_reported(void **state)
{
    rig *r = *state;
    char ignored[64];
    assert_int_equal(start(r, (zt_session_params){ .offline = true, .frames = 1, .prompt = "cat" }), 0);
    assert_int_equal(zt_session_ignored(r->session, ignored, sizeof(ignored)), 0);
    assert_string_equal(ignored, "cat");
    zt_session_wait(r->session);
}

static void a_consumer_that_keeps_every_frame_loses_pictures_not_the_session(void **state)
{
    rig *r = *state;
    r->keep = true;
    fake.pass = ZT_MS;
    assert_int_equal(start(r, (zt_session_params){ .frames = 20, .pool = 4 }), 0);
    assert_int_equal(zt_session_wait(r->session), 0);
    assert_int_equal(fake.decodes, 20);
    assert_true(r->n >= 4 && r->n <= 6);
    zt_metrics m;
    zt_session_metrics(r->session, &m);
    assert_true(m.outcome[ZT_DROPPED] >= 10);
}

static void an_impossible_budget_ends_the_session(void **state)
{
    rig *r = *state;
    fake.pass = 10 * ZT_MS, fake.decode = 5 * ZT_MS;
    assert_int_equal(start(r, (zt_session_params){ .frames = 20, .budget = 5 * ZT_MS }), 0);
    assert_int_equal(zt_session_wait(r->session), -ETIME);
}

static void a_slow_start_does_not_end_the_session(void **state)
{
    rig *r = *state;
    fake.pass = 100 * ZT_MS, r->pass = ZT_MS;                   // of a budget of 80
    assert_int_equal(start(r, (zt_session_params){ .frames = 10, .first_steps = 1 }), 0);
    assert_int_equal(zt_session_wait(r->session), 0);
}

static void overload_repeats_the_last_picture(void **state)
{
    rig *r = *state;
    fake.pass = 60 * ZT_MS;                                     // of 40
    assert_int_equal(start(r, (zt_session_params){ .frames = 20, .first_steps = 1, .keep_rate = true }), 0);
    assert_int_equal(zt_session_wait(r->session), 0);
    int repeats = 0;
    for (int i = 1; i < r->n; i++) {
        assert_true(r->seen[i].index > r->seen[i - 1].index);
        if (!r->seen[i].repeated)
            continue;
        repeats++;
        assert_int_equal(r->seen[i].luma, r->seen[i - 1].luma);
        assert_int_equal(r->seen[i].model_frame, r->seen[i - 1].model_frame);
    }
    zt_metrics m;
    zt_session_metrics(r->session, &m);
    assert_true(repeats >= 3);
    assert_int_equal(m.outcome[ZT_REPEATED], repeats);
}

struct storm {
    rig *r;
    int  n;
};

static void ignore_frame(void *cookie, zt_frame *f)
{
    (void)f;
    atomic_fetch_add((atomic_int *)cookie, 1);
}

static void *storm(void *cookie)
{
    struct storm *c = cookie;
    for (int i = 0; i < 20; i++) {
        atomic_int frames = 0;
        zt_session *s = NULL;
        zt_session_params p = {
            .offline = i % 3 == 0, .unpaced = i % 3 == 1, .on_frame = ignore_frame, .cookie = &frames
        };
        if (zt_session_create(&s, c->r->engine, &p) < 0)
            continue;
        zt_session_prompt(s, "sea");
        zt_session_control(s, 0, 1);
        zt_sleep_until(zt_now() + 2 * ZT_MS);
        if (i % 2)
            zt_session_stop(s), zt_session_wait(s);
        zt_session_destroy(&s);
        const int before = frames;
        zt_sleep_until(zt_now() + ZT_MS);
        c->n += frames == before;                               // on_frame is never called after destroy
    }
    return NULL;
}

static void sessions_come_and_go_from_any_thread(void **state)
{
    rig *r = *state;
    fake.pass = ZT_MS / 20;
    pthread_t thread[3];
    struct storm s[3];
    for (int i = 0; i < 3; i++) {
        s[i] = (struct storm){ r, 0 };
        pthread_create(&thread[i], NULL, storm, &s[i]);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(s[i].n, 20);
    }
}

// ---- many sessions

static void let_be(int64_t ns)
{
    zt_sleep_until(zt_now() + ns);
}

struct crowd {
    struct member { zt_session *session; atomic_int frames; } one[8];
};

static void count_frame(void *cookie, zt_frame *f)
{
    struct member *m = cookie;
    atomic_fetch_add(&m->frames, 1);
    zt_session_delivered(m->session, f->index, zt_now());
}

static int crowd_start(rig *r, struct crowd *c, int i, zt_session_params p)
{
    p.on_frame = count_frame, p.cookie = &c->one[i];
    return zt_session_create(&c->one[i].session, r->engine, &p);
}

static void crowd_end(struct crowd *c)
{
    for (int i = 0; i < 8; i++)
        zt_session_destroy(&c->one[i].session);
}

static void sessions_share_passes(void **state)
{
    rig *r = *state;
    struct crowd c = { 0 };
    fake.pass = 2 * ZT_MS;
    for (int i = 0; i < 4; i++)
        assert_int_equal(crowd_start(r, &c, i, (zt_session_params){ .unpaced = true, .first_steps = 2 }), 0);
    let_be(300 * ZT_MS);
    crowd_end(&c);
    assert_int_equal(fake.most_jobs, 4);
    assert_true(fake.passes * 2 < (int)(c.one[0].frames + c.one[1].frames + c.one[2].frames + c.one[3].frames) * 2);
}

static void a_clip_is_made_in_slices_beside_live_work(void **state)
{
    rig *r = *state;
    struct crowd c = { 0 };
    fake.pass = 9 * ZT_MS;                                  // of three blocks: a slice of 4 ms is one
    assert_int_equal(crowd_start(r, &c, 0, (zt_session_params){ .steps_max = 1, .first_steps = 1 }), 0);
    assert_int_equal(crowd_start(r, &c, 1, (zt_session_params){ .offline = true, .frames = 10, .first_steps = 1 }), 0);
    assert_int_equal(zt_session_wait(c.one[1].session), 0);
    assert_int_equal(c.one[1].frames, 10);
    assert_true(fake.slices >= 3 * 15);
    zt_metrics m;
    zt_engine_metrics(r->engine, &m);
    assert_true(m.busy[ZT_BUSY_OFFLINE] >= 150 * ZT_MS && m.busy[ZT_BUSY_LIVE] > 0);
    zt_session_destroy(&c.one[1].session);
    assert_int_equal(crowd_start(r, &c, 2, (zt_session_params){ .offline = true }), 0);
    let_be(30 * ZT_MS);                                     // ends with a pass half done
    zt_session_destroy(&c.one[2].session);
    assert_int_equal(crowd_start(r, &c, 3, (zt_session_params){ .offline = true, .frames = 2 }), 0);
    assert_int_equal(zt_session_wait(c.one[3].session), 0);
    crowd_end(&c);
}

// Large models take a while to give a session its memory: those that run do not wait for it. Passes take no time here.
static void who_comes_does_not_hold_up_the_others(void **state)
{
    rig *r = *state;
    struct crowd c = { 0 };
    assert_int_equal(crowd_start(r, &c, 0, (zt_session_params){ .unpaced = true }), 0);
    fake.memory = 300 * ZT_MS;
    assert_true(crowd_start(r, &c, 1, (zt_session_params){ .offline = true }) == 0 && c.one[0].frames >= 30);
    crowd_end(&c);
}

static void a_consumer_that_waits_does_not_stop_the_others(void **state)
{
    rig *r = *state;
    struct crowd c = { 0 };
    fake.pass = ZT_MS;
    r->keep = true;
    assert_int_equal(start(r, (zt_session_params){ .offline = true, .pool = 2 }), 0);
    while (r->n < 2)
        let_be(ZT_MS);
    let_be(20 * ZT_MS);
    assert_in_range(r->n, 2, 4);
    assert_int_equal(crowd_start(r, &c, 0, (zt_session_params){ .unpaced = true, .frames = 20 }), 0);
    assert_int_equal(zt_session_wait(c.one[0].session), 0);
    assert_int_equal(c.one[0].frames, 20);
    crowd_end(&c);
}

// Each takes 40 + 20 of 125 ms: the second cannot be promised anything. The next engine knows that from the start.
static void admission_refuses_and_remembers(void **state)
{
    rig *r = *state;
    struct crowd c = { 0 };
    zt_refused why = { 0 };
    char folder[] = "/tmp/zt-costs-XXXXXX", command[64];
    assert_non_null(mkdtemp(folder));
    fake.pass = 40 * ZT_MS, fake.decode = 20 * ZT_MS;
    assert_int_equal(zt_engine_remember(r->engine, folder), 0);
    for (int turn = 0; turn < 2; turn++) {
        assert_int_equal(crowd_start(r, &c, 0, (zt_session_params){ .steps_max = 1, .first_steps = 1, .refused = &why,
                                                                    .fps = 8, .lease = zt_now() + 20 * ZT_S }), 0);
        while (turn == 0 && c.one[0].frames < 6)
            let_be(ZT_MS);
        assert_int_equal(crowd_start(r, &c, 1, (zt_session_params){ .refused = &why, .fps = 8 }), -EBUSY);
        assert_int_equal(why.reason, ZT_REFUSED_LOAD);
        assert_in_range(why.retry_s, 18, 20);
        assert_true(strlen(why.text) > 20);
        assert_null(c.one[1].session);
        assert_int_equal(zt_engine_admit(r->engine, &(zt_session_params){ .budget = 20 * ZT_MS, .fps = 2 }, &why), -EBUSY);
        crowd_end(&c);
        zt_engine_destroy(&r->engine);
        assert_int_equal(zt_engine_create(&r->engine, r->device, r->model), 0);
        assert_int_equal(zt_engine_remember(r->engine, folder), 0);
    }
    // Alone, it is let in whatever another run has measured.
    assert_int_equal(zt_engine_admit(r->engine, &(zt_session_params){ .budget = 20 * ZT_MS, .fps = 2 }, &why), 0);
    assert_int_equal(crowd_start(r, &c, 0, (zt_session_params){ .fps = 2 }), 0);
    assert_int_equal(zt_engine_admit(r->engine, &(zt_session_params){ .budget = 20 * ZT_MS, .fps = 2 }, &why), -EBUSY);
    assert_int_equal(why.reason, ZT_REFUSED_BUDGET);
    crowd_end(&c);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

static void several_models_in_one_engine(void **state)
{
    rig *r = *state;
    struct crowd c = { 0 };
    fake.pass = ZT_MS;
    zt_model *other = fake_model_open(r->device);
    assert_int_equal(zt_engine_add_model(r->engine, other), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(crowd_start(r, &c, i, (zt_session_params){ .unpaced = true, .frames = 30,
                                                                    .model = i % 2 ? other : NULL }), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(zt_session_wait(c.one[i].session), 0);
    assert_in_range(fake.most_jobs, 1, 2);                  // a batch never mixes models: the fake one asserts it
    crowd_end(&c);
    zt_engine_destroy(&r->engine);
    zt_model_close(&other);
}

static void the_recorder_shows_what_was_missed(void **state)
{
    rig *r = *state;
    fake.pass = 60 * ZT_MS;                                 // of 40
    assert_int_equal(start(r, (zt_session_params){ .frames = 12, .first_steps = 1, .keep_rate = true,
                                                   .budget = 500 * ZT_MS }), 0);
    assert_int_equal(zt_session_wait(r->session), 0);
    assert_true(zt_engine_alarms(r->engine) >= 1);
    size_t bytes;
    char *text = zt_engine_trace(r->engine, &bytes);
    assert_non_null(text);
    assert_int_equal(strlen(text), bytes);
    assert_non_null(strstr(text, "\"traceEvents\": ["));
    assert_non_null(strstr(text, "\"name\": \"batch\""));
    assert_non_null(strstr(text, "\"name\": \"missed\""));
    free(text);
}

static void quantiles_are_inside_their_bucket(void **state)
{
    (void)state;
    zt_histogram h = { 0 };
    assert_int_equal(zt_histogram_quantile(&h, 0.5), 0);
    for (int i = 0; i < 99; i++)
        zt_histogram_add(&h, 10 * ZT_MS);
    zt_histogram_add(&h, 900 * ZT_MS);
    assert_in_range(zt_histogram_quantile(&h, 0.5), 8 * ZT_MS, 12 * ZT_MS);
    assert_in_range(zt_histogram_quantile(&h, 0.999), 500 * ZT_MS, 1000 * ZT_MS);
    assert_int_equal(h.count, 100);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(offline_makes_exactly_the_frames_asked_for),
        TEST(live_keeps_its_clock),
        TEST(mail_is_read_by_the_next_frame_and_the_latest_wins),
        TEST(events_happen_at_their_frame),
        TEST(stop_ends_with_the_frame_in_work),
        TEST(a_failed_pass_ends_the_session_not_the_engine),
        TEST(bad_parameters_are_refused),
        TEST(prompts_must_be_utf8),
        TEST(unknown_words_are_reported),
        TEST(a_consumer_that_keeps_every_frame_loses_pictures_not_the_session),
        TEST(an_impossible_budget_ends_the_session),
        TEST(a_slow_start_does_not_end_the_session),
        TEST(overload_repeats_the_last_picture),
        TEST(sessions_come_and_go_from_any_thread),
        TEST(sessions_share_passes),
        TEST(a_clip_is_made_in_slices_beside_live_work),
        TEST(who_comes_does_not_hold_up_the_others),
        TEST(a_consumer_that_waits_does_not_stop_the_others),
        TEST(admission_refuses_and_remembers),
        TEST(several_models_in_one_engine),
        TEST(the_recorder_shows_what_was_missed),
        TEST(quantiles_are_inside_their_bucket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
