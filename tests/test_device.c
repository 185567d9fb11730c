// SPDX-License-Identifier: Apache-2.0
// Devices: names, levels, memory and the thread pool; and the references where arithmetic by hand can tell.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <math.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/live.h"
#include "base/log.h"
#include "kernels/device.h"

static int lines;

static void count_line(void *cookie, enum zt_level level, const char *line)
{
    lines++;
}

static zt_device *open_device(int threads)
{
    zt_device *d = NULL;
    assert_int_equal(zt_device_open(&d, &(zt_device_params){ .device = "cpu", .level = "c", .threads = threads }), 0);
    return d;
}

static void expect_refused(const zt_device_params *p, int err)
{
    zt_device *d = NULL;
    lines = 0;
    assert_int_equal(zt_device_open(&d, p), err);
    assert_null(d);
    assert_int_equal(lines, 1);
}

struct policies {
    _Atomic int other, first;
};

static void look_at_policy(void *cookie, int i, int thread)
{
    struct policies *p = cookie;
    if (thread)
        atomic_fetch_add(sched_getscheduler(0) == SCHED_RR ? &p->first : &p->other, 1);
    zt_sleep_until(zt_now() + ZT_MS);       // so that every thread takes one
}

static long locked_kib(void)
{
    char line[256];
    long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f))
        sscanf(line, "VmLck: %ld", &kib);
    fclose(f);
    return kib;
}

// Exit code of a child in which a device asks for both rights, with or without them: 0, all as expected.
static int child_asks(bool allowed)
{
    const struct rlimit none = { 0, 0 };
    bool good = allowed || (setrlimit(RLIMIT_MEMLOCK, &none) == 0 && setrlimit(RLIMIT_RTPRIO, &none) == 0);
    if (!allowed && getuid() == 0)
        good = good && setgid(65534) == 0 && setuid(65534) == 0;
    zt_device *d = NULL;
    struct policies p = { 0 };
    lines = 0;
    zt_log_set(count_line, NULL);
    good = good && zt_device_open(&d, &(zt_device_params){ .device = "cpu", .threads = 3, .keep = true, .realtime = true }) == 0;
    if (!good)
        return 1;
    char *const memory = zt_device_alloc(d, 1 << 20), *const more = zt_device_alloc(d, 1 << 20);
    good = memory && more && memory[1000] == 0;
    for (int i = 0; i < 20 && !p.first && !p.other; i++)
        zt_parallel_for(d, 30, look_at_policy, &p);
    good = good && d->realtime == allowed && lines == (allowed ? 0 : 1);        // warned of once; locking is said quietly
    good = good && (allowed ? p.first > 0 && !p.other : p.other > 0 && !p.first);
    good = good && (allowed ? locked_kib() >= 2048 : locked_kib() == 0);
    zt_device_free(d, memory);
    zt_device_free(d, more);
    zt_device_close(&d);
    return !good;
}

static int in_child(bool allowed)
{
    int status = 0;
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0)
        _exit(child_asks(allowed));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static void test_rights_are_used_or_done_without(void **state)
{
    static char page[2 << 20];
    assert_int_equal(in_child(false), 0);
    if (!zt_thread_may_be_first() || zt_memory_keep(page, sizeof(page)) < 0)
        skip();                             // not those of the other half
    assert_int_equal(in_child(true), 0);
}

static void test_unknown_names_are_one_line_and_einval(void **state)
{
    zt_log_set(count_line, NULL);
    expect_refused(&(zt_device_params){ .device = "abacus" }, -EINVAL);
    expect_refused(&(zt_device_params){ .device = "cuda" }, -ENODEV);
    expect_refused(&(zt_device_params){ .level = "sse9" }, -EINVAL);
    expect_refused(&(zt_device_params){ .threads = 257 }, -EINVAL);
    expect_refused(&(zt_device_params){ .threads = -1 }, -EINVAL);
    setenv("ZOETROPE_KERNELS", "sse9", 1);
    expect_refused(&(zt_device_params){ .device = "cpu" }, -EINVAL);
    setenv("ZOETROPE_KERNELS", "", 1);
    setenv("ZOETROPE_DEVICE", "abacus", 1);
    expect_refused(NULL, -EINVAL);
    unsetenv("ZOETROPE_DEVICE");
    unsetenv("ZOETROPE_KERNELS");
    zt_log_set(NULL, NULL);
}

