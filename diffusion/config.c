// SPDX-License-Identifier: Apache-2.0
// Reads and checks config.json.
#include "diffusion/config.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "diffusion/decoder.h"
#include "diffusion/ground.h"
#include "diffusion/json.h"
#include "diffusion/text.h"
#include "diffusion/weights.h"

#define AT(field) offsetof(zt_config, field)

// Whole numbers by name; a diffusers name stands beside the original one.
static const struct number {
    const char *key;
    size_t      at;
    int         min, max;
} numbers[] = {
    { "version", AT(version), 1, ZT_CONFIG_VERSION }, { "dim", AT(dim), 2, 1 << 16 },
    { "num_heads", AT(heads), 1, 1024 }, { "num_attention_heads", AT(heads), 1, 1024 },
    { "num_layers", AT(layers), 1, 512 },
    { "in_dim", AT(in_dim), 1, 256 }, { "in_channels", AT(in_dim), 1, 256 },
    { "out_dim", AT(out_dim), 1, 256 }, { "out_channels", AT(out_dim), 1, 256 },
    { "freq_dim", AT(freq_dim), 2, 4096 }, { "ffn_dim", AT(ffn_dim), 1, 1 << 18 },
    { "n_routed_experts", AT(experts), 1, 1024 }, { "n_activated_experts", AT(top_k), 1, 16 },
    { "n_shared_experts", AT(shared_experts), 0, 64 }, { "moe_inter_dim", AT(inter), 1, 1 << 16 },
    { "n_expert_groups", AT(groups), 1, 1024 }, { "n_limited_groups", AT(limited_groups), 1, 1024 },
    { "q_lora_rank", AT(q_latent), 0, 1 << 16 }, { "kv_lora_rank", AT(latent), 2, 1 << 16 },
    { "qk_nope_head_dim", AT(nope), 0, 1024 }, { "qk_rope_head_dim", AT(rope), 2, 1024 }, { "v_head_dim", AT(value), 1, 1024 },
    { "d_state", AT(state), 1, 4096 }, { "headdim", AT(state_head), 1, 4096 }, { "d_conv", AT(conv), 2, 16 },
    { "expand", AT(expand), 1, 16 },
    { "previous_frames", AT(previous), 0, ZT_MAX_PREVIOUS },
    { "chunk_frames", AT(chunk_frames), 1, 64 },
    { "window_frames", AT(window_frames), 1, 1024 }, { "sink_frames", AT(sink_frames), 0, 1024 },
    { "recache_frames", AT(recache_frames), 0, ZT_MAX_RECACHED }, { "text_len", AT(text_len), 1, 4096 },
    { "first_frame_steps", AT(first_frame_steps), 1, ZT_MAX_STEPS }, { "steps", AT(steps), 1, ZT_MAX_STEPS },
    { "width", AT(w), 16, 4096 }, { "height", AT(h), 16, 4096 }, { "fps", AT(fps), 1, 240 },
};

static const struct real {
    const char *key;
    size_t      at;
    double      min, max;
} reals[] = {
    { "eps", AT(eps), 1e-12, 1 }, { "route_scale", AT(route_scale), 1e-6, 1e6 }, { "shift", AT(shift), 0.01, 1000 },
    { "guidance", AT(guidance), 1, 100 }, { "guidance_high", AT(guidance_high), 1, 100 },
    { "boundary_ratio", AT(boundary), 0.001, 1 },
};

static const struct truth {
    const char *key;
    size_t      at;
} truths[] = {
    { "previous_shifts", AT(previous_shifts) }, { "position_embedding", AT(position_embedding) },
    { "residual", AT(residual) }, { "warp", AT(warp) }, { "step_embed", AT(step_embed) },
};

static const struct choice {
    const char *key;
    size_t      at;
    const char *names[4];
} choices[] = {
    { "score_func", AT(softmax), { "sigmoid", "softmax" } }, { "kv", AT(kv_int8), { "float", "int8" } },
    { "sampler", AT(sampler), { [ZT_EULER] = "euler", [ZT_RENOISE] = "renoise", [ZT_UNIPC] = "unipc" } },
};

typedef struct reader {
    const char *label;
    zt_json     j;
    zt_config  *c;
    int         head_dim;       // attention_head_dim of diffusers
    bool        failed;         // and said why
    bool        no_memory;
} reader;

