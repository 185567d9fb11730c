// SPDX-License-Identifier: Apache-2.0
// A pass of the transformer over segments packed back to back.
//
// Rows of different segments meet in the linear layers only, which treat every row alone; attention reads the
// segment's own cache. So a segment's result has the same bits whatever it is packed with. Per block and d wide, a
// token costs 2d(3d + d + 2d) operations in attention's matrices and those of its feed-forward: all weights are read
// once for all segments.
#include "diffusion/dit.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/base.h"
#include "diffusion/exact.h"

struct buffer {
    void  *to;                  // of some pointer's type
    size_t floats;
};

// Places buffers after base; returns the bytes in all.
static size_t place(const struct buffer *list, size_t n, char *base)
{
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        void *const p = base ? base + at : NULL;
        memcpy(list[i].to, &p, sizeof(p));
        at += (size_t)zt_round_up((int64_t)(list[i].floats * sizeof(float)), 64);
    }
    return at;
}

static bool is_far(const zt_dit *t)
{
    return t->d->space != ZT_HOST;
}

// What the host writes or reads, one row per frame; and, where the device is far, what it makes of each token.
static size_t carve_near(const zt_dit *t, zt_work *k, char *base, size_t M, size_t S)
{
    const zt_config *const c = t->c;
    const size_t d = (size_t)c->dim, far = is_far(t);
    const struct buffer list[] = {
        { &k->wave, S * (size_t)c->freq_dim }, { &k->control, S * (size_t)ZT_MAX(c->n_controls, 1) },
        { &k->e, S * d }, { &k->e_silu, S * d }, { &k->angle_near, far * M * (d / (size_t)c->heads) }, { &k->row_near, far * M },
    };
    return place(list, ZT_LEN(list), base);
}

static size_t carve(const zt_dit *t, zt_work *k, char *base, size_t M, size_t S)
{
    const zt_config *const c = t->c;
    const size_t d = (size_t)c->dim, hidden = c->experts ? 0 : (size_t)c->ffn_dim;
    const size_t rope = (size_t)t->past_rope;
    const struct buffer list[] = {
        { &k->in, M * 4 * (size_t)c->in_dim }, { &k->x, M * d }, { &k->y, M * d }, { &k->qkv, M * 3 * d },
        { &k->hidden, M * hidden }, { &k->out, M * 4 * (size_t)zt_dit_head_channels(c) },
        { &k->planes, c->warp ? M * 4 * (size_t)zt_dit_head_channels(c) : 0 },
        { &k->moved, c->previous_shifts || c->warp ? M * 4 * (size_t)c->out_dim : 0 },
        { &k->angle, M * (d / (size_t)c->heads) },
        { &k->past, t->others ? zt_dit_past_work(t, M) : 0 }, { &k->past_angle, M * rope },
        { &k->row, M }, { &k->mlp, S * d }, { &k->e0, S * 6 * d }, { &k->modulation, S * 6 * d },
    };
    return place(list, ZT_LEN(list), base);
}

int64_t zt_dit_work_bytes(const zt_dit *t, int M, int S)
{
    zt_work k;
    return (int64_t)(carve(t, &k, NULL, (size_t)M, (size_t)S) + carve_near(t, &k, NULL, (size_t)M, (size_t)S));
}

void zt_dit_release(zt_dit *t)
{
    zt_device_free(t->d, t->work.memory);
    if (t->work.near)
        zt_device_free_host(t->d, t->work.near);
    zt_device_free(t->d, t->work.expanded);
    t->work = (zt_work){ 0 };
}

