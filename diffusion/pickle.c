// SPDX-License-Identifier: Apache-2.0
// The closed-set pickle reader: protocol 2 as torch.save writes it.
#include "diffusion/pickle.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"

enum { REBUILD_TENSOR = ZT_STORAGES, REBUILD_PARAMETER, ORDERED_DICT };

// All names that may stand in a GLOBAL, by index.
static const char *const globals[] = {
    [ZT_STORAGE_FLOAT] = "torch\nFloatStorage\n", [ZT_STORAGE_HALF] = "torch\nHalfStorage\n",
    [ZT_STORAGE_BFLOAT16] = "torch\nBFloat16Storage\n", [ZT_STORAGE_CHAR] = "torch\nCharStorage\n",
    [ZT_STORAGE_INT] = "torch\nIntStorage\n", [ZT_STORAGE_DOUBLE] = "torch\nDoubleStorage\n",
    [ZT_STORAGE_LONG] = "torch\nLongStorage\n", [ZT_STORAGE_SHORT] = "torch\nShortStorage\n",
    [ZT_STORAGE_BYTE] = "torch\nByteStorage\n", [ZT_STORAGE_BOOL] = "torch\nBoolStorage\n",
    [REBUILD_TENSOR] = "torch._utils\n_rebuild_tensor_v2\n",
    [REBUILD_PARAMETER] = "torch._utils\n_rebuild_parameter\n", [ORDERED_DICT] = "collections\nOrderedDict\n",
};

static int refuse(const zt_pickle *p, const char *why)
{
    zt_error("%s: data.pkl: %s at byte %zu", p->label, why, p->at);
    return -EINVAL;
}

// Makes room for one more of n elements.
static bool grow(void *array, int *room, int n, size_t element)
{
    void **const a = array;
    if (n < *room)
        return true;
    const int more = *room ? 2 * *room : 64;
    void *const q = realloc(*a, (size_t)more * element);
    if (!q)
        return false;
    *a = q;
    *room = more;
    return true;
}

static int push(zt_pickle *p, zt_pickle_value v)
{
    if (!grow(&p->stack, &p->stack_room, p->stack_n, sizeof(*p->stack)))
        return -ENOMEM;
    p->stack[p->stack_n++] = v;
    return 0;
}

// The stack ends at the last mark.
static int height(const zt_pickle *p)
{
    return p->stack_n - (p->marks ? p->mark[p->marks - 1] : 0);
}

static int new_list(zt_pickle *p, int *out)
{
    if (!grow(&p->list, &p->list_room, p->lists, sizeof(*p->list)))
        return -ENOMEM;
    p->list[p->lists] = (zt_pickle_list){ -1, -1, 0 };
    *out = p->lists++;
    return 0;
}

static int append(zt_pickle *p, int list, zt_pickle_value key, zt_pickle_value value)
{
    if (!grow(&p->cell, &p->cell_room, p->cells, sizeof(*p->cell)))
        return -ENOMEM;
    zt_pickle_list *const l = &p->list[list];
    p->cell[p->cells] = (zt_pickle_cell){ key, value, -1 };
    if (l->last >= 0)
        p->cell[l->last].next = p->cells;
    else
        l->first = p->cells;
    l->last = p->cells++;
    l->n++;
    return 0;
}

static int push_empty(zt_pickle *p, enum zt_pickle_kind kind)
{
    int list;
    const int err = new_list(p, &list);
    return err ? err : push(p, (zt_pickle_value){ .kind = kind, .i = list });
}

// The topmost n values become a tuple.
static int make_tuple(zt_pickle *p, int n)
{
    int list, err = height(p) < n ? refuse(p, "too little on the stack") : new_list(p, &list);
    for (int i = p->stack_n - n; !err && i < p->stack_n; i++)
        err = append(p, list, (zt_pickle_value){ 0 }, p->stack[i]);
    if (err)
        return err;
    p->stack_n -= n;
    return push(p, (zt_pickle_value){ .kind = ZT_PICKLE_TUPLE, .i = list });
}

// The topmost n values go into the list or, in pairs, into the dict below them.
static int put_items(zt_pickle *p, int n, enum zt_pickle_kind kind)
{
    const int pair = kind == ZT_PICKLE_DICT ? 2 : 1, below = p->stack_n - n - 1;
    if (height(p) < n + 1 || n % pair || p->stack[below].kind != kind)
        return refuse(p, "items without a place to go");
    int err = 0;
    for (int i = below + 1; i < p->stack_n && !err; i += pair)
        err = append(p, (int)p->stack[below].i, pair == 2 ? p->stack[i] : (zt_pickle_value){ 0 },
                     p->stack[i + pair - 1]);
    p->stack_n -= n;
    return err;
}