static bool refuse(reader *r, const char *key, const char *why)
{
    if (!r->failed)
        zt_error("%s: '%.100s' %s", r->label, key, why);
    r->failed = true;
    return false;
}

static bool read_whole(reader *r, const char *key, int min, int max, int *out)
{
    double v;
    if (!zt_json_number(&r->j, &v))
        return false;
    if (!(v >= min && v <= max && v == (int)v)) {
        if (!r->failed)
            zt_error("%s: '%s' is %g, not a whole number in %d..%d%s", r->label, key, v, min, max,
                     v > max && strcmp(key, "version") == 0 ? ": a newer program is needed" : "");
        r->failed = true;
        return false;
    }
    *out = (int)v;
    return true;
}

static bool read_float(reader *r, const char *key, double min, double max, float *out)
{
    double v;
    if (!zt_json_number(&r->j, &v))
        return false;
    if (!(v >= min && v <= max)) {
        if (!r->failed)
            zt_error("%s: '%s' is %g, not in %g..%g", r->label, key, v, min, max);
        r->failed = true;
        return false;
    }
    *out = (float)v;
    return true;
}

// One of the names, NULL ends; its number.
static bool read_choice(reader *r, const char *key, const char *const *names, int *out)
{
    char text[64];
    if (!zt_json_string(&r->j, text, sizeof(text)))
        return false;
    for (int i = 0; names[i]; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = i;
            return true;
        }
    }
    return refuse(r, key, "has an unknown value");
}

static bool read_controls(reader *r)
{
    zt_config *const c = r->c;
    c->n_controls = 0;
    if (!zt_json_enter(&r->j, '['))
        return false;
    while (zt_json_item(&r->j)) {
        if (c->n_controls == ZT_MAX_CONTROLS)
            return refuse(r, "controls", "has more than 16 entries");
        if (!zt_json_string(&r->j, c->control[c->n_controls], ZT_WORD_BYTES))
            return false;
        c->n_controls++;
    }
    return !r->j.error;
}

// Up to `max` whole numbers; their count comes back.
static bool read_list(reader *r, const char *key, int min, int max, int *out, int room, int *n)
{
    *n = 0;
    if (!zt_json_enter(&r->j, '['))
        return false;
    while (zt_json_item(&r->j)) {
        if (*n == room)
            return refuse(r, key, "has too many entries");
        if (!read_whole(r, key, min, max, &out[*n]))
            return false;
        ++*n;
    }
    return !r->j.error;
}

// patch_size of diffusers: only the family's own.
static bool read_patch(reader *r)
{
    int p[3], n;
    if (!read_list(r, "patch_size", 1, 16, p, 3, &n))
        return false;
    return (n == 3 && p[0] == 1 && p[1] == 2 && p[2] == 2) || refuse(r, "patch_size", "is not [1, 2, 2]");
}

static bool read_ground(reader *r)
{
    zt_ground_config *const g = &r->c->ground;
    const struct {
        const char *key;
        int        *to;
    } list[] = {
        { "code", &g->code }, { "shape", &g->shape }, { "hidden", &g->hidden }, { "features", &g->features },
        { "depths", &g->depths },
    };
    char key[ZT_WORD_BYTES];
    g->depths = ZT_GROUND_DEPTHS;
    if (!zt_json_enter(&r->j, '{'))
        return false;
    while (zt_json_key(&r->j, key, sizeof(key))) {
        size_t i = 0;
        while (i < ZT_LEN(list) && strcmp(key, list[i].key) != 0)
            i++;
        if (i == ZT_LEN(list))
            return refuse(r, "ground", "has an unknown key");
        if (!read_whole(r, key, 1, 1024, list[i].to))
            return false;
    }
    if (!g->code || !g->shape || !g->hidden || !g->features || (g->depths != ZT_GROUND_DEPTHS && g->depths != ZT_GROUND_FINE))
        return refuse(r, "ground", "needs code, shape, hidden and features, and depths are 36 or 72");
    return !r->j.error;
}

static bool read_trained(reader *r, const char *key)
{
    zt_config *const c = r->c;
    return strcmp(key, "trained_windows") == 0
               ? read_list(r, key, 1, 1024, c->trained_window, ZT_MAX_TRAINED, &c->n_trained_windows)
               : read_list(r, key, 1, 16, c->trained_top_k, ZT_MAX_TRAINED, &c->n_trained_top_k);
}

