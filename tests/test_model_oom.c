// SPDX-License-Identifier: Apache-2.0
// Every allocation of opening a model and a state, and of each reader of weights, fails once: -ENOMEM, nothing lost, nothing
// touched.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/log.h"
#include "diffusion/model.h"
#include "diffusion/weights.h"
#include "tests/small_model.h"

static long countdown = -1;     // allocations until the one that fails; -1: none does
static long live;               // blocks

static int fails(void)
{
    if (countdown < 0 || countdown-- > 0)
        return 0;
    errno = ENOMEM;
    return 1;
}

// glibc's own; those below stand in front of them for the whole program.
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t alignment, size_t n);
void  __libc_free(void *p);
#define EVERYWHERE __attribute__((visibility("default")))      // the C library's calls come here, too
EVERYWHERE void *malloc(size_t n);
EVERYWHERE void *calloc(size_t n, size_t size);
EVERYWHERE void *realloc(void *p, size_t n);
EVERYWHERE void *aligned_alloc(size_t alignment, size_t n);
EVERYWHERE int   posix_memalign(void **out, size_t alignment, size_t n);
EVERYWHERE void  free(void *p);

static void *counted(void *p)
{
    live += p != NULL;
    return p;
}

void *malloc(size_t n)
{
    return fails() ? NULL : counted(__libc_malloc(n));
}

void *calloc(size_t n, size_t size)
{
    return fails() ? NULL : counted(__libc_calloc(n, size));
}

void *realloc(void *p, size_t n)
{
    if (fails())
        return NULL;
    void *const q = __libc_realloc(p, n);
    live += q && !p;
    return q;
}

void *aligned_alloc(size_t alignment, size_t n)
{
    return fails() ? NULL : counted(__libc_memalign(alignment, n));
}

int posix_memalign(void **out, size_t alignment, size_t n)
{
    void *const p = fails() ? NULL : counted(__libc_memalign(alignment, n));
    if (p)
        *out = p;
    return p ? 0 : ENOMEM;
}

void free(void *p)
{
    live -= p != NULL;
    __libc_free(p);
}

static char *folder;
static const char *cases;

static void quiet(void *cookie, enum zt_level level, const char *line)
{
}

// Opens, makes a frame, closes; the first error.
static int use(void *what)
{
    zt_device *const d = what;
    zt_model *m = NULL;
    zt_state *s = NULL;
    int err = zt_model_open(&m, d, folder, ZT_PRECISION_DEFAULT);
    if (!err)
        err = zt_state_create(&s, m, 0, 0, 1);
    if (!err) {
        const zt_job job = { s, ZT_DENOISE, 1000, 0 };
        zt_state_begin(s);
        err = zt_model_pass(m, &job, 1, 0, zt_model_get_info(m)->layers);
    }
    zt_state_destroy(&s);
    zt_model_close(&m);
    return err;
}

typedef int use_fn(void *what);

// Calls it until no allocation is left that could fail; how often it failed.
static int fail_each(use_fn *fn, void *what)
{
    const long before = live;
    int failures = 0;
    for (long n = 0;; n++) {
        countdown = n;
        const int err = fn(what);
        const int reached = countdown < 0;
        countdown = -1;
        assert_int_equal(live, before);
        if (!reached)
            return failures;
        // what the C library asks for itself (a stdio buffer) it can do without
        if (err != -ENOMEM && err != 0)
            fail_msg("allocation %ld: %d", n, err);
        failures += err != 0;
    }
}

static void every_allocation_may_fail(void **state)
{
    zt_device *d = NULL;
    assert_int_equal(zt_device_open(&d, &(zt_device_params){ .device = "cpu", .threads = 2 }), 0);
    assert_int_equal(use(d), 0);                // the device's own scratch grows now, not below
    assert_true(fail_each(use, d) > 8);
    zt_device_close(&d);
}

struct bytes {
    void  *p;
    size_t n;
};

static int parse(void *what)
{
    const struct bytes *const b = what;
    zt_weights *w = NULL;
    const int err = zt_weights_parse(&w, b->p, b->n, "test");
    zt_weights_close(&w);
    return err;
}

static void every_allocation_of_a_reader_may_fail(void **state)
{
    static const char *const names[] = { "diffusion_pytorch_model.safetensors", "self_forcing.pt", "tiny.gguf" };
    for (size_t i = 0; i < ZT_LEN(names); i++) {
        char path[1024];
        struct bytes b;
        snprintf(path, sizeof(path), "%s/00-control/%s", cases, names[i]);
        assert_int_equal(zt_file_read(&b.p, &b.n, path, 1 << 20), 0);
        assert_int_equal(parse(&b), 0);
        assert_true(fail_each(parse, &b) > 4);
        free(b.p);
    }
}

int main(int argc, char **argv)
{
    folder = small_model(argc > 1 ? argv[1] : "make_model", "--quant int8 --ground 1");
    cases = argc > 2 ? argv[2] : "tests/malformed";
    zt_log_set(quiet, NULL);
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_allocation_may_fail),
                                        cmocka_unit_test(every_allocation_of_a_reader_may_fail) };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    small_model_remove(folder);
    return failed;
}