int zt_dit_reserve(zt_dit *t, int M, int S)
{
    if (t->running || (M <= t->work.M && S <= t->work.S))
        return 0;
    zt_work k = { .M = ZT_MAX(M, t->work.M), .S = ZT_MAX(S, t->work.S) };
    k.bytes = zt_dit_work_bytes(t, k.M, k.S);
    const size_t near = carve_near(t, &k, NULL, (size_t)k.M, (size_t)k.S);
    k.memory = zt_device_alloc(t->d, (size_t)k.bytes - (is_far(t) ? near : 0));
    k.near = k.memory && is_far(t) ? zt_device_alloc_host(t->d, near) : NULL;
    if (!k.memory || (is_far(t) && !k.near)) {
        zt_device_free(t->d, k.memory);
        return -ENOMEM;
    }
    const size_t at = carve(t, &k, k.memory, (size_t)k.M, (size_t)k.S);
    carve_near(t, &k, is_far(t) ? (char *)k.near : (char *)k.memory + at, (size_t)k.M, (size_t)k.S);
    if (!is_far(t)) {
        k.angle_near = k.angle;
        k.row_near = k.row;
    }
    k.expanded = t->work.expanded;
    k.expanded_bytes = t->work.expanded_bytes;
    t->work.expanded = NULL;
    zt_dit_release(t);
    t->work = k;
    return 0;
}

void zt_sinusoid(float *out, int width, double t, const double *freq)
{
    for (int i = 0; i < width / 2; i++) {
        double s, c;
        zt_exact_sincos(t * freq[i], &s, &c);
        out[i] = (float)c;
        out[width / 2 + i] = (float)s;
    }
}

static void turn(float *angle, double x)
{
    double s, c;
    zt_exact_sincos(x, &s, &c);
    angle[0] = (float)c;
    angle[1] = (float)s;
}

// Angles of nt pairs of time and ns each of rows and columns.
static void angles(const zt_dit *t, const double *time, const double *space, int nt, int ns, int64_t frame, int rows,
                   int columns, float *angle)
{
    const int pairs = nt + 2 * ns;
    const double row_step = t->c->rope_rows ? (double)t->c->rope_rows / rows : 1;
    const double column_step = t->c->rope_columns ? (double)t->c->rope_columns / columns : 1;
    const size_t bytes = 2 * sizeof(float);
    for (int m = 0; m < rows * columns; m++) {
        const int y = m / columns, x = m % columns;
        float *const a = angle + (size_t)m * (size_t)pairs * 2, *const left = a - (size_t)pairs * 2;
        float *const above = a - (size_t)columns * (size_t)pairs * 2;
        // what is the same as for the token to the left or above is copied
        for (int i = 0; i < nt && m == 0; i++)
            turn(a + 2 * i, (double)frame * time[i]);
        if (m > 0)
            memcpy(a, left, (size_t)nt * bytes);
        for (int i = 0; i < ns && x == 0; i++)
            turn(a + 2 * (nt + i), y * row_step * space[i]);
        if (x > 0)
            memcpy(a + 2 * nt, left + 2 * nt, (size_t)ns * bytes);
        for (int i = 0; i < ns && y == 0; i++)
            turn(a + 2 * (nt + ns + i), x * column_step * space[i]);
        if (y > 0)
            memcpy(a + 2 * (nt + ns), above + 2 * (nt + ns), (size_t)ns * bytes);
    }
}

void zt_dit_angles(const zt_dit *t, int64_t frame, int rows, int columns, float *angle)
{
    angles(t, t->rope_time, t->rope_space, t->n_time, t->n_space, frame, rows, columns, angle);
}

static zt_tensor rows_of(float *p, int rows, int columns)
{
    return zt_tensor_2d(p, ZT_F32, rows, columns);
}

static int tokens(const zt_segment *s)
{
    return s->h / 2 * (s->w / 2);
}

// out[c][y][x] = in[c][y + dy][x + dx], 0 outside; [C][h][w]
static void move(float *out, const float *in, int C, int h, int w, int dy, int dx)
{
    memset(out, 0, sizeof(float) * (size_t)C * (size_t)h * (size_t)w);
    const int x0 = dx < 0 ? -dx : 0, n = w - (dx < 0 ? -dx : dx);
    for (int i = 0; i < C * h; i++) {
        const int from = i % h + dy;
        if (from >= 0 && from < h)
            memcpy(out + i * w + x0, in + (i + dy) * w + x0 + dx, sizeof(float) * (size_t)n);
    }
}

