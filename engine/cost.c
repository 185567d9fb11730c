// SPDX-License-Identifier: Apache-2.0
// Costs are learnt from what was measured, never configured.
#include "engine/cost.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/base.h"

#define STALE (INT64_C(10) * 1000000000)
#define FRESH (INT64_C(60) * 1000000000)
#define LONGEST (INT64_C(3600) * 1000000000)

// The third longest of all samples: 198 of 200 are not longer.
static int64_t third_longest(const int64_t *x)
{
    int64_t a = 0, b = 0, c = 0;    // a >= b >= c
    for (int i = 0; i < ZT_COST_SAMPLES; i++) {
        if (x[i] > a)
            c = b, b = a, a = x[i];
        else if (x[i] > b)
            c = b, b = x[i];
        else if (x[i] > c)
            c = x[i];
    }
    return c;
}

void zt_cost_add(zt_cost *c, int64_t ns)
{
    ns = ZT_MAX(ns, 0);
    c->least = c->n ? ZT_MIN(c->least, ns) : ns;
    c->sample[c->n % ZT_COST_SAMPLES] = ns;
    c->n++;

    // One outlier moves the mean by what 1 in 8 of such length would, not by its whole length.
    if (c->n > 8)
        ns = ZT_MIN(ns, 2 * c->mean + 8 * c->deviation);
    const int64_t weight = (int64_t)ZT_MIN(c->n, 32);
    c->mean += (ns - c->mean) / weight;
    const int64_t off = ns > c->mean ? ns - c->mean : c->mean - ns;
    c->deviation += (off - c->deviation) / weight;
    c->p99 = c->n < ZT_COST_SAMPLES ? c->mean + 3 * c->deviation : third_longest(c->sample);
}

// ---- classes of shapes

// floor(2^bits * log2(x)), in straight lines between powers of two.
static int octaves(int64_t x, int bits)
{
    if (x <= 0)
        return -1;
    int top = 63 - __builtin_clzll((unsigned long long)x);
    const int64_t rest = x - (INT64_C(1) << top);
    return (top << bits) + (int)(top >= bits ? rest >> (top - bits) : rest << (bits - top));
}

static int tokens_class(const zt_shape *s)
{
    return octaves(s->tokens, 3);
}

static int keys_class(const zt_shape *s)
{
    return s->tokens > 0 ? octaves(s->pairs / s->tokens, 1) : -1;
}

static bool same_work(const zt_shape *a, const zt_shape *b, int top_k)
{
    return a->effort == b->effort && a->model == b->model && a->top_k == top_k;
}

static const struct zt_known *find(const zt_costs *c, const zt_shape *s)
{
    const int tokens = tokens_class(s), keys = keys_class(s);
    for (int i = 0; i < ZT_COST_SHAPES; i++) {
        const struct zt_known *k = &c->known[i];
        if (k->cost.n && k->tokens == tokens && k->keys == keys && same_work(&k->shape, s, s->top_k))
            return k;
    }
    return NULL;
}

static int64_t between(int64_t x, int64_t x0, int64_t y0, int64_t x1, int64_t y1)
{
    return x1 > x0 ? y0 + (int64_t)((double)(y1 - y0) * (double)(x - x0) / (double)(x1 - x0)) : y0;
}

static int64_t times(int64_t ns, int64_t a, int64_t b)
{
    return (int64_t)((double)ns * (double)a / (double)b);
}

static zt_estimate from_two(const zt_shape *s, const struct zt_known *below, const struct zt_known *above)
{
    const struct zt_known *one = below ? below : above;
    if (!one)
        return (zt_estimate){ 0 };
    if (!below || !above) {
        const int64_t a = s->tokens, b = ZT_MAX(one->shape.tokens, 1);
        return (zt_estimate){ times(one->cost.mean, a, b), times(one->cost.p99, a, b), times(one->cost.least, a, b) };
    }
    const int64_t x = s->tokens, x0 = below->shape.tokens, x1 = above->shape.tokens;
    return (zt_estimate){ between(x, x0, below->cost.mean, x1, above->cost.mean),
                          between(x, x0, below->cost.p99, x1, above->cost.p99),
                          between(x, x0, below->cost.least, x1, above->cost.least) };
}

// From other classes, seen lately when `fresh`; those with the nearest number of keys count.
static zt_estimate from_neighbours(const zt_costs *c, const zt_shape *s, int top_k, bool fresh)
{
    const struct zt_known *below = NULL, *above = NULL;
    const int keys = keys_class(s), own = tokens_class(s);
    int nearest = INT32_MAX;
    for (int i = 0; i < ZT_COST_SHAPES; i++) {
        const struct zt_known *k = &c->known[i];
        if (!k->cost.n || !same_work(&k->shape, s, top_k) || (fresh && c->now - k->used >= STALE))
            continue;
        const int off = k->keys - keys, far = off < 0 ? -off : off;
        if (far > nearest || (far == 0 && k->tokens == own && top_k == s->top_k))
            continue;
        if (far < nearest)
            below = above = NULL;
        nearest = far;
        if (k->shape.tokens <= s->tokens && (!below || k->shape.tokens > below->shape.tokens))
            below = k;
        if (k->shape.tokens >= s->tokens && (!above || k->shape.tokens < above->shape.tokens))
            above = k;
    }
    return from_two(s, below, above);
}

