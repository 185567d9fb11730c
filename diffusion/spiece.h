// SPDX-License-Identifier: Apache-2.0
// A C face of libsentencepiece: the one file of C++ stands behind it. For the confined child of tokenizer.c only.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_spiece zt_spiece;

// Is the library part of this build?
int zt_spiece_here(void);
// Is this a model that the library can be trusted with? It refuses most damage itself, but not all.
bool zt_spiece_check(const void *bytes, size_t n);
// From the bytes of a model; NULL when it is none.
zt_spiece *zt_spiece_open(const void *bytes, size_t n);
void zt_spiece_close(zt_spiece *s);
int  zt_spiece_pieces(const zt_spiece *s);
// Ids of n bytes of UTF-8 into id[max], no end token; how many there are, more than max too. -1 when it fails.
int  zt_spiece_encode(const zt_spiece *s, const char *text, size_t n, int *id, int max);

#ifdef __cplusplus
}
#endif
