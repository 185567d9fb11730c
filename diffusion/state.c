// SPDX-License-Identifier: Apache-2.0
// One stream: what it remembers, and the passes that move it on.
#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "diffusion/encoder.h"
#include "diffusion/internal.h"
#include "diffusion/noise.h"

static zt_kv kv_shape(const zt_model *m, enum zt_type type, int valid)
{
    return (zt_kv){ .type = type, .H = m->c.heads, .D = m->c.dim / m->c.heads, .valid = valid };
}

// Of one model_frame: chunk_frames latents.
static size_t latent_floats(const zt_model *m, int w, int h)
{
    return (size_t)zt_round_up((int64_t)m->c.chunk_frames * m->c.out_dim * (w / m->scale) * (h / m->scale), 16);
}

static size_t used_floats(const zt_state *s)
{
    return (size_t)s->m->c.chunk_frames * (size_t)s->m->c.out_dim * (size_t)(s->lw * s->lh);
}

// Chunks that a new prompt computes again, besides the latest.
static int recached(const zt_config *c)
{
    return c->recache_frames ? (c->recache_frames + c->chunk_frames - 1) / c->chunk_frames : 0;
}

// x0 that are kept: of the frame in work and the one before, and of those that its input or a new prompt looks back to.
static int kept(const zt_config *c)
{
    return ZT_MAX(c->previous, recached(c)) + 2;
}

// Of what one frame is told of the ground: its tokens' vectors.
static size_t told_floats(const zt_config *c)
{
    return (size_t)zt_round_up((int64_t)c->rope_rows * c->rope_columns * c->dim, 16);
}

// And latents.
static size_t ground_floats(const zt_model *m, int w, int h)
{
    return m->c.ground.hidden ? told_floats(&m->c) + latent_floats(m, w, h) : 0;
}

// x, v, blank, ones and the x0 of the frames before; what two frames see of the ground
static size_t latent_bytes(const zt_model *m, int w, int h)
{
    return ((size_t)(4 + kept(&m->c)) * latent_floats(m, w, h) + 2 * ground_floats(m, w, h)) * sizeof(float);
}

// What the blocks that are not plain keep.
static size_t past_floats(const zt_model *m, int tokens)
{
    size_t n = 0;
    for (int i = 0; i < m->c.layers; i++)
        n += zt_dit_past_floats(&m->dit, i, m->c.window_frames + m->c.chunk_frames, tokens);
    return n;
}

static int allocate_past(zt_state *s, int tokens)
{
    const zt_model *const m = s->m;
    if (m->dit.others == 0)
        return 0;
    float *p = zt_device_alloc(m->d, past_floats(m, tokens) * sizeof(float));
    s->past = calloc((size_t)m->dit.others, sizeof(*s->past));
    s->past_memory = p;
    if (!p || !s->past)
        return -ENOMEM;
    for (int i = 0; i < m->c.layers; i++) {
        if (m->dit.block[i].kind == ZT_BLOCK_PLAIN)
            continue;
        s->past[m->dit.block[i].at] = p;
        p += zt_dit_past_floats(&m->dit, i, s->cache.slots, tokens);
    }
    return 0;
}

int64_t zt_state_bytes(const zt_model *m, int w, int h)
{
    const zt_config *const c = &m->c;
    const int lw = w / m->scale, lh = h / m->scale;
    const zt_kv own = kv_shape(m, m->dit.cache_type, lw / 2 * (lh / 2));
    const zt_kv text = kv_shape(m, m->dit.text_type, m->max_text + 1);
    return (int64_t)sizeof(zt_state)
         + zt_cache_bytes(ZT_MAX(m->dit.plain, 1), &own, c->sink_frames, c->window_frames, c->chunk_frames)
         + (int64_t)(past_floats(m, lw / 2 * (lh / 2)) * sizeof(float))
         + 2 * zt_cache_bytes(c->layers, &text, 0, 1, 0) + m->decoder.kind->state_bytes(&m->decoder, lh, lw)
         + (int64_t)latent_bytes(m, w, h);
}

