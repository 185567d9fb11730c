// SPDX-License-Identifier: Apache-2.0
// Undistilled Wan models in streams: guidance and UniPC follow the published formulas, and of two transformers each does the
// steps on its side of the boundary, bit for bit as it would alone.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/log.h"
#include "diffusion/internal.h"
#include "diffusion/noise.h"
#include "tests/small_model.h"

enum { F = 3, WINDOW = 9, SINK = 3, CHUNKS = 4, STEPS = 7, ALL = 64 };

static const char *make_model;
static zt_device *device;

// ---- a stream by the book: everything kept, nothing merged, the sampler in double ----

struct book {
    zt_model *m;
    zt_cache  cache[2];                 // with the prompt, with the negative one
    const struct zt_text *text[2];
    size_t    plane;                    // of a latent
    int       h, w;
    float    *x, *v[2];                 // [F][C][h][w]
    double   *now, *from, *m0, *m1;
};

static void book_pass(struct book *b, int side, int chunk, const float *latents, float t)
{
    static const float no_controls[ZT_MAX_CONTROLS];
    zt_frame_in in[F] = { 0 };
    int slot[ALL], n = 0;
    for (int j = 0; j < F; j++)
        in[j] = (zt_frame_in){ .latent = { latents + (size_t)j * b->plane }, .t = t, .control = no_controls,
                               .slot = chunk * F + j, .v = b->v[side] + (size_t)j * b->plane };
    for (int f = 0; f < (chunk + 1) * F; f++)
        if (f < SINK || f >= (chunk + 1) * F - (WINDOW - SINK))
            slot[n++] = f;
    const zt_segment s = { .frame = in, .frames = F, .h = b->h, .w = b->w, .first = chunk * F, .kv = b->cache[side].kv,
                           .text = b->text[side]->cache[0].kv, .slot = slot, .slots = n };
    assert_int_equal(zt_dit_begin(&b->m->dit, &s, 1), 0);
    zt_dit_blocks(&b->m->dit, 0, b->m->c.layers);
    zt_dit_end(&b->m->dit);
}

static double lambda(double sigma)
{
    return log(1 - sigma) - log(sigma);
}

// One step of UniPC, order 2, from level i: velocity v. sigma has n + 1 levels.
static void book_step(struct book *b, const double *sigma, int i, int n, const double *v)
{
    const size_t N = F * b->plane;
    for (size_t j = 0; j < N; j++) {
        const double m = b->now[j] - sigma[i] * v[j];
        double x = b->now[j];
        if (i > 0) {                    // corrector
            const double h = lambda(sigma[i]) - lambda(sigma[i - 1]), hh = -h, B = exp(hh) - 1;
            double sum = 0.5 * (m - b->m0[j]);
            if (i > 1) {
                const double r = (lambda(sigma[i - 2]) - lambda(sigma[i - 1])) / h;
                const double b1 = (B / hh - 1) / B, b2 = 2 * ((B / hh - 1) / hh - 0.5) / B, rho = (b1 - b2) / (1 - r);
                sum = rho * (b->m1[j] - b->m0[j]) / r + (b1 - rho) * (m - b->m0[j]);
            }
            x = sigma[i] / sigma[i - 1] * b->from[j] - (1 - sigma[i]) * B * (b->m0[j] + sum);
        }
        b->m1[j] = b->m0[j];
        b->m0[j] = m;
        b->from[j] = x;
        if (i == n - 1) {               // to 0
            b->now[j] = m;
            continue;
        }
        const double h = lambda(sigma[i + 1]) - lambda(sigma[i]), B = exp(-h) - 1;
        const double d = i > 0 ? (b->m1[j] - m) / ((lambda(sigma[i - 1]) - lambda(sigma[i])) / h) : 0;
        b->now[j] = sigma[i + 1] / sigma[i] * x - (1 - sigma[i + 1]) * B * (m + 0.5 * d);
    }
}