// Patches of the last latent moved by a pixel each way, after everything else.
static void moved_in(zt_dit *t, const zt_segment *s, const float *latent, zt_tensor in)
{
    const int C = t->c->out_dim, p = t->c->previous;
    for (int i = 0; i < 4; i++) {
        move(t->work.moved, latent, C, s->h, s->w, i / 2 * 2 - 1, i % 2 * 2 - 1);
        t->d->k.patchify(t->d, in, zt_tensor_4d(t->work.moved, ZT_F32, 1, C, s->h, s->w), (1 + p + i) * C + p);
    }
}

// Patches, angles and times of one frame whose tokens begin at row m.
static void frame_in(zt_dit *t, const zt_segment *s, int i, int m, int row)
{
    const zt_config *const c = t->c;
    const zt_frame_in *const f = &s->frame[i];
    zt_work *const k = &t->work;
    const int T = tokens(s), C = c->out_dim;
    const zt_tensor in = zt_tensor_rows(rows_of(k->in, t->M, 4 * c->in_dim), m, T);
    for (int p = 0; p <= c->previous; p++)
        t->d->k.patchify(t->d, in, zt_tensor_4d((void *)f->latent[p], ZT_F32, 1, C, s->h, s->w), p * C);
    for (int p = 0; p < c->previous; p++)
        t->d->k.patchify(t->d, in, zt_tensor_4d((void *)f->mask[p], ZT_F32, 1, 1, s->h, s->w),
                         (1 + c->previous) * C + p);
    if (c->previous_shifts)
        moved_in(t, s, f->latent[1], in);
    assert(!f->place == !c->ground.hidden);
    if (f->place)
        t->d->k.patchify(t->d, in, zt_tensor_4d((void *)f->place, ZT_F32, 1, C, s->h, s->w), c->in_dim - C);
    zt_dit_angles(t, s->first + i, s->h / 2, s->w / 2, k->angle_near + (size_t)m * (size_t)(c->dim / c->heads));
    const int past = t->past_rope, ns = past / 6, nt = past / 2 - 2 * ns;
    if (past)
        angles(t, t->past_time, t->past_space, nt, ns, s->first + i, s->h / 2, s->w / 2,
               k->past_angle + (size_t)m * (size_t)past);
    for (int j = 0; j < T; j++)
        k->row_near[m + j] = row;
}

// y (+)= second(SiLU(first(x)))
static void mlp(zt_dit *t, const zt_mlp *w, float *y, float *x, bool add)
{
    const int S = t->S, d = t->c->dim;
    const zt_tensor hidden = rows_of(t->work.mlp, S, d);
    t->d->k.linear(t->d, hidden, rows_of(x, S, w->first.K), &w->first, &(zt_epilogue){ .act = ZT_ACT_SILU });
    t->d->k.linear(t->d, rows_of(y, S, d), hidden, &w->second, &(zt_epilogue){ .add = add });
}

// e = time(t) + step(t_next) + control(c), e0 = projection(SiLU(e)); one row per frame.
static void times(zt_dit *t)
{
    const zt_config *const c = t->c;
    zt_work *const k = &t->work;
    for (int pass = 0; pass < (c->step_embed ? 2 : 1); pass++) {
        zt_device_wait(t->d);           // for the waves of the pass before
        for (int i = 0, row = 0; i < t->segments; i++) {
            for (int j = 0; j < t->segment[i].frames; j++, row++) {
                const zt_frame_in *const f = &t->segment[i].frame[j];
                zt_sinusoid(k->wave + (size_t)row * (size_t)c->freq_dim, c->freq_dim, pass ? f->t_next : f->t, t->freq);
                if (c->n_controls)
                    memcpy(k->control + row * c->n_controls, f->control, (size_t)c->n_controls * sizeof(float));
            }
        }
        mlp(t, pass ? &t->step : &t->time, k->e, k->wave, pass);
    }
    if (c->n_controls)
        mlp(t, &t->control, k->e, k->control, true);
    zt_device_wait(t->d);
    for (int i = 0; i < t->S * c->dim; i++)
        k->e_silu[i] = (float)(k->e[i] / (1 + zt_exact_exp(-(double)k->e[i])));
    t->d->k.linear(t->d, rows_of(k->e0, t->S, 6 * c->dim), rows_of(k->e_silu, t->S, c->dim), &t->time_projection,
                   &(zt_epilogue){ 0 });
}

