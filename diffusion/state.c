// SPDX-License-Identifier: Apache-2.0
// One stream: what it remembers, and the passes that move it on.
#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "diffusion/internal.h"
#include "diffusion/noise.h"

static zt_kv kv_shape(const zt_model *m, int valid)
{
    return (zt_kv){ .type = m->dit.cache_type, .H = m->c.heads, .D = m->c.dim / m->c.heads, .valid = valid };
}

// Of one model_frame: chunk_frames latents.
static size_t latent_floats(const zt_model *m, int w, int h)
{
    return (size_t)zt_round_up((int64_t)m->c.chunk_frames * m->c.out_dim * (w / 8) * (h / 8), 16);
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

// x, v, blank, ones and the x0 of the frames before
static size_t latent_bytes(const zt_model *m, int w, int h)
{
    return (size_t)(4 + kept(&m->c)) * latent_floats(m, w, h) * sizeof(float);
}

int64_t zt_state_bytes(const zt_model *m, int w, int h)
{
    const zt_config *const c = &m->c;
    const zt_kv own = kv_shape(m, w / 16 * (h / 16)), text = kv_shape(m, c->text.max_tokens);
    return (int64_t)sizeof(zt_state)
         + zt_cache_bytes(c->layers, &own, c->sink_frames, c->window_frames, c->chunk_frames)
         + 2 * zt_cache_bytes(c->layers, &text, 0, 1, 0) + zt_decoder_state_bytes(&m->decoder, h / 8, w / 8)
         + (int64_t)latent_bytes(m, w, h);
}

static int check(const zt_model *m, int w, int h)
{
    if (!m->c.decoder || !m->c.text.words) {
        zt_error("%s has no %s here: it can be checked, but not streamed", m->info.name,
                 m->c.decoder ? "text encoder" : "decoder");
        return -ENOTSUP;
    }
    if (w < 16 || h < 16 || w > 4096 || h > 4096 || w % 16 || h % 16) {
        zt_error("%dx%d: width and height must be multiples of 16 up to 4096", w, h);
        return -EINVAL;
    }
    return 0;
}

static int allocate(zt_state *s)
{
    zt_model *const m = s->m;
    const zt_config *const c = &m->c;
    const int T = s->w / 16 * (s->h / 16);
    const zt_kv own = kv_shape(m, T), text = kv_shape(m, c->text.max_tokens);
    int err = zt_cache_init(&s->cache, m->d, c->layers, &own, c->sink_frames, c->window_frames, c->chunk_frames);
    for (int i = 0; i < 2 && !err; i++) {
        err = zt_cache_init(&s->text[i].cache, m->d, c->layers, &text, 0, 1, 0);
        s->text[i].id = calloc((size_t)c->text.max_tokens, sizeof(int));
        if (!s->text[i].id)
            return -ENOMEM;
    }
    const size_t segments = (size_t)ZT_MAX(recached(c), 1) + 1;
    s->in = calloc(segments * (size_t)c->chunk_frames, sizeof(*s->in));
    s->slot = calloc(segments * (size_t)c->window_frames, sizeof(int));
    if (!s->in || !s->slot)
        return -ENOMEM;
    s->prompt = calloc((size_t)c->text.max_tokens, sizeof(int));
    if (!err)
        err = zt_decoder_state_init(&s->decoder, &m->decoder, s->lh, s->lw);
    float *p = zt_device_alloc(m->d, latent_bytes(m, s->w, s->h));
    s->latents = p;
    if (err || !p || !s->prompt)
        return -ENOMEM;

    const size_t n = latent_floats(m, s->w, s->h);
    float **const to[] = { &s->x, &s->v, &s->blank, &s->ones };
    for (size_t i = 0; i < ZT_LEN(to); i++, p += n)
        *to[i] = p;
    for (int i = 0; i < kept(c); i++, p += n)
        s->x0[i] = p;
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
    *s = (zt_state){ .m = m, .w = w, .h = h, .lw = w / 8, .lh = h / 8, .seed = seed };
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
    for (int i = 0; i < 2; i++) {
        zt_cache_finish(&s->text[i].cache, d);
        free(s->text[i].id);
    }
    free(s->in);
    free(s->slot);
    zt_decoder_state_finish(&s->decoder, &s->m->decoder);
    zt_device_free(d, s->latents);
    free(s->prompt);
    free(s);
    *state = NULL;
}

int zt_state_prompt(zt_state *s, const char *text, char *ignored, size_t bytes)
{
    const zt_text_config *const c = &s->m->c.text;
    const int n = zt_words_parse(c, text ? text : "", s->prompt, ignored, bytes);
    // token 0 alone knows no word: the default prompt, whose own unknown words are nobody's business
    s->n_prompt = n > 1 ? n : zt_words_parse(c, c->default_prompt, s->prompt, NULL, 0);
    return n - 1;
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

// The keys and values of the prompt, in the set that the frame before does not use.
static int text_for(zt_state *s, int current)
{
    struct zt_text *const old = &s->text[current];
    if (old->n == s->n_prompt && memcmp(old->id, s->prompt, (size_t)old->n * sizeof(int)) == 0)
        return current;
    zt_model *const m = s->m;
    struct zt_text *const t = &s->text[!current];
    t->n = s->n_prompt;
    memcpy(t->id, s->prompt, (size_t)t->n * sizeof(int));
    memset(t->cache.memory, 0, (size_t)t->cache.bytes);         // padding is zero
    for (int i = 0; i < t->cache.layers; i++)
        t->cache.kv[i].valid = t->n;
    const int width = m->c.text.text_dim, spare = m->c.text.max_tokens * width;
    zt_words_rows(&m->words, m->d, t->id, t->n, m->text_rows, m->text_rows + spare, m->text_rows + spare + width);
    zt_dit_text(&m->dit, t->cache.kv, m->text_rows, t->n);      // its room was made when the model was opened
    return !current;
}

// The opening of the next frame's prompt: in each group the first token named, else the usual one.
static const float *opening_of(const zt_state *s)
{
    const zt_config *const c = &s->m->c;
    if (!s->m->openings || s->w != c->w || s->h != c->h)
        return NULL;
    int64_t at = 0;
    for (int g = 0; g < c->n_openings; g++) {
        const zt_group *const group = &c->text.group[g];
        int token = c->opening[g];
        for (int i = s->n_prompt - 1; i >= 0; i--)
            token = s->prompt[i] >= group->first && s->prompt[i] <= group->last ? s->prompt[i] : token;
        at = at * (group->last - group->first + 1) + token - group->first;
    }
    return s->m->openings + at * c->out_dim * s->lh * s->lw;
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
    s->now.text = text_for(s, s->now.text);
    s->step = 0;
    s->recache = recached(c) > 0 && s->now.number > 0 && s->now.text != s->before.text;
    if (s->now.number == 0)
        s->opening = opening_of(s);
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
        in->latent[1 + p] = frame >= 0 ? x0_of(s, frame) : s->opening ? s->opening : s->blank;
        in->mask[p] = frame >= 0 || s->opening ? s->blank : s->ones;
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
    const float *const x = job ? s->x : x0_of(s, number);
    for (int j = 0; j < F; j++) {
        in[j] = (zt_frame_in){ .t = job ? job->t : 0, .t_next = job ? job->t_next : 0, .control = f->control,
                               .latent = { x + (size_t)j * plane }, .slot = zt_cache_slot(&s->cache, number * F + j),
                               .v = s->v + (size_t)j * plane };
        look_back(s, &in[j], number);
    }
    const int slots = zt_cache_window(&s->cache, number * F + F - 1, window, slot);
    return (zt_segment){ .frame = in, .frames = F, .h = s->lh, .w = s->lw, .first = number * F, .kv = s->cache.kv,
                         .text = s->text[f->text].cache.kv, .slot = slot, .slots = slots, .commit = !job };
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

void zt_state_decode(zt_state *s, zt_tensor rgb)
{
    const int F = s->m->c.chunk_frames;
    const zt_tensor all = zt_state_x0(s);
    assert(s->estimated > 0);
    zt_tensor z = all, picture = rgb;
    z.n[0] = picture.n[0] = 1;
    for (int j = 0; j < F; j++) {
        z.data = zt_f32(all) + j * all.step[0];
        picture.data = zt_f32(rgb) + j * rgb.step[0];
        zt_decoder_run(&s->m->decoder, &s->decoder, picture, z);
    }
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
