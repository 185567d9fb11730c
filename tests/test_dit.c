// SPDX-License-Identifier: Apache-2.0
// The transformer itself, with a plain member of the Wan family: chunks of several frames, odd grids, other precisions.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "diffusion/internal.h"
#include "diffusion/noise.h"

static const char *model_path;

enum { C = 16, FRAMES = 3, TEXT = 5, PLANES = C * 8 * 12 };

// A chunk with its own cache and text.
struct chunk {
    int         frames, h, w, first;
    zt_cache    cache, text;
    zt_frame_in in[FRAMES];
    float       x[FRAMES][PLANES], v[FRAMES][PLANES];
    int         slot[FRAMES];
};

static zt_kv kv_shape(const zt_model *m, enum zt_type type, int valid)
{
    return (zt_kv){ .type = type, .H = m->c.heads, .D = m->c.dim / m->c.heads, .valid = valid };
}

static void chunk_init(struct chunk *k, zt_model *m, uint64_t seed, int frames, int h, int w)
{
    const zt_kv own = kv_shape(m, m->dit.cache_type, h / 2 * (w / 2)), text = kv_shape(m, m->dit.text_type, TEXT);
    *k = (struct chunk){ .frames = frames, .h = h, .w = w, .first = (int)seed };
    assert_int_equal(zt_cache_init(&k->cache, m->d, m->c.layers, &own, 0, FRAMES, FRAMES), 0);
    assert_int_equal(zt_cache_init(&k->text, m->d, m->c.layers, &text, 0, 1, 0), 0);
    float *const rows = calloc(TEXT * (size_t)m->dit.text_dim, sizeof(float));
    zt_noise_fill(rows, TEXT * (size_t)m->dit.text_dim, seed, 0, 1);
    assert_int_equal(zt_dit_text(&m->dit, k->text.kv, rows, TEXT, NULL), 0);
    free(rows);
    for (int i = 0; i < frames; i++) {
        zt_noise_fill(k->x[i], PLANES, seed, (uint64_t)i, 0);
        k->in[i] = (zt_frame_in){ .latent = { k->x[i] }, .t = 900 - 100.0f * (float)i, .v = k->v[i],
                                  .slot = zt_cache_slot(&k->cache, k->first + i) };
    }
}

static void chunk_finish(struct chunk *k, zt_model *m)
{
    zt_cache_finish(&k->cache, m->d);
    zt_cache_finish(&k->text, m->d);
}

static zt_segment segment(struct chunk *k)
{
    for (int i = 0; i < k->frames; i++)
        k->slot[i] = k->in[i].slot;
    return (zt_segment){ .frame = k->in,
                         .frames = k->frames,
                         .h = k->h,
                         .w = k->w,
                         .first = k->first,
                         .kv = k->cache.kv,
                         .text = k->text.kv,
                         .slot = k->slot,
                         .slots = k->frames };
}

static void run(zt_model *m, const zt_segment *s, int n)
{
    assert_int_equal(zt_dit_begin(&m->dit, s, n), 0);
    zt_dit_blocks(&m->dit, 0, m->c.layers);
    zt_dit_end(&m->dit);
}

static void open_both(zt_device **d, zt_model **m, enum zt_precision p)
{
    *d = NULL;
    *m = NULL;
    assert_int_equal(zt_device_open(d, &(zt_device_params){ .device = "cpu", .threads = 2 }), 0);
    assert_int_equal(zt_model_open(m, *d, model_path, p), 0);
}

// Chunks of different sizes, lengths and times in one pass.
static void chunks_packed_equal_chunks_alone(void **state)
{
    for (enum zt_precision p = ZT_PRECISION_F32; p <= ZT_PRECISION_INT8; p++) {
        zt_device *d;
        zt_model *m;
        static struct chunk a, b, c;
        static float v[3][FRAMES][PLANES];
        open_both(&d, &m, p);
        chunk_init(&a, m, 1, 3, 8, 12);
        chunk_init(&b, m, 2, 1, 6, 10);
        chunk_init(&c, m, 3, 2, 2, 6);
        const zt_segment s[3] = { segment(&a), segment(&b), segment(&c) };
        for (int i = 0; i < 3; i++)
            run(m, &s[i], 1);
        memcpy(v[0], a.v, sizeof(a.v));
        memcpy(v[1], b.v, sizeof(b.v));
        memcpy(v[2], c.v, sizeof(c.v));
        run(m, s, 3);
        assert_memory_equal(v[0], a.v, sizeof(a.v));
        assert_memory_equal(v[1], b.v, sizeof(b.v));
        assert_memory_equal(v[2], c.v, sizeof(c.v));
        chunk_finish(&a, m);
        chunk_finish(&b, m);
        chunk_finish(&c, m);
        zt_model_close(&m);
        zt_device_close(&d);
    }
}

