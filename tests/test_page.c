// SPDX-License-Identifier: Apache-2.0
// The viewer page in a real browser: everything is read from the pictures that it shows.
// Usage: test_page SERVE MODEL PROBE.js [SECONDS]
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/serving.h"
#include "tests/webdriver.h"

static const char *program, *model, *probe_path;
static const char  frames_decoded[] =
    "return document.getElementById('video').getVideoPlaybackQuality().totalVideoFrames";
static int         seconds = 12;
static browser    *b;
static serving     s;

static char *read_file(const char *path)
{
    static char text[16384];
    FILE *f = fopen(path, "r");
    const size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
    text[n] = 0;
    if (f)
        fclose(f);
    return text;
}

// Starts the server and opens its page in a browser; the test is skipped where there is none.
static void open_page_with(const char *const *more, const char *query)
{
    const char *argv[16] = { "-m", model };
    for (int i = 2; *more && i < 15; i++)
        argv[i] = *more++;
    b = browser_open(1280, 900);
    if (!b) {
        print_message("needs chromium and chromedriver\n");
        skip();
    }
    assert_true(serve_start(&s, program, argv));
    char url[256];
    snprintf(url, sizeof(url), "%s%s", s.url, query);
    assert_true(browser_go(b, url));
    browser_run(b, read_file(probe_path));
}

static void open_page(const char *query)
{
    open_page_with((const char *[]){ "--test-pattern", NULL }, query);
}

static void close_page(void)
{
    browser_close(b);
    assert_int_equal(serve_stop(&s), 0);
}

// Latencies mean nothing where others use the machine.
static bool is_quiet(void)
{
    double load = 0;
    return getloadavg(&load, 1) == 1 && load < (double)sysconf(_SC_NPROCESSORS_ONLN) + 1;
}

static void pictures_come_at_once_and_stay(void **state)
{
    open_page("");
    assert_true(browser_wait(b, "probe.frames.length > 0", 10000));
    const double first = browser_number(b, "return zoetrope.shownAt[0]");      // since the navigation began
    zt_sleep_until(zt_now() + seconds * ZT_S);
    const double different = browser_number(b, "return seen().different");
    const double span = browser_number(b, "return seen().span");
    const double decoded = browser_number(b, frames_decoded);
    const double p50 = browser_number(b, "return quantile(delays(), .5)");
    const double p95 = browser_number(b, "return quantile(delays(), .95)");
    print_message("navigation to first picture %.0f ms; in %d s %.0f of %.0f pictures seen, %.0f decoded; "
                  "made to page: p50 %.1f ms, p95 %.1f ms\n", first, seconds, different, span, decoded, p50, p95);
    if (getenv("ZOETROPE_SCREENSHOT"))
        assert_true(browser_screenshot(b, getenv("ZOETROPE_SCREENSHOT")));
    assert_true(different > 0.5 * span && span >= 0.95 * 24 * seconds);
    if (is_quiet()) {
        assert_true(first <= 1500);
        assert_true(decoded >= 0.99 * span);
        assert_true(p50 <= 20 && p95 <= 35);
    }
    close_page();
}

static void a_key_press_is_seen(void **state)
{
    open_page("");
    assert_true(browser_wait(b, "probe.frames.length > 24", 10000));
    assert_true(browser_press(b, "\uE014", 20, 150));           // right arrow
    assert_true(browser_wait(b, "reactions().length >= 20 && !reactions().includes(9999)", 5000));
    const double p50 = browser_number(b, "return quantile(reactions(), .5)");
    const double p95 = browser_number(b, "return quantile(reactions(), .95)");
    print_message("key press to changed picture: p50 %.1f ms, p95 %.1f ms\n", p50, p95);
    assert_true(p50 > 0);
    if (is_quiet())
        assert_true(p95 <= 120);
    assert_string_equal(browser_run(b, "return document.getElementById('over-steer').textContent"), "you steer");
    close_page();
}