static void test_the_flag_wins_over_the_environment(void **state)
{
    zt_device *d = NULL;
    setenv("ZOETROPE_KERNELS", "sse9", 1);
    assert_int_equal(zt_device_open(&d, &(zt_device_params){ .level = "c" }), 0);
    unsetenv("ZOETROPE_KERNELS");
    assert_string_equal(d->level, "c");
    assert_ptr_equal(d->k.linear, zt_linear_c);
    assert_true(d->threads >= 1);
    zt_device_close(&d);
    assert_null(d);
    zt_device_close(&d);
    setenv("ZOETROPE_KERNELS", "cuda", 1);              // a GPU's
    assert_int_equal(zt_device_open(&d, &(zt_device_params){ .device = "cpu", .threads = 1 }), 0);
    zt_device_close(&d);
    unsetenv("ZOETROPE_KERNELS");
    zt_log_set(count_line, NULL);
    expect_refused(&(zt_device_params){ .device = "cpu", .level = "cuda" }, -EINVAL);
    zt_log_set(NULL, NULL);
}

static void test_levels_stack_and_are_capped(void **state)
{
    static const zt_kernels low = { .linear = zt_linear_c, .conv = zt_conv_c };
    static const zt_kernels high = { .linear = (zt_linear_fn *)1 }, higher = { .conv = (zt_conv_fn *)2 };
    static const struct zt_kernel_level levels[] = {
        { "low", ZT_HOST, 0, &low }, { "high", ZT_HOST, 1, &high }, { "higher", ZT_HOST, 2, &higher },
        { "other", ZT_CUDA, 0, &high }, { NULL, ZT_HOST, 0, NULL },
    };
    zt_kernels k;
    zt_kernels_select(&k, levels, ZT_HOST, 3, NULL);
    assert_true(k.linear == high.linear && k.conv == higher.conv);
    zt_kernels_select(&k, levels, ZT_HOST, 3, "high");
    assert_true(k.linear == high.linear && k.conv == low.conv);
    zt_kernels_select(&k, levels, ZT_HOST, 2, NULL);        // what cannot run is skipped
    assert_true(k.linear == low.linear && k.conv == higher.conv);
    zt_kernels_select(&k, levels, ZT_HOST, 3, "low");
    assert_true(k.linear == low.linear && k.conv == low.conv);
}

static void test_memory_is_aligned_zeroed_and_scratch_stays(void **state)
{
    zt_device *d = open_device(1);
    char *p = zt_device_alloc(d, 1000);
    assert_int_equal((uintptr_t)p % 256, 0);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(p[i], 0);
    zt_device_free(d, p);

    char *s = zt_scratch(d, 100000);
    assert_int_equal((uintptr_t)s % 64, 0);
    assert_ptr_equal(zt_scratch(d, 10), s);
    assert_ptr_equal(zt_scratch(d, 100000), s);

    zt_log_set(count_line, NULL);
    assert_null(zt_scratch(d, SIZE_MAX / 2));
    assert_int_equal(zt_device_sync(d), -ENOMEM);
    assert_int_equal(zt_device_sync(d), 0);
    zt_log_set(NULL, NULL);
    assert_non_null(zt_scratch(d, 10));
    zt_device_close(&d);
}

enum { ITEMS = 50 };
struct tally {
    atomic_int ran[ITEMS], wrong;
    int        threads;
    int64_t    nap;
};

static void count_item(void *cookie, int i, int thread)
{
    struct tally *t = cookie;
    atomic_fetch_add(&t->ran[i], 1);
    if (thread < 0 || thread >= t->threads)
        atomic_fetch_add(&t->wrong, 1);
    if (t->nap)
        zt_sleep_until(zt_now() + t->nap);
}

