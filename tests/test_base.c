// SPDX-License-Identifier: Apache-2.0
// base/: the queue between threads, the frame pool, packets, the arena, the clock and the log.
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/base.h"
#include "base/clock.h"
#include "base/frame.h"
#include "base/log.h"
#include "base/packet.h"
#include "base/queue.h"

#define ITEMS 20000

static void memory_is_aligned_and_zeroed(void **state)
{
    for (size_t bytes = 0; bytes < 300; bytes += 37) {
        unsigned char *p = zt_alloc(bytes);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 64, 0);
        for (size_t i = 0; i < bytes; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xff, bytes);
        zt_free(p);
    }
    zt_free(NULL);
    assert_null(zt_alloc(SIZE_MAX));
    assert_null(zt_alloc(SIZE_MAX - 100));
    assert_int_equal(zt_round_up(0, 64), 0);
    assert_int_equal(zt_round_up(65, 64), 128);
}

static void an_arena_gives_what_it_has(void **state)
{
    zt_arena a = { 0 };
    assert_null(zt_arena_take(&a, 1));
    zt_arena_finish(&a);
    assert_int_equal(zt_arena_init(&a, 256), 0);
    char *first = zt_arena_take(&a, 1), *second = zt_arena_take(&a, 64);
    assert_int_equal(second - first, 64);
    assert_null(zt_arena_take(&a, 129));
    assert_null(zt_arena_take(&a, SIZE_MAX));
    assert_null(zt_arena_take(&a, SIZE_MAX - 63));
    assert_non_null(zt_arena_take(&a, 128));
    assert_null(zt_arena_take(&a, 1));
    zt_arena_finish(&a);
    zt_arena_finish(&a);
    assert_int_equal(zt_arena_init(&a, SIZE_MAX), -ENOMEM);
}

static void a_queue_keeps_order_and_bounds(void **state)
{
    zt_queue *q;
    int item[3];
    void *out = &q;
    assert_int_equal(zt_queue_create(&q, 2), 0);
    assert_int_equal(zt_queue_pop(q, &out, 0), -EAGAIN);
    assert_ptr_equal(out, &q);
    for (int round = 0; round < 5; round++) {       // the ring wraps
        assert_int_equal(zt_queue_push(q, &item[0], 0), 0);
        assert_int_equal(zt_queue_push(q, &item[1], 0), 0);
        assert_int_equal(zt_queue_push(q, &item[2], 0), -EAGAIN);
        assert_int_equal(zt_queue_length(q), 2);
        assert_int_equal(zt_queue_pop(q, &out, 0), 0);
        assert_ptr_equal(out, &item[0]);
        assert_int_equal(zt_queue_push(q, &item[2], 0), 0);
        assert_int_equal(zt_queue_pop(q, &out, INT64_MAX), 0);
        assert_ptr_equal(out, &item[1]);
        assert_int_equal(zt_queue_pop(q, &out, INT64_MAX), 0);
        assert_ptr_equal(out, &item[2]);
    }
    zt_queue_destroy(&q);
    assert_null(q);
    zt_queue_destroy(&q);
}

static void a_queue_waits_until_the_time_given(void **state)
{
    zt_queue *q;
    void *out;
    assert_int_equal(zt_queue_create(&q, 1), 0);
    const int64_t until = zt_now() + 20 * ZT_MS;
    assert_int_equal(zt_queue_pop(q, &out, until), -EAGAIN);
    assert_true(zt_now() >= until);
    assert_int_equal(zt_queue_push(q, q, 0), 0);
    const int64_t again = zt_now() + 20 * ZT_MS;
    assert_int_equal(zt_queue_push(q, q, again), -EAGAIN);
    assert_true(zt_now() >= again);
    assert_int_equal(zt_queue_push(q, q, 1), -EAGAIN);      // long past: at once
    zt_queue_destroy(&q);
}

static void *close_later(void *cookie)
{
    zt_sleep_until(zt_now() + 10 * ZT_MS);
    zt_queue_close(cookie);
    return NULL;
}

static void closing_wakes_everyone_and_keeps_what_is_inside(void **state)
{
    zt_queue *q;
    void *out = NULL;
    int item;
    pthread_t thread;
    assert_int_equal(zt_queue_create(&q, 1), 0);
    assert_int_equal(zt_queue_push(q, &item, 0), 0);
    pthread_create(&thread, NULL, close_later, q);
    assert_int_equal(zt_queue_push(q, &item, INT64_MAX), -EPIPE);
    pthread_join(thread, NULL);
    assert_int_equal(zt_queue_pop(q, &out, INT64_MAX), 0);
    assert_ptr_equal(out, &item);
    assert_int_equal(zt_queue_pop(q, &out, INT64_MAX), -EPIPE);
    assert_int_equal(zt_queue_push(q, &item, 0), -EPIPE);
    zt_queue_destroy(&q);
}