static bool read_block_types(reader *r)
{
    static const char *const names[] = { [ZT_BLOCK_PLAIN] = "plain", [ZT_BLOCK_MLA] = "mla", [ZT_BLOCK_MAMBA] = "mamba2", NULL };
    zt_config *const c = r->c;
    c->n_kinds = 0;
    if (!zt_json_enter(&r->j, '['))
        return false;
    while (zt_json_item(&r->j)) {
        if (c->n_kinds == ZT_MAX_KINDS)
            return refuse(r, "block_types", "has more than 16 entries");
        if (!read_choice(r, "block_types", names, &c->kind[c->n_kinds]))
            return false;
        c->n_kinds++;
    }
    return !r->j.error;
}

static bool read_rope_grid(reader *r)
{
    int grid[2], n;
    if (!read_list(r, "rope_grid", 1, 4096, grid, 2, &n))
        return false;
    if (n != 2)
        return refuse(r, "rope_grid", "is not [rows, columns]");
    r->c->rope_rows = grid[0];
    r->c->rope_columns = grid[1];
    return true;
}

static bool read_decoder(reader *r)
{
    char key[64];
    zt_config *const c = r->c;
    if (!zt_json_enter(&r->j, '{'))
        return false;
    while (zt_json_key(&r->j, key, sizeof(key))) {
        if (strcmp(key, "type") == 0)
            zt_json_string(&r->j, c->decoder, sizeof(c->decoder));
        else if (strcmp(key, "channels") == 0)
            read_list(r, "channels", 1, 4096, c->stage, ZT_MAX_STAGES, &c->stages);
        else
            zt_json_skip(&r->j);
        if (r->j.error || r->failed)
            return false;
    }
    if (r->j.error)
        return false;
    bool known = false;
    for (const zt_decoder_kind *const *i = zt_decoders; *i; i++)
        known |= strcmp((*i)->name, c->decoder) == 0;
    if (!known)
        return refuse(r, "decoder", "has an unknown type");
    return strcmp(c->decoder, "tiny") != 0 || c->stages == ZT_MAX_STAGES
        || refuse(r, "channels", "of the decoder are not three");
}

static void *grow(reader *r, void *p, int n, size_t bytes)
{
    // powers of two from 64 on
    if (n >= 64 ? (n & (n - 1)) != 0 : n > 0)
        return p;
    void *const q = realloc(p, (size_t)ZT_MAX(64, 2 * n) * bytes);
    r->no_memory |= !q;
    return q;
}

static bool read_tokens(reader *r, zt_text_config *t)
{
    if (!zt_json_enter(&r->j, '['))
        return false;
    while (zt_json_item(&r->j)) {
        if (t->tokens == ZT_MAX_TOKENS)
            return refuse(r, "tokens", "has more than 1024 entries");
        void *const p = grow(r, t->token, t->tokens, sizeof(*t->token));
        if (!p)
            return false;
        t->token = p;
        if (!zt_json_string(&r->j, t->token[t->tokens], ZT_WORD_BYTES))
            return false;
        t->tokens++;
    }
    return !r->j.error;
}

static bool read_words(reader *r, zt_text_config *t)
{
    char key[ZT_WORD_BYTES];
    if (!zt_json_enter(&r->j, '{'))
        return false;
    while (zt_json_key(&r->j, key, sizeof(key))) {
        if (t->n == ZT_MAX_WORDS)
            return refuse(r, "words", "has more than 8192 entries");
        zt_word *const p = grow(r, t->word, t->n, sizeof(*p));
        if (!p)
            return false;
        t->word = p;
        memcpy(p[t->n].text, key, sizeof(key));
        if (!read_whole(r, key, 1, ZT_MAX_TOKENS - 1, &p[t->n].token))
            return false;
        t->n++;
    }
    return !r->j.error;
}

