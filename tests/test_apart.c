// SPDX-License-Identifier: Apache-2.0
// The child that reads untrusted files can compute and answer, and what it breaks costs one line; a mapped file that is cut
// off costs one line, too.
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "diffusion/apart.h"
#include "diffusion/weights.h"
#include "diffusion/weights_map.h"

static int  lines;
static char last[1024];

static void count_line(void *cookie, enum zt_level level, const char *line)
{
    lines += level == ZT_LOG_ERROR;
    snprintf(last, sizeof(last), "%s", line);
}

// ---- the child

static int run(zt_apart_fn *fn, void *cookie, int64_t timeout)
{
    zt_apart a;
    lines = 0;
    assert_int_equal(zt_apart_start(&a, fn, cookie, "file"), 0);
    return zt_apart_finish(&a, timeout);
}

static int doubles(void *cookie, int fd)
{
    for (int v; zt_apart_get(fd, &v, sizeof(v)) == 0;) {
        void *const p = malloc(1 << 20);        // memory is allowed
        v *= 2;
        if (!p || zt_apart_put(fd, &v, sizeof(v)) < 0)
            return -ENOMEM;
        free(p);
    }
    return 0;
}

static void questions_are_answered(void **state)
{
    zt_apart a;
    lines = 0;
    assert_int_equal(zt_apart_start(&a, doubles, NULL, "file"), 0);
    for (int i = 0; i < 100; i++) {
        int v = 0;
        assert_int_equal(zt_apart_write(&a, &i, sizeof(i), ZT_S), 0);
        assert_int_equal(zt_apart_read(&a, &v, sizeof(v), 10 * ZT_S), 0);
        assert_int_equal(v, 2 * i);
    }
    int v;
    assert_int_equal(zt_apart_read(&a, &v, sizeof(v), ZT_MS), -ETIME);
    assert_int_equal(zt_apart_finish(&a, 10 * ZT_S), 0);
    assert_int_equal(zt_apart_finish(&a, 10 * ZT_S), 0);
    assert_int_equal(lines, 0);
}

static int complains(void *cookie, int fd)
{
    zt_error("a complaint about %d", 7);
    zt_error("and another");
    return -ENOENT;
}

static void its_first_line_is_passed_on(void **state)
{
    assert_int_equal(run(complains, NULL, 10 * ZT_S), -ENOENT);
    assert_int_equal(lines, 1);
    assert_string_equal(last, "a complaint about 7");
}

static int opens(void *cookie, int fd)
{
    return open("/etc/passwd", O_RDONLY) < 0 ? 0 : 1;
}

static int makes_a_file(void *cookie, int fd)
{
    return open(cookie, O_CREAT | O_WRONLY, 0600) < 0 ? 0 : 1;
}

static int connects(void *cookie, int fd)
{
    return socket(AF_INET, SOCK_STREAM, 0) < 0 ? 0 : 1;
}

static int executes(void *cookie, int fd)
{
    return execl("/bin/true", "true", (char *)NULL);
}

static int speaks(void *cookie, int fd)
{
    return write(STDERR_FILENO, "", 0) < 0 ? 0 : 1;
}

static int crashes(void *cookie, int fd)
{
    raise(SIGKILL);
    return 0;
}

static void nothing_else_is_possible(void **state)
{
    static zt_apart_fn *const list[] = { opens, connects, executes, speaks };
    char path[] = "/tmp/zt-apart-XXXXXX";
    close(mkstemp(path));
    unlink(path);
    for (size_t i = 0; i < ZT_LEN(list) && zt_apart_confines(); i++) {
        assert_int_equal(run(list[i], NULL, 10 * ZT_S), -EINVAL);
        assert_int_equal(lines, 1);
    }
    if (zt_apart_confines())
        assert_int_equal(run(makes_a_file, path, 10 * ZT_S), -EINVAL);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(run(crashes, NULL, 10 * ZT_S), -EINVAL);
    assert_int_equal(lines, 1);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);           // no child is left
    if (!zt_apart_confines())
        skip();                                 // built without libseccomp
}

static int spins(void *cookie, int fd)
{
    for (volatile int i = 0;; i = 1 - i)
        continue;
    return 0;
}

static void patience_ends(void **state)
{
    assert_int_equal(run(spins, NULL, 50 * ZT_MS), -EINVAL);
    assert_int_equal(lines, 1);
    assert_non_null(strstr(last, "too long"));
}

// ---- files that change

static int make_file(char *path, size_t bytes)
{
    const int fd = mkstemp(path);
    assert_true(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0);
    assert_int_equal(pwrite(fd, "x", 1, (off_t)bytes - 1), 1);
    return fd;
}

static void what_is_cut_off_reads_as_zeros(void **state)
{
    char path[] = "/tmp/zt-apart-XXXXXX";
    const int fd = make_file(path, 1 << 16);
    zt_weights_map *m, *other;
    assert_int_equal(zt_weights_map_open(&m, fd, 1 << 16), 0);
    assert_int_equal(zt_weights_map_open(&other, fd, 1 << 12), 0);
    const volatile char *const p = zt_weights_map_bytes(m);
    assert_int_equal(p[65535], 'x');
    assert_int_equal(ftruncate(fd, 5000), 0);
    assert_int_equal(p[65535], 0);
    assert_int_equal(p[20000], 0);
    assert_int_equal(p[0], 0);
    assert_true(zt_weights_map_broken(m));
    assert_false(zt_weights_map_broken(other));
    zt_weights_map_drop((const char *)p + 1, 5000);
    zt_weights_map_close(&m);
    zt_weights_map_close(&other);
    zt_weights_map_close(&m);
    close(fd);
    unlink(path);
}

// A safetensors file of one tensor of 20 MiB, which is mapped, is cut off, or written to, while it is open.
static void changed_files_are_noticed(void **state)
{
    static const float zeros[5 << 20];
    const zt_weight t = { .name = "a", .dtype = "F32", .rank = 1, .shape = { 5 << 20 }, .data = zeros, .bytes = sizeof(zeros) };
    for (int how = 0; how < 3; how++) {
        char path[] = "/tmp/zt-apart-XXXXXX";
        zt_weights *w = NULL;
        float x;
        close(mkstemp(path));
        assert_int_equal(zt_weights_write(path, &t, 1), 0);
        assert_int_equal(zt_weights_open(&w, path), 0);
        assert_int_equal(zt_weights_check(w), 0);
        if (how == 1)
            assert_int_equal(truncate(path, 4096), 0);
        const int fd = open(path, O_WRONLY);
        if (how == 2)
            assert_int_equal(pwrite(fd, "y", 1, 4096), 1);
        close(fd);
        zt_weight_read(zt_weights_find(w, "a"), (5 << 20) - 1, 1, &x);
        lines = 0;
        assert_int_equal(zt_weights_check(w), how ? -EINVAL : 0);
        assert_int_equal(lines, how > 0);
        zt_weights_close(&w);
        unlink(path);
    }
}

int main(void)
{
    zt_log_set(count_line, NULL);
    const struct CMUnitTest list[] = {
        cmocka_unit_test(questions_are_answered),
        cmocka_unit_test(its_first_line_is_passed_on),
        cmocka_unit_test(nothing_else_is_possible),
        cmocka_unit_test(patience_ends),
        cmocka_unit_test(what_is_cut_off_reads_as_zeros),
        cmocka_unit_test(changed_files_are_noticed),
    };
    return cmocka_run_group_tests(list, NULL, NULL);
}