static void book_chunk(struct book *b, int k, uint64_t seed)
{
    const size_t N = F * b->plane;
    double sigma[STEPS + 1] = { 0 }, *const v = calloc(N, sizeof(*v));
    for (int i = 0; i < STEPS; i++) {
        const double u = 0.999 * (STEPS - i) / STEPS;
        sigma[i] = b->m->c.shift * u / (1 + (b->m->c.shift - 1) * u);
    }
    zt_noise_fill(b->x, N, seed, (uint64_t)k, 0);
    for (size_t j = 0; j < N; j++)
        b->now[j] = b->x[j];
    for (int i = 0; i < STEPS; i++) {
        for (size_t j = 0; j < N; j++)
            b->x[j] = (float)b->now[j];
        for (int side = 0; side < 2; side++)
            book_pass(b, side, k, b->x, (float)floor(1000 * sigma[i]));
        for (size_t j = 0; j < N; j++)
            v[j] = b->v[1][j] + b->m->c.guidance * ((double)b->v[0][j] - b->v[1][j]);
        book_step(b, sigma, i, STEPS, v);
    }
    for (size_t j = 0; j < N; j++)
        b->x[j] = (float)b->now[j];
    for (int side = 0; side < 2; side++)
        book_pass(b, side, k, b->x, 0);
    free(v);
}

static void book_init(struct book *b, zt_model *m, const zt_state *like)
{
    const zt_kv kv = { .type = m->dit.cache_type, .H = m->c.heads, .D = m->c.dim / m->c.heads,
                       .valid = like->lw / 2 * (like->lh / 2) };
    *b = (struct book){ .m = m, .h = like->lh, .w = like->lw, .plane = (size_t)m->c.out_dim * (size_t)(like->lw * like->lh) };
    const size_t n = F * b->plane;
    for (int i = 0; i < 2; i++)
        assert_int_equal(zt_cache_init(&b->cache[i], m->d, m->c.layers, &kv, 0, ALL, 0), 0);
    b->x = calloc(3 * n, sizeof(float));
    b->now = calloc(4 * n, sizeof(double));
    assert_true(b->x && b->now);
    b->v[0] = b->x + n, b->v[1] = b->v[0] + n;
    b->from = b->now + n, b->m0 = b->from + n, b->m1 = b->m0 + n;
}

static void book_finish(struct book *b)
{
    for (int i = 0; i < 2; i++)
        zt_cache_finish(&b->cache[i], b->m->d);
    free(b->x);
    free(b->now);
}

// ---- models ----

// In FOLDER/config.json: the sampler and what goes with it.
static void set_sampler(const char *folder, const char *sampler, const char *more)
{
    char command[1024];
    snprintf(command, sizeof(command), "sed -i 's/\"sampler\": \"[a-z]*\", \"shift\": 3.0, \"step_embed\": true/\"sampler\": \"%s\"%s/' "
             "%s/config.json", sampler, more, folder);
    assert_int_equal(system(command), 0);
}

static char *wan_model(int seed, const char *more)
{
    char flags[200];
    snprintf(flags, sizeof(flags), "--quant f32 --ffn 96 --sampler euler --chunk %d --window %d --sink %d --seed %d %s", F, WINDOW,
             SINK, seed, more);
    return small_model(make_model, flags);
}

static zt_model *open_model(const char *path)
{
    zt_model *m = NULL;
    assert_int_equal(zt_model_open(&m, device, path, ZT_PRECISION_F32), 0);
    return m;
}

static void run(zt_model *m, zt_state *s, enum zt_pass pass, float t, float next)
{
    assert_int_equal(zt_model_pass(m, &(zt_job){ s, pass, t, next }, 1, 0, m->c.layers), 0);
}

static void stream_chunk(zt_model *m, zt_state *s)
{
    float t[STEPS + 1] = { 0 };
    const bool first = zt_state_frame(s) == 0;
    zt_state_begin(s);
    zt_model_steps(m, STEPS, t);
    for (int i = 0; i < STEPS; i++)
        run(m, s, i == 0 && !first ? ZT_COMMIT_DENOISE : ZT_DENOISE, t[i], t[i + 1]);
}