struct shared {
    zt_queue   *q;
    char        item[ITEMS];
    atomic_int  next, popped;
    atomic_char seen[ITEMS];
};

static void *producer(void *cookie)
{
    struct shared *s = cookie;
    for (int i; (i = atomic_fetch_add(&s->next, 1)) < ITEMS;)
        if (zt_queue_push(s->q, &s->item[i], INT64_MAX) < 0)
            return s;
    return NULL;
}

static void *consumer(void *cookie)
{
    struct shared *s = cookie;
    void *out;
    while (zt_queue_pop(s->q, &out, INT64_MAX) == 0) {
        atomic_fetch_add(&s->seen[(char *)out - s->item], 1);
        atomic_fetch_add(&s->popped, 1);
    }
    return NULL;
}

static void every_item_arrives_once_between_threads(void **state)
{
    static struct shared s;
    pthread_t thread[4];
    assert_int_equal(zt_queue_create(&s.q, 3), 0);
    for (int i = 0; i < 4; i++)
        pthread_create(&thread[i], NULL, i < 2 ? producer : consumer, &s);
    for (int i = 0; i < 4; i++) {
        void *failed;
        if (i == 2)
            zt_queue_close(s.q);
        pthread_join(thread[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(s.popped, ITEMS);
    for (int i = 0; i < ITEMS; i++)
        assert_int_equal(s.seen[i], 1);
    zt_queue_destroy(&s.q);
}

static void a_pool_lends_each_frame_to_one(void **state)
{
    zt_frame_pool *p;
    assert_int_equal(zt_frame_pool_create(&p, 66, 34, 3), 0);
    zt_frame *f[3];
    for (int i = 0; i < 3; i++) {
        assert_non_null(f[i] = zt_frame_get(p));
        assert_int_equal(f[i]->w, 66);
        assert_int_equal(f[i]->h, 34);
        for (int c = 0; c < 3; c++) {
            assert_int_equal((uintptr_t)f[i]->plane[c] % 64, 0);
            assert_true(f[i]->pitch[c] >= (c ? 33 : 66));
            for (int y = 0; y < (c ? 17 : 34); y++)
                memset(f[i]->plane[c] + y * f[i]->pitch[c], 10 * i + c, c ? 33 : 66);
        }
    }
    for (int i = 0; i < 3; i++)         // no plane overlaps another
        for (int c = 0; c < 3; c++)
            for (int y = 0; y < (c ? 17 : 34); y++)
                for (int x = 0; x < (c ? 33 : 66); x++)
                    assert_int_equal(f[i]->plane[c][y * f[i]->pitch[c] + x], 10 * i + c);
    assert_null(zt_frame_get(p));

    f[1]->key = true;
    f[1]->pts = 7;
    zt_frame *again = zt_frame_ref(f[1]);
    zt_frame_unref(&f[1]);
    assert_null(f[1]);
    assert_null(zt_frame_get(p));       // one reference is left
    zt_frame_unref(&again);
    assert_non_null(f[1] = zt_frame_get(p));
    assert_false(f[1]->key);
    assert_int_equal(f[1]->pts, 0);

    zt_frame_pool_destroy(&p);          // frames outlive it
    for (int i = 0; i < 3; i++) {
        memset(f[i]->plane[0], 1, 66);
        zt_frame_unref(&f[i]);
    }
    zt_frame_unref(&f[0]);
    zt_frame_pool_destroy(&p);
}

static int released;

static void on_release(zt_packet *p)
{
    released++;
}

static void a_packet_is_released_by_its_last_owner(void **state)
{
    zt_packet one = { .release = on_release, .refs = 1 }, *p = &one, *q = zt_packet_ref(p);
    zt_packet_unref(&p);
    assert_null(p);
    assert_int_equal(released, 0);
    zt_packet_unref(&q);
    assert_int_equal(released, 1);
    zt_packet_unref(&q);
    assert_int_equal(released, 1);
}

static void the_clock_moves_on_and_waits(void **state)
{
    const int64_t before = zt_now(), due = before + 5 * ZT_MS;
    zt_sleep_until(before - ZT_S);
    zt_sleep_until(0);
    zt_sleep_until(due);
    assert_true(zt_now() >= due);
}

struct heard {
    int  lines, level;
    char line[2048];
};

static void hear(void *cookie, enum zt_level level, const char *line)
{
    struct heard *h = cookie;
    h->lines++;
    h->level = level;
    snprintf(h->line, sizeof(h->line), "%s", line);
}

static void a_log_line_is_clean_short_and_filtered(void **state)
{
    struct heard h = { 0 };
    zt_log_set(hear, &h);
    zt_log_level(ZT_LOG_INFO);
    zt_debug("not this");
    assert_int_equal(h.lines, 0);
    errno = ENOSPC;
    zt_info("a\tb\nc %d %s", 7, "\xc3\xa4 \xff \xed\xa0\x80 \xc0\x80");
    assert_int_equal(errno, ENOSPC);
    assert_int_equal(h.level, ZT_LOG_INFO);
    assert_string_equal(h.line, "a b c 7 \xc3\xa4 ? ??? ??");
    char big[3000];
    memset(big, 'x', sizeof(big) - 1);
    memcpy(big + 999, "\xc3\xa4", 2);       // the cut falls inside a character
    big[sizeof(big) - 1] = '\0';
    zt_error("%s", big);
    assert_int_equal(strlen(h.line), 1000);
    assert_int_equal(h.line[999], '?');
    zt_log_set(NULL, NULL);
    zt_log_level(ZT_LOG_WARN);
}

static void json_lines_are_escaped(void **state)
{
    FILE *file = tmpfile();
    const int saved = dup(STDERR_FILENO);
    assert_non_null(file);
    fflush(stderr);
    dup2(fileno(file), STDERR_FILENO);
    zt_log_json(1);
    zt_warn("say \"%s\" \\ now", "hi");
    zt_log_json(0);
    zt_warn("plain");
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);

    char text[512] = { 0 };
    rewind(file);
    assert_true(fread(text, 1, sizeof(text) - 1, file) > 0);
    fclose(file);
    const char *front = "{\"level\": \"warn\", \"message\": \"say \\\"hi\\\" \\\\ now\", \"time\": \"20";
    assert_memory_equal(text, front, strlen(front));
    const char *end = strchr(text, '\n');
    assert_non_null(end);
    assert_memory_equal(end - 3, "Z\"}", 3);
    assert_string_equal(end + 1, "zoetrope: plain\n");
}

static void utf8_is_whole_and_shortest(void **state)
{
    static const struct { const char *text; int bytes; } list[] = {
        { "a", 1 }, { "\xc3\xbc", 2 }, { "\xe2\x82\xac", 3 }, { "\xf0\x9f\x8c\x8b", 4 }, { "\xf4\x8f\xbf\xbf", 4 },
        { "\x80", 0 }, { "\xc3", 0 }, { "\xc0\xaf", 0 }, { "\xe0\x80\xaf", 0 }, { "\xed\xa0\x80", 0 },
        { "\xf0\x80\x80\xaf", 0 }, { "\xf4\x90\x80\x80", 0 }, { "\xf5\x80\x80\x80", 0 }, { "\xff", 0 },
    };
    for (size_t i = 0; i < ZT_LEN(list); i++) {
        assert_int_equal(zt_utf8_length(list[i].text, 4), list[i].bytes);
        if (list[i].bytes > 1)
            assert_int_equal(zt_utf8_length(list[i].text, (size_t)list[i].bytes - 1), 0);
    }
    assert_int_equal(zt_utf8_length("", 1), 1);         // the character of number 0
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_aligned_and_zeroed),
        cmocka_unit_test(an_arena_gives_what_it_has),
        cmocka_unit_test(a_queue_keeps_order_and_bounds),
        cmocka_unit_test(a_queue_waits_until_the_time_given),
        cmocka_unit_test(closing_wakes_everyone_and_keeps_what_is_inside),
        cmocka_unit_test(every_item_arrives_once_between_threads),
        cmocka_unit_test(a_pool_lends_each_frame_to_one),
        cmocka_unit_test(a_packet_is_released_by_its_last_owner),
        cmocka_unit_test(the_clock_moves_on_and_waits),
        cmocka_unit_test(a_log_line_is_clean_short_and_filtered),
        cmocka_unit_test(utf8_is_whole_and_shortest),
        cmocka_unit_test(json_lines_are_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
