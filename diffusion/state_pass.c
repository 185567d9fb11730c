// SPDX-License-Identifier: Apache-2.0
// The passes that move streams on: what each transformer is given, and what is made of the velocity that comes back.
#include <assert.h>
#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/base.h"
#include "diffusion/internal.h"
#include "diffusion/noise.h"

// The latents before those of a frame, newest first, for models that take them.
static void look_back(const zt_state *s, zt_frame_in *in, int64_t number)
{
    for (int p = 0; p < s->m->c.previous; p++) {
        const int64_t frame = number - 1 - p;
        in->latent[1 + p] = frame >= 0 ? zt_state_x0_of(s, frame) : s->image ? s->image : s->blank;
        in->mask[p] = frame >= 0 || s->image ? s->blank : s->ones;
    }
}

// Whose keys and values a segment reads and writes: of which transformer, with which prompt (0, or 1: the negative one).
struct whose {
    int net, side;
};

// Segment i of this state in a pass: the model_frame `number`, begun as f says, that sees `window` frames; job NULL
// commits it.
static zt_segment segment(zt_state *s, struct whose of, int i, int64_t number, const struct zt_begun *f, int window,
                          const zt_job *job)
{
    const zt_config *const c = &s->m->c;
    const int F = c->chunk_frames;
    const size_t plane = (size_t)c->out_dim * (size_t)(s->lw * s->lh);
    struct zt_side *const own = &s->side[of.net][of.side];
    const struct zt_text *const text = of.side ? &s->negative : &s->text[f->text];
    zt_frame_in *const in = own->in + i * F;
    int *const slot = own->slot + i * c->window_frames;
    const float *const x = job ? s->x : zt_state_x0_of(s, number), *const told = s->seen[number & 1];
    float *const v = of.side ? s->unguided : s->v;
    // UniPC's reference tells whole numbers
    const float t = !job ? 0 : c->sampler == ZT_UNIPC ? floorf(job->t) : job->t;
    for (int j = 0; j < F; j++) {
        in[j] = (zt_frame_in){ .t = t, .t_next = job ? job->t_next : 0, .control = f->control,
                               .latent = { x + (size_t)j * plane }, .slot = zt_cache_slot(&own->cache, number * F + j),
                               .ground = told, .place = told ? told + zt_told_floats(c) : NULL,
                               .v = v + (size_t)j * plane };
        look_back(s, &in[j], number);
        if (s->image && number == 0 && j == 0) {        // it is clean already
            in[j].latent[0] = s->image;
            in[j].t = 0;
        }
    }
    const int slots = zt_cache_window(&own->cache, number * F + F - 1, window, slot);
    return (zt_segment){ .frame = in, .frames = F, .h = s->lh, .w = s->lw, .first = number * F, .kv = own->cache.kv,
                         .past = own->past, .text = text->cache[of.net].kv, .text_bias = text->biased ? text->bias : NULL,
                         .slot = slot, .slots = slots, .commit = !job };
}

// A new prompt: keys and values of the latest frames are computed again with it, all in this pass. Each chunk sees the
// sink, which stays as it is, those before it in the span, and itself; later chunks find the new keys of earlier ones layer
// by layer: the block-causal mask over the span.
static int recache(zt_state *s, struct whose of, zt_segment *out)
{
    const zt_config *const c = &s->m->c;
    const int F = c->chunk_frames;
    const int64_t from = ZT_MAX(s->now.number - zt_recached(c), 0);
    int n = 0;
    for (int64_t number = from; number < s->now.number; number++) {
        const int64_t seen = (number + 1) * F - ZT_MAX(from * F, c->sink_frames);
        if (seen > 0)
            out[n] = segment(s, of, n, number, &s->now, c->sink_frames + (int)seen, NULL), n++;
    }
    return n;
}