static int check(const zt_model *m, int w, int h)
{
    const int unit = 2 * m->scale;
    if (!m->decoder.kind) {
        zt_error("%s has no decoder here: it can be checked, but not streamed", m->info.name);
        return -ENOTSUP;
    }
    if (w < unit || h < unit || w > 4096 || h > 4096 || w % unit || h % unit) {
        zt_error("%dx%d: width and height must be multiples of %d up to 4096", w, h, unit);
        return -EINVAL;
    }
    return 0;
}

// Two sets for prompts, and the next one.
static int allocate_text(zt_state *s)
{
    const zt_model *const m = s->m;
    const zt_kv like = kv_shape(m, m->dit.text_type, m->max_text + 1);
    const size_t n = (size_t)m->max_text + 1;
    int err = 0;
    for (int i = 0; i < 2 && !err; i++) {
        err = zt_cache_init(&s->text[i].cache, m->d, m->c.layers, &like, 0, 1, 0);
        s->text[i].id = calloc(n, sizeof(int));
        s->text[i].bias = calloc(n, sizeof(float));
        s->text[i].mean = m->c.ground.hidden ? calloc((size_t)m->c.dim, sizeof(float)) : NULL;
        if (!s->text[i].id || !s->text[i].bias || (m->c.ground.hidden && !s->text[i].mean))
            return -ENOMEM;
    }
    s->prompt = calloc(n, sizeof(int));
    s->rows = m->padded_text ? calloc(n * (size_t)m->dit.text_dim, sizeof(float)) : NULL;
    return err || !s->prompt || (m->padded_text && !s->rows) ? -ENOMEM : 0;
}

static int allocate(zt_state *s)
{
    zt_model *const m = s->m;
    const zt_config *const c = &m->c;
    const int T = s->lw / 2 * (s->lh / 2);
    const zt_kv own = kv_shape(m, m->dit.cache_type, T);
    int err = zt_cache_init(&s->cache, m->d, ZT_MAX(m->dit.plain, 1), &own, c->sink_frames, c->window_frames,
                            c->chunk_frames);
    if (!err)
        err = allocate_past(s, T);
    if (!err)
        err = allocate_text(s);
    const size_t segments = (size_t)ZT_MAX(recached(c), 1) + 1;
    s->in = calloc(segments * (size_t)c->chunk_frames, sizeof(*s->in));
    s->slot = calloc(segments * (size_t)c->window_frames, sizeof(int));
    if (!s->in || !s->slot)
        return -ENOMEM;
    if (!err)
        err = m->decoder.kind->state_open(&m->decoder, &s->decoder, s->lh, s->lw);
    float *p = zt_device_alloc(m->d, latent_bytes(m, s->w, s->h));
    s->latents = p;
    if (err || !p)
        return -ENOMEM;

    const size_t n = latent_floats(m, s->w, s->h);
    float **const to[] = { &s->x, &s->v, &s->blank, &s->ones };
    for (size_t i = 0; i < ZT_LEN(to); i++, p += n)
        *to[i] = p;
    for (int i = 0; i < kept(c); i++, p += n)
        s->x0[i] = p;
    for (int i = 0; i < 2 && c->ground.hidden; i++, p += ground_floats(m, s->w, s->h))
        s->seen[i] = p;
    for (int i = 0; i < s->lw * s->lh; i++)
        s->ones[i] = 1;
    // the largest pass of one state: commit, or compute again, and denoise
    const int frames = (ZT_MAX(recached(c), 1) + 1) * c->chunk_frames;
    return zt_dit_reserve(&m->dit, frames * T, frames);
}

