// SPDX-License-Identifier: Apache-2.0
// Without libsentencepiece: no tokenizer can be opened.
#include "diffusion/spiece.h"

int zt_spiece_here(void)
{
    return 0;
}

zt_spiece *zt_spiece_open(const void *bytes, size_t n)
{
    return NULL;
}

void zt_spiece_close(zt_spiece *s)
{
}

int zt_spiece_pieces(const zt_spiece *s)
{
    return 0;
}

int zt_spiece_encode(const zt_spiece *s, const char *text, size_t n, int *id, int max)
{
    return -1;
}