static void check_job(const zt_model *m, const zt_job *job, int top_k)
{
    const zt_state *const s = job->s;
    (void)m, (void)top_k, (void)s;
    assert(s->m == m && s->begun > 0 && s->now.top_k == top_k);
    assert(job->pass != ZT_COMMIT_DENOISE || s->before.top_k == top_k);
    assert(job->pass != ZT_COMMIT || s->estimated == s->now.number + 1);
    assert(job->pass != ZT_COMMIT_DENOISE || (s->now.number > 0 && s->estimated >= s->now.number));
    assert(job->pass != ZT_DENOISE || s->committed >= s->now.number);
}

// What a job asks of one side of one transformer: commits of all, denoising of the one whose noise it is. How many segments.
static int segments_of(const zt_job *job, struct whose of, zt_segment *out)
{
    zt_state *const s = job->s;
    int n = 0;
    if (job->pass == ZT_COMMIT) {
        if (zt_model_remembers(s->m))
            out[n++] = segment(s, of, 0, s->now.number, &s->now, s->now.window, NULL);
        return n;
    }
    if (s->recache && of.side == 0)
        n = recache(s, of, out);
    else if (job->pass == ZT_COMMIT_DENOISE && zt_model_remembers(s->m))
        out[n++] = segment(s, of, 0, s->before.number, &s->before, s->before.window, NULL);
    if (zt_model_net(s->m, job->t) == of.net)
        out[n] = segment(s, of, n, s->now.number, &s->now, s->now.window, job), n++;
    return n;
}

// What one caller of the kernels does of a pass: all, or one share of it.
struct part {
    zt_model  *m;
    zt_dit    *dit[ZT_MAX_NETS];
    zt_job     job[ZT_MAX_JOBS];
    int        n, groups, from, to;
    int        err;
};

static int begin_net(const struct part *p, int net)
{
    zt_segment segments[ZT_MAX_SEGMENTS];
    const int sides = p->m->sides;
    int count = 0;
    p->dit[net]->top_k = p->job[0].s->now.top_k;
    for (int i = 0; i < p->n * sides; i++)
        count += segments_of(&p->job[i / sides], (struct whose){ net, i % sides }, &segments[count]);
    return count ? zt_dit_begin(p->dit[net], segments, count) : 0;
}

static void begin_part(void *cookie, int i, zt_device *d)
{
    struct part *const p = (struct part *)cookie + i;
    for (int j = 0; j < p->n; j++)
        check_job(p->m, &p->job[j], p->job[0].s->now.top_k);
    for (int net = 0; net < p->m->nets && !p->err; net++) {
        p->dit[net]->d = d;
        p->err = begin_net(p, net);
    }
}

// The velocity that counts, in s->v.
static void guide(zt_state *s, zt_device *d, const zt_job *job, zt_tensor v)
{
    const zt_config *const c = &s->m->c;
    const float g = zt_model_net(s->m, job->t) ? c->guidance_high : c->guidance;
    zt_tensor unguided = v;
    unguided.data = s->unguided;
    if (s->unguided)
        d->k.combine(d, v, g, v, 1 - g, unguided);
}

// x0 = x - sigma v; x moves on to t_next.
static void step(zt_device *d, const zt_job *job)
{
    zt_state *const s = job->s;
    const zt_config *const c = &s->m->c;
    const float sigma = job->t / 1000, next = job->t_next / 1000;
    const zt_tensor x = zt_tensor_4d(s->x, ZT_F32, c->chunk_frames, c->out_dim, s->lh, s->lw);
    zt_tensor v = x, x0 = x;
    v.data = s->v;
    x0.data = zt_state_x0_of(s, s->now.number);
    guide(s, d, job, v);
    d->k.combine(d, x0, 1, x, -sigma, v);
    s->step++;
    if (c->sampler == ZT_UNIPC || c->sampler == ZT_RENOISE || s->image)
        zt_device_wait(d);              // the host goes on
    if (c->sampler == ZT_UNIPC) {
        zt_unipc_step(&s->unipc, s->x, s->v, ZT_MIN(job->t / 1000.0, 1 - 1e-6), job->t_next / 1000.0);
    } else if (next > 0 && c->sampler == ZT_RENOISE) {
        zt_noise_fill(s->v, zt_state_floats(s), s->seed, (uint64_t)s->now.number, (uint32_t)s->step);
        d->k.combine(d, x, 1 - next, x0, next, v);
    } else {
        d->k.combine(d, x, 1, x, next - sigma, v);
    }
    if (s->image && s->now.number == 0) {
        zt_device_wait(d);
        memcpy(x.data, s->image, (size_t)x.step[0] * sizeof(float));
        memcpy(x0.data, s->image, (size_t)x.step[0] * sizeof(float));
    }
    s->estimated = s->now.number + 1;
    s->recache = false;
}