// Values above the last mark, which is taken away.
static int unmark(zt_pickle *p, int *n)
{
    if (!p->marks)
        return refuse(p, "no mark on the stack");
    *n = height(p);
    p->marks--;
    return 0;
}

static int get_bytes(zt_pickle *p, size_t n, const uint8_t **out)
{
    if (p->n - p->at < n)
        return refuse(p, "ends early");
    *out = p->bytes + p->at;
    p->at += n;
    return 0;
}

// Little-endian, n <= 8 bytes.
static int get_number(zt_pickle *p, size_t n, uint64_t *out)
{
    const uint8_t *b;
    const int err = get_bytes(p, n, &b);
    *out = 0;
    for (size_t i = 0; !err && i < n; i++)
        *out |= (uint64_t)b[i] << 8 * i;
    return err;
}

static int push_int(zt_pickle *p, size_t bytes, bool sign)
{
    uint64_t v;
    const int err = get_number(p, bytes, &v);
    if (err)
        return err;
    if (sign && bytes > 0 && bytes < 8 && v >> (8 * bytes - 1))
        v -= (uint64_t)1 << 8 * bytes;
    return push(p, (zt_pickle_value){ .kind = ZT_PICKLE_INT, .i = (int64_t)v });
}

static int push_long(zt_pickle *p)
{
    uint64_t n;
    const int err = get_number(p, 1, &n);
    if (err)
        return err;
    return n > 8 ? refuse(p, "a number of more than 64 bits") : push_int(p, (size_t)n, true);
}

static int push_string(zt_pickle *p)
{
    uint64_t n;
    const uint8_t *text = NULL;
    int err = get_number(p, 4, &n);
    if (!err)
        err = get_bytes(p, (size_t)n, &text);
    return err ? err : push(p, (zt_pickle_value){ .kind = ZT_PICKLE_STRING, .n = (uint32_t)n, .i = text - p->bytes });
}

static int push_global(zt_pickle *p)
{
    const char *const text = (const char *)p->bytes + p->at;
    const size_t left = p->n - p->at;
    for (size_t i = 0; i < ZT_LEN(globals); i++) {
        const size_t n = strlen(globals[i]);
        if (n <= left && memcmp(text, globals[i], n) == 0) {
            p->at += n;
            return push(p, (zt_pickle_value){ .kind = ZT_PICKLE_GLOBAL, .i = (int64_t)i });
        }
    }
    const char *const first = memchr(text, '\n', left);
    const char *const second = first ? memchr(first + 1, '\n', left - (size_t)(first + 1 - text)) : NULL;
    if (!second || second - text > 200)
        return refuse(p, "a name that is not allowed");
    zt_error("%s: data.pkl: asks for '%.*s.%.*s', which is not part of a state dict: save it as safetensors", p->label,
             (int)(first - text), text, (int)(second - first - 1), first + 1);
    return -EINVAL;
}

static int memo_put(zt_pickle *p, size_t bytes)
{
    uint64_t i;
    const int err = get_number(p, bytes, &i);
    if (err)
        return err;
    if (i >= p->n || height(p) < 1)             // a memo has fewer entries than the pickle has bytes
        return refuse(p, "a memo entry that cannot be");
    for (int room = p->memo_room; (int64_t)i >= room;) {
        room = room ? 2 * room : 256;
        zt_pickle_value *const q = realloc(p->memo, (size_t)room * sizeof(*q));
        if (!q)
            return -ENOMEM;
        for (int k = p->memo_room; k < room; k++)
            q[k] = (zt_pickle_value){ .n = UINT32_MAX };        // nothing there
        p->memo = q;
        p->memo_room = room;
    }
    p->memo[i] = p->stack[p->stack_n - 1];
    return 0;
}

static int memo_get(zt_pickle *p, size_t bytes)
{
    uint64_t i;
    const int err = get_number(p, bytes, &i);
    if (err)
        return err;
    if ((int64_t)i >= p->memo_room || (p->memo[i].kind == ZT_PICKLE_NONE && p->memo[i].n))
        return refuse(p, "a memo entry that is not there");
    return push(p, p->memo[i]);
}