static double distance(const float *a, const float *b, size_t n)
{
    double e = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        e += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        norm += (double)b[i] * b[i];
    }
    return sqrt(e / norm);
}

static void a_guided_unipc_stream_follows_the_formulas(void **state)
{
    char *const folder = wan_model(3, "");
    (void)state;
    set_sampler(folder, "unipc", ", \"guidance\": 4.5, \"negative_prompt\": \"desert at noon\"");
    zt_model *m = open_model(folder);
    zt_state *s = NULL;
    struct book b;
    assert_int_equal(m->sides, 2);
    assert_int_equal(zt_state_create(&s, m, 0, 0, 9), 0);
    book_init(&b, m, s);
    for (int k = 0; k < CHUNKS; k++) {
        zt_state_prompt(s, k < 2 ? "snow at night" : "islands in fog", NULL, 0);
        stream_chunk(m, s);
        b.text[0] = &s->text[s->now.text];
        b.text[1] = &s->negative;
        book_chunk(&b, k, 9);
        // levels are floats there (2^-24 of each, more of 1 - sigma), as are latents between steps: 4e-7 was seen
        const double far = distance(zt_state_x0(s).data, b.x, F * b.plane);
        if (far > 2e-6)
            fail_msg("chunk %d: %g from the formulas", k, far);
    }
    zt_state_destroy(&s);
    book_finish(&b);
    zt_model_close(&m);
    small_model_remove(folder);
}

// Guidance 1 is none, and the negative prompt counts when there is some.
static void guidance_counts(void **state)
{
    static const char *const more[] = { "", ", \"guidance\": 1, \"negative_prompt\": \"desert\"", ", \"guidance\": 3",
                                        ", \"guidance\": 3, \"negative_prompt\": \"desert\"" };
    float *x[4];
    size_t bytes = 0;
    (void)state;
    for (int i = 0; i < 4; i++) {
        char *const folder = wan_model(3, "");
        set_sampler(folder, "euler", more[i]);
        zt_model *m = open_model(folder);
        zt_state *s = NULL;
        assert_int_equal(m->sides, i < 2 ? 1 : 2);
        assert_int_equal(zt_state_create(&s, m, 0, 0, 9), 0);
        assert_true(m->info.state_bytes > 0 && zt_state_bytes(m, s->w, s->h) == m->info.state_bytes);
        zt_state_prompt(s, "snow at night", NULL, 0);
        stream_chunk(m, s);
        stream_chunk(m, s);
        bytes = zt_state_floats(s) * sizeof(float);
        x[i] = malloc(bytes);
        memcpy(x[i], zt_state_x0(s).data, bytes);
        zt_state_destroy(&s);
        zt_model_close(&m);
        small_model_remove(folder);
    }
    assert_memory_equal(x[0], x[1], bytes);
    assert_memory_not_equal(x[0], x[2], bytes);
    assert_memory_not_equal(x[2], x[3], bytes);
    for (int i = 0; i < 4; i++)
        free(x[i]);
}

// ---- two transformers ----

struct pair {
    char root[64];
    char *folder[2];                    // low noise, high noise
    zt_model *m[3];                     // each alone, both
    zt_text_encoder own;                // of the high one, which reads like the other
};

// A directory as `names` lay it out.
static void pair_make(struct pair *p, const char *low, const char *high)
{
    char command[512];
    strcpy(p->root, "/tmp/zt-pair-XXXXXX");
    assert_non_null(mkdtemp(p->root));
    for (int i = 0; i < 2; i++) {
        p->folder[i] = wan_model(20 + i, "");
        set_sampler(p->folder[i], "euler", i ? "" : ", \"shift\": 5");
        snprintf(command, sizeof(command), "ln -s %s %s/%s", p->folder[i], p->root, i ? high : low);
        assert_int_equal(system(command), 0);
    }
}

