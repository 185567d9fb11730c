// SPDX-License-Identifier: Apache-2.0
// One stream: what it remembers, and what its next frame begins with.
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

size_t zt_state_floats(const zt_state *s)
{
    return (size_t)s->m->c.chunk_frames * (size_t)s->m->c.out_dim * (size_t)(s->lw * s->lh);
}

// Chunks that a new prompt computes again, besides the latest.
int zt_recached(const zt_config *c)
{
    return c->recache_frames ? (c->recache_frames + c->chunk_frames - 1) / c->chunk_frames : 0;
}

// x0 that are kept: of the frame in work and the one before, and of those that its input or a new prompt looks back to.
int zt_kept(const zt_config *c)
{
    return ZT_MAX(c->previous, zt_recached(c)) + 2;
}

// Of what one frame is told of the ground: its tokens' vectors.
size_t zt_told_floats(const zt_config *c)
{
    return (size_t)zt_round_up((int64_t)c->rope_rows * c->rope_columns * c->dim, 16);
}

// And latents.
static size_t ground_floats(const zt_model *m, int w, int h)
{
    return m->c.ground.hidden ? zt_told_floats(&m->c) + latent_floats(m, w, h) : 0;
}

// What guidance and UniPC take: the velocity of the negative prompt, estimates.
static int more_latents(const zt_model *m)
{
    return (m->sides > 1 ? 1 : 0) + (m->c.sampler == ZT_UNIPC ? 3 : 0);
}

// x, v, blank, ones and the x0 of the frames before; what two frames see of the ground
static size_t latent_bytes(const zt_model *m, int w, int h)
{
    return ((size_t)(4 + more_latents(m) + zt_kept(&m->c)) * latent_floats(m, w, h) + 2 * ground_floats(m, w, h)) * sizeof(float);
}

// What the blocks that are not plain keep.
static size_t past_floats(const zt_model *m, int tokens)
{
    size_t n = 0;
    for (int i = 0; i < m->c.layers; i++)
        n += zt_dit_past_floats(&m->dit, i, m->c.window_frames + m->c.chunk_frames, tokens);
    return n;
}

static int allocate_past(const zt_state *s, struct zt_side *side, int tokens)
{
    const zt_model *const m = s->m;
    if (m->dit.others == 0)
        return 0;
    side->past_bytes = past_floats(m, tokens) * sizeof(float);
    float *p = zt_device_alloc(m->d, side->past_bytes);
    side->past = calloc((size_t)m->dit.others, sizeof(*side->past));
    side->past_memory = p;
    if (!p || !side->past)
        return -ENOMEM;
    for (int i = 0; i < m->c.layers; i++) {
        if (m->dit.block[i].kind == ZT_BLOCK_PLAIN)
            continue;
        side->past[m->dit.block[i].at] = p;
        p += zt_dit_past_floats(&m->dit, i, side->cache.slots, tokens);
    }
    return 0;
}

// Of one side: its keys and values, its part of a pass.
static int allocate_side(const zt_state *s, struct zt_side *side, int tokens)
{
    const zt_model *const m = s->m;
    const zt_config *const c = &m->c;
    const zt_kv own = kv_shape(m, m->dit.cache_type, tokens);
    const size_t segments = (size_t)ZT_MAX(zt_recached(c), 1) + 1;
    int err = zt_cache_init(&side->cache, m->d, ZT_MAX(m->dit.plain, 1), &own, c->sink_frames, c->window_frames,
                            c->chunk_frames);
    if (!err)
        err = allocate_past(s, side, tokens);
    side->in = calloc(segments * (size_t)c->chunk_frames, sizeof(*side->in));
    side->slot = calloc(segments * (size_t)c->window_frames, sizeof(int));
    return err || !side->in || !side->slot ? -ENOMEM : 0;
}

