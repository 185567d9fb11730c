// SPDX-License-Identifier: Apache-2.0
// Aligned, zeroed memory; UTF-8.
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

void *zt_alloc(size_t bytes)
{
    if (bytes > (size_t)PTRDIFF_MAX - 64)
        return NULL;

    const size_t whole = (size_t)zt_round_up((int64_t)ZT_MAX(bytes, 1), 64);
    void *p = aligned_alloc(64, whole);
    if (p)
        memset(p, 0, whole);        // also brings the pages in: no faults later, in a frame's time
    return p;
}

void zt_free(void *p)
{
    free(p);
}

int zt_utf8_length(const char *text, size_t n)
{
    const unsigned char *s = (const unsigned char *)text;
    const int length = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;
    if ((size_t)length > n)
        return 0;
    for (int i = 1; i < length; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    const bool bad = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
                     (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f);
    return bad ? 0 : length;
}
