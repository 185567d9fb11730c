// SPDX-License-Identifier: Apache-2.0
// The keys previous_shifts, residual, warp and position_embedding against doc/formats.md written out in double.
//
// The blocks of a random model are made to add nothing, so that a frame is its patches, the places, one norm and the
// head: what the keys change, and little else.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"
#include "diffusion/model.h"
#include "diffusion/noise.h"
#include "diffusion/weights.h"
#include "tests/small_model.h"

enum { C = 16, DIM = 64, R = 9, COLUMNS = 16, W = 96, H = 64, MOST = C * (W / 8) * (H / 8) };

static const char *make_model;

typedef struct keys {
    bool shifts, residual, position, warp;
} keys;

// ---- the model

typedef struct tensors {
    zt_weight w[160];
    int       n;
} tensors;

static bool starts(const char *name, const char *with)
{
    return strncmp(name, with, strlen(with)) == 0;
}

// What a block adds to its rows comes through these; what time, step and controls add to e but a constant, too.
static bool silenced(const char *name)
{
    return strstr(name, "attn.o.") || strstr(name, ".w2.") || strstr(name, "_embedding.2.weight")
        ? !starts(name, "text_embedding") : false;
}

static float *add_tensor(tensors *t, const char *name, int rank, const int64_t *shape, uint64_t draw, double spread)
{
    int64_t n = 1;
    for (int i = 0; i < rank; i++)
        n *= shape[i];
    float *const x = calloc((size_t)n, sizeof(*x));
    assert_non_null(x);
    if (spread > 0)
        zt_noise_fill(x, (size_t)n, 77, draw, 0);
    for (int64_t i = 0; i < n; i++)
        x[i] *= (float)spread;
    zt_weight *const w = &t->w[t->n++];
    *w = (zt_weight){ .name = name, .dtype = "F32", .rank = rank, .elements = n, .data = x, .bytes = (size_t)n * 4 };
    memcpy(w->shape, shape, (size_t)rank * sizeof(*shape));
    return x;
}

static int in_channels(const keys *k)
{
    return 3 * C + 2 + (k->shifts ? 4 * C : 0);
}

static int out_channels(const keys *k)
{
    return C + (k->warp ? 2 : 0);
}

static void rewrite_weights(const char *path, const keys *k)
{
    zt_weights *file = NULL;
    tensors t = { .n = 0 };
    assert_int_equal(zt_weights_open(&file, path), 0);
    for (int i = 0; i < zt_weights_count(file); i++) {
        const zt_weight *const w = zt_weights_at(file, i);
        assert_true(t.n < (int)ZT_LEN(t.w) - 5);
        if (silenced(w->name))
            add_tensor(&t, w->name, w->rank, w->shape, 0, 0);
        else if (strcmp(w->name, "patch_embedding.weight") != 0 && !starts(w->name, "head.head."))
            t.w[t.n++] = *w;
    }
    add_tensor(&t, "patch_embedding.weight", 5, (const int64_t[]){ DIM, in_channels(k), 1, 2, 2 }, 1, 0.05);
    add_tensor(&t, "position_embedding.weight", 2, (const int64_t[]){ R * COLUMNS, DIM }, 2, 1);
    add_tensor(&t, "head.head.weight", 2, (const int64_t[]){ 4 * out_channels(k), DIM }, 4, 0.1);
    add_tensor(&t, "head.head.bias", 1, (const int64_t[]){ 4 * out_channels(k) }, 5, 0.1);
    assert_int_equal(zt_weights_write(path, t.w, t.n), 0);
    for (int i = 0; i < t.n; i++)
        if (silenced(t.w[i].name) || i >= t.n - 4)
            free((void *)t.w[i].data);
    zt_weights_close(&file);                                // names are its
}

// Puts the keys in front and in_dim in place of make_model's.
static void rewrite_config(const char *path, const keys *k)
{
    char text[8192] = { 0 };
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_in_range(fread(text, 1, sizeof(text) - 1, f), 1, sizeof(text) - 2);
    fclose(f);
    char *const in_dim = strstr(text, "\"in_dim\": 50");
    assert_non_null(in_dim);
    f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "%.*s", (int)(in_dim - text), text);
    fprintf(f, "%s%s%s%s", k->warp ? "\"warp\": true, " : "", k->shifts ? "\"previous_shifts\": true, " : "", k->residual ? "\"residual\": true, " : "",
            k->position ? "\"position_embedding\": true, " : "");
    fprintf(f, "\"in_dim\": %d%s", in_channels(k), in_dim + strlen("\"in_dim\": 50"));
    assert_int_equal(fclose(f), 0);
}

// ---- the reference

typedef struct reference {
    keys   k;
    int    h, w;                // of the latent
    float *patch, *patch_bias, *place, *e, *modulation, *head, *head_bias;
    double before[2][MOST];     // x0 of k-1 and k-2
    bool   missing[2];
    double x[MOST], x0[MOST];
} reference;