int zt_state_create(zt_state **out, zt_model *m, int w, int h, uint64_t seed)
{
    if (w == 0 && h == 0) {
        w = m->c.w;
        h = m->c.h;
    }
    int err = check(m, w, h);
    if (err < 0)
        return err;
    zt_state *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    *s = (zt_state){ .m = m, .w = w, .h = h, .lw = w / m->scale, .lh = h / m->scale, .seed = seed };
    s->ground = zt_ground_of(seed);
    s->camera = zt_ground_start(&s->ground);
    err = allocate(s);
    if (!err) {
        zt_state_prompt(s, NULL, NULL, 0);
        *out = s;
    } else {
        zt_error("a state of %dx%d: not enough memory for %lld bytes", w, h, (long long)zt_state_bytes(m, w, h));
        zt_state_destroy(&s);
    }
    return err;
}

void zt_state_destroy(zt_state **state)
{
    zt_state *const s = *state;
    if (!s)
        return;
    zt_device *const d = s->m->d;
    zt_cache_finish(&s->cache, d);
    zt_device_free(d, s->past_memory);
    free(s->past);
    for (int i = 0; i < 2; i++) {
        zt_cache_finish(&s->text[i].cache, d);
        free(s->text[i].id);
        free(s->text[i].bias);
        free(s->text[i].mean);
    }
    free(s->in);
    free(s->slot);
    s->m->decoder.kind->state_close(&s->m->decoder, s->decoder);
    zt_device_free(d, s->latents);
    free(s->prompt);
    zt_device_free(d, s->image);
    free(s->rows);
    free(s);
    *state = NULL;
}

void zt_state_control(zt_state *s, int i, float value)
{
    if (i < 0 || i >= s->m->c.n_controls || isnan(value))
        return;
    s->control[i] = ZT_MIN(ZT_MAX(value, -1), 1);
}

void zt_state_window(zt_state *s, int frames)
{
    s->window = frames;
}

void zt_state_top_k(zt_state *s, int k)
{
    s->top_k = k > 0 && k < s->m->c.top_k ? k : 0;
}

int zt_state_image(zt_state *s, const float *rgb)
{
    const zt_model *const m = s->m;
    assert(s->begun == 0);
    if (m->scale != 8) {
        zt_error("%s cannot start from a picture: its encoder is not known here", m->info.name);
        return -ENOENT;
    }
    float *const z = zt_device_alloc(m->d, latent_floats(m, s->w, s->h) * sizeof(float));
    const int err = z ? zt_encode_picture(m->d, m->folder, rgb, s->lh, s->lw, m->c.out_dim, z) : -ENOMEM;
    zt_device_free(m->d, err ? z : s->image);
    s->image = err ? s->image : z;
    return err;
}

void zt_state_place(zt_state *s, const zt_ground *g, const zt_ground_camera *c)
{
    s->ground = *g;
    s->camera = *c;
    s->placed = true;
}

static void look_at_ground(zt_state *s)
{
    if (!s->placed)
        zt_ground_step(&s->ground, &s->camera, s->now.control);
    float *const told = s->seen[s->now.number & 1];
    zt_dit_ground(&s->m->dit, &s->camera,
                  &(zt_dit_look){ .ground = &s->ground, .climb = !s->placed, .prompt = s->text[s->now.text].mean,
                                  .tokens = told, .latents = told + told_floats(&s->m->c), .h = s->lh, .w = s->lw });
    s->placed = false;
}

uint64_t zt_state_begin(zt_state *s)
{
    const zt_config *const c = &s->m->c;
    assert(s->committed + 1 >= (int64_t)s->begun);
    s->before = s->now;
    s->now.number = (int64_t)s->begun++;
    memcpy(s->now.control, s->control, sizeof(s->control));
    s->now.window = s->window > 0 ? s->window : c->window_frames;
    s->now.top_k = s->top_k;
    s->now.text = zt_state_text_for(s, s->now.text);
    s->step = 0;
    s->recache = recached(c) > 0 && s->now.number > 0 && s->now.text != s->before.text;
    if (c->ground.hidden)
        look_at_ground(s);
    zt_noise_fill(s->x, used_floats(s), s->seed, (uint64_t)s->now.number, 0);
    return (uint64_t)s->now.number;
}

uint64_t zt_state_frame(const zt_state *s)
{
    return s->begun;
}

static float *x0_of(const zt_state *s, int64_t number)
{
    return s->x0[number % kept(&s->m->c)];
}