static bool read_groups(reader *r, zt_text_config *t)
{
    if (!zt_json_enter(&r->j, '{'))
        return false;
    char key[ZT_WORD_BYTES];
    while (zt_json_key(&r->j, key, sizeof(key))) {
        int range[2], n;
        if (t->n_groups == ZT_MAX_GROUPS)
            return refuse(r, "groups", "has more than 16 entries");
        if (!read_list(r, key, 1, ZT_MAX_TOKENS - 1, range, 2, &n))
            return false;
        if (n != 2 || range[0] > range[1])
            return refuse(r, key, "is not [first token, last token]");
        zt_group *const g = &t->group[t->n_groups++];
        memcpy(g->name, key, sizeof(key));
        g->first = range[0];
        g->last = range[1];
    }
    return !r->j.error;
}

static bool read_text(reader *r)
{
    zt_text_config *const t = &r->c->text;
    char key[64];
    if (!zt_json_enter(&r->j, '{'))
        return false;
    while (zt_json_key(&r->j, key, sizeof(key))) {
        bool ok;
        if (strcmp(key, "encoder") == 0)
            ok = zt_json_string(&r->j, t->encoder, sizeof(t->encoder));
        else if (strcmp(key, "text_dim") == 0)
            ok = read_whole(r, key, 1, 1 << 16, &t->text_dim);
        else if (strcmp(key, "max_tokens") == 0)
            ok = read_whole(r, key, 1, 256, &t->max_tokens);
        else if (strcmp(key, "default_prompt") == 0)
            ok = zt_json_string(&r->j, t->default_prompt, sizeof(t->default_prompt));
        else if (strcmp(key, "tokens") == 0)
            ok = t->tokens ? refuse(r, key, "is there twice") : read_tokens(r, t);
        else if (strcmp(key, "words") == 0)
            ok = t->n ? refuse(r, key, "is there twice") : read_words(r, t);
        else if (strcmp(key, "groups") == 0)
            ok = t->n_groups ? refuse(r, key, "is there twice") : read_groups(r, t);
        else if (strcmp(key, "usual") == 0)
            ok = read_list(r, key, 1, ZT_MAX_TOKENS - 1, t->usual, ZT_MAX_GROUPS, &t->n_usual);
        else
            ok = zt_json_skip(&r->j);
        if (!ok)
            return false;
    }
    if (r->j.error)
        return false;
    bool known = false;
    for (const zt_text_kind *const *i = zt_texts; *i; i++)
        known |= strcmp((*i)->name, t->encoder) == 0;
    return known || refuse(r, "encoder", "is not a known text encoder");
}

static bool read_other(reader *r, const char *key, bool *known)
{
    zt_config *const c = r->c;
    *known = true;
    if (strcmp(key, "negative_prompt") == 0)
        return zt_json_string(&r->j, c->negative_prompt, sizeof(c->negative_prompt));
    if (strcmp(key, "trained_windows") == 0 || strcmp(key, "trained_top_k") == 0)
        return read_trained(r, key);
    if (strcmp(key, "ground") == 0)
        return read_ground(r);
    if (strcmp(key, "name") == 0)
        return zt_json_string(&r->j, c->name, sizeof(c->name));
    if (strcmp(key, "weights") == 0)
        return zt_json_string(&r->j, c->weights, sizeof(c->weights));
    if (strcmp(key, "attention_head_dim") == 0)
        return read_whole(r, key, 1, 4096, &r->head_dim);
    if (strcmp(key, "controls") == 0)
        return read_controls(r);
    if (strcmp(key, "patch_size") == 0)
        return read_patch(r);
    if (strcmp(key, "block_types") == 0)
        return read_block_types(r);
    if (strcmp(key, "rope_grid") == 0)
        return read_rope_grid(r);
    if (strcmp(key, "decoder") == 0)
        return read_decoder(r);
    if (strcmp(key, "text") == 0)
        return read_text(r);
    *known = false;
    return true;
}

static bool read_member(reader *r, const char *key)
{
    bool known;
    for (size_t i = 0; i < ZT_LEN(numbers); i++) {
        if (strcmp(key, numbers[i].key) == 0)
            return read_whole(r, key, numbers[i].min, numbers[i].max, (int *)((char *)r->c + numbers[i].at));
    }
    for (size_t i = 0; i < ZT_LEN(reals); i++) {
        if (strcmp(key, reals[i].key) == 0)
            return read_float(r, key, reals[i].min, reals[i].max, (float *)((char *)r->c + reals[i].at));
    }
    for (size_t i = 0; i < ZT_LEN(truths); i++) {
        if (strcmp(key, truths[i].key) == 0)
            return zt_json_bool(&r->j, (bool *)((char *)r->c + truths[i].at));
    }
    for (size_t i = 0; i < ZT_LEN(choices); i++) {
        if (strcmp(key, choices[i].key) == 0)
            return read_choice(r, key, choices[i].names, (int *)((char *)r->c + choices[i].at));
    }
    if (!read_other(r, key, &known))
        return false;
    return known || zt_json_skip(&r->j);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(((const zt_word *)a)->text, ((const zt_word *)b)->text);
}