// Adds the vector of each token's place [R * C][d] to the rows * columns rows of x.
static void add_places(const zt_dit *t, float *x, const float *places, int rows, int columns)
{
    const int d = t->c->dim, R = t->c->rope_rows, C = t->c->rope_columns;
    for (int m = 0; m < rows * columns; m++) {
        const float *const place = places + ((m / columns * R / rows) * C + m % columns * C / columns) * d;
        for (int i = 0; i < d; i++)
            x[m * d + i] += place[i];
    }
}

int zt_dit_begin(zt_dit *t, const zt_segment *s, int n)
{
    assert(n >= 1 && n <= ZT_MAX_SEGMENTS && !t->running);
    int M = 0, S = 0;
    for (int i = 0; i < n; i++) {
        M += s[i].frames * tokens(&s[i]);
        S += s[i].frames;
    }
    int err = zt_dit_reserve(t, M, S);
    for (int i = 0; i < n && !err; i++)
        err = zt_dit_reserve_past(t, s[i].slots, tokens(&s[i]));
    if (err < 0)
        return err;

    zt_device_wait(t->d);           // what the host writes from here on may be in use
    t->running = true;
    t->M = M, t->S = S, t->live = 0, t->segments = 0;
    for (int commit = 0; commit < 2; commit++) {        // those wanted to the end first
        for (int i = 0; i < n; i++) {
            if (s[i].commit != commit)
                continue;
            t->segment[t->segments++] = s[i];
            t->live += commit ? 0 : s[i].frames * tokens(&s[i]);
        }
    }
    for (int i = 0, m = 0, row = 0; i < n; i++) {
        for (int j = 0; j < t->segment[i].frames; j++, row++, m += tokens(&t->segment[i]))
            frame_in(t, &t->segment[i], j, m, row);
    }
    if (is_far(t)) {
        zt_device_copy(t->d, t->work.angle, t->work.angle_near, (size_t)M * (size_t)(t->c->dim / t->c->heads) * sizeof(float));
        zt_device_copy(t->d, t->work.row, t->work.row_near, (size_t)M * sizeof(*t->work.row));
    }
    times(t);
    t->d->k.linear(t->d, rows_of(t->work.x, M, t->c->dim), rows_of(t->work.in, M, 4 * t->c->in_dim), &t->patch,
                   &(zt_epilogue){ 0 });
    for (int i = 0, m = 0; i < n; i++) {
        const zt_segment *const own = &t->segment[i];
        for (int j = 0; j < own->frames; j++, m += tokens(own)) {
            const float *const places[] = { t->position, own->frame[j].ground };
            for (size_t k = 0; k < ZT_LEN(places); k++)
                if (places[k])
                    add_places(t, t->work.x + m * t->c->dim, places[k], own->h / 2, own->w / 2);
        }
    }
    return 0;
}

static zt_tensor planes(const void *data, int C, const zt_segment *s)
{
    return zt_tensor_4d((void *)data, ZT_F32, 1, C, s->h, s->w);
}

// moved = share * moved + (1 - share) * place; share is sigmoid(s), 0 where the latent before is missing.
static void settle(const zt_segment *s, const zt_frame_in *f, int C, const float *share, float *moved)
{
    const int n = s->h * s->w;
    for (int i = 0; i < n; i++) {
        const float g = (1 - f->mask[0][i]) / (1 + (float)zt_exact_exp(-(double)share[i]));
        for (int j = i; j < C * n; j += n)
            moved[j] = g * moved[j] + (1 - g) * f->place[j];
    }
}

// f->v = (x - last - r) / sigma of the head's output [C or more][h][w]: r, then how `last`, the latent before, is moved,
// then its share against what the ground alone shows; sigma is at least 0.05.
static void velocity_of_residual(zt_dit *t, const zt_segment *s, const zt_frame_in *f, const float *head)
{
    const zt_kernels *const k = &t->d->k;
    const float a = 1 / ZT_MAX(f->t / 1000, 0.05f);
    const int C = t->c->out_dim;
    const zt_tensor v = planes(f->v, C, s);
    zt_tensor last = planes(f->latent[1], C, s);
    if (t->c->warp) {
        const zt_tensor moved = planes(t->work.moved, C, s);
        k->warp(t->d, moved, last, planes(head + C * s->h * s->w, 2, s));
        if (f->place)
            settle(s, f, C, head + (C + 2) * s->h * s->w, t->work.moved);
        last = moved;
    }
    k->combine(t->d, v, 1, planes(head, C, s), 1, last);
    k->combine(t->d, v, a, planes(f->latent[0], C, s), -a, v);
}