// The latents before those of a frame, newest first, for models that take them.
static void look_back(const zt_state *s, zt_frame_in *in, int64_t number)
{
    for (int p = 0; p < s->m->c.previous; p++) {
        const int64_t frame = number - 1 - p;
        in->latent[1 + p] = frame >= 0 ? x0_of(s, frame) : s->image ? s->image : s->blank;
        in->mask[p] = frame >= 0 || s->image ? s->blank : s->ones;
    }
}

// Segment i of this state in a pass: the model_frame `number`, begun as f says, that sees `window` frames; job NULL
// commits it.
static zt_segment segment(zt_state *s, int i, int64_t number, const struct zt_begun *f, int window, const zt_job *job)
{
    const zt_config *const c = &s->m->c;
    const int F = c->chunk_frames;
    const size_t plane = (size_t)c->out_dim * (size_t)(s->lw * s->lh);
    zt_frame_in *const in = s->in + i * F;
    int *const slot = s->slot + i * c->window_frames;
    const float *const x = job ? s->x : x0_of(s, number), *const told = s->seen[number & 1];
    for (int j = 0; j < F; j++) {
        in[j] = (zt_frame_in){ .t = job ? job->t : 0, .t_next = job ? job->t_next : 0, .control = f->control,
                               .latent = { x + (size_t)j * plane }, .slot = zt_cache_slot(&s->cache, number * F + j),
                               .ground = told, .place = told ? told + told_floats(c) : NULL,
                               .v = s->v + (size_t)j * plane };
        look_back(s, &in[j], number);
        if (s->image && number == 0 && j == 0) {        // it is clean already
            in[j].latent[0] = s->image;
            in[j].t = 0;
        }
    }
    const int slots = zt_cache_window(&s->cache, number * F + F - 1, window, slot);
    return (zt_segment){ .frame = in, .frames = F, .h = s->lh, .w = s->lw, .first = number * F, .kv = s->cache.kv, .past = s->past,
                         .text = s->text[f->text].cache.kv,
                         .text_bias = s->text[f->text].biased ? s->text[f->text].bias : NULL, .slot = slot, .slots = slots, .commit = !job };
}

// A new prompt: keys and values of the latest frames are computed again with it, all in this pass. Each chunk sees the
// sink, which stays as it is, those before it in the span, and itself; later chunks find the new keys of earlier ones layer
// by layer: the block-causal mask over the span.
static int recache(zt_state *s, zt_segment *out)
{
    const zt_config *const c = &s->m->c;
    const int F = c->chunk_frames;
    const int64_t from = ZT_MAX(s->now.number - recached(c), 0);
    int n = 0;
    for (int64_t number = from; number < s->now.number; number++) {
        const int64_t seen = (number + 1) * F - ZT_MAX(from * F, c->sink_frames);
        if (seen > 0)
            out[n] = segment(s, n, number, &s->now, c->sink_frames + (int)seen, NULL), n++;
    }
    return n;
}

static int begin_pass(zt_model *m, zt_dit *dit, const zt_job *job, int n)
{
    zt_segment segments[ZT_MAX_SEGMENTS];
    int count = 0;
    dit->top_k = job[0].s->now.top_k;
    for (int i = 0; i < n; i++) {
        zt_state *const s = job[i].s;
        assert(s->m == m && s->begun > 0 && s->now.top_k == dit->top_k);
        assert(job[i].pass != ZT_COMMIT_DENOISE || s->before.top_k == dit->top_k);
        if (job[i].pass == ZT_COMMIT) {
            assert(s->estimated == s->now.number + 1);
            segments[count++] = segment(s, 0, s->now.number, &s->now, s->now.window, NULL);
            continue;
        }
        assert(job[i].pass == ZT_COMMIT_DENOISE ? s->now.number > 0 && s->estimated >= s->now.number
                                                : s->committed >= s->now.number);
        int own = 0;
        if (s->recache)
            own = recache(s, &segments[count]);
        else if (job[i].pass == ZT_COMMIT_DENOISE)
            segments[count + own++] = segment(s, 0, s->before.number, &s->before, s->before.window, NULL);
        count += own;
        segments[count++] = segment(s, own, s->now.number, &s->now, s->now.window, &job[i]);
    }
    return zt_dit_begin(dit, segments, count);
}

