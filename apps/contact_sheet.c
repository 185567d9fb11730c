// SPDX-License-Identifier: Apache-2.0
// Collects thumbnails and writes them as an uncompressed PNG: no library is needed for that.
#include "apps/contact_sheet.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/log.h"

#define COLUMNS 4
#define MOST    (COLUMNS * COLUMNS)
#define STORED  65535               // bytes in a stored block of deflate

struct zt_sheet {
    int      w, h, columns, rows, pictures, have;
    int64_t  frames, seen;
    uint8_t *rgb;                   // [rows * h][columns * w][3]
};

static size_t rgb_bytes(const zt_sheet *s)
{
    return (size_t)3 * (size_t)(s->columns * s->w) * (size_t)(s->rows * s->h);
}

int zt_sheet_create(zt_sheet **out, int w, int h, int64_t frames)
{
    zt_sheet *s = zt_alloc(sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->w = w, s->h = h, s->frames = frames;
    s->pictures = (int)ZT_MIN(frames, MOST);
    s->columns = ZT_MIN(s->pictures, COLUMNS);
    s->rows = (s->pictures + COLUMNS - 1) / COLUMNS;
    s->rgb = zt_alloc(rgb_bytes(s));
    if (!s->rgb) {
        zt_free(s);
        return -ENOMEM;
    }
    *out = s;
    return 0;
}

void zt_sheet_destroy(zt_sheet **s)
{
    if (!*s)
        return;
    zt_free((*s)->rgb);
    zt_free(*s);
    *s = NULL;
}

static uint8_t to_byte(float x)
{
    return x <= 0 ? 0 : x >= 255 ? 255 : (uint8_t)(x + 0.5f);
}

// BT.709, limited range.
static void pixel(const zt_frame *f, int x, int y, uint8_t *rgb)
{
    const float l = 255.0f / 219 * (f->plane[0][y * f->pitch[0] + x] - 16);
    const float u = 255.0f / 224 * (f->plane[1][y / 2 * f->pitch[1] + x / 2] - 128);
    const float v = 255.0f / 224 * (f->plane[2][y / 2 * f->pitch[2] + x / 2] - 128);
    rgb[0] = to_byte(l + 1.5748f * v);
    rgb[1] = to_byte(l - 0.1873f * u - 0.4681f * v);
    rgb[2] = to_byte(l + 1.8556f * u);
}

void zt_sheet_add(zt_sheet *s, const zt_frame *f)
{
    const int64_t next = s->have * s->frames / s->pictures;
    if (s->seen++ != next || s->have == s->pictures)
        return;
    const int row = s->have / COLUMNS, column = s->have % COLUMNS;
    s->have++;
    for (int y = 0; y < s->h; y++) {
        uint8_t *to = s->rgb + 3 * ((size_t)(row * s->h + y) * (size_t)(s->columns * s->w) + (size_t)(column * s->w));
        for (int x = 0; x < s->w; x++)
            pixel(f, x, y, to + 3 * x);
    }
}

size_t zt_sheet_save(const zt_sheet *s, void *out)
{
    const int64_t head[2] = { s->have, s->seen };
    if (out) {
        memcpy(out, head, sizeof(head));
        memcpy((char *)out + sizeof(head), s->rgb, rgb_bytes(s));
    }
    return sizeof(head) + rgb_bytes(s);
}

bool zt_sheet_restore(zt_sheet *s, const void *data, size_t bytes)
{
    int64_t head[2];
    if (bytes != sizeof(head) + rgb_bytes(s))
        return false;
    memcpy(head, data, sizeof(head));
    if (head[0] < 0 || head[0] > s->pictures || head[1] < head[0] || head[1] > s->frames)
        return false;
    s->have = (int)head[0];
    s->seen = head[1];
    memcpy(s->rgb, (const char *)data + sizeof(head), rgb_bytes(s));
    return true;
}

static uint32_t crc(uint32_t c, const uint8_t *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        c ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            c = c >> 1 ^ (c & 1 ? 0xedb88320u : 0);
    }
    return c;
}

static uint8_t *big_endian(uint8_t *to, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(v >> (24 - 8 * i));
    return to + 4;
}

static void chunk(FILE *f, const char *type, uint8_t *data, size_t bytes)
{
    uint8_t word[8];
    big_endian(word, (uint32_t)bytes);
    memcpy(word + 4, type, 4);
    fwrite(word, 1, 8, f);
    fwrite(data, 1, bytes, f);
    big_endian(word, ~crc(crc(~0u, (const uint8_t *)type, 4), data, bytes));
    fwrite(word, 1, 4, f);
}

// zlib: header, stored blocks, checksum. Each row has a filter byte of 0 before it. NULL: no memory.
static uint8_t *deflate_stored(const uint8_t *rgb, int w, int h, size_t *bytes)
{
    const size_t row = 3 * (size_t)w + 1, raw = row * (size_t)h, blocks = (raw + STORED - 1) / STORED;
    uint8_t *out = malloc(2 + raw + 5 * blocks + 4), *to = out;
    if (!out)
        return NULL;
    *to++ = 0x78, *to++ = 0x01;
    uint32_t a = 1, b = 0;
    for (size_t i = 0; i < raw; i++) {
        if (i % STORED == 0) {
            const size_t n = ZT_MIN(raw - i, STORED);
            *to++ = raw - i <= STORED;
            *to++ = (uint8_t)n, *to++ = (uint8_t)(n >> 8), *to++ = (uint8_t)~n, *to++ = (uint8_t)(~n >> 8);
        }
        *to = i % row ? rgb[i / row * (row - 1) + i % row - 1] : 0;
        a = (a + *to++) % 65521;
        b = (b + a) % 65521;
    }
    to = big_endian(to, b << 16 | a);
    *bytes = (size_t)(to - out);
    return out;
}

static bool write_png(FILE *f, const uint8_t *rgb, int w, int h)
{
    uint8_t head[13] = { 0 };
    size_t bytes;
    uint8_t *data = deflate_stored(rgb, w, h, &bytes);
    if (!data)
        return false;
    big_endian(big_endian(head, (uint32_t)w), (uint32_t)h);
    head[8] = 8, head[9] = 2;       // eight bits, RGB
    fwrite("\x89PNG\r\n\x1a\n", 1, 8, f);
    chunk(f, "IHDR", head, sizeof(head));
    chunk(f, "IDAT", data, bytes);
    chunk(f, "IEND", head, 0);
    free(data);
    return !ferror(f);
}

int zt_sheet_write(zt_sheet *s, const char *path)
{
    char part[4096];
    if (snprintf(part, sizeof(part), "%s.part", path) >= (int)sizeof(part))
        return -ENAMETOOLONG;
    errno = 0;
    FILE *f = fopen(part, "wb");
    bool good = f && write_png(f, s->rgb, s->columns * s->w, s->rows * s->h);
    if (f)
        good &= !fclose(f);
    if (good && !rename(part, path))
        return 0;
    const int err = errno ? -errno : -EIO;
    zt_error("%s: %s", path, strerror(-err));
    return err;
}
