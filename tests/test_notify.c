// SPDX-License-Identifier: Apache-2.0
// What the service manager hears: the datagrams themselves, and that they stop when the engine's thread stands still.
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdatomic.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "apps/serve/notify.h"
#include "base/clock.h"
#include "engine/engine.h"
#include "tests/fake_model.h"

static int open_manager(const char *path)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    const size_t n = strlen(path);
    memcpy(at.sun_path, path, n);
    if (path[0] == '@')
        at.sun_path[0] = 0;
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)), 0);
    assert_int_equal(setenv("NOTIFY_SOCKET", path, 1), 0);
    return fd;
}

// The next datagram, or "".
static const char *hear(int fd)
{
    static char text[256];
    const ssize_t n = recv(fd, text, sizeof(text) - 1, 0);
    text[n > 0 ? n : 0] = 0;
    return text;
}

static void nobody_listens_and_nothing_happens(void **state)
{
    (void)state;
    unsetenv("NOTIFY_SOCKET");
    assert_int_equal(zt_notify("READY=1"), 0);
    setenv("NOTIFY_SOCKET", "vsock:1:2", 1);
    assert_true(zt_notify("READY=1") < 0);
    setenv("NOTIFY_SOCKET", "/nowhere/socket", 1);
    assert_true(zt_notify("READY=1") < 0);
}

static void lines_arrive_at_both_kinds_of_sockets(void **state)
{
    (void)state;
    char name[64];
    snprintf(name, sizeof(name), "@zoetrope-test-%d", getpid());
    int fd = open_manager(name);
    assert_int_equal(zt_notify("READY=1\nSTATUS=here"), 0);
    assert_string_equal(hear(fd), "READY=1\nSTATUS=here");
    close(fd);
    snprintf(name, sizeof(name), "/tmp/zoetrope-test-%d", getpid());
    fd = open_manager(name);
    assert_int_equal(zt_notify("STOPPING=1"), 0);
    assert_string_equal(hear(fd), "STOPPING=1");
    assert_string_equal(hear(fd), "");
    close(fd);
    unlink(name);
}

// $WATCHDOG_USEC is read once: 3 s for all of this program.
static void a_sign_of_life_needs_a_beat(void **state)
{
    (void)state;
    char name[64];
    snprintf(name, sizeof(name), "@zoetrope-test-%d", getpid());
    const int fd = open_manager(name);
    const int64_t t = 1000 * ZT_S;
    zt_notify_alive(t, t);
    assert_string_equal(hear(fd), "WATCHDOG=1");
    zt_notify_alive(t + 900 * ZT_MS, t + 900 * ZT_MS);          // too soon after the last
    assert_string_equal(hear(fd), "");
    zt_notify_alive(t + 1100 * ZT_MS, t + 100 * ZT_MS);         // went round a second ago
    assert_string_equal(hear(fd), "WATCHDOG=1");
    zt_notify_alive(t + 2200 * ZT_MS, t + 100 * ZT_MS);         // 2.1 s ago: no longer
    zt_notify_alive(t + 9000 * ZT_MS, t + 100 * ZT_MS);
    assert_string_equal(hear(fd), "");
    zt_notify_alive(t + 9000 * ZT_MS, INT64_MAX);               // it sleeps: nothing to do
    assert_string_equal(hear(fd), "WATCHDOG=1");
    close(fd);
}

// ---- the engine's beat

struct gate {
    pthread_mutex_t closed;
    atomic_int      waiting;
};

static void wait_at_gate(void *cookie, zt_frame *f)
{
    struct gate *g = cookie;
    (void)f;
    atomic_store(&g->waiting, 1);
    pthread_mutex_lock(&g->closed);
    pthread_mutex_unlock(&g->closed);
}

static void let_be(int64_t ns)
{
    zt_sleep_until(zt_now() + ns);
}

static void an_engine_that_stands_still_has_no_beat(void **state)
{
    (void)state;
    zt_device *device = NULL;
    zt_engine *engine = NULL;
    zt_session *session = NULL;
    struct gate gate = { .closed = PTHREAD_MUTEX_INITIALIZER };
    assert_int_equal(zt_device_open(&device, &(zt_device_params){ .device = "cpu", .threads = 1 }), 0);
    zt_model *model = fake_model_open(device);
    assert_int_equal(zt_engine_create(&engine, device, model), 0);
    while (zt_engine_beat(engine) != INT64_MAX)
        let_be(ZT_MS);                                          // no session: it sleeps

    pthread_mutex_lock(&gate.closed);
    const zt_session_params p = { .offline = true, .on_frame = wait_at_gate, .cookie = &gate };
    assert_int_equal(zt_session_create(&session, engine, &p), 0);
    while (!atomic_load(&gate.waiting))
        let_be(ZT_MS);
    const int64_t stands = zt_engine_beat(engine);
    assert_true(stands < zt_now());
    let_be(300 * ZT_MS);                                        // longer than it ever sleeps with a session
    assert_int_equal(zt_engine_beat(engine), stands);
    pthread_mutex_unlock(&gate.closed);
    while (zt_engine_beat(engine) <= stands)
        let_be(ZT_MS);

    zt_session_destroy(&session);
    while (zt_engine_beat(engine) != INT64_MAX)
        let_be(ZT_MS);
    zt_engine_destroy(&engine);
    zt_model_close(&model);
    zt_device_close(&device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_listens_and_nothing_happens),
        cmocka_unit_test(lines_arrive_at_both_kinds_of_sockets),
        cmocka_unit_test(a_sign_of_life_needs_a_beat),
        cmocka_unit_test(an_engine_that_stands_still_has_no_beat),
    };
    setenv("WATCHDOG_USEC", "3000000", 1);
    unsetenv("WATCHDOG_PID");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
