// SPDX-License-Identifier: Apache-2.0
// Reads the pickle of a torch.save file as a description of tensors. Nothing is ever called: a closed set of opcodes
// and of names is understood, everything else is refused.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "diffusion/weights.h"

#ifdef __cplusplus
extern "C" {
#endif

enum zt_pickle_kind {
    ZT_PICKLE_NONE, ZT_PICKLE_BOOL, ZT_PICKLE_INT, ZT_PICKLE_FLOAT, ZT_PICKLE_STRING, ZT_PICKLE_TUPLE, ZT_PICKLE_LIST,
    ZT_PICKLE_DICT, ZT_PICKLE_GLOBAL, ZT_PICKLE_STORAGE, ZT_PICKLE_TENSOR,
};

typedef struct zt_pickle_value {
    enum zt_pickle_kind kind;
    uint32_t n;                 // bytes of a string
    int64_t  i;                 // number; where a string begins; index of a list, storage, tensor or global
} zt_pickle_value;

// A member of a tuple, list or dict.
typedef struct zt_pickle_cell {
    zt_pickle_value key, value;
    int next;                   // or -1
} zt_pickle_cell;

typedef struct zt_pickle_list {
    int first, last, n;         // cells; -1 when empty
} zt_pickle_list;

// Storage types, by the name of their class in torch.
enum zt_storage {
    ZT_STORAGE_FLOAT, ZT_STORAGE_HALF, ZT_STORAGE_BFLOAT16, ZT_STORAGE_CHAR, ZT_STORAGE_INT, ZT_STORAGE_DOUBLE,
    ZT_STORAGE_LONG, ZT_STORAGE_SHORT, ZT_STORAGE_BYTE, ZT_STORAGE_BOOL, ZT_STORAGES,
};

typedef struct zt_pickle_storage {
    enum zt_storage type;
    zt_pickle_value key;        // a string: the record's name
    int64_t         elements;
} zt_pickle_storage;

// A view of a storage, in elements. Its extents are not negative; nothing else has been checked.
typedef struct zt_pickle_tensor {
    int     storage, rank;
    int64_t offset, shape[ZT_MAX_RANK], step[ZT_MAX_RANK];
} zt_pickle_tensor;

typedef struct zt_pickle {
    const char        *label;
    const uint8_t     *bytes;   // borrowed
    size_t             n, at;
    zt_pickle_value   *stack, *memo;
    int               *mark;    // heights of the stack
    zt_pickle_cell    *cell;
    zt_pickle_list    *list;
    zt_pickle_storage *storage;
    zt_pickle_tensor  *tensor;
    int stack_n, stack_room, marks, mark_room, cells, cell_room, lists, list_room, storages, storage_room, tensors,
        tensor_room, memo_room;
    zt_pickle_value    top;     // what the pickle holds
} zt_pickle;

enum { ZT_PICKLE_MAX = 64 << 20 };

// 0, -EINVAL (logged), -ENOMEM. Takes memory in proportion to n <= ZT_PICKLE_MAX. On 0 finish with zt_pickle_finish().
int  zt_pickle_read(zt_pickle *p, const void *bytes, size_t n, const char *label);
void zt_pickle_finish(zt_pickle *p);

// The value of a dict's string key, or NULL; the last one, as in Python.
const zt_pickle_value *zt_pickle_find(const zt_pickle *p, const zt_pickle_value *dict, const char *key);

#ifdef __cplusplus
}
#endif