static float *copy_of(const zt_weights *file, const char *name)
{
    const zt_weight *const w = zt_weights_find(file, name);
    assert_non_null(w);
    float *const x = malloc((size_t)w->elements * sizeof(*x));
    assert_non_null(x);
    zt_weight_read(w, 0, w->elements, x);
    return x;
}

static void reference_load(reference *r, const char *path)
{
    zt_weights *file = NULL;
    assert_int_equal(zt_weights_open(&file, path), 0);
    r->patch = copy_of(file, "patch_embedding.weight");
    r->patch_bias = copy_of(file, "patch_embedding.bias");
    r->place = copy_of(file, "position_embedding.weight");
    r->e = copy_of(file, "time_embedding.2.bias");
    r->modulation = copy_of(file, "head.modulation");
    r->head = copy_of(file, "head.head.weight");
    r->head_bias = copy_of(file, "head.head.bias");
    const char *const added[] = { "step_embedding.2.bias", "control_embedding.2.bias" };
    for (int i = 0; i < 2; i++) {
        float *const bias = copy_of(file, added[i]);
        for (int c = 0; c < DIM; c++)
            r->e[c] += bias[c];
        free(bias);
    }
    zt_weights_close(&file);
}

static void reference_finish(reference *r)
{
    float *const all[] = { r->patch, r->patch_bias, r->place, r->e, r->modulation, r->head, r->head_bias };
    for (size_t i = 0; i < ZT_LEN(all); i++)
        free(all[i]);
}

static double at(const reference *r, const double *latent, int c, int y, int x)
{
    return y >= 0 && y < r->h && x >= 0 && x < r->w ? latent[(c * r->h + y) * r->w + x] : 0;
}

// Channel i of the transformer's input at a latent pixel.
static double input(const reference *r, int i, int y, int x)
{
    static const int moves[4][2] = { { -1, -1 }, { -1, 1 }, { 1, -1 }, { 1, 1 } };
    if (i < C)
        return at(r, r->x, i, y, x);
    if (i < 3 * C)
        return at(r, r->before[i / C - 1], i % C, y, x);
    if (i < 3 * C + 2)
        return r->missing[i - 3 * C];
    const int copy = (i - 3 * C - 2) / C, c = (i - 3 * C - 2) % C;
    return at(r, r->before[0], c, y + moves[copy][0], x + moves[copy][1]);
}

static void token_in(const reference *r, int i, int j, double *out)
{
    const int in = in_channels(&r->k), rows = r->h / 2, columns = r->w / 2;
    for (int d = 0; d < DIM; d++) {
        double sum = r->patch_bias[d];
        for (int c = 0; c < in; c++)
            for (int q = 0; q < 4; q++)
                sum += r->patch[(d * in + c) * 4 + q] * input(r, c, 2 * i + q / 2, 2 * j + q % 2);
        if (r->k.position)
            sum += r->place[(i * R / rows * COLUMNS + j * COLUMNS / columns) * DIM + d];
        out[d] = sum;
    }
}

// The head's output of a token: [2][2][out_channels].
static void token_out(const reference *r, const double *token, double *out)
{
    double mean = 0, square = 0, y[DIM];
    for (int d = 0; d < DIM; d++)
        mean += token[d] / DIM;
    for (int d = 0; d < DIM; d++)
        square += (token[d] - mean) * (token[d] - mean) / DIM;
    for (int d = 0; d < DIM; d++)
        y[d] = (token[d] - mean) / sqrt(square + 1e-6) * (1 + r->modulation[DIM + d] + r->e[d]) + r->modulation[d]
             + r->e[d];
    for (int n = 0; n < 4 * out_channels(&r->k); n++) {
        out[n] = r->head_bias[n];
        for (int d = 0; d < DIM; d++)
            out[n] += r->head[n * DIM + d] * y[d];
    }
}

// Cubic convolution, the two polynomials as Keys gives them.
static double cubic(double u)
{
    const double a = -0.75, s = fabs(u);
    return s < 1 ? (a + 2) * s * s * s - (a + 3) * s * s + 1 : s < 2 ? a * s * s * s - 5 * a * s * s + 8 * a * s - 4 * a : 0;
}

// Channel c of latent k-1 between its pixels.
static double between(const reference *r, int c, double y, double x)
{
    double sum = 0;
    for (int i = (int)floor(y) - 1; i <= (int)floor(y) + 2; i++)
        for (int j = (int)floor(x) - 1; j <= (int)floor(x) + 2; j++)
            sum += cubic(y - i) * cubic(x - j)
                 * at(r, r->before[0], c, i < 0 ? 0 : i >= r->h ? r->h - 1 : i, j < 0 ? 0 : j >= r->w ? r->w - 1 : j);
    return sum;
}

// Velocity of element n of a token's output at latent pixel (y, x).
static double velocity(const reference *r, const double *out, int n, int y, int x, double sigma)
{
    const int wide = out_channels(&r->k), c = n % wide;
    const double *const pixel = out + n - c;
    const double last = r->k.warp ? between(r, c, y + pixel[C + 1], x + pixel[C]) : at(r, r->before[0], c, y, x);
    return r->k.residual ? (r->x[(c * r->h + y) * r->w + x] - last - out[n]) / fmax(sigma, 0.05) : out[n];
}