static void pair_open(struct pair *p)
{
    for (int j = 0; j < 3; j++)
        p->m[j] = open_model(j < 2 ? p->folder[j] : p->root);
    p->own = p->m[1]->text;
    p->m[1]->text = p->m[0]->text;
}

static void pair_close(struct pair *p)
{
    p->m[1]->text = p->own;
    for (int j = 0; j < 3; j++)
        zt_model_close(&p->m[j]);
}

static void pair_remove(struct pair *p)
{
    char command[128];
    small_model_remove(p->folder[0]);
    small_model_remove(p->folder[1]);
    snprintf(command, sizeof(command), "rm -r %s", p->root);
    assert_int_equal(system(command), 0);
}

// On either side of the boundary, and on it, a pass is that of the transformer that does it.
static void a_pass_is_that_of_the_transformer_of_its_noise(void **state)
{
    static const float times[] = { 1000, 880, 875, 874.99f, 400 };
    struct pair p;
    (void)state;
    pair_make(&p, "low_noise_model", "high_noise_model");
    pair_open(&p);
    zt_model *const *const m = p.m;
    assert_int_equal(m[2]->nets, 2);
    for (size_t i = 0; i < ZT_LEN(times); i++) {
        zt_state *s[3] = { NULL };
        for (int j = 0; j < 3; j++) {
            assert_int_equal(zt_state_create(&s[j], m[j], 0, 0, 5), 0);
            zt_state_prompt(s[j], "snow at night", NULL, 0);
            zt_state_begin(s[j]);
            run(m[j], s[j], ZT_DENOISE, times[i], 300);
        }
        const int own = times[i] >= 875;
        const size_t bytes = zt_state_floats(s[2]) * sizeof(float);
        assert_memory_equal(s[2]->x, s[own]->x, bytes);
        assert_memory_equal(s[2]->v, s[own]->v, bytes);
        assert_memory_not_equal(s[2]->v, s[!own]->v, bytes);
        for (int j = 0; j < 3; j++)
            zt_state_destroy(&s[j]);
    }
    pair_close(&p);
    pair_remove(&p);
}

// A stream of a pair: its steps are those of two streams, one of each transformer, that hand the latents to each other and
// commit the same frames.
static void a_stream_of_two_transformers_is_two_streams(void **state)
{
    struct pair p;
    float t[STEPS + 1] = { 0 };
    (void)state;
    pair_make(&p, "transformer_2", "transformer");
    pair_open(&p);
    zt_model *const *const m = p.m;
    zt_state *s[3] = { NULL };
    for (int j = 0; j < 3; j++) {
        assert_int_equal(zt_state_create(&s[j], m[j], 0, 0, 5), 0);
        zt_state_prompt(s[j], "snow at night", NULL, 0);
    }
    const size_t bytes = zt_state_floats(s[0]) * sizeof(float);
    zt_model_steps(m[2], STEPS, t);
    assert_true(t[2] >= 875 && t[3] < 875);
    for (int k = 0; k < CHUNKS; k++) {
        stream_chunk(m[2], s[2]);
        zt_state_begin(s[0]);
        zt_state_begin(s[1]);
        for (int i = 0; i < STEPS; i++) {
            const int own = t[i] >= 875;
            run(m[own], s[own], ZT_DENOISE, t[i], t[i + 1]);
            memcpy(s[!own]->x, s[own]->x, bytes);
            zt_state_put(s[!own], zt_state_x0(s[own]).data);
        }
        assert_memory_equal(zt_state_x0(s[2]).data, zt_state_x0(s[0]).data, bytes);
        for (int j = 0; j < 2; j++)
            run(m[j], s[j], ZT_COMMIT, 0, 0);
    }
    for (int j = 0; j < 3; j++)
        zt_state_destroy(&s[j]);
    pair_close(&p);
    pair_remove(&p);
}