zt_estimate zt_costs_of(const zt_costs *c, const zt_shape *s)
{
    const struct zt_known *k = find(c, s);
    if (k && c->now - k->used < STALE)
        return (zt_estimate){ k->cost.mean, k->cost.p99, k->cost.least };
    zt_estimate e = from_neighbours(c, s, s->top_k, k);
    if (!k && !e.mean && s->top_k)      // fewer experts cost no more than all of them
        e = from_neighbours(c, s, 0, false);
    if (k && (!e.mean || k->cost.p99 <= e.p99))
        return (zt_estimate){ k->cost.mean, k->cost.p99, k->cost.least };
    return e;
}

bool zt_costs_fresh(const zt_costs *c, int model)
{
    for (int i = 0; i < ZT_COST_SHAPES; i++) {
        const struct zt_known *k = &c->known[i];
        if (k->cost.n && k->shape.effort == ZT_EFFORT_PASS && k->shape.model == model && !k->old &&
            c->now - k->used < FRESH)
            return true;
    }
    return false;
}

static struct zt_known *take(zt_costs *c, const zt_shape *s)
{
    struct zt_known *k = (struct zt_known *)find(c, s);
    if (k)
        return k;
    k = &c->known[0];
    for (int i = 1; i < ZT_COST_SHAPES; i++)
        if (c->known[i].used < k->used)
            k = &c->known[i];
    memset(k, 0, sizeof(*k));
    k->tokens = tokens_class(s);
    k->keys = keys_class(s);
    return k;
}

void zt_costs_add(zt_costs *c, const zt_shape *s, int64_t ns)
{
    if (s->effort == ZT_EFFORT_PASS) {
        const zt_estimate e = zt_costs_of(c, s);
        if (e.mean) {
            c->passes++;
            c->over += ns > e.p99;
            c->predicted += e.mean;
            c->error += ns > e.mean ? ns - e.mean : e.mean - ns;
        }
    }
    struct zt_known *k = take(c, s);
    k->shape = *s;
    k->used = ZT_MAX(c->now, 1);
    k->old = false;
    zt_cost_add(&k->cost, ns);
}

// ---- kept between runs

#define HEADER "zoetrope-costs 1 "

void zt_costs_write(const zt_costs *c, int model, const char *key, FILE *f)
{
    fprintf(f, HEADER "%s\n", key);
    for (int i = 0; i < ZT_COST_SHAPES; i++) {
        const struct zt_known *k = &c->known[i];
        // Fewer than three may be an accident; what was measured long ago and is not believed any more ends here.
        if (k->cost.n >= 3 && k->shape.model == model && zt_costs_of(c, &k->shape).p99 >= k->cost.p99)
            fprintf(f, "%d %d %" PRId64 " %" PRId64 " %" PRIu64 " %" PRId64 " %" PRId64 " %" PRId64 "\n",
                    (int)k->shape.effort, k->shape.top_k, k->shape.tokens, k->shape.pairs, ZT_MIN(k->cost.n, 32u),
                    k->cost.mean, k->cost.deviation, k->cost.least);
    }
}

static bool in(int64_t x, int64_t from, int64_t to)
{
    return x >= from && x <= to;
}

int zt_costs_read(zt_costs *c, int model, const char *key, FILE *f)
{
    char line[256];
    const size_t n = strlen(HEADER);
    if (!fgets(line, sizeof(line), f) || strncmp(line, HEADER, n))
        return -EINVAL;
    line[strcspn(line, "\n")] = 0;
    if (strcmp(line + n, key))
        return -EINVAL;
    int taken = 0;
    while (taken < ZT_COST_SHAPES && fgets(line, sizeof(line), f)) {
        int effort, top_k;
        int64_t tokens, pairs, mean, deviation, least;
        uint64_t samples;
        if (sscanf(line, "%d %d %" SCNd64 " %" SCNd64 " %" SCNu64 " %" SCNd64 " %" SCNd64 " %" SCNd64, &effort, &top_k,
                   &tokens, &pairs, &samples, &mean, &deviation, &least) != 8)
            continue;
        if (!in(effort, ZT_EFFORT_PASS, ZT_EFFORT_ENCODE) || !in(top_k, 0, 1024) || !in(tokens, 1, 1 << 30) ||
            !in(pairs, 0, INT64_C(1) << 60) || !in((int64_t)samples, 1, 32) || !in(mean, 1, LONGEST) ||
            !in(deviation, 0, LONGEST) || !in(least, 0, mean))
            continue;
        const zt_shape s = { (enum zt_effort)effort, model, top_k, tokens, pairs };
        struct zt_known *k = take(c, &s);
        k->shape = s;
        k->used = ZT_MAX(c->now, 1);
        k->old = true;
        k->cost.n = samples, k->cost.mean = mean, k->cost.deviation = deviation, k->cost.least = least;
        k->cost.p99 = mean + 3 * deviation;
        taken++;
    }
    return taken;
}
