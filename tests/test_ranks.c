// SPDX-License-Identifier: Apache-2.0
// Several ranks, as threads of this process, make the bits that one makes: by heads, and by blocks.
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "diffusion/dit_ranks.h"
#include "diffusion/internal.h"
#include "diffusion/noise.h"

enum { C = 16, H = 6, W = 10, PLANES = C * H * W, FRAMES = 2, CHUNKS = 3, TEXT = 5, STREAMS = 3, RANKS = 2 };

static const char *model_path;

// One rank: its device, its model, and the streams as it knows them.
struct rank {
    zt_comm   *comm;            // NULL: alone
    bool       by_blocks;
    zt_device *d;
    zt_model  *m;
    zt_cache   cache[STREAMS], text[STREAMS];
    float      v[CHUNKS][STREAMS][FRAMES][PLANES];
};

static void open_rank(struct rank *r)
{
    assert_int_equal(zt_device_open(&r->d, &(zt_device_params){ .device = "cpu", .threads = 1 }), 0);
    assert_int_equal(zt_model_open(&r->m, r->d, model_path, ZT_PRECISION_F32), 0);
    const zt_config *const c = &r->m->c;
    const int shared = r->comm && !r->by_blocks ? r->comm->size : 1;
    const zt_kv own = { .type = r->m->dit.cache_type, .H = c->heads / shared, .D = c->dim / c->heads, .valid = H / 2 * (W / 2) };
    const zt_kv text = { .type = r->m->dit.text_type, .H = c->heads, .D = c->dim / c->heads, .valid = TEXT };
    float *const rows = calloc(TEXT * (size_t)r->m->dit.text_dim, sizeof(float));
    for (int i = 0; i < STREAMS; i++) {
        assert_int_equal(zt_cache_init(&r->cache[i], r->d, c->layers, &own, 0, CHUNKS * FRAMES, 0), 0);
        assert_int_equal(zt_cache_init(&r->text[i], r->d, c->layers, &text, 0, 1, 0), 0);
        zt_noise_fill(rows, TEXT * (size_t)r->m->dit.text_dim, (uint64_t)i, 0, 1);
        assert_int_equal(zt_dit_text(&r->m->dit, r->text[i].kv, rows, TEXT, NULL), 0);
    }
    free(rows);
}

static void close_rank(struct rank *r)
{
    for (int i = 0; i < STREAMS; i++) {
        zt_cache_finish(&r->cache[i], r->d);
        zt_cache_finish(&r->text[i], r->d);
    }
    zt_model_close(&r->m);
    zt_device_close(&r->d);
}

// A chunk of every stream: packed into one pass, or one pass after another through the blocks.
static void run_chunk(struct rank *r, zt_ranks *ranks, int chunk)
{
    static _Thread_local float x[STREAMS][FRAMES][PLANES];
    zt_frame_in in[STREAMS][FRAMES] = { 0 };
    zt_segment segment[STREAMS];
    int slot[STREAMS][CHUNKS * FRAMES];
    for (int i = 0; i < STREAMS; i++) {
        for (int j = 0; j < FRAMES; j++) {
            const int frame = chunk * FRAMES + j;
            zt_noise_fill(x[i][j], PLANES, (uint64_t)i, (uint64_t)frame, 0);
            in[i][j] = (zt_frame_in){ .latent = { x[i][j] }, .t = 900 - 200.0f * (float)i, .v = r->v[chunk][i][j],
                                      .slot = zt_cache_slot(&r->cache[i], frame) };
        }
        const int slots = zt_cache_window(&r->cache[i], chunk * FRAMES + FRAMES - 1, CHUNKS * FRAMES, slot[i]);
        segment[i] = (zt_segment){ .frame = in[i], .frames = FRAMES, .h = H, .w = W, .first = chunk * FRAMES, .kv = r->cache[i].kv,
                                   .text = r->text[i].kv, .slot = slot[i], .slots = slots };
    }
    zt_dit *const t = &r->m->dit;
    if (r->comm && r->by_blocks) {
        assert_int_equal(zt_ranks_pipeline(ranks, segment, STREAMS), 0);
        return;
    }
    assert_int_equal(zt_dit_begin(t, segment, STREAMS), 0);
    if (r->comm)
        assert_int_equal(zt_ranks_blocks(ranks), 0);
    else
        zt_dit_blocks(t, 0, t->c->layers);
    zt_dit_end(t);
}

static void *run_rank(void *cookie)
{
    struct rank *const r = cookie;
    zt_ranks ranks = { 0 };
    open_rank(r);
    if (r->comm)
        assert_int_equal(zt_ranks_open(&ranks, &r->m->dit, r->comm), 0);
    for (int chunk = 0; chunk < CHUNKS; chunk++)
        run_chunk(r, &ranks, chunk);
    assert_int_equal(zt_device_sync(r->d), 0);
    if (r->comm) {
        zt_ranks_finish(&ranks);
        r->comm->close(r->comm);
    }
    close_rank(r);
    return NULL;
}

static void compare(bool by_blocks)
{
    static struct rank alone, rank[RANKS];
    zt_comm *comm[RANKS];
    pthread_t thread[RANKS];
    memset(&alone, 0, sizeof(alone));
    memset(rank, 0, sizeof(rank));
    run_rank(&alone);
    assert_int_equal(zt_comm_threads(comm, RANKS), 0);
    for (int i = 0; i < RANKS; i++) {
        rank[i].comm = comm[i];
        rank[i].by_blocks = by_blocks;
        assert_int_equal(pthread_create(&thread[i], NULL, run_rank, &rank[i]), 0);
    }
    for (int i = 0; i < RANKS; i++)
        pthread_join(thread[i], NULL);
    float largest = 0;
    for (int i = 0; i < PLANES; i++)
        largest = fmaxf(largest, fabsf(alone.v[CHUNKS - 1][0][0][i]));
    assert_true(largest > 0.01f && isfinite(largest));
    assert_memory_equal(rank[RANKS - 1].v, alone.v, sizeof(alone.v));
    if (!by_blocks)
        assert_memory_equal(rank[0].v, alone.v, sizeof(alone.v));
}

static void test_heads_shared_by_ranks_make_the_same_bits(void **state)
{
    compare(false);
}

static void test_blocks_shared_by_ranks_make_the_same_bits(void **state)
{
    compare(true);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heads_shared_by_ranks_make_the_same_bits),
        cmocka_unit_test(test_blocks_shared_by_ranks_make_the_same_bits),
    };
    model_path = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