// x0 = x - sigma v; x moves on to t_next.
static void step(zt_state *s, const zt_job *job)
{
    const zt_config *const c = &s->m->c;
    zt_device *const d = s->m->d;
    const float sigma = job->t / 1000, next = job->t_next / 1000;
    const zt_tensor x = zt_tensor_4d(s->x, ZT_F32, c->chunk_frames, c->out_dim, s->lh, s->lw);
    zt_tensor v = x, x0 = x;
    v.data = s->v;
    x0.data = x0_of(s, s->now.number);
    d->k.combine(d, x0, 1, x, -sigma, v);
    s->step++;
    if (next > 0 && c->sampler == ZT_RENOISE) {
        zt_noise_fill(s->v, used_floats(s), s->seed, (uint64_t)s->now.number, (uint32_t)s->step);
        d->k.combine(d, x, 1 - next, x0, next, v);
    } else {
        d->k.combine(d, x, 1, x, next - sigma, v);
    }
    if (s->image && s->now.number == 0) {
        memcpy(x.data, s->image, (size_t)x.step[0] * sizeof(float));
        memcpy(x0.data, s->image, (size_t)x.step[0] * sizeof(float));
    }
    s->estimated = s->now.number + 1;
    s->recache = false;
}

static int run_pass(zt_model *m, zt_dit *dit, int *jobs, const zt_job *job, int n, int from, int to)
{
    assert(n >= 1 && n <= ZT_MAX_JOBS);
    if (from == 0) {
        const int err = begin_pass(m, dit, job, n);
        if (err < 0)
            return err;
        *jobs = n;
    }
    assert(n == *jobs);
    zt_dit_blocks(dit, from, to);
    if (to < m->c.layers)
        return 0;
    zt_dit_end(dit);
    for (int i = 0; i < n; i++) {
        zt_state *const s = job[i].s;
        if (job[i].pass != ZT_DENOISE)
            s->committed = s->now.number + (job[i].pass == ZT_COMMIT);
        if (job[i].pass != ZT_COMMIT)
            step(s, &job[i]);
    }
    return 0;
}

int zt_model_pass(zt_model *m, const zt_job *job, int n, int from, int to)
{
    return run_pass(m, &m->dit, &m->jobs, job, n, from, to);
}

int zt_model_slice(zt_model *m, const zt_job *job, int n, int from, int to)
{
    if (from == 0)
        m->slice.running = false;
    return run_pass(m, &m->slice, &m->slice_jobs, job, n, from, to);
}

int zt_state_pictures(const zt_state *s)
{
    const zt_model *const m = s->m;
    return (s->now.number == 0 ? m->decoder.first : m->decoder.next) + (m->c.chunk_frames - 1) * m->decoder.next;
}

void zt_state_decode(zt_state *s, zt_tensor rgb)
{
    zt_decoder *const k = &s->m->decoder;
    const zt_tensor z = zt_state_x0(s);
    float *to = zt_f32(rgb);
    assert(s->estimated > 0);
    for (int j = 0; j < z.n[0]; j++)
        to += k->kind->run(k, s->decoder, zt_f32(z) + j * z.step[0], to) * (int64_t)3 * s->w * s->h;
}

zt_tensor zt_state_x0(const zt_state *s)
{
    const int64_t number = ZT_MAX(s->estimated - 1, 0);
    return zt_tensor_4d(x0_of(s, number), ZT_F32, s->m->c.chunk_frames, s->m->c.out_dim, s->lh, s->lw);
}

void zt_state_put(zt_state *s, const float *x0)
{
    assert(s->begun > 0);
    memcpy(x0_of(s, s->now.number), x0, used_floats(s) * sizeof(float));
    s->estimated = s->now.number + 1;
}