// Regions of every size, back to back: a worker that wakes late meets the next one.
static void test_every_item_runs_once(void **state)
{
    static const int threads[] = { 1, 2, 5 };
    for (size_t k = 0; k < ZT_LEN(threads); k++) {
        zt_device *d = open_device(threads[k]);
        for (int r = 0; r < 3000; r++) {
            struct tally t = { .threads = threads[k] };
            const int n = r % (ITEMS + 1);
            zt_parallel_for(d, n, count_item, &t);
            for (int i = 0; i < ITEMS; i++)
                assert_int_equal(t.ran[i], i < n);
            assert_int_equal(t.wrong, 0);
            if (r % 1000 == 999)
                zt_sleep_until(zt_now() + ZT_MS);       // long enough for workers to fall asleep
        }
        zt_device_close(&d);
    }
}

// Each thread's part begins where it did, whatever was asked for meanwhile, and never reaches into the next one.
static void test_each_thread_keeps_its_scratch(void **state)
{
    zt_device *d = open_device(3);
    size_t step, again;
    char *const p = zt_scratch_each(d, 1000, &step);
    assert_non_null(p);
    assert_true(step >= 1000 && step % 64 == 0 && (uintptr_t)p % 64 == 0);
    memset(p, 1, 3 * step);
    assert_ptr_equal(zt_scratch_each(d, 10, &again), p);
    assert_int_equal(again, step);
    assert_non_null(zt_scratch(d, 5000));
    char *const larger = zt_scratch_each(d, 3 * step, &again);
    assert_non_null(larger);
    assert_true(again >= 3 * step);
    memset(larger, 1, 3 * again);
    zt_device_close(&d);
}

struct counts {
    _Atomic uint8_t *ran;
    atomic_int       wrong;
};

static void count_once(void *cookie, int i, int thread)
{
    struct counts *c = cookie;
    (void)thread;
    c->wrong += c->ran[i]++ != 0;
}

// More items than the pool counts one by one.
static void test_many_items_run_once(void **state)
{
    static const int many[] = { 65535, 65536, 131070, 131071, 300000 };
    zt_device *d = open_device(3);
    for (size_t k = 0; k < ZT_LEN(many); k++) {
        struct counts c = { .ran = calloc((size_t)many[k] + 1, 1) };
        assert_non_null(c.ran);
        zt_parallel_for(d, many[k], count_once, &c);
        for (int i = 0; i <= many[k]; i++)
            assert_int_equal(c.ran[i], i < many[k]);
        assert_int_equal(c.wrong, 0);
        free((void *)c.ran);
    }
    zt_device_close(&d);
}

struct lonely {
    zt_device *d;
    atomic_int ran[ITEMS], wrong;
};

// Fills scratch of its own, lets others do the same, and looks whether they did it there.
static void fill_alone(void *cookie, int i, zt_device *alone)
{
    struct lonely *l = cookie;
    unsigned char *const p = zt_scratch(alone, 4096);
    l->ran[i]++;
    if (!p || alone->threads != 1 || alone->k.linear != l->d->k.linear) {
        l->wrong++;
        return;
    }
    memset(p, i, 4096);
    zt_sleep_until(zt_now() + ZT_MS / 4);
    for (int j = 0; j < 4096; j++)
        l->wrong += p[j] != (unsigned char)i;
    if (i == 3)
        alone->error = -EIO;
}

static void test_operations_run_on_one_thread_each(void **state)
{
    static const int threads[] = { 1, 3 };
    for (size_t k = 0; k < ZT_LEN(threads); k++) {
        zt_device *d = open_device(threads[k]);
        struct lonely l = { .d = d };
        zt_parallel_alone(d, ITEMS, fill_alone, &l);
        for (int i = 0; i < ITEMS; i++)
            assert_int_equal(l.ran[i], 1);
        assert_int_equal(l.wrong, 0);
        assert_int_equal(zt_device_sync(d), -EIO);      // a failure is the device's
        assert_int_equal(zt_device_sync(d), 0);
        zt_device_close(&d);
    }
}

