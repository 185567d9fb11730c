// SPDX-License-Identifier: Apache-2.0
// What libsentencepiece believes without looking: the table of characters inside a model (a double-array trie whose numbers
// are followed without a bound) and the kind of model.
#include <string.h>

#include "diffusion/spiece.h"

enum { PIECE_MAX = 1024, UNIGRAM = 1 };

// A message of protocol buffers, member by member.
typedef struct message {
    const uint8_t *at, *end;
    bool           bad;
} message;

typedef struct member {
    uint64_t field, wire, number;
    message  bytes;             // wire 2
} member;

static uint64_t varint(message *m)
{
    uint64_t v = 0;
    for (int shift = 0; shift < 64 && m->at < m->end; shift += 7) {
        const uint8_t b = *m->at++;
        v |= (uint64_t)(b & 127) << shift;
        if (b < 128)
            return v;
    }
    m->bad = true;
    return 0;
}

// False at the end, and when something is wrong.
static bool next(message *m, member *out)
{
    if (m->bad || m->at == m->end)
        return false;
    const uint64_t key = varint(m);
    *out = (member){ .field = key >> 3, .wire = key & 7 };
    out->number = out->wire == 0 || out->wire == 2 ? varint(m) : out->wire == 1 ? 8 : 4;
    if (out->wire != 0 && out->wire != 1 && out->wire != 2 && out->wire != 5)
        m->bad = true;
    if (m->bad || out->wire == 0)
        return !m->bad;
    if (out->number > (uint64_t)(m->end - m->at)) {
        m->bad = true;
        return false;
    }
    out->bytes = (message){ .at = m->at, .end = m->at + out->number };
    m->at += out->number;
    return true;
}

static uint32_t unit_at(const uint8_t *trie, uint32_t i)
{
    uint32_t u;
    memcpy(&u, trie + 4 * (size_t)i, 4);
    return u;
}

// The trie's size, the trie, texts that end in 0. A unit at i leads to those at i ^ offset ^ character; one with a leaf finds
// a place among the texts at i ^ offset.
static bool check_characters(message m)
{
    const size_t n = (size_t)(m.end - m.at);
    if (n == 0)
        return true;
    if (n < 8)
        return false;
    const uint32_t bytes = unit_at(m.at, 0), units = bytes / 4;
    const uint8_t *const trie = m.at + 4;
    if (bytes < 1024 || bytes % 1024 || bytes >= n - 4 || m.end[-1] != 0)
        return false;
    const size_t texts = n - 4 - bytes;
    for (uint32_t i = 0; i < units; i++) {
        const uint32_t u = unit_at(trie, i);
        if (i > 0 && u >> 31)
            continue;                           // a leaf: no character leads here
        const uint32_t to = i ^ (u >> 10) << ((u & 1u << 9) >> 6);
        if ((to | 255) >= units || (u >> 8 & 1 && (unit_at(trie, to) & 0x7fffffffu) >= texts))
            return false;
    }
    return true;
}

static bool check_normalizer(message m)
{
    for (member x; next(&m, &x);) {
        if (x.field == 2 && (x.wire != 2 || !check_characters(x.bytes)))
            return false;
    }
    return !m.bad;
}

static bool check_trainer(message m)
{
    for (member x; next(&m, &x);) {
        if (x.field == 3 && (x.wire != 0 || x.number != UNIGRAM))
            return false;
    }
    return !m.bad;
}

static bool check_piece(message m)
{
    for (member x; next(&m, &x);) {
        float score;
        if (x.field == 1 && (x.wire != 2 || x.number < 1 || x.number > PIECE_MAX))
            return false;
        if (x.field == 2 && x.wire == 5) {
            memcpy(&score, x.bytes.at, 4);
            if (!(score > -1e9f && score < 1e9f))
                return false;
        }
    }
    return !m.bad;
}

bool zt_spiece_check(const void *bytes, size_t n)
{
    message m = { .at = bytes, .end = (const uint8_t *)bytes + n };
    for (member x; next(&m, &x);) {
        const bool whole = x.wire == 2;
        if ((x.field == 1 && (!whole || !check_piece(x.bytes))) || (x.field == 2 && (!whole || !check_trainer(x.bytes)))
            || ((x.field == 3 || x.field == 5) && (!whole || !check_normalizer(x.bytes))))
            return false;
    }
    return n > 0 && !m.bad;
}