// Streams at different noise go through one pass, each with its own transformer.
static void streams_on_both_sides_share_a_pass(void **state)
{
    struct pair p;
    (void)state;
    pair_make(&p, "low_noise_model", "high_noise_model");
    zt_model *m = open_model(p.root);
    zt_state *s[4] = { NULL };
    for (int j = 0; j < 4; j++) {
        assert_int_equal(zt_state_create(&s[j], m, 0, 0, 5 + (uint64_t)j % 2), 0);
        zt_state_begin(s[j]);
    }
    const zt_job both[] = { { s[0], ZT_DENOISE, 950, 600 }, { s[1], ZT_DENOISE, 500, 200 } };
    assert_int_equal(zt_model_slice(m, both, 2, 1, 0, 1), 0);
    run(m, s[2], ZT_DENOISE, 950, 600);
    assert_int_equal(zt_model_slice(m, both, 2, 1, 1, m->c.layers * ZT_PARTS), 0);
    run(m, s[3], ZT_DENOISE, 500, 200);
    for (int j = 0; j < 2; j++)
        assert_memory_equal(s[j]->x, s[2 + j]->x, zt_state_floats(s[j]) * sizeof(float));
    for (int j = 0; j < 4; j++)
        zt_state_destroy(&s[j]);
    zt_model_close(&m);
    pair_remove(&p);
}

static int lines;
static char last[1024];

static void count(void *cookie, enum zt_level level, const char *text)
{
    (void)cookie, (void)level;
    snprintf(last, sizeof(last), "%s", text);
    lines++;
}

static void refused(const char *path, int want, const char *word)
{
    zt_model *m = NULL;
    lines = 0;
    const int err = zt_model_open(&m, device, path, ZT_PRECISION_F32);
    if (err != want || lines != 1 || !strstr(last, word))
        fail_msg("%d, %d lines: %s", err, lines, last);
}

static void bad_pairs_are_refused(void **state)
{
    struct pair p;
    char command[512];
    (void)state;
    pair_make(&p, "transformer_2", "transformer");
    zt_log_set(count, NULL);
    snprintf(command, sizeof(command), "echo '{\"boundary_ratio\": 1.5}' > %s/model_index.json", p.root);
    assert_int_equal(system(command), 0);
    refused(p.root, -EINVAL, "boundary_ratio");
    snprintf(command, sizeof(command), "echo '{\"boundary_ratio\": 0.9, \"x\": [1]}' > %s/model_index.json", p.root);
    assert_int_equal(system(command), 0);
    zt_model *m = open_model(p.root);
    assert_int_equal(zt_model_net(m, 900), 1);
    assert_int_equal(zt_model_net(m, 899.9f), 0);
    zt_model_close(&m);
    snprintf(command, sizeof(command), "sed -i 's/\"num_heads\": [0-9]*/\"num_heads\": 1/' %s/config.json", p.folder[1]);
    assert_int_equal(system(command), 0);
    refused(p.root, -EINVAL, "another shape");
    snprintf(command, sizeof(command), "rm %s/*.safetensors %s/config.json", p.folder[1], p.folder[1]);
    assert_int_equal(system(command), 0);
    refused(p.root, -ENOENT, "no weight file");
    zt_log_set(NULL, NULL);
    pair_remove(&p);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_guided_unipc_stream_follows_the_formulas),
        cmocka_unit_test(guidance_counts),
        cmocka_unit_test(a_pass_is_that_of_the_transformer_of_its_noise),
        cmocka_unit_test(a_stream_of_two_transformers_is_two_streams),
        cmocka_unit_test(streams_on_both_sides_share_a_pass),
        cmocka_unit_test(bad_pairs_are_refused),
    };
    make_model = argc > 1 ? argv[1] : "build/tools/make_model";
    if (zt_device_open(&device, &(zt_device_params){ .device = "cpu", .threads = 1 }) < 0)
        return 1;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    zt_device_close(&device);
    return failed;
}
