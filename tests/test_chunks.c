// SPDX-License-Identifier: Apache-2.0
// Streams of chunks of several latents: what a state does in merged passes on its ring equals plain passes on a cache that
// keeps everything, bit for bit; so does the cache that a new prompt computes again.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "diffusion/internal.h"
#include "diffusion/noise.h"
#include "tests/small_model.h"

enum { F = 3, WINDOW = 9, SINK = 3, RECACHE = 6, CHUNKS = 6, STEPS = 2, SWITCH = 4, ALL = 64 };

static const char *make_model;
static char *folder, *compressed;

// A stream without ring or merged passes: one slot for every frame there will be.
struct plain {
    zt_model *m;
    zt_cache  cache;
    struct zt_text *text;               // borrowed from a state that was given the prompt
    float    *x, *v, *x0[CHUNKS];       // [F][C][h][w]
    size_t    plane;
    int       h, w;
};

// Runs frames [chunk F, chunk F + F) of `latents` at t; they see the sink and the frames from `from` on.
static void plain_pass(struct plain *p, int chunk, const float *latents, float t, float t_next, int from)
{
    static const float no_controls[ZT_MAX_CONTROLS];
    zt_frame_in in[F] = { 0 };
    int slot[ALL], n = 0;
    for (int j = 0; j < F; j++)
        in[j] = (zt_frame_in){ .latent = { latents + (size_t)j * p->plane }, .t = t, .t_next = t_next, .control = no_controls,
                               .slot = chunk * F + j, .v = p->v + (size_t)j * p->plane };
    for (int f = 0; f < (chunk + 1) * F; f++)
        if (f < SINK || f >= from)
            slot[n++] = f;
    const zt_segment s = { .frame = in, .frames = F, .h = p->h, .w = p->w, .first = chunk * F, .kv = p->cache.kv,
                           .text = p->text->cache[0].kv, .slot = slot, .slots = n };
    assert_int_equal(zt_dit_begin(&p->m->dit, &s, 1), 0);
    zt_dit_blocks(&p->m->dit, 0, p->m->c.layers);
    zt_dit_end(&p->m->dit);
}

static int window_start(int chunk)
{
    return (chunk + 1) * F - (WINDOW - SINK);
}

// Chunk k denoised in STEPS steps of renoising, then committed.
static void plain_chunk(struct plain *p, int k, uint64_t seed, bool again)
{
    const size_t n = F * p->plane;
    float t[STEPS + 1] = { 0 };
    if (again) {                        // a new prompt: the span of RECACHE frames, chunk after chunk
        const int first = ZT_MAX(k - RECACHE / F, SINK / F);
        for (int c = first; c < k; c++)
            plain_pass(p, c, p->x0[c], 0, 0, first * F);
    }
    zt_model_steps(p->m, STEPS, t);
    zt_noise_fill(p->x, n, seed, (uint64_t)k, 0);
    for (int i = 0; i < STEPS; i++) {
        const float sigma = t[i] / 1000, next = t[i + 1] / 1000;
        plain_pass(p, k, p->x, t[i], t[i + 1], window_start(k));
        const zt_tensor x = zt_tensor_2d(p->x, ZT_F32, 1, (int)n), v = zt_tensor_2d(p->v, ZT_F32, 1, (int)n);
        const zt_tensor x0 = zt_tensor_2d(p->x0[k], ZT_F32, 1, (int)n);
        p->m->d->k.combine(p->m->d, x0, 1, x, -sigma, v);
        zt_noise_fill(p->v, n, seed, (uint64_t)k, (uint32_t)i + 1);
        if (next > 0)
            p->m->d->k.combine(p->m->d, x, 1 - next, x0, next, v);
    }
    plain_pass(p, k, p->x0[k], 0, 0, window_start(k));
}

static void plain_init(struct plain *p, zt_model *m, const zt_state *like)
{
    const zt_kv kv = { .type = m->dit.cache_type, .H = m->c.heads, .D = m->c.dim / m->c.heads,
                       .valid = like->lw / 2 * (like->lh / 2) };
    *p = (struct plain){ .m = m, .h = like->lh, .w = like->lw,
                         .plane = (size_t)m->c.out_dim * (size_t)(like->lw * like->lh) };
    assert_int_equal(zt_cache_init(&p->cache, m->d, m->c.layers, &kv, 0, ALL, 0), 0);
    float *const all = calloc((CHUNKS + 2) * F, p->plane * sizeof(float));
    assert_non_null(all);
    p->x = all;
    p->v = all + F * p->plane;
    for (int i = 0; i < CHUNKS; i++)
        p->x0[i] = all + (size_t)(i + 2) * F * p->plane;
}

