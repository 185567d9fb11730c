// SPDX-License-Identifier: Apache-2.0
// A tensor: an address, a type, extents and steps. A value: copy it, never free it.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kernels/public.h"

typedef struct zt_tensor {
    void        *data;      // host or device address, as the device that allocated it says
    enum zt_type type;
    int          n[4];      // extents, outermost first; unused outer extents are 1
    int64_t      step[4];   // elements between neighbours along each axis; step[3] is 1
} zt_tensor;

// Not of ZT_I4.
static inline size_t zt_type_bytes(enum zt_type t)
{
    return t == ZT_F32 || t == ZT_I32 ? 4 : t == ZT_BF16 || t == ZT_F16 ? 2 : 1;
}

// Dense, row-major.
static inline zt_tensor zt_tensor_4d(void *data, enum zt_type type, int n0, int n1, int n2, int n3)
{
    return (zt_tensor){ data, type, { n0, n1, n2, n3 },
                        { (int64_t)n1 * n2 * n3, (int64_t)n2 * n3, n3, 1 } };
}

static inline zt_tensor zt_tensor_2d(void *data, enum zt_type type, int rows, int columns)
{
    return zt_tensor_4d(data, type, 1, 1, rows, columns);
}

// Columns [from, from + n) of every row: same data, narrower.
static inline zt_tensor zt_tensor_columns(zt_tensor t, int from, int n)
{
    t.data = (char *)t.data + (size_t)from * zt_type_bytes(t.type);
    t.n[3] = n;
    return t;
}

// Rows [from, from + n).
static inline zt_tensor zt_tensor_rows(zt_tensor t, int from, int n)
{
    t.data = (char *)t.data + (size_t)(from * t.step[2]) * zt_type_bytes(t.type);
    t.n[2] = n;
    return t;
}

static inline float *zt_f32(zt_tensor t)
{
    return (float *)t.data;
}

// bfloat16 is the upper half of a float; rounding is to nearest even.
static inline float zt_bf16_to_f32(uint16_t b)
{
    union { uint32_t u; float f; } v = { (uint32_t)b << 16 };
    return v.f;
}

static inline uint16_t zt_f32_to_bf16(float f)
{
    union { float f; uint32_t u; } v = { f };
    if ((v.u & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(v.u >> 16 | 0x40);                // NaN stays NaN
    return (uint16_t)((v.u + 0x7fff + (v.u >> 16 & 1)) >> 16);
}