// Units [from, to), of so many groups; blocks when 0.
static void run_part(void *cookie, int i, zt_device *d)
{
    const struct part *const p = (struct part *)cookie + i;
    const bool last = p->to == p->m->c.layers * (p->groups ? ZT_PARTS * p->groups : 1);
    for (int net = 0; net < p->m->nets; net++) {
        zt_dit *const dit = p->dit[net];
        dit->d = d;
        if (dit->running && p->groups)
            zt_dit_units(dit, p->groups, p->from, p->to);
        else if (dit->running)
            zt_dit_blocks(dit, p->from, p->to);
        if (dit->running && last)
            zt_dit_end(dit);
    }
    for (int j = 0; j < p->n && last; j++) {
        zt_state *const s = p->job[j].s;
        if (p->job[j].pass != ZT_DENOISE)
            s->committed = s->now.number + (p->job[j].pass == ZT_COMMIT);
        if (p->job[j].pass != ZT_COMMIT)
            step(d, &p->job[j]);
    }
}

// Each part on a thread, or the only one on all of them.
static void run_on(zt_device *d, zt_alone_fn *fn, struct part *p, int n)
{
    if (n > 1)
        zt_parallel_alone(d, n, fn, p);
    else
        fn(p, 0, d);
}

static int run_parts(struct part *p, int n)
{
    zt_device *const d = p[0].m->d;
    int err = 0;
    if (p[0].from == 0)
        run_on(d, begin_part, p, n);
    for (int i = 0; i < n; i++)
        err = err ? err : p[i].err;
    if (!err)
        run_on(d, run_part, p, n);
    for (int i = 0; i < n * p[0].m->nets && err; i++)
        p[i / p[0].m->nets].dit[i % p[0].m->nets]->running = false;
    return err;
}

static struct part part_of(zt_model *m, bool slice, int share)
{
    struct part p = { .m = m };
    for (int net = 0; net < m->nets; net++)
        p.dit[net] = share < 0 ? zt_model_dit(m, net, slice) : &m->share[share].dit[net];
    return p;
}

static int run_pass(zt_model *m, bool slice, const zt_job *job, int n, int groups, int from, int to)
{
    struct part part[ZT_MAX_JOBS];
    int *const jobs = slice ? &m->slice_jobs : &m->jobs;
    assert(n >= 1 && n <= ZT_MAX_JOBS && (from == 0 || n == *jobs));
    if (from == 0 && !slice)
        m->parts = zt_shares_divide(m, job, n);
    const int parts = slice ? 1 : m->parts;
    for (int i = 0; i < parts; i++) {
        part[i] = part_of(m, slice, parts > 1 ? i : -1);
        part[i].groups = groups;
        part[i].from = from;
        part[i].to = to;
    }
    for (int i = 0; i < n; i++) {
        struct part *const p = &part[parts > 1 ? m->part_of[i] : 0];
        p->job[p->n++] = job[i];
    }
    const int err = run_parts(part, parts);
    if (!err)
        *jobs = n;
    return err;
}

int zt_model_pass(zt_model *m, const zt_job *job, int n, int from, int to)
{
    return run_pass(m, false, job, n, 0, from, to);
}

int zt_model_slice(zt_model *m, const zt_job *job, int n, int groups, int from, int to)
{
    if (from == 0)
        m->slice.running = m->high_slice.running = false;
    return run_pass(m, true, job, n, groups, from, to);
}
