// SPDX-License-Identifier: Apache-2.0
// RTSP: three viewers on loopback; one is killed, one stands still, and the third must not notice.
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/log.h"
#include "stream/stream.h"
#include "tests/pictures.h"

#define W   256
#define H   144
#define FPS 24

static bool patient;        // the long form: waits until a viewer that stands still is disconnected
static int  disconnected;
static char folder[64];

static void listen_to_log(void *cookie, enum zt_level level, const char *line)
{
    disconnected += strstr(line, "disconnected") != NULL;
}

// A viewer that writes the luma of what it sees to folder/name.
static pid_t view(int port, const char *mount, const char *transport, const char *name)
{
    char url[128], out[128];
    snprintf(url, sizeof(url), "rtsp://127.0.0.1:%d%s", port, mount);
    snprintf(out, sizeof(out), "%s/%s", folder, name);
    const pid_t pid = fork();
    if (pid)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execlp("ffmpeg", "ffmpeg", "-v", "quiet", "-nostdin", "-rtsp_transport", transport, "-i", url, "-fps_mode",
           "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "-flush_packets", "1", out, (char *)NULL);
    _exit(127);
}

static int wait_for(pid_t pid)
{
    int status = -1;
    waitpid(pid, &status, 0);
    return status;
}

// Reads what a viewer wrote: how many pictures, which is the first, and how many do not follow the one before.
static int count_pictures(const char *name, int *first, int *gaps)
{
    static uint8_t luma[W * H];
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    int n = 0, last = -1;
    *gaps = 0;
    while (f && fread(luma, 1, sizeof(luma), f) == sizeof(luma)) {
        const int k = picture_number(luma, W, W);
        *first = n ? *first : k;
        *gaps += n > 0 && k != last + 1;
        last = k;
        n++;
    }
    if (f)
        fclose(f);
    return n;
}

static int open_server(zt_rtsp_server **server)
{
    const int err = zt_rtsp_server_open(server, "127.0.0.1", 0);
    if (err == -ENOSYS || system("command -v ffmpeg > /dev/null") != 0)
        skip();
    return err;
}

static int open_stream(zt_stream **s, zt_rtsp_server *server, const char *url)
{
    const zt_stream_params p = {
        .url = url, .w = W, .h = H, .fps = FPS, .live = true, .queue = 48, .rtsp = server, .bitrate = 4000000,
    };
    return zt_stream_open(s, &p);
}

static void ports_and_mounts_are_taken_once(void **state)
{
    zt_rtsp_server *server = NULL, *second = NULL;
    zt_stream *s = NULL, *t = NULL;
    assert_int_equal(open_server(&server), 0);
    const int port = zt_rtsp_server_port(server);
    assert_true(port > 0);
    assert_int_equal(zt_rtsp_server_open(&second, "127.0.0.1", port), -EADDRINUSE);
    assert_null(second);
    assert_int_equal(open_stream(&s, server, "rtsp:/live"), 0);
    assert_int_equal(open_stream(&t, server, "rtsp:/live"), -EEXIST);
    assert_int_equal(open_stream(&t, server, "rtsp:live"), -EINVAL);
    assert_int_equal(open_stream(&t, server, "rtsp:/"), -EINVAL);
    assert_null(t);
    assert_int_equal(open_stream(&t, server, "rtsp:/s/other"), 0);
    assert_int_equal(zt_stream_viewers(s), 0);
    assert_int_equal(wait_for(view(port, "/nobody", "tcp", "nobody.raw")) == 0, 0);     // 404
    zt_stream_close(&s);
    assert_int_equal(open_stream(&s, server, "rtsp:/live"), 0);     // free again
    zt_stream_close(&t);
    zt_stream_close(&s);
    zt_rtsp_server_close(&server);
    assert_null(server);
    assert_int_equal(zt_rtsp_server_open(&server, "127.0.0.1", port), 0);               // the port too
    zt_rtsp_server_close(&server);
    zt_rtsp_server_close(&server);
}

struct viewers {
    pid_t good, killed, still;
    int   joined, last;         // the picture at which the good one came; the last one, once known
};

static bool sees(const char *name)
{
    char path[128];
    struct stat st;
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return stat(path, &st) == 0 && st.st_size > W * H;
}

// What happens at picture k, one thing a picture, each when the one before has had its effect. True until the end.
static bool play(struct viewers *v, int k, int port)
{
    static int step;
    if (step == 0) {
        v->still = view(port, "/live", "tcp", "still.raw");
        v->killed = view(port, "/live", "udp", "killed.raw");
        step++;
    } else if (step == 1 && sees("still.raw") && sees("killed.raw")) {
        v->good = view(port, "/live", "tcp", "good.raw");       // joins a stream that runs
        v->joined = k;
        step++;
    } else if (step == 2 && sees("good.raw")) {
        kill(v->killed, SIGKILL);
        kill(v->still, SIGSTOP);
        v->last = k + (patient ? 16 : 4) * FPS;
        step++;
    } else if (step == 3 && k == v->last - FPS) {
        kill(v->still, SIGCONT);
    }
    return step < 3 || k < v->last;
}

static void one_viewer_does_not_disturb_another(void **state)
{
    zt_rtsp_server *server = NULL;
    zt_stream *s = NULL;
    zt_frame_pool *pool;
    struct viewers v = { 0 };
    assert_int_equal(open_server(&server), 0);
    assert_int_equal(open_stream(&s, server, "rtsp:/live"), 0);
    assert_int_equal(zt_frame_pool_create(&pool, W, H, 64), 0);
    const int port = zt_rtsp_server_port(server);
    const int64_t start = zt_now();
    int64_t slowest = 0;
    int most = 0;
    unsigned random = 1;
    int k = 0;
    for (; play(&v, k, port); k++) {
        assert_true(k < 120 * FPS);
        zt_frame *f = zt_frame_get(pool);
        assert_non_null(f);
        picture_draw(f, k, FPS);
        for (int y = W / 16; y < H; y++)            // noise below the number fills the rate, and so the buffers
            for (int x = 0; x < W; x++)
                f->plane[0][y * f->pitch[0] + x] += (random = random * 1664525 + 1013904223) >> 28;
        zt_sleep_until(start + k * ZT_S / FPS);
        const int64_t before = zt_now();
        assert_int_equal(zt_stream_push(s, f, 0), 0);
        slowest = ZT_MAX(slowest, zt_now() - before);
        zt_frame_unref(&f);
        most = ZT_MAX(most, zt_stream_viewers(s));
    }
    assert_int_equal(zt_stream_finish(s), 0);
    zt_sleep_until(zt_now() + 300 * ZT_MS);         // the last pictures are on their way
    zt_stream_close(&s);                            // hangs up: the good viewer ends by itself
    assert_int_equal(wait_for(v.good), 0);
    kill(v.still, SIGKILL);
    wait_for(v.still);
    wait_for(v.killed);
    zt_rtsp_server_close(&server);
    zt_frame_pool_destroy(&pool);

    int gaps = -1, first = -1;
    const int good = count_pictures("good.raw", &first, &gaps);
    print_message(
        "good viewer: %d of %d pictures, the first after %d, %d gaps; slowest push %.2f ms; most viewers %d\n", good,
        k - v.joined, first - v.joined, gaps, (double)slowest / ZT_MS, most);
    assert_int_equal(gaps, 0);
    assert_true(first - v.joined < 8 * FPS);        // a key frame on demand: without, they come every ten seconds
    assert_true(first + good >= k - FPS / 2);       // to the end
    assert_int_equal(most, 3);
    assert_int_equal(disconnected, patient ? 1 : 0);
    assert_true(slowest < ZT_S / 2);                // a viewer would block for seconds; a busy machine for less
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ports_and_mounts_are_taken_once),
        cmocka_unit_test(one_viewer_does_not_disturb_another),
    };
    patient = argc > 1 && !strcmp(argv[1], "long");
    strcpy(folder, "/tmp/zt-rtsp-XXXXXX");
    if (!mkdtemp(folder))
        return 1;
    zt_log_set(listen_to_log, NULL);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    return system(command) || failed;
}