// The members of a tuple, up to `room`; how many there are comes back, -1 when it is none.
static int members(const zt_pickle *p, zt_pickle_value v, zt_pickle_value *out, int room)
{
    if (v.kind != ZT_PICKLE_TUPLE)
        return -1;
    const zt_pickle_list *const l = &p->list[v.i];
    int n = 0;
    for (int c = l->first; c >= 0 && n < room; c = p->cell[c].next)
        out[n++] = p->cell[c].value;
    return l->n;
}

static bool string_is(const zt_pickle *p, zt_pickle_value v, const char *text)
{
    return v.kind == ZT_PICKLE_STRING && v.n == strlen(text) && memcmp(p->bytes + v.i, text, v.n) == 0;
}

// ('storage', class, key, device, elements)
static int make_storage(zt_pickle *p)
{
    zt_pickle_value a[5];
    if (height(p) < 1 || members(p, p->stack[p->stack_n - 1], a, 5) != 5 || !string_is(p, a[0], "storage")
        || a[1].kind != ZT_PICKLE_GLOBAL || a[1].i >= ZT_STORAGES || a[2].kind != ZT_PICKLE_STRING
        || a[4].kind != ZT_PICKLE_INT || a[4].i < 0)
        return refuse(p, "a storage that is not as torch.save writes it");
    if (!grow(&p->storage, &p->storage_room, p->storages, sizeof(*p->storage)))
        return -ENOMEM;
    p->storage[p->storages] = (zt_pickle_storage){ (enum zt_storage)a[1].i, a[2], a[4].i };
    p->stack[p->stack_n - 1] = (zt_pickle_value){ .kind = ZT_PICKLE_STORAGE, .i = p->storages++ };
    return 0;
}

// (storage, offset, shape, steps, requires_grad, hooks[, metadata])
static int make_tensor(zt_pickle *p, zt_pickle_value args)
{
    zt_pickle_value a[7], size[ZT_MAX_RANK], step[ZT_MAX_RANK];
    zt_pickle_tensor t = { 0 };
    const int n = members(p, args, a, 7);
    if (n < 6 || n > 7 || a[0].kind != ZT_PICKLE_STORAGE || a[1].kind != ZT_PICKLE_INT)
        return refuse(p, "a tensor that is not as torch.save writes it");
    t.storage = (int)a[0].i;
    t.offset = a[1].i;
    t.rank = members(p, a[2], size, ZT_MAX_RANK);
    if (t.rank < 0 || t.rank > ZT_MAX_RANK || members(p, a[3], step, ZT_MAX_RANK) != t.rank)
        return refuse(p, "a tensor whose shape and steps do not fit");
    for (int i = 0; i < t.rank; i++) {
        if (size[i].kind != ZT_PICKLE_INT || size[i].i < 0 || step[i].kind != ZT_PICKLE_INT)
            return refuse(p, "a tensor whose shape and steps do not fit");
        t.shape[i] = size[i].i;
        t.step[i] = step[i].i;
    }
    if (!grow(&p->tensor, &p->tensor_room, p->tensors, sizeof(*p->tensor)))
        return -ENOMEM;
    p->tensor[p->tensors] = t;
    return push(p, (zt_pickle_value){ .kind = ZT_PICKLE_TENSOR, .i = p->tensors++ });
}

// What a call would have made, by the name that would have been called.
static int reduce(zt_pickle *p)
{
    zt_pickle_value a[3];
    if (height(p) < 2 || p->stack[p->stack_n - 2].kind != ZT_PICKLE_GLOBAL)
        return refuse(p, "a call of something that is no function");
    const zt_pickle_value f = p->stack[p->stack_n - 2], args = p->stack[p->stack_n - 1];
    p->stack_n -= 2;
    if (f.i == REBUILD_TENSOR)
        return make_tensor(p, args);
    if (f.i == REBUILD_PARAMETER && members(p, args, a, 3) == 3 && a[0].kind == ZT_PICKLE_TENSOR)
        return push(p, a[0]);
    if (f.i == ORDERED_DICT && members(p, args, a, 0) == 0)
        return push_empty(p, ZT_PICKLE_DICT);
    return refuse(p, "a call with arguments that do not fit");
}

// The attributes of an OrderedDict (its _metadata) are dropped.
static int build(zt_pickle *p)
{
    if (height(p) < 2 || p->stack[p->stack_n - 1].kind != ZT_PICKLE_DICT
        || p->stack[p->stack_n - 2].kind != ZT_PICKLE_DICT)
        return refuse(p, "attributes of something that has none");
    p->stack_n--;
    return 0;
}

