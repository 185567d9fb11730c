// SPDX-License-Identifier: Apache-2.0
// Translates tensor names; shapes and order of elements are the same in both schemes.
#include "diffusion/models.h"

#include <stdio.h>
#include <string.h>

#include "base/base.h"

static const struct pair {
    const char *original, *diffusers;
} outside[] = {
    { "text_embedding.0.", "condition_embedder.text_embedder.linear_1." },
    { "text_embedding.2.", "condition_embedder.text_embedder.linear_2." },
    { "time_embedding.0.", "condition_embedder.time_embedder.linear_1." },
    { "time_embedding.2.", "condition_embedder.time_embedder.linear_2." },
    { "time_projection.1.", "condition_embedder.time_proj." },
    { "head.modulation", "scale_shift_table" },
    { "head.head.", "proj_out." },
}, inside[] = {
    { "modulation", "scale_shift_table" },
    { "self_attn.q.", "attn1.to_q." }, { "self_attn.k.", "attn1.to_k." }, { "self_attn.v.", "attn1.to_v." },
    { "self_attn.o.", "attn1.to_out.0." }, { "self_attn.norm_", "attn1.norm_" },
    { "cross_attn.q.", "attn2.to_q." }, { "cross_attn.k.", "attn2.to_k." }, { "cross_attn.v.", "attn2.to_v." },
    { "cross_attn.o.", "attn2.to_out.0." }, { "cross_attn.norm_", "attn2.norm_" },
    { "norm3.", "norm2." }, { "ffn.0.", "ffn.net.0.proj." }, { "ffn.2.", "ffn.net.2." },
};

// Before a name, again and again.
static const char *const prefixes[] = {
    "model.", "diffusion_model.", "module.", "first_stage_model.", "text_encoders.t5xxl.transformer.",
};

// Anywhere in a name.
static const char *const segments[] = { "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_orig_mod." };

static void cut(char *at, size_t n)
{
    memmove(at, at + n, strlen(at + n) + 1);
}

void zt_name_strip(char *name)
{
    for (size_t i = 0; i < ZT_LEN(segments); i++) {
        for (char *at; (at = strstr(name, segments[i])) != NULL;)
            cut(at, strlen(segments[i]));
    }
    for (size_t i = 0; i < ZT_LEN(prefixes); i++) {
        const size_t n = strlen(prefixes[i]);
        if (strncmp(name, prefixes[i], n) == 0 && name[n]) {
            cut(name, n);
            i = (size_t)-1;                     // from the first one again
        }
    }
}

bool zt_names_are_diffusers(const zt_weights *w)
{
    return zt_weights_find(w, "condition_embedder.time_proj.weight") != NULL;
}

void zt_name_for_diffusers(char *out, size_t bytes, const char *name)
{
    const struct pair *list = outside;
    size_t n = ZT_LEN(outside);
    int layer, prefix = 0;
    if (sscanf(name, "blocks.%d.%n", &layer, &prefix) == 1 && prefix) {
        list = inside;
        n = ZT_LEN(inside);
    }
    for (size_t i = 0; i < n; i++) {
        const size_t length = strlen(list[i].original);
        if (strncmp(name + prefix, list[i].original, length) == 0) {
            snprintf(out, bytes, "%.*s%s%s", prefix, name, list[i].diffusers, name + prefix + length);
            return;
        }
    }
    snprintf(out, bytes, "%s", name);
}