static void plain_finish(struct plain *p)
{
    zt_cache_finish(&p->cache, p->m->d);
    free(p->x);
}

static void state_chunk(zt_model *m, zt_state *s, bool merged)
{
    float t[STEPS + 1] = { 0 };
    const bool first = zt_state_frame(s) == 0;
    if (!first && !merged) {
        const zt_job job = { s, ZT_COMMIT, 0, 0 };
        assert_int_equal(zt_model_pass(m, &job, 1, 0, m->c.layers), 0);
    }
    zt_state_begin(s);
    zt_model_steps(m, STEPS, t);
    for (int i = 0; i < STEPS; i++) {
        const zt_job job = { s, i == 0 && !first && merged ? ZT_COMMIT_DENOISE : ZT_DENOISE, t[i], t[i + 1] };
        assert_int_equal(zt_model_pass(m, &job, 1, 0, m->c.layers), 0);
    }
}

// One stream each way; the prompt changes before chunk SWITCH.
static void check_stream(const char *level, enum zt_precision precision, bool merged)
{
    zt_device *d = NULL;
    zt_model *m = NULL;
    zt_state *s = NULL;
    struct plain p;
    if (zt_device_open(&d, &(zt_device_params){ .device = "cpu", .level = level, .threads = 1 }) < 0)
        return;
    assert_int_equal(zt_model_open(&m, d, folder, precision), 0);
    assert_int_equal(m->c.chunk_frames, F);
    assert_int_equal(zt_state_create(&s, m, 0, 0, 9), 0);
    plain_init(&p, m, s);
    zt_state_prompt(s, "snow at night", NULL, 0);
    for (int k = 0; k < CHUNKS; k++) {
        if (k == SWITCH)
            zt_state_prompt(s, "desert at noon", NULL, 0);
        state_chunk(m, s, merged);
        p.text = &s->text[s->now.text];
        plain_chunk(&p, k, 9, k == SWITCH);
        assert_memory_equal(zt_state_x0(s).data, p.x0[k], F * p.plane * sizeof(float));
    }
    plain_finish(&p);
    zt_state_destroy(&s);
    zt_model_close(&m);
    zt_device_close(&d);
}

static void a_state_equals_plain_passes_on_a_whole_cache(void **state)
{
    static const char *const levels[] = { "c", "avx2", "avx512" };
    (void)state;
    for (size_t i = 0; i < ZT_LEN(levels); i++) {
        check_stream(levels[i], ZT_PRECISION_F32, true);
        check_stream(levels[i], ZT_PRECISION_INT8, false);
    }
}

// The frames after a switch are those of a stream that always had the new prompt's keys in its window, not of the old one.
static void a_new_prompt_reaches_the_window(void **state)
{
    zt_device *d = NULL;
    zt_model *m = NULL;
    float *end[2];
    (void)state;
    assert_int_equal(zt_device_open(&d, &(zt_device_params){ .device = "cpu", .threads = 1 }), 0);
    assert_int_equal(zt_model_open(&m, d, folder, ZT_PRECISION_F32), 0);
    for (int again = 0; again < 2; again++) {
        zt_state *s = NULL;
        m->c.recache_frames = again ? RECACHE : 0;
        assert_int_equal(zt_state_create(&s, m, 0, 0, 9), 0);
        for (int k = 0; k <= SWITCH; k++) {
            if (k == SWITCH)
                zt_state_prompt(s, "desert at noon", NULL, 0);
            state_chunk(m, s, true);
        }
        const zt_tensor x = zt_state_x0(s);
        const size_t n = (size_t)(x.n[0] * x.step[0]);
        end[again] = calloc(n, sizeof(float));
        memcpy(end[again], x.data, n * sizeof(float));
        if (again)
            assert_memory_not_equal(end[0], end[1], n * sizeof(float));
        zt_state_destroy(&s);
    }
    free(end[0]);
    free(end[1]);
    zt_model_close(&m);
    zt_device_close(&d);
}