static int push_mark(zt_pickle *p)
{
    if (!grow(&p->mark, &p->mark_room, p->marks, sizeof(*p->mark)))
        return -ENOMEM;
    p->mark[p->marks++] = p->stack_n;
    return 0;
}

static int push_float(zt_pickle *p)
{
    const uint8_t *unused;                      // no tensor depends on one
    const int err = get_bytes(p, 8, &unused);
    return err ? err : push(p, (zt_pickle_value){ .kind = ZT_PICKLE_FLOAT });
}

static int marked_items(zt_pickle *p, char op)
{
    int n = 0;
    const int err = unmark(p, &n);
    if (err)
        return err;
    return op == 't' ? make_tuple(p, n) : put_items(p, n, op == 'u' ? ZT_PICKLE_DICT : ZT_PICKLE_LIST);
}

static int step(zt_pickle *p, uint8_t op)
{
    switch (op) {
    case '(':    return push_mark(p);
    case ')':    return push_empty(p, ZT_PICKLE_TUPLE);
    case ']':    return push_empty(p, ZT_PICKLE_LIST);
    case '}':    return push_empty(p, ZT_PICKLE_DICT);
    case 'N':    return push(p, (zt_pickle_value){ .kind = ZT_PICKLE_NONE });
    case 0x88:   return push(p, (zt_pickle_value){ .kind = ZT_PICKLE_BOOL, .i = 1 });
    case 0x89:   return push(p, (zt_pickle_value){ .kind = ZT_PICKLE_BOOL });
    case 'J':    return push_int(p, 4, true);
    case 'K':    return push_int(p, 1, false);
    case 'M':    return push_int(p, 2, false);
    case 0x8a:   return push_long(p);
    case 'G':    return push_float(p);
    case 'X':    return push_string(p);
    case 'c':    return push_global(p);
    case 'q':    return memo_put(p, 1);
    case 'r':    return memo_put(p, 4);
    case 'h':    return memo_get(p, 1);
    case 'j':    return memo_get(p, 4);
    case 0x85:   return make_tuple(p, 1);
    case 0x86:   return make_tuple(p, 2);
    case 0x87:   return make_tuple(p, 3);
    case 't': case 'u': case 'e': return marked_items(p, (char)op);
    case 's':    return put_items(p, 2, ZT_PICKLE_DICT);
    case 'a':    return put_items(p, 1, ZT_PICKLE_LIST);
    case 'Q':    return make_storage(p);
    case 'R':    return reduce(p);
    case 'b':    return build(p);
    default:
        zt_error("%s: data.pkl: opcode 0x%02x at byte %zu is not part of a state dict", p->label, op, p->at - 1);
        return -EINVAL;
    }
}

static int run(zt_pickle *p)
{
    if (p->n < 2 || p->bytes[0] != 0x80 || p->bytes[1] != 2)
        return refuse(p, "not a pickle of protocol 2");
    p->at = 2;
    while (p->at < p->n) {
        const uint8_t op = p->bytes[p->at++];
        if (op == '.') {
            if (p->marks || p->stack_n != 1)
                return refuse(p, "more or less than one value");
            p->top = p->stack[0];
            return 0;
        }
        const int err = step(p, op);
        if (err)
            return err;
    }
    return refuse(p, "ends early");
}

int zt_pickle_read(zt_pickle *p, const void *bytes, size_t n, const char *label)
{
    *p = (zt_pickle){ .label = label, .bytes = bytes, .n = n };
    const int err = n > ZT_PICKLE_MAX ? refuse(p, "more than 64 MiB") : run(p);
    if (err)
        zt_pickle_finish(p);
    return err;
}

void zt_pickle_finish(zt_pickle *p)
{
    free(p->stack);
    free(p->memo);
    free(p->mark);
    free(p->cell);
    free(p->list);
    free(p->storage);
    free(p->tensor);
    *p = (zt_pickle){ 0 };
}

const zt_pickle_value *zt_pickle_find(const zt_pickle *p, const zt_pickle_value *dict, const char *key)
{
    const zt_pickle_value *found = NULL;
    if (dict->kind != ZT_PICKLE_DICT)
        return NULL;
    for (int c = p->list[dict->i].first; c >= 0; c = p->cell[c].next) {
        if (string_is(p, p->cell[c].key, key))
            found = &p->cell[c].value;
    }
    return found;
}
