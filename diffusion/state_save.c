// SPDX-License-Identifier: Apache-2.0
// A stream as bytes: everything that its next frames depend on, so that another process makes them just so.
#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "diffusion/internal.h"
#include "diffusion/weights.h"

#define VERSION 1               // the newest that is read

static const char magic[8] = "ztstate";

// What comes first. `check` is of all that follows it, the memory behind this included.
typedef struct saved {
    char     magic[8];
    uint32_t version, head;     // head: bytes of this
    uint64_t check;
    uint64_t model, bytes;      // the model's hash; in all
    uint64_t seed;
    int32_t  w, h;
    uint64_t begun;
    struct zt_begun now;
    float    control[ZT_MAX_CONTROLS];
    int32_t  window, top_k;
    int32_t  words, keys;       // of the prompt: tokens, rows that have keys
    int32_t  biased, committed; // is the latest frame in the cache?
    zt_ground_camera camera;
} saved;

// ---- pieces

// All memory that matters, always in the same order.
static int walk(zt_state *s, zt_walk_fn *fn, void *cookie)
{
    zt_model *const m = s->m;
    struct zt_text *const t = &s->text[s->now.text];
    int err = fn(cookie, s->latents, s->latent_bytes);
    for (int i = 0; i < m->nets * m->sides && !err; i++) {
        struct zt_side *const side = &s->side[i / m->sides][i % m->sides];
        err = fn(cookie, side->cache.memory, (size_t)side->cache.bytes);
        if (!err && side->past_memory)
            err = fn(cookie, side->past_memory, side->past_bytes);
    }
    for (int i = 0; i < m->nets && !err; i++)
        err = fn(cookie, t->cache[i].memory, (size_t)t->cache[i].bytes);
    if (!err)
        err = fn(cookie, t->id, ((size_t)m->max_text + 1) * sizeof(*t->id));
    if (!err)
        err = fn(cookie, t->bias, ((size_t)m->max_text + 1) * sizeof(*t->bias));
    if (!err && t->mean)
        err = fn(cookie, t->mean, (size_t)m->c.dim * sizeof(*t->mean));
    return err ? err : m->decoder.kind->state_walk(&m->decoder, s->decoder, fn, cookie);
}

static int count(void *cookie, void *data, size_t bytes)
{
    (void)data;
    *(size_t *)cookie += bytes;
    return 0;
}

// Where pieces go, or come from.
struct copying {
    zt_device *d;
    char      *at;
};

static int copy_out(void *cookie, void *data, size_t bytes)
{
    struct copying *const c = cookie;
    zt_device_copy(c->d, c->at, data, bytes);
    c->at += bytes;
    return 0;
}

static int copy_in(void *cookie, void *data, size_t bytes)
{
    struct copying *const c = cookie;
    zt_device_copy(c->d, data, c->at, bytes);
    c->at += bytes;
    return 0;
}

static size_t bytes_of(zt_state *s)
{
    size_t n = sizeof(saved);
    walk(s, count, &n);
    return n;
}

static uint64_t check_of(const void *data, size_t bytes)
{
    const size_t from = offsetof(saved, check) + sizeof(uint64_t);
    return zt_hash(VERSION, (const char *)data + from, bytes - from);
}

// ---- out

size_t zt_state_save(zt_state *s, void *out)
{
    const struct zt_text *const t = &s->text[s->now.text];
    if (s->begun == 0 || s->embedding || s->placed || s->estimated != (int64_t)s->begun)
        return 0;
    const size_t bytes = bytes_of(s);
    if (!out)
        return bytes;
    saved h;
    memset(&h, 0, sizeof(h));           // between its members, too
    memcpy(h.magic, magic, sizeof(magic));
    h.version = VERSION, h.head = sizeof(h);
    h.model = s->m->info.hash, h.bytes = bytes, h.seed = s->seed, h.w = s->w, h.h = s->h;
    h.begun = s->begun, h.window = s->window, h.top_k = s->top_k;
    h.now.number = s->now.number, h.now.window = s->now.window, h.now.top_k = s->now.top_k;
    memcpy(h.now.control, s->now.control, sizeof(h.now.control));
    memcpy(h.control, s->control, sizeof(h.control));
    h.words = t->n, h.keys = t->cache[0].kv[0].valid, h.biased = t->biased;
    h.committed = s->committed == (int64_t)s->begun;
    memcpy(&h.camera, &s->camera, sizeof(h.camera));
    walk(s, copy_out, &(struct copying){ s->m->d, (char *)out + sizeof(h) });
    memcpy(out, &h, sizeof(h));
    h.check = check_of(out, bytes);
    memcpy(out, &h, sizeof(h));
    return bytes;
}