static bool check_text(reader *r)
{
    zt_text_config *const t = &r->c->text;
    if (strcmp(t->encoder, "words") != 0)
        return true;
    if (!t->text_dim || !t->max_tokens || !t->n || !t->tokens)
        return refuse(r, "text", "needs text_dim, max_tokens, tokens and words");
    for (int i = 0; i < t->n; i++) {
        if (t->word[i].token >= t->tokens)
            return refuse(r, t->word[i].text, "names a token that is not there");
    }
    for (int i = 0; i < t->n_groups; i++) {
        if (t->group[i].last >= t->tokens)
            return refuse(r, t->group[i].name, "names a token that is not there");
    }
    qsort(t->word, (size_t)t->n, sizeof(*t->word), by_text);
    for (int i = 1; i < t->n; i++) {
        if (strcmp(t->word[i].text, t->word[i - 1].text) == 0)
            return refuse(r, t->word[i].text, "is there twice");
    }
    return true;
}

static bool check_experts(reader *r)
{
    zt_config *const c = r->c;
    if (!c->experts == !c->ffn_dim)
        return refuse(r, "ffn_dim", "or n_routed_experts must be given, and not both");
    if (!c->experts)
        return true;
    if (!c->inter || !c->top_k || c->top_k > c->experts)
        return refuse(r, "n_activated_experts", "and moe_inter_dim do not fit n_routed_experts");
    if (c->groups > 1 && (c->experts % c->groups || c->limited_groups < 1 || c->limited_groups > c->groups
                          || c->top_k > c->experts / c->groups * c->limited_groups))
        return refuse(r, "n_expert_groups", "does not fit the experts");
    return true;
}

static bool check_usual(reader *r)
{
    const zt_text_config *const t = &r->c->text;
    if (t->n_usual && strcmp(t->encoder, "words") != 0)
        return refuse(r, "usual", "is for the encoder words");
    if (t->n_usual && t->n_usual != t->n_groups)
        return refuse(r, "usual", "does not hold one token per group");
    for (int i = 0; i < t->n_usual; i++)
        if (t->usual[i] < t->group[i].first || t->usual[i] > t->group[i].last)
            return refuse(r, "usual", "holds a token that is not of its group");
    return true;
}

static bool check_ground(const zt_config *c)
{
    static const char *const name[ZT_GROUND_CONTROLS] = { "yaw", "pitch", "speed", "climb" };
    for (int i = 0; i < ZT_GROUND_CONTROLS; i++)
        if (i >= c->n_controls || strcmp(c->control[i], name[i]) != 0)
            return false;
    return c->n_controls == ZT_GROUND_CONTROLS && c->warp && !c->recache_frames && c->rope_rows > 0
        && c->rope_rows <= 64 && c->rope_columns <= 64;
}

static bool check_blocks(reader *r)
{
    const zt_config *const c = r->c;
    for (int i = 0; i < c->n_kinds; i++) {
        if (c->kind[i] == ZT_BLOCK_MLA && (!c->latent || !c->rope || !c->value || c->rope % 2 || c->latent % 2 || c->q_latent % 2))
            return refuse(r, "block_types", "names mla, which needs even kv_lora_rank, qk_rope_head_dim and v_head_dim");
        if (c->kind[i] == ZT_BLOCK_MAMBA && (c->expand * c->dim) % c->state_head)
            return refuse(r, "headdim", "does not divide expand times dim");
        if (c->kind[i] == ZT_BLOCK_MAMBA && c->recache_frames)
            return refuse(r, "recache_frames", "cannot be had with mamba2 blocks: their past is not kept");
    }
    return true;
}