static void unknown_words_are_named_and_chips_work(void **state)
{
    open_page_with((const char *[]){ "--no-admission", NULL }, "");
    assert_true(browser_wait(b, "zoetrope.channel && zoetrope.channel.readyState === 'open'", 20000));
    browser_run(b, "document.getElementById('prompt').value = ''");
    assert_true(browser_type(b, "#prompt", "volcano with a cat\n"));
    assert_true(browser_wait(b, "/does not know: cat$/.test(document.getElementById('unknown').textContent)", 5000));
    browser_run(b, "[...document.querySelectorAll('.chip')].find(c => c.textContent === 'night').click()");
    assert_true(browser_wait(b, "document.getElementById('prompt').value === 'volcano with a cat night'", 1000));
    assert_true(browser_wait(b, "fetch('/sessions/live').then(r => r.json()).then(j => window.p = j.prompt), "
                                "window.p === 'volcano with a cat night'", 5000));
    close_page();
}

static void without_webrtc_there_are_pictures(void **state)
{
    open_page("?mode=pictures");
    assert_true(browser_wait(b, "zoetrope.frames > 24", 10000));
    assert_string_equal(browser_run(b, "return zoetrope.mode"), "pictures");
    assert_true(browser_press(b, "\uE014", 3, 200));
    assert_true(browser_wait(b, "zoetrope.latencies.length >= 3", 5000));
    assert_true(browser_number(b, "return readMarks(document.getElementById('still')).seq") >= 3);
    close_page();
}

static void vp8_is_taken_where_there_is_no_h264(void **state)
{
    open_page("?codec=vp8");
    assert_true(browser_wait(b, "probe.frames.length > 48", 20000));
    assert_true(browser_wait(b, "document.getElementById('facts').textContent.includes('VP8')", 5000));
    const double different = browser_number(b, "return seen().different");
    const double span = browser_number(b, "return seen().span");
    assert_true(different > 0.5 * span);
    close_page();
}

static void five_percent_loss_costs_three_percent_at_most(void **state)
{
    open_page_with((const char *[]){ "--test-pattern", "--test-loss", "5", NULL }, "");
    assert_true(browser_wait(b, "probe.frames.length > 0", 20000));
    zt_sleep_until(zt_now() + seconds * ZT_S);
    const double span = browser_number(b, "return seen().span");
    const double decoded = browser_number(b, frames_decoded);
    print_message("5 %% lost: %.0f decoded of %.0f\n", decoded, span);
    if (is_quiet())
        assert_true(decoded >= 0.97 * span);
    else
        assert_true(decoded >= 0.5 * span);
    close_page();
}

static void a_token_is_asked_for(void **state)
{
    char path[] = "/tmp/zt-token-XXXXXX", query[160];
    const int fd = mkstemp(path);
    assert_true(write(fd, "control sesame-open\nview only-looking\n", 38) == 38);
    close(fd);
    open_page_with((const char *[]){ "--test-pattern", "--token-file", path, NULL }, "");
    assert_true(browser_wait(b, "document.getElementById('ask').open", 5000));
    snprintf(query, sizeof(query), "%s#token=only-looking", s.url);
    browser_go(b, "about:blank");
    assert_true(browser_go(b, query));
    assert_true(browser_wait(b, "zoetrope.frames > 5", 10000));
    assert_true(browser_press(b, "\uE014", 1, 100));
    assert_true(browser_wait(b, "/may only view/.test(document.getElementById('notice').textContent)", 5000));
    unlink(path);
    close_page();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_come_at_once_and_stay),
        cmocka_unit_test(a_key_press_is_seen),
        cmocka_unit_test(unknown_words_are_named_and_chips_work),
        cmocka_unit_test(without_webrtc_there_are_pictures),
        cmocka_unit_test(vp8_is_taken_where_there_is_no_h264),
        cmocka_unit_test(five_percent_loss_costs_three_percent_at_most),
        cmocka_unit_test(a_token_is_asked_for),
    };
    if (argc < 4)
        return 64;
    program = argv[1];
    model = argv[2];
    probe_path = argv[3];
    if (argc > 4)
        seconds = atoi(argv[4]);
    if (argc > 5)
        cmocka_set_test_filter(argv[5]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