// ---- in

static int refuse(const char *why)
{
    zt_error("a saved state: %s", why);
    return -EINVAL;
}

static bool numbers_fit(const zt_model *m, const saved *h)
{
    const zt_config *const c = &m->c;
    const zt_ground_camera *const a = &h->camera;
    bool fit = h->begun > 0 && h->begun < INT64_MAX / 1024 && h->now.number == (int64_t)h->begun - 1;
    fit = fit && h->now.window >= 1 && h->now.window <= c->window_frames && h->now.top_k >= 0 && h->now.top_k <= c->top_k;
    fit = fit && h->window >= 0 && h->window <= c->window_frames && h->top_k >= 0 && h->top_k <= c->top_k;
    fit = fit && h->words >= 0 && h->words <= m->max_text && h->keys >= 0 && h->keys <= m->max_text + 1;
    for (int i = 0; i < ZT_MAX_CONTROLS; i++)
        fit = fit && fabsf(h->control[i]) <= 1 && fabsf(h->now.control[i]) <= 1;
    if (c->ground.hidden) {
        fit = fit && a->x >= 0 && a->x < ZT_GROUND_SIDE && a->z >= 0 && a->z < ZT_GROUND_SIDE;
        fit = fit && fabs(a->yaw) < 1e6 && fabs(a->sun) < 1e6 && fabsf(a->pitch) < 10 && fabsf(a->roll) < 10;
        fit = fit && fabsf(a->y) < 1e6f && fabsf(a->rise) < 1e6f;
        for (int i = 0; i < ZT_GROUND_CONTROLS; i++)
            fit = fit && fabsf(a->control[i]) <= 1;
    }
    return fit;
}

static int read_head(const zt_model *m, const void *data, size_t bytes, saved *h)
{
    if (bytes < offsetof(saved, check) || memcmp(data, magic, sizeof(magic)))
        return refuse("it is none");
    memcpy(h, data, ZT_MIN(bytes, sizeof(*h)));
    if (h->version > VERSION) {
        zt_error("a saved state: version %u is newer than this program, which reads up to %d", h->version, VERSION);
        return -EINVAL;
    }
    if (h->version < 1 || h->head != sizeof(*h) || bytes < sizeof(*h) || h->bytes != bytes || h->check != check_of(data, bytes))
        return refuse("it is broken");
    if (h->model != m->info.hash)
        return refuse("it is of another model");
    return numbers_fit(m, h) ? 0 : refuse("a number is out of range");
}

int zt_state_saved(const zt_model *m, const void *data, size_t bytes, uint64_t *begun)
{
    saved h;
    const int err = read_head(m, data, bytes, &h);
    if (!err)
        *begun = h.begun;
    return err;
}

static void restore_text(zt_state *s, const saved *h)
{
    struct zt_text *const t = &s->text[0];
    t->set = true;
    t->n = h->words;
    t->biased = h->biased;
    t->embedding = 0;
    for (int net = 0; net < s->m->nets; net++) {
        for (int i = 0; i < t->cache[net].layers; i++) {
            t->cache[net].kv[i].valid = h->keys;
            t->cache[net].kv[i].keys = (int)zt_round_up(h->keys, 16);
        }
    }
    s->text[1].set = false;
    s->embedding = 0;
    s->n_prompt = t->n;                 // a prompt that is the same makes no new keys
    memcpy(s->prompt, t->id, (size_t)t->n * sizeof(*t->id));
}

int zt_state_restore(zt_state *s, const void *data, size_t bytes)
{
    saved h;
    const int err = read_head(s->m, data, bytes, &h);
    if (err < 0)
        return err;
    if (h.w != s->w || h.h != s->h || h.seed != s->seed)
        return refuse("it is of another stream");
    if (bytes_of(s) != bytes)
        return refuse("it is of another size");
    s->now = s->before = h.now;
    s->now.text = 0;
    walk(s, copy_in, &(struct copying){ s->m->d, (char *)data + sizeof(h) });
    s->begun = h.begun;
    s->estimated = (int64_t)h.begun;
    s->committed = h.committed ? s->estimated : s->estimated - 1;
    s->window = h.window, s->top_k = h.top_k;
    memcpy(s->control, h.control, sizeof(s->control));
    memcpy(&s->camera, &h.camera, sizeof(s->camera));
    s->placed = s->recache = false;
    s->step = 0;
    restore_text(s, &h);
    return 0;
}
