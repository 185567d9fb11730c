// SPDX-License-Identifier: Apache-2.0
// Where packed rows lie, and pairs of panels as the tiles read them.
#include <assert.h>

#include "base/base.h"
#include "kernels/gemm.h"

bool zt_is_integer(enum zt_type type)
{
    return type == ZT_I8 || type == ZT_I4;
}

// Those of I4 come in pairs.
int zt_row_units(enum zt_type type, int K)
{
    if (type == ZT_I4)
        return (K + 7) / 8 * 2;
    const int P = 4 / (int)zt_type_bytes(type);
    return (K + P - 1) / P;
}

static enum zt_type row_type(enum zt_type type)
{
    return type == ZT_I4 ? ZT_I8 : type;
}

// Rounded up to 16 units, so that packing may store whole vectors.
static size_t quad_words(const zt_gemm *g, enum zt_type type, int K)
{
    return (size_t)zt_round_up(zt_row_units(type, K), 16) * 4 * (size_t)g->words[row_type(type)];
}

size_t zt_rows_bytes(const zt_gemm *g, enum zt_type type, int K, int rows)
{
    const size_t quads = ((size_t)rows + 3) / 4;
    return (quads * (quad_words(g, type, K) + 8) * 4 + 63) / 64 * 64;
}

zt_rows zt_rows_at(const zt_gemm *g, void *memory, enum zt_type type, int K, int rows)
{
    const size_t quads = ((size_t)rows + 3) / 4;
    zt_rows r = { .type = row_type(type), .K = K, .units = zt_row_units(type, K),
                  .quad = (int)quad_words(g, type, K), .a = memory };
    r.scale = (float *)(r.a + quads * (size_t)r.quad);
    r.start = (int32_t *)(r.scale + quads * 4);
    return r;
}

size_t zt_panels_bytes(const zt_matrix *w)
{
    return w->type == ZT_I4 ? (size_t)zt_row_units(ZT_I4, w->K) * 2 * 64 : 0;
}

// As zt_matrix_bytes() of 16 columns, for every tile: without a division.
static size_t panel_bytes(const zt_matrix *w)
{
    static const int shift[] = { [ZT_F32] = 0, [ZT_BF16] = 1, [ZT_I8] = 2, [ZT_I4] = 3 };
    const int by = shift[w->type];
    return ((size_t)w->K + (1u << by) - 1) >> by << 6;
}

zt_matrix zt_panels(const zt_gemm *g, const zt_matrix *w, int panel, int panels, void *room)
{
    zt_matrix p = *w;
    const size_t bytes = panel_bytes(w);
    p.data = (const char *)w->data + (size_t)panel * bytes;
    p.scale = w->scale ? w->scale + panel * 16 : NULL;
    p.bias = w->bias ? w->bias + panel * 16 : NULL;
    if (w->type != ZT_I4)
        return p;
    const int groups = (w->K + ZT_GROUP - 1) / ZT_GROUP, units = zt_row_units(ZT_I4, w->K);
    for (int i = 0; i < panels; i++)
        g->expand((uint8_t *)room + (size_t)i * (size_t)units * 64, (const uint8_t *)p.data + (size_t)i * bytes,
                  w->factor + (size_t)(panel + i) * (size_t)groups * 16, units / 2);
    p.type = ZT_I8;
    p.data = room;
    return p;
}

void zt_panels_ahead(const void *ahead[2], const zt_matrix *w, const zt_matrix *then, int panel, int quad, bool only)
{
    const char *const own = (const char *)w->data + (size_t)panel * panel_bytes(w);
    ahead[0] = ahead[1] = own;          // it is there anyway
    if (panel + 2 >= (w->N + 15) / 16) {
        w = then;
        panel = -2;
    }
    if (!w || quad > ZT_TILE_ROWS / 4)
        return;
    const size_t bytes = panel_bytes(w);
    const char *const next = (const char *)w->data + (size_t)(panel + 2) * bytes;
    const bool second = panel + 3 < (w->N + 15) / 16 && w->type != ZT_I4;   // a panel of I8 is as long as two of I4
    if (quad == 0)
        ahead[0] = next;
    if ((quad > 0 || only) && second)
        ahead[1] = next + bytes;
}