// Two items of 60 ms on two threads: one after the other would take 120. On a busy machine not every time.
static void test_sleeping_workers_are_woken(void **state)
{
    zt_device *d = open_device(2);
    int64_t shortest = INT64_MAX;
    for (int i = 0; i < 20 && shortest >= 110 * ZT_MS; i++) {
        zt_sleep_until(zt_now() + 5 * ZT_MS);
        struct tally t = { .threads = 2, .nap = 60 * ZT_MS };
        const int64_t begin = zt_now();
        zt_parallel_for(d, 2, count_item, &t);
        shortest = ZT_MIN(shortest, zt_now() - begin);
    }
    assert_true(shortest < 110 * ZT_MS);
    zt_device_close(&d);
}

static void test_linear_quantises_half_to_even(void **state)
{
    zt_device *d = open_device(1);
    _Alignas(64) uint8_t data[64];          // 16 x 4 in panels
    _Alignas(64) float scale[16] = { 0.5f }, out[1];
    const int8_t w[4] = { 1, 10, 100, -100 };
    float x[4] = { 127, 0.5f, 1.5f, 2.5f };         // s = 1: 127, 0, 2, 2
    assert_int_equal(zt_matrix_bytes(ZT_I8, 1, 4), sizeof(data));
    zt_matrix_clear(data, ZT_I8, 1, 4);
    zt_matrix_pack(data, ZT_I8, 1, 4, w, ZT_I8, 1, 0, 1);
    const zt_matrix m = { ZT_I8, 1, 4, data, scale, NULL };
    d->k.linear(d, zt_tensor_2d(out, ZT_F32, 1, 1), zt_tensor_2d(x, ZT_F32, 1, 4), &m, &(zt_epilogue){ 0 });
    assert_true(out[0] == 0.5f * (127 + 0 + 200 - 200));

    const float gate[2] = { 100, 2 };
    const int32_t row = 1;
    const zt_epilogue e = { .gate = gate, .gate_step = 1, .row = &row };
    d->k.linear(d, zt_tensor_2d(out, ZT_F32, 1, 1), zt_tensor_2d(x, ZT_F32, 1, 4), &m, &e);
    assert_true(out[0] == 63.5f + 2 * 63.5f);
    zt_device_close(&d);
}

static void test_packing_follows_the_layout(void **state)
{
    float src[3 * 3], data[32 * 3];
    for (int i = 0; i < 9; i++)
        src[i] = (float)(i + 1);
    zt_matrix_clear(data, ZT_F32, 17, 3);
    zt_matrix_pack(data, ZT_F32, 17, 3, src, ZT_F32, 3, 14, 1);     // rows 14, 15 and 16
    assert_true(data[0 * 16 + 14] == 1 && data[2 * 16 + 15] == 6);
    assert_true(data[3 * 16 + 1 * 16 + 0] == 8 && data[3 * 16 + 1] == 0);

    uint16_t half[32 * 4];
    zt_matrix_clear(half, ZT_BF16, 32, 3);
    zt_matrix_pack(half, ZT_BF16, 32, 3, src, ZT_F32, 3, 16, 2);    // the second panel
    assert_true(half[0] == 0 && zt_bf16_to_f32(half[2 * 32 + 2 * 2 + 1]) == 8);
    assert_true(zt_bf16_to_f32(half[2 * 32 + 32 + 0]) == 3 && half[2 * 32 + 32 + 1] == 0);
}