static void reference_step(reference *r, double sigma, double next)
{
    const int wide = out_channels(&r->k);
    double token[DIM], out[4 * (C + 2)], moved[MOST];
    for (int m = 0; m < r->h / 2 * (r->w / 2); m++) {
        const int i = m / (r->w / 2), j = m % (r->w / 2);
        token_in(r, i, j, token);
        token_out(r, token, out);
        for (int n = 0; n < 4 * wide; n++) {
            const int y = 2 * i + n / wide / 2, x = 2 * j + n / wide % 2, o = (n % wide * r->h + y) * r->w + x;
            if (n % wide >= C)
                continue;
            const double v = velocity(r, out, n, y, x, sigma);
            r->x0[o] = r->x[o] - sigma * v;
            moved[o] = r->x[o] + (next - sigma) * v;
        }
    }
    memcpy(r->x, moved, sizeof(moved));
}

static void reference_begin(reference *r, int frame, uint64_t seed)
{
    const int n = C * r->h * r->w;
    float noise[MOST];
    if (frame > 0)
        memcpy(r->before[1], r->before[0], sizeof(r->x0));
    for (int p = 0; p < 2; p++) {
        const bool early = frame - 1 - p < 0;
        r->missing[p] = early;
        for (int i = 0; i < n && (early || p == 0); i++)
            r->before[p][i] = early ? 0 : r->x0[i];
    }
    zt_noise_fill(noise, (size_t)n, seed, (uint64_t)frame, 0);
    for (int i = 0; i < n; i++)
        r->x[i] = noise[i];
}

// ---- both

// Frames 0 to 3 of two steps; the second begins at sigma 0.03, below the least that residuals are divided by.
static void compare(zt_model *m, reference *r, const char *prompt)
{
    static const float t[] = { 1000, 30, 0 };
    zt_state *s = NULL;
    assert_int_equal(zt_state_create(&s, m, 8 * r->w, 8 * r->h, 5), 0);
    zt_state_prompt(s, prompt, NULL, 0);
    for (int frame = 0; frame < 4; frame++) {
        zt_state_begin(s);
        reference_begin(r, frame, 5);
        for (int i = 0; i < 2; i++) {
            const zt_job job = { s, frame && !i ? ZT_COMMIT_DENOISE : ZT_DENOISE, t[i], t[i + 1] };
            assert_int_equal(zt_model_pass(m, &job, 1, 0, zt_model_get_info(m)->layers), 0);
            reference_step(r, t[i] / 1000.0, t[i + 1] / 1000.0);
            const float *const got = zt_state_x0(s).data;
            double error = 0, norm = 0;
            for (int j = 0; j < C * r->h * r->w; j++) {
                error += (got[j] - r->x0[j]) * (got[j] - r->x0[j]);
                norm += r->x0[j] * r->x0[j];
            }
            // f32: sums of at most 456 products of alternating sign, 2^-24 each; frames feed on each other
            if (!(sqrt(error / norm) < 1e-5))
                fail_msg("%s, frame %d, step %d: %g", prompt ? prompt : "no prompt", frame, i, sqrt(error / norm));
        }
    }
    zt_state_destroy(&s);
}

static void check_keys(const keys *k, const char *level)
{
    char path[256], *const folder = small_model(make_model, "--heads 1 --layers 1 --quant f32");
    static reference r;
    r = (reference){ .k = *k };
    snprintf(path, sizeof(path), "%s/config.json", folder);
    rewrite_config(path, k);
    snprintf(path, sizeof(path), "%s/random.safetensors", folder);
    rewrite_weights(path, k);
    reference_load(&r, path);
    zt_device *d = NULL;
    zt_model *m = NULL;
    assert_int_equal(zt_device_open(&d, &(zt_device_params){ .device = "cpu", .level = level, .threads = 1 }), 0);
    assert_int_equal(zt_model_open(&m, d, folder, ZT_PRECISION_F32), 0);

    r.w = W / 8, r.h = H / 8;
    compare(m, &r, "volcano at night in fog");
    r.w = 6, r.h = 4;           // another size: other places
    compare(m, &r, NULL);
    reference_finish(&r);
    zt_model_close(&m);
    zt_device_close(&d);
    small_model_remove(folder);
}

static void keys_do_what_the_page_of_formats_says(void **state)
{
    static const keys all[] = {
        { 0 }, { .shifts = true }, { .residual = true }, { .position = true },
        { .residual = true, .warp = true }, { true, true, true, true },
    };
    for (size_t i = 0; i < ZT_LEN(all); i++) {
        check_keys(&all[i], "c");
        check_keys(&all[i], NULL);
    }
}

int main(int argc, char **argv)
{
    make_model = argc > 1 ? argv[1] : "make_model";
    const struct CMUnitTest tests[] = { cmocka_unit_test(keys_do_what_the_page_of_formats_says) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