int zt_dit_head_channels(const zt_config *c)
{
    return c->out_dim + (c->warp ? 2 : 0) + (c->ground.hidden ? 1 : 0);
}

static void frame_out(zt_dit *t, const zt_segment *s, const zt_frame_in *f, zt_tensor out)
{
    float *const head = t->c->warp ? t->work.planes : f->v;
    t->d->k.unpatchify(t->d, planes(head, zt_dit_head_channels(t->c), s), out);
    if (t->c->residual)
        velocity_of_residual(t, s, f, head);
}

void zt_dit_end(zt_dit *t)
{
    const zt_kernels *const k = &t->d->k;
    const int M = t->live, d = t->c->dim;
    t->running = false;
    if (M == 0)
        return;
    const zt_tensor y = rows_of(t->work.y, M, d), out = rows_of(t->work.out, M, 4 * zt_dit_head_channels(t->c));
    const float *const mod = t->work.modulation;
    k->modulation(t->d, zt_tensor_4d(t->work.modulation, ZT_F32, 1, t->S, 2, d), rows_of(t->work.e, t->S, d),
                  t->head_modulation, 1u << 1);
    k->layer_norm(t->d, y, rows_of(t->work.x, M, d), mod + d, mod, 2 * d, t->work.row, t->c->eps);
    k->linear(t->d, out, y, &t->head, &(zt_epilogue){ 0 });
    for (int i = 0, m = 0; m < M; i++) {
        const zt_segment *const s = &t->segment[i];
        for (int j = 0; j < s->frames; j++, m += tokens(s))
            frame_out(t, s, &s->frame[j], zt_tensor_rows(out, m, tokens(s)));
    }
}

int zt_dit_reserve_text(zt_dit *t, int rows)
{
    if (rows <= t->text_rows)
        return 0;
    float *const p = zt_device_alloc(t->d, (size_t)rows * 4 * (size_t)t->c->dim * sizeof(float));
    if (!p)
        return -ENOMEM;
    zt_device_free(t->d, t->text_work);
    t->text_work = p;
    t->text_rows = rows;
    return 0;
}

int zt_dit_text(zt_dit *t, zt_kv *kv, const float *rows, int n, float *mean)
{
    const zt_kernels *const k = &t->d->k;
    const int d = t->c->dim;
    const int err = zt_dit_reserve_text(t, n);
    if (err < 0)
        return err;
    const zt_tensor x = rows_of(t->text_work, n, d), y = rows_of(t->text_work + n * d, n, d);
    const zt_tensor both = rows_of(t->text_work + 2 * n * d, n, 2 * d);
    k->linear(t->d, y, rows_of((float *)rows, n, t->text_dim), &t->text.first, &(zt_epilogue){ .act = ZT_ACT_GELU });
    k->linear(t->d, x, y, &t->text.second, &(zt_epilogue){ 0 });
    for (int i = 0; mean && i < d; i++) {
        float sum = 0;
        for (int j = 0; j < n; j++)
            sum += zt_f32(x)[j * d + i];
        mean[i] = n ? sum / (float)n : 0;
    }
    for (int i = 0; i < t->c->layers; i++) {
        const zt_block *const b = &t->block[i];
        assert(kv[i].valid == n);
        k->linear(t->d, both, x, &b->cross_kv, &(zt_epilogue){ 0 });
        k->rms_rope(t->d, zt_tensor_columns(both, 0, d), b->cross_norm_k, NULL, d / t->c->heads, t->c->eps);
        t->kv_append(t->d, &kv[i], 0, zt_tensor_columns(both, 0, d), zt_tensor_columns(both, d, d));
    }
    return 0;
}