int64_t zt_state_bytes(const zt_model *m, int w, int h)
{
    const zt_config *const c = &m->c;
    const int lw = w / m->scale, lh = h / m->scale;
    const zt_kv own = kv_shape(m, m->dit.cache_type, lw / 2 * (lh / 2));
    const zt_kv text = kv_shape(m, m->dit.text_type, m->max_text + 1);
    const int64_t side = zt_cache_bytes(ZT_MAX(m->dit.plain, 1), &own, c->sink_frames, c->window_frames, c->chunk_frames)
                       + (int64_t)(past_floats(m, lw / 2 * (lh / 2)) * sizeof(float));
    const int texts = m->nets * (1 + m->sides);
    return (int64_t)sizeof(zt_state) + m->nets * m->sides * side + texts * zt_cache_bytes(c->layers, &text, 0, 1, 0) + m->decoder.kind->state_bytes(&m->decoder, lh, lw)
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

static int allocate_set(const zt_state *s, struct zt_text *t)
{
    const zt_model *const m = s->m;
    const zt_kv like = kv_shape(m, m->dit.text_type, m->max_text + 1);
    const size_t n = (size_t)m->max_text + 1;
    int err = 0;
    for (int i = 0; i < m->nets && !err; i++)
        err = zt_cache_init(&t->cache[i], m->d, m->c.layers, &like, 0, 1, 0);
    t->id = calloc(n, sizeof(int));
    t->bias = zt_device_alloc_host(m->d, n * sizeof(float));
    t->mean = m->c.ground.hidden ? calloc((size_t)m->c.dim, sizeof(float)) : NULL;
    return err || !t->id || !t->bias || (m->c.ground.hidden && !t->mean) ? -ENOMEM : 0;
}

// Two sets for prompts, one for the negative prompt, and the next prompt.
static int allocate_text(zt_state *s)
{
    const zt_model *const m = s->m;
    const size_t n = (size_t)m->max_text + 1;
    int err = allocate_set(s, &s->text[0]);
    if (!err)
        err = allocate_set(s, &s->text[1]);
    if (!err && m->sides > 1)
        err = allocate_set(s, &s->negative);
    s->prompt = calloc(n, sizeof(int));
    s->rows = m->padded_text ? calloc(n * (size_t)m->dit.text_dim, sizeof(float)) : NULL;
    return err || !s->prompt || (m->padded_text && !s->rows) ? -ENOMEM : 0;
}

static void place_latents(zt_state *s, float *p)
{
    const zt_model *const m = s->m;
    const size_t n = latent_floats(m, s->w, s->h);
    float **const to[] = { &s->x, &s->v, &s->blank, &s->ones };
    for (size_t i = 0; i < ZT_LEN(to); i++, p += n)
        *to[i] = p;
    if (m->sides > 1) {
        s->unguided = p;
        p += n;
    }
    for (int i = 0; i < 3 && m->c.sampler == ZT_UNIPC; i++, p += n)
        s->estimate[i] = p;
    for (int i = 0; i < zt_kept(&m->c); i++, p += n)
        s->x0[i] = p;
    for (int i = 0; i < 2 && m->c.ground.hidden; i++, p += ground_floats(m, s->w, s->h))
        s->seen[i] = p;
    for (int i = 0; i < s->lw * s->lh; i++)
        s->ones[i] = 1;
}

static int allocate(zt_state *s)
{
    zt_model *const m = s->m;
    const int T = s->lw / 2 * (s->lh / 2);
    int err = 0;
    for (int i = 0; i < m->nets * m->sides && !err; i++)
        err = allocate_side(s, &s->side[i / m->sides][i % m->sides], T);
    if (!err)
        err = allocate_text(s);
    if (!err)
        err = m->decoder.kind->state_open(&m->decoder, &s->decoder, s->lh, s->lw);
    s->latent_bytes = latent_bytes(m, s->w, s->h);
    s->latents = zt_device_alloc_host(m->d, s->latent_bytes);
    if (err || !s->latents)
        return -ENOMEM;
    place_latents(s, s->latents);
    return 0;
}

static void no_memory(const zt_state *s)
{
    zt_error("a state of %dx%d: not enough memory for %lld bytes", s->w, s->h, (long long)zt_state_bytes(s->m, s->w, s->h));
}

int zt_state_allocate(zt_state **out, zt_model *m, int w, int h, uint64_t seed)
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
    if (err < 0) {
        no_memory(s);
        zt_state_destroy(&s);
        return err;
    }
    *out = s;
    return 0;
}

