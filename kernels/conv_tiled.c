// SPDX-License-Identifier: Apache-2.0
// conv on the fast levels: an item takes a few rows, copies what they read into padded rows of its thread's scratch and
// goes through them in tiles of pixels.
//
// The padded rows put the inputs of a pixel and a row of taps side by side, so a pixel's step through a row is one
// channel count and the product needs no gather. Nearest x2 is never made: an output pixel reads 2 x 2 inputs, each
// through the sum of the weights that would have met it, one set of them for each of the four places in a doubled
// pixel.
#include "kernels/conv.h"

#include <assert.h>
#include <string.h>

#include "base/base.h"
#include "kernels/device.h"

enum { ROWS_MAX = 8 };              // of an item

typedef struct job {
    const zt_conv_level *level;
    zt_tensor      out, a, b, residual;
    const zt_conv *c;
    enum zt_type   type;            // of the weights
    float          scale, inverse;
    float         *largest;         // of each input row
    char          *scratch;
    size_t         scratch_step;    // from one thread to the next
    size_t         row_bytes;       // of a padded row
    int            pixel, pixel_a;  // bytes in a padded row; of it, those that `a` gives
    int            rows;            // of input, of an item
} job;

// A zero pixel, one row of [a, b], a zero pixel; all zero outside of the picture.
static void load_row(const job *j, char *row, int y)
{
    const int w = j->a.n[2];
    const size_t pixel = (size_t)j->pixel;
    if (y < 0 || y >= j->a.n[1]) {
        memset(row, 0, (size_t)(w + 2) * pixel);
        return;
    }
    memset(row, 0, pixel);
    memset(row + (size_t)(w + 1) * pixel, 0, pixel);
    j->level->load(row + pixel, pixel, j->a, y * j->a.step[1], w, j->type, j->inverse);
    if (j->b.data)
        j->level->load(row + pixel + j->pixel_a, pixel, j->b, y * j->b.step[1], w, j->type, j->inverse);
}

// The same tensor with its data at row y, column x and pixels `step` columns apart.
static zt_tensor pixels_from(zt_tensor t, int y, int x, int step)
{
    if (t.data)
        t.data = (char *)t.data + (size_t)(y * t.step[1] + x * t.step[2]) * zt_type_bytes(t.type);
    t.step[2] *= step;
    return t;
}

// A row of output, or every second pixel of it. in: the padded rows it reads, from their first tap on.
static void run_row(const job *j, const char *const in[3], const zt_matrix *w, int taps, int y, int x0, int step)
{
    const int n = j->a.n[2];
    zt_conv_tile t = { .taps = taps, .step = j->pixel, .w = w, .scale = j->scale, .act = j->c->act };
    for (int x = 0; x < n; x += j->level->pixels) {
        for (int i = 0; i < taps; i++)
            t.in[i] = in[i] + x * j->pixel;
        t.pixels = ZT_MIN(n - x, j->level->pixels);
        t.out = pixels_from(j->out, y, x0 + x * step, step);
        t.residual = pixels_from(j->residual, y, x0 + x * step, step);
        j->level->run(&t, j->type);
    }
}

static void run(void *cookie, int item, int thread)
{
    const job *j = cookie;
    const int from = item * j->rows, to = ZT_MIN(from + j->rows, j->a.n[1]);
    char *const rows = j->scratch + (size_t)thread * j->scratch_step;
#define ROW(y) (rows + (size_t)((y) - from + 1) * j->row_bytes)

    for (int y = from - 1; y <= to; y++)
        load_row(j, ROW(y), y);
    for (int y = from; y < to; y++) {
        if (!j->c->up) {
            run_row(j, (const char *const[3]){ ROW(y - 1), ROW(y), ROW(y + 1) }, &j->c->w, 3, y, 0, 1);
            continue;
        }
        for (int i = 0; i < 4; i++) {
            const int p = i / 2, q = i % 2;
            const char *const in[3] = { ROW(y + p - 1) + q * j->pixel, ROW(y + p) + q * j->pixel };
            run_row(j, in, &j->c->phase[i], 2, 2 * y + p, q, 2);
        }
    }
#undef ROW
}

static void measure_rows(void *cookie, int item, int thread)
{
    const job *j = cookie;
    const int from = item * ROWS_MAX, to = ZT_MIN(from + ROWS_MAX, j->a.n[1]);
    for (int y = from; y < to; y++) {
        j->largest[y] = j->level->largest(j->a, y * j->a.step[1], j->a.n[2]);
        if (j->b.data)
            j->largest[y] = ZT_MAX(j->largest[y], j->level->largest(j->b, y * j->b.step[1], j->b.n[2]));
    }
}

static void measure(job *j, struct zt_device *d)
{
    float largest = 0;
    zt_parallel_for(d, (j->a.n[1] + ROWS_MAX - 1) / ROWS_MAX, measure_rows, j);
    for (int y = 0; y < j->a.n[1]; y++)
        largest = ZT_MAX(largest, j->largest[y]);
    const bool zero = largest < 0x1p-100f;
    j->scale = zero ? 0 : largest / 255;
    j->inverse = zero ? 0 : 255 / largest;
}

void zt_conv_tiled(struct zt_device *d, zt_tensor out, zt_tensor a, zt_tensor b, zt_tensor residual, const zt_conv *c,
                   const zt_conv_level *level)
{
    const enum zt_type type = c->w.type;
    const int h = a.n[1], channels = c->w.K / 9;
    if (channels * (int)zt_type_bytes(type) % 4) {      // what lies together in 4 bytes would lie across two rows
        zt_conv_c(d, out, a, b, residual, c);
        return;
    }
    assert(c->w.N == out.n[3] && c->w.K == 9 * (a.n[3] + (b.data ? b.n[3] : 0)));
    assert(out.n[1] == h << c->up && out.n[2] == a.n[2] << c->up);

    job j = { .level = level, .out = out, .a = a, .b = b, .residual = residual, .c = c, .type = type };
    j.pixel_a = a.n[3] * level->bytes[type];
    j.pixel = channels * level->bytes[type];
    j.rows = ZT_MIN((h + 4 * d->threads - 1) / (4 * d->threads), ROWS_MAX);
    j.row_bytes = (size_t)zt_round_up((a.n[2] + 2 + level->beyond) * (int64_t)j.pixel, 64);
    j.scratch = zt_scratch_each(d, (size_t)(j.rows + 2) * j.row_bytes, &j.scratch_step);
    j.largest = zt_scratch(d, (size_t)h * sizeof(float));
    if (!j.scratch || !j.largest)
        return;
    if (type == ZT_I8)
        measure(&j, d);
    zt_parallel_for(d, (h + j.rows - 1) / j.rows, run, &j);
}