// Two weights in a byte, a factor for each group of 64: by the layout in the header, and through every level.
static void test_four_bits_follow_the_layout(void **state)
{
    enum { K = 70, N = 17, G = 2, BLOCKS = 9 };
    static int8_t src[K];
    _Alignas(64) static uint8_t data[32 * BLOCKS * 4], factor[32 * G];
    _Alignas(64) static float scale[32], x[K], out[N];
    assert_int_equal(zt_matrix_bytes(ZT_I4, N, K), sizeof(data));
    assert_int_equal(zt_factor_bytes(N, K), sizeof(factor));
    for (int k = 0; k < K; k++)
        src[k] = (int8_t)(k % 16 - 8);
    zt_matrix_clear(data, ZT_I4, N, K);
    zt_matrix_pack(data, ZT_I4, N, K, src, ZT_I8, 1, 16, 1);        // row 16: the first column of the second panel
    zt_factor_pack(factor, N, K, (const uint8_t[]){ 3, 15 }, 1, 16, 1);
    assert_int_equal(data[0], 0x88);
    assert_int_equal(data[16 * BLOCKS * 4 + 1], 0x51);              // elements 1 and 5, each 8 more
    assert_int_equal(data[16 * BLOCKS * 4 + 16 * 4 + 2], 0xea);     // 10 and 14
    assert_int_equal(factor[16 * G], 3);
    assert_int_equal(factor[16 * G + 16], 15);

    x[1] = 127, x[69] = -127;                                       // weights -7 and -3
    scale[16] = 0.5f;
    static const char *const levels[] = { "c", "avx2", "vnni", "avx512" };
    const zt_matrix m = { ZT_I4, N, K, data, scale, NULL, factor };
    for (size_t i = 0; i < ZT_LEN(levels); i++) {
        zt_device *d = NULL;
        if (zt_device_open(&d, &(zt_device_params){ .level = levels[i], .threads = 1 }) < 0)
            continue;
        d->k.linear(d, zt_tensor_2d(out, ZT_F32, 1, N), zt_tensor_2d(x, ZT_F32, 1, K), &m, &(zt_epilogue){ 0 });
        assert_true(out[15] == 0 && out[16] == 0.5f * (127 * -7 * 3 + 127 * 3 * 15));
        zt_device_close(&d);
    }
}

static void test_colours_are_bt709_limited(void **state)
{
    static const struct {
        float   rgb[3];
        uint8_t yuv[3];
    } known[] = {
        { { -1, -1, -1 }, { 16, 128, 128 } }, { { 1, 1, 1 }, { 235, 128, 128 } }, { { 9, 9, 9 }, { 235, 128, 128 } },
        { { 1, -1, -1 }, { 63, 102, 240 } },  { { -1, 1, -1 }, { 173, 42, 26 } }, { { -1, -1, 1 }, { 32, 240, 118 } },
    };
    zt_device *d = open_device(1);
    for (size_t i = 0; i < ZT_LEN(known); i++) {
        float rgb[3][4];
        uint8_t y[4], u, v;
        for (int c = 0; c < 3; c++) {
            for (int j = 0; j < 4; j++)
                rgb[c][j] = known[i].rgb[c];
        }
        d->k.rgb_to_i420(d, (uint8_t *const[3]){ y, &u, &v }, (const ptrdiff_t[3]){ 2, 1, 1 },
                         zt_tensor_4d(rgb, ZT_F32, 1, 3, 2, 2));
        assert_int_equal(y[3], known[i].yuv[0]);
        assert_int_equal(u, known[i].yuv[1]);
        assert_int_equal(v, known[i].yuv[2]);
    }
    zt_device_close(&d);
}

