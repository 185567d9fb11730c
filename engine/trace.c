// SPDX-License-Identifier: Apache-2.0
// The ring, and how it is printed: complete events on a row per session, misses as instants.
#include "engine/trace.h"

#include <inttypes.h>

#include "base/base.h"

static const struct { const char *name, *number; } kinds[ZT_SPANS] = {
    [ZT_SPAN_BATCH] = { "batch", "jobs" },     [ZT_SPAN_SLICE] = { "slice", "units" },
    [ZT_SPAN_DECODE] = { "decode", "steps" },  [ZT_SPAN_CONVERT] = { "convert", "steps" },
    [ZT_SPAN_REPEAT] = { "repeat", "n" },      [ZT_SPAN_PACKET] = { "made to packet", "n" },
    [ZT_SPAN_MISS] = { "missed", "outcome" },
};

void zt_trace_add(zt_trace *t, zt_moment s)
{
    t->span[t->n++ % ZT_TRACE_SPANS] = s;
}

static void print(const zt_moment *s, FILE *f)
{
    fprintf(f, "{\"name\": \"%s\", \"ph\": \"%s\", \"pid\": 1, \"tid\": %d, \"ts\": %.3f, ", kinds[s->kind].name,
            s->kind == ZT_SPAN_MISS ? "i" : "X", s->lane + 1, (double)s->from / 1e3);
    if (s->kind == ZT_SPAN_MISS)
        fprintf(f, "\"s\": \"t\", ");
    else
        fprintf(f, "\"dur\": %.3f, ", (double)(s->to - s->from) / 1e3);
    fprintf(f, "\"args\": {\"slot\": %" PRIu64 ", \"%s\": %d}}", s->slot, kinds[s->kind].number, (int)s->n);
}

void zt_trace_print(const zt_trace *t, int64_t since, FILE *f)
{
    const uint64_t first = t->n > ZT_TRACE_SPANS ? t->n - ZT_TRACE_SPANS : 0;
    const char *sep = "";
    fprintf(f, "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [");
    for (uint64_t i = first; i < t->n; i++) {
        const zt_moment *s = &t->span[i % ZT_TRACE_SPANS];
        if (s->to < since)
            continue;
        fprintf(f, "%s\n", sep);
        print(s, f);
        sep = ",";
    }
    fprintf(f, "\n]}\n");
}