static bool check(reader *r)
{
    zt_config *const c = r->c;
    if (r->head_dim && c->heads && !c->dim)
        c->dim = r->head_dim * c->heads;
    if (!c->dim || !c->heads || !c->layers || !c->in_dim || !c->out_dim)
        return refuse(r, "dim", "and num_heads, num_layers, in_dim, out_dim must be given");
    if (c->dim % c->heads || c->dim / c->heads % 2) {
        zt_error("%s: dim %d does not split into %d heads of even width", r->label, c->dim, c->heads);
        r->failed = true;
        return false;
    }
    if (c->freq_dim % 2)
        return refuse(r, "freq_dim", "is odd");
    if (c->previous_shifts && !c->previous)
        return refuse(r, "previous_shifts", "needs previous_frames");
    if (!check_usual(r))
        return false;
    if (c->position_embedding && !c->rope_rows)
        return refuse(r, "position_embedding", "needs rope_grid");
    if (c->ground.hidden && !check_ground(c))
        return refuse(r, "ground", "needs warp, rope_grid up to 64 x 64, no recache_frames, yaw, pitch, speed, climb");
    if (c->residual && !c->previous)
        return refuse(r, "residual", "needs previous_frames");
    if (c->warp && !c->residual)
        return refuse(r, "warp", "needs residual");
    const int latents = 1 + c->previous + (c->previous_shifts ? 4 : 0) + (c->ground.hidden ? 1 : 0);
    if (c->previous && c->in_dim != latents * c->out_dim + c->previous)
        return refuse(r, "in_dim", "does not fit out_dim and previous_frames");
    if (!c->previous && c->in_dim != c->out_dim)
        return refuse(r, "in_dim", "differs from out_dim: not a text-to-video model");
    if (!c->chunk_frames)
        c->chunk_frames = c->previous ? 1 : 3;
    if (c->previous && c->chunk_frames != 1)
        return refuse(r, "chunk_frames", "is not 1, but the model takes previous_frames");
    if (c->recache_frames > c->window_frames)
        return refuse(r, "recache_frames", "is more than window_frames");
    if (c->sink_frames + c->chunk_frames > c->window_frames)
        return refuse(r, "window_frames", "has no room for the sink and one chunk");
    if ((c->w || c->h) && (c->w % 16 || c->h % 16 || !c->w || !c->h))
        return refuse(r, "width", "and height must be multiples of 16");
    if (c->weights[0] && (strchr(c->weights, '/') || c->weights[0] == '.'))
        return refuse(r, "weights", "must be a plain file name");
    if (!c->guidance_high)
        c->guidance_high = c->guidance;
    if (!c->first_frame_steps)
        c->first_frame_steps = c->steps;
    return check_blocks(r) && check_experts(r) && check_text(r);
}

int zt_config_parse(zt_config *c, const void *text, size_t bytes, const char *label)
{
    *c = (zt_config){ .freq_dim = 256, .eps = 1e-6f, .route_scale = 1, .window_frames = 21, .text_len = 512,
                      .shift = 5, .state = 128, .state_head = 64, .conv = 4, .expand = 2, .steps = 4, .fps = 16, .sampler = ZT_RENOISE, .guidance = 1, .hash = zt_hash(0, text, bytes) };
    reader r = { .label = label, .c = c };
    char key[256];
    zt_json_init(&r.j, text, bytes);
    bool ok = zt_json_enter(&r.j, '{');
    while (ok && zt_json_key(&r.j, key, sizeof(key)))
        ok = read_member(&r, key);
    if (ok && zt_json_done(&r.j) && check(&r))
        return 0;
    if (!r.failed && !r.no_memory)
        zt_error("%s: %s at byte %zu", label, r.j.error ? r.j.error : "not as expected", zt_json_offset(&r.j));
    zt_config_finish(c);
    return r.no_memory ? -ENOMEM : -EINVAL;
}

int zt_config_read(zt_config *c, const char *path)
{
    void *text;
    size_t n;
    int err = zt_file_read(&text, &n, path, ZT_CONFIG_MAX);
    if (err < 0) {
        zt_error("%s: %s", path, err == -EINVAL ? "not a file" : err == -EFBIG ? "more than 1 MiB" : strerror(-err));
        return err;
    }
    err = zt_config_parse(c, text, n, path);
    free(text);
    return err;
}

void zt_config_finish(zt_config *c)
{
    free(c->text.token);
    free(c->text.word);
    c->text.token = NULL;
    c->text.word = NULL;
}