int zt_state_start(zt_state *s)
{
    zt_model *const m = s->m;
    const zt_config *const c = &m->c;
    // the largest pass of one state: commit, or compute again, and denoise
    const int T = s->lw / 2 * (s->lh / 2), frames = (ZT_MAX(zt_recached(c), 1) + 1) * c->chunk_frames * m->sides;
    int err = 0;
    for (int i = 0; i < m->nets && !err; i++)
        err = zt_dit_reserve(zt_model_dit(m, i, false), frames * T, frames);
    if (err < 0) {
        no_memory(s);
        return err;
    }
    zt_state_prompt(s, NULL, NULL, 0);
    if (m->sides > 1)
        zt_state_text_against(s);
    return 0;
}

int zt_state_create(zt_state **out, zt_model *m, int w, int h, uint64_t seed)
{
    zt_state *s = NULL;
    int err = zt_state_allocate(&s, m, w, h, seed);
    if (!err)
        err = zt_state_start(s);
    if (err < 0)
        zt_state_destroy(&s);
    else
        *out = s;
    return err;
}

static void finish_side(struct zt_side *side, zt_device *d)
{
    zt_cache_finish(&side->cache, d);
    zt_device_free(d, side->past_memory);
    free(side->past);
    free(side->in);
    free(side->slot);
}

static void finish_set(struct zt_text *t, zt_device *d)
{
    for (int i = 0; i < ZT_MAX_NETS; i++)
        zt_cache_finish(&t->cache[i], d);
    free(t->id);
    zt_device_free_host(d, t->bias);
    free(t->mean);
}

void zt_state_destroy(zt_state **state)
{
    zt_state *const s = *state;
    if (!s)
        return;
    zt_device *const d = s->m->d;
    for (int i = 0; i < ZT_MAX_NETS * ZT_SIDES; i++)
        finish_side(&s->side[i / ZT_SIDES][i % ZT_SIDES], d);
    finish_set(&s->text[0], d);
    finish_set(&s->text[1], d);
    finish_set(&s->negative, d);
    s->m->decoder.kind->state_close(&s->m->decoder, s->decoder);
    zt_device_free_host(d, s->latents);
    free(s->prompt);
    zt_device_free_host(d, s->image);
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
    float *const z = zt_device_alloc_host(m->d, latent_floats(m, s->w, s->h) * sizeof(float));
    const int err = z ? zt_encode_picture(m->host, m->folder, rgb, s->lh, s->lw, m->c.out_dim, z) : -ENOMEM;
    zt_device_free_host(m->d, err ? z : s->image);
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
                                  .tokens = told, .latents = told + zt_told_floats(&s->m->c), .h = s->lh, .w = s->lw });
    s->placed = false;
}

uint64_t zt_state_begin(zt_state *s)
{
    const zt_config *const c = &s->m->c;
    assert(s->committed + 1 >= (int64_t)s->begun);
    zt_device_wait(s->m->d);
    s->before = s->now;
    s->now.number = (int64_t)s->begun++;
    memcpy(s->now.control, s->control, sizeof(s->control));
    s->now.window = s->window > 0 ? s->window : c->window_frames;
    s->now.top_k = s->top_k;
    s->now.text = zt_state_text_for(s, s->now.text);
    s->step = 0;
    s->recache = zt_recached(c) > 0 && s->now.number > 0 && s->now.text != s->before.text;
    if (c->ground.hidden)
        look_at_ground(s);
    if (c->sampler == ZT_UNIPC)
        zt_unipc_init(&s->unipc, zt_state_floats(s), s->estimate);
    zt_noise_fill(s->x, zt_state_floats(s), s->seed, (uint64_t)s->now.number, 0);
    return (uint64_t)s->now.number;
}

uint64_t zt_state_frame(const zt_state *s)
{
    return s->begun;
}

float *zt_state_x0_of(const zt_state *s, int64_t number)
{
    return s->x0[number % zt_kept(&s->m->c)];
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
    return zt_tensor_4d(zt_state_x0_of(s, number), ZT_F32, s->m->c.chunk_frames, s->m->c.out_dim, s->lh, s->lw);
}

void zt_state_put(zt_state *s, const float *x0)
{
    assert(s->begun > 0);
    zt_device_wait(s->m->d);
    memcpy(zt_state_x0_of(s, s->now.number), x0, zt_state_floats(s) * sizeof(float));
    s->estimated = s->now.number + 1;
}