static void test_experts_tie_to_the_lower_index_and_groups_limit(void **state)
{
    zt_device *d = open_device(1);
    float x[16] = { 1 }, out[16], gates[2], gate_w[4 * 16] = { 0 };
    _Alignas(64) float zero[32 * 16] = { 0 };
    zt_matrix up[4], down[4];
    for (int e = 0; e < 4; e++) {
        up[e] = (zt_matrix){ ZT_F32, 32, 16, zero, NULL, NULL };
        down[e] = (zt_matrix){ ZT_F32, 16, 16, zero, NULL, NULL };
    }
    int32_t topk[2];
    zt_moe w = { .E = 4, .k = 2, .route_scale = 3, .gate_w = gate_w, .up = up, .down = down, .topk = topk,
                 .gates = gates };
    const zt_tensor tx = zt_tensor_2d(x, ZT_F32, 1, 16), to = zt_tensor_2d(out, ZT_F32, 1, 16);
    d->k.moe(d, to, tx, &w, &(zt_epilogue){ 0 });
    assert_true(topk[0] == 0 && topk[1] == 1 && gates[0] == 1.5f && gates[1] == 1.5f);

    // Scores with bias: .5 + (.3, 0 | .2, .2): the first group has the best expert, the second the best pair.
    const float bias[4] = { 0.3f, 0, 0.2f, 0.2f };
    w.gate_b = bias, w.groups = 2, w.limited = 1;
    d->k.moe(d, to, tx, &w, &(zt_epilogue){ 0 });
    assert_true(topk[0] == 2 && topk[1] == 3);
    w.groups = 1;
    d->k.moe(d, to, tx, &w, &(zt_epilogue){ 0 });
    assert_true(topk[0] == 0 && topk[1] == 2 && gates[0] == 1.5f);
    zt_device_close(&d);
}

static void test_attention_averages_what_weighs_the_same(void **state)
{
    zt_device *d = open_device(1);
    _Alignas(64) float k[16 * 16] = { 0 }, v[16 * 16] = { 0 };
    float key[3 * 16], value[3 * 16], q[16], out[16];
    for (int i = 0; i < 48; i++) {
        key[i] = (float)(i % 16);               // three keys alike
        value[i] = (float)(i / 16 * 16);        // 0, 16, 32
    }
    for (int i = 0; i < 16; i++)
        q[i] = 1;
    const zt_kv kv = { ZT_F32, 1, 16, 16, 3, k, v };
    d->k.kv_append(d, &kv, 0, zt_tensor_2d(key, ZT_F32, 3, 16), zt_tensor_2d(value, ZT_F32, 3, 16));
    const zt_span span = { 0, 1, &kv, (const int[]){ 0 }, 1, NULL };
    d->k.attention(d, zt_tensor_2d(out, ZT_F32, 1, 16), zt_tensor_2d(q, ZT_F32, 1, 16), &span, 1);
    for (int i = 0; i < 16; i++)
        assert_true(fabsf(out[i] - 16) < 1e-5f);
    zt_device_close(&d);
}

// As a service manager does it: every sched_setaffinity() is EPERM.
static int forbid_affinity(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sched_setaffinity, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = { ZT_LEN(code), code };
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -1 : prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static void test_threads_start_where_they_cannot_be_placed(void **state)
{
    (void)state;
    int status = 0;
    const pid_t child = fork();
    if (child == 0) {
        zt_device *d = NULL;
        if (forbid_affinity())
            _exit(77);
        _exit(zt_device_open(&d, &(zt_device_params){ .device = "cpu", .threads = 2 }) ? 1 : 0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rights_are_used_or_done_without),
        cmocka_unit_test(test_unknown_names_are_one_line_and_einval),
        cmocka_unit_test(test_the_flag_wins_over_the_environment),
        cmocka_unit_test(test_levels_stack_and_are_capped),
        cmocka_unit_test(test_memory_is_aligned_zeroed_and_scratch_stays),
        cmocka_unit_test(test_every_item_runs_once),
        cmocka_unit_test(test_each_thread_keeps_its_scratch),
        cmocka_unit_test(test_many_items_run_once),
        cmocka_unit_test(test_operations_run_on_one_thread_each),
        cmocka_unit_test(test_sleeping_workers_are_woken),
        cmocka_unit_test(test_threads_start_where_they_cannot_be_placed),
        cmocka_unit_test(test_linear_quantises_half_to_even),
        cmocka_unit_test(test_packing_follows_the_layout),
        cmocka_unit_test(test_four_bits_follow_the_layout),
        cmocka_unit_test(test_colours_are_bt709_limited),
        cmocka_unit_test(test_experts_tie_to_the_lower_index_and_groups_limit),
        cmocka_unit_test(test_attention_averages_what_weighs_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