// A commit leaves out what nobody needs of the last block; its keys and values are those of a whole pass.
static void commits_leave_the_keys_of_a_whole_pass(void **state)
{
    zt_device *d;
    zt_model *m;
    static struct chunk a, b;
    open_both(&d, &m, ZT_PRECISION_BF16);
    chunk_init(&a, m, 1, 3, 8, 12);
    chunk_init(&b, m, 1, 3, 8, 12);
    zt_segment s = segment(&a);
    run(m, &s, 1);
    s = segment(&b);
    s.commit = true;
    run(m, &s, 1);
    assert_memory_equal(a.cache.memory, b.cache.memory, (size_t)a.cache.bytes);
    assert_true(b.v[0][0] == 0 && b.v[2][PLANES / 2] == 0);
    chunk_finish(&a, m);
    chunk_finish(&b, m);
    zt_model_close(&m);
    zt_device_close(&d);
}

static double distance(enum zt_precision p)
{
    static struct chunk a[2];
    double error = 0, norm = 0;
    for (int i = 0; i < 2; i++) {
        zt_device *d;
        zt_model *m;
        open_both(&d, &m, i ? p : ZT_PRECISION_F32);
        chunk_init(&a[i], m, 1, 3, 8, 12);
        const zt_segment s = segment(&a[i]);
        run(m, &s, 1);
        chunk_finish(&a[i], m);
        zt_model_close(&m);
        zt_device_close(&d);
    }
    for (int i = 0; i < FRAMES * PLANES; i++) {
        const double x = a[0].v[i / PLANES][i % PLANES], y = a[1].v[i / PLANES][i % PLANES];
        error += (y - x) * (y - x);
        norm += x * x;
    }
    return sqrt(error / norm);
}

// bf16 keeps 8 bits and int8 at most as much of a row's largest value; a dozen roundings follow each other. Not zero:
// then nothing was rounded, and the precision asked for was not the one that ran.
static void shorter_arithmetic_stays_close(void **state)
{
    const double bf16 = distance(ZT_PRECISION_BF16), int8 = distance(ZT_PRECISION_INT8);
    assert_true(bf16 > 1e-5 && bf16 < 0.02);
    assert_true(int8 > bf16 && int8 < 0.08);
}

static void window_lists_the_sink_and_the_latest(void **state)
{
    zt_cache c = { .sink = 2, .window = 7, .chunk = 3, .slots = 10 };
    int slot[7];
    assert_int_equal(zt_cache_window(&c, 2, 7, slot), 3);
    assert_int_equal(zt_cache_window(&c, 8, 7, slot), 7);       // 0 1 4 5 6 7 8
    const int expected[7] = { 0, 1, 4, 5, 6, 7, 8 };
    for (int i = 0; i < 7; i++)
        assert_int_equal(slot[i], zt_cache_slot(&c, expected[i]));
    assert_int_equal(zt_cache_window(&c, 100, 1, slot), 5);     // never fewer than the sink and the chunk
    // frames of the next chunk do not lie where this one's window is
    for (int64_t f = 9; f < 200; f += 3) {
        const int n = zt_cache_window(&c, f + 2, 7, slot);
        for (int i = 0; i < n; i++) {
            for (int j = 3; j < 6; j++)
                assert_int_not_equal(slot[i], zt_cache_slot(&c, f + j));
        }
    }
}

int main(int argc, char **argv)
{
    model_path = argc > 1 ? argv[1] : "tests/golden/causal-window-sink";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_packed_equal_chunks_alone),
        cmocka_unit_test(commits_leave_the_keys_of_a_whole_pass),
        cmocka_unit_test(shorter_arithmetic_stays_close),
        cmocka_unit_test(window_lists_the_sink_and_the_latest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