// Blocks that compress the past: commits merged into the next pass, commits alone, and passes that are thrown away give the
// same frames; and what came before counts.
static void compressed_pasts_are_kept_by_commits_alone(void **state)
{
    static const enum zt_precision precisions[] = { ZT_PRECISION_F32, ZT_PRECISION_BF16, ZT_PRECISION_INT8 };
    (void)state;
    for (int i = 0; i < 3; i++) {
        zt_device *d = NULL;
        zt_model *m = NULL;
        zt_state *s[4] = { NULL };
        assert_int_equal(zt_device_open(&d, &(zt_device_params){ .device = "cpu", .threads = 1 + i % 2 }), 0);
        assert_int_equal(zt_model_open(&m, d, compressed, precisions[i]), 0);
        assert_int_equal(m->dit.plain, 1);
        assert_int_equal(m->dit.others, 2);
        for (int j = 0; j < 4; j++)
            assert_int_equal(zt_state_create(&s[j], m, 0, 0, j < 3 ? 4 : 5), 0);
        for (int k = 0; k < CHUNKS; k++) {              // past the window of three chunks
            for (int j = 0; j < 4; j++)
                state_chunk(m, s[j], j != 1);
            const zt_job again = { s[2], ZT_DENOISE, 500, 250 };        // an estimate that nobody keeps
            float *const x = zt_state_x0(s[2]).data;
            const size_t bytes = (size_t)zt_state_x0(s[2]).step[0] * F * sizeof(float);
            float *const copy = malloc(bytes);
            memcpy(copy, x, bytes);
            assert_int_equal(zt_model_pass(m, &again, 1, 0, m->c.layers), 0);
            assert_memory_not_equal(copy, zt_state_x0(s[2]).data, bytes);
            zt_state_put(s[2], copy);
            free(copy);
            assert_memory_equal(zt_state_x0(s[0]).data, zt_state_x0(s[1]).data, bytes);
            assert_memory_equal(zt_state_x0(s[0]).data, zt_state_x0(s[2]).data, bytes);
        }
        // another past, the same noise: the last chunk of stream 3 differs when its past is that of another seed
        s[3]->seed = 4;
        state_chunk(m, s[0], true);
        state_chunk(m, s[3], true);
        assert_memory_not_equal(zt_state_x0(s[0]).data, zt_state_x0(s[3]).data,
                                (size_t)zt_state_x0(s[0]).step[0] * sizeof(float));
        assert_int_equal(zt_device_sync(d), 0);
        for (int j = 0; j < 4; j++)
            zt_state_destroy(&s[j]);
        zt_model_close(&m);
        zt_device_close(&d);
    }
}

static void a_chunk_becomes_as_many_pictures(void **state)
{
    zt_device *d = NULL;
    zt_model *m = NULL;
    zt_state *s = NULL;
    (void)state;
    assert_int_equal(zt_device_open(&d, &(zt_device_params){ .device = "cpu", .threads = 1 }), 0);
    assert_int_equal(zt_model_open(&m, d, folder, ZT_PRECISION_F32), 0);
    assert_int_equal(zt_state_create(&s, m, 0, 0, 1), 0);
    const size_t picture = (size_t)3 * (size_t)s->w * (size_t)s->h;
    float *const rgb = calloc(F * picture, sizeof(float));
    state_chunk(m, s, true);
    zt_state_decode(s, zt_tensor_4d(rgb, ZT_F32, F, 3, s->h, s->w));
    for (int i = 1; i < F; i++)
        assert_memory_not_equal(rgb, rgb + (size_t)i * picture, picture * sizeof(float));
    free(rgb);
    zt_state_destroy(&s);
    zt_model_close(&m);
    zt_device_close(&d);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_state_equals_plain_passes_on_a_whole_cache),
        cmocka_unit_test(a_new_prompt_reaches_the_window),
        cmocka_unit_test(compressed_pasts_are_kept_by_commits_alone),
        cmocka_unit_test(a_chunk_becomes_as_many_pictures),
    };
    char flags[160];
    make_model = argc > 1 ? argv[1] : "build/tools/make_model";
    snprintf(flags, sizeof(flags), "--quant f32 --sampler renoise --chunk %d --window %d --sink %d --recache %d", F, WINDOW, SINK,
             RECACHE);
    folder = small_model(make_model, flags);
    snprintf(flags, sizeof(flags), "--quant f32 --sampler renoise --chunk %d --window %d --layers 3 --blocks mla,mamba2,plain", F,
             WINDOW);
    compressed = small_model(make_model, flags);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    small_model_remove(folder);
    small_model_remove(compressed);
    return failed;
}
