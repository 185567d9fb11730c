// SPDX-License-Identifier: Apache-2.0
// The blocks that keep less of the past than keys and values: latent attention and Mamba-2, in the place of self-attention.
//
// Latent attention keeps a latent and a rotated key per token, in the slots of the ring; a pass expands the slots that a
// segment sees into keys and values, which only live for that layer. Mamba-2 keeps a state: denoising passes start from it
// and leave it alone, the commit moves it on, so a commit of the frame before comes first within a pass.
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/base.h"
#include "diffusion/dit.h"

size_t zt_dit_past_floats(const zt_dit *t, int layer, int slots, int tokens)
{
    const zt_block *const b = &t->block[layer];
    switch (b->kind) {
    case ZT_BLOCK_MLA:   return (size_t)slots * (size_t)tokens * (size_t)zt_mla_kept(&b->mla);
    case ZT_BLOCK_MAMBA: return zt_mamba_state_floats(&b->mamba);
    default:             return 0;
    }
}

size_t zt_dit_past_work(const zt_dit *t, size_t M)
{
    size_t most = 0;
    for (int i = 0; i < t->c->layers; i++) {
        const zt_block *const b = &t->block[i];
        if (b->kind == ZT_BLOCK_MLA) {
            const size_t wide = (size_t)(b->mla.s.heads * b->mla.D);
            most = ZT_MAX(most, M * (2 * wide + (size_t)zt_mla_kept(&b->mla)) + zt_mla_work(&b->mla, (int)M));
        } else if (b->kind == ZT_BLOCK_MAMBA) {
            most = ZT_MAX(most, zt_mamba_work(&b->mamba, (int)M));
        }
    }
    return most;
}

static int tokens(const zt_segment *s)
{
    return s->h / 2 * (s->w / 2);
}

int zt_dit_reserve_past(zt_dit *t, int slots, int valid)
{
    const zt_block *first = NULL;
    for (int i = 0; i < t->c->layers && !first; i++)
        first = t->block[i].kind == ZT_BLOCK_MLA ? &t->block[i] : NULL;
    if (!first)
        return 0;
    const zt_kv kv = { .type = t->text_type, .H = first->mla.s.heads, .D = first->mla.D, .valid = valid,
                       .keys = (int)zt_round_up(valid, 16) };
    const size_t bytes = (size_t)slots * zt_kv_slot_bytes(&kv);
    if (2 * bytes <= t->work.expanded_bytes)
        return 0;
    void *const p = zt_device_alloc(t->d, 2 * bytes);
    if (!p)
        return -ENOMEM;
    zt_device_free(t->d, t->work.expanded);
    t->work.expanded = p;
    t->work.expanded_bytes = 2 * bytes;
    return 0;
}

static zt_epilogue gated_row(const zt_dit *t, int m)
{
    return (zt_epilogue){ .gate = t->work.modulation + 2 * t->c->dim, .gate_step = 6 * t->c->dim, .row = t->work.row + m };
}

// Keys and values of the slots that a segment sees, in the order it lists them.
static zt_kv expand(zt_dit *t, const zt_block *b, const zt_segment *s, const float *kept, float *work)
{
    const int T = tokens(s);
    zt_kv kv = { .type = t->text_type, .H = b->mla.s.heads, .D = b->mla.D, .valid = T,
                 .keys = (int)zt_round_up(T, 16), .k = t->work.expanded };
    const size_t bytes = (size_t)s->slots * zt_kv_slot_bytes(&kv);
    kv.v = (char *)kv.k + bytes;
    memset(kv.k, 0, 2 * bytes);
    for (int i = 0; i < s->slots; i++)
        zt_mla_expand(&b->mla, t->d, kept + (size_t)s->slot[i] * (size_t)T * (size_t)zt_mla_kept(&b->mla), &kv, i, work);
    return kv;
}

static void latent_attention(zt_dit *t, const zt_block *b, int live)
{
    const zt_mla *const a = &b->mla;
    const int M = t->M, wide = a->s.heads * a->D, width = zt_mla_kept(a);
    float *const q = t->work.past, *const y = q + (size_t)M * (size_t)wide, *const kept = y + (size_t)M * (size_t)wide;
    float *const work = kept + (size_t)M * (size_t)width;
    zt_mla_project(a, t->d, zt_tensor_2d(t->work.y, ZT_F32, M, t->c->dim), t->work.past_angle, q, kept, work);
    for (int i = 0, m = 0; i < t->segments; i++) {
        const zt_segment *const s = &t->segment[i];
        const size_t slot = (size_t)tokens(s) * (size_t)width;
        for (int j = 0; j < s->frames; j++, m += tokens(s))
            memcpy(s->past[b->at] + (size_t)s->frame[j].slot * slot, kept + (size_t)m * (size_t)width, slot * sizeof(float));
    }
    int order[ZT_MAX_SLOTS];
    for (int i = 0; i < ZT_MAX_SLOTS; i++)
        order[i] = i;
    for (int i = 0, m = 0; i < t->segments && m < live; i++) {
        const zt_segment *const s = &t->segment[i];
        const int rows = s->frames * tokens(s);
        const zt_kv kv = expand(t, b, s, s->past[b->at], work);
        const zt_span span = { 0, rows, &kv, order, s->slots, NULL };
        const zt_epilogue e = gated_row(t, m);
        t->d->k.attention(t->d, zt_tensor_2d(y, ZT_F32, rows, wide),
                          zt_tensor_2d(q + (size_t)m * (size_t)wide, ZT_F32, rows, wide), &span, 1);
        zt_mla_output(a, t->d, zt_tensor_2d(t->work.x + (size_t)m * (size_t)t->c->dim, ZT_F32, rows, t->c->dim), y, &e,
                      work);
        m += rows;
    }
}

static void state_space(zt_dit *t, const zt_block *b, int live)
{
    const int d = t->c->dim;
    for (int commit = 1; commit >= 0; commit--) {
        for (int i = 0, m = 0; i < t->segments; i++) {
            const zt_segment *const s = &t->segment[i];
            const int rows = s->frames * tokens(s), from = m;
            m += rows;
            if (s->commit != commit)
                continue;
            float *const h = s->past[b->at];
            zt_mamba_state state = { h, h + b->mamba.s.inner * b->mamba.s.state };
            const zt_epilogue e = gated_row(t, from);
            zt_tensor out = zt_tensor_2d(t->work.x + (size_t)from * (size_t)d, ZT_F32, rows, d);
            if (from >= live)
                out.data = NULL;        // nobody asks
            zt_mamba_run(&b->mamba, t->d, out, zt_tensor_2d(t->work.y + (size_t)from * (size_t)d, ZT_F32, rows, d), &state,
                         s->commit, &e, t->work.past);
        }
    }
}

void zt_dit_run_past(zt_dit *t, const zt_block *b, int live)
{
    assert(b->kind != ZT_BLOCK_PLAIN);
    if (b->kind == ZT_BLOCK_MLA)
        latent_attention(t, b, live);
    else
        state_space(t, b, live);
}
