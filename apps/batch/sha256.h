// SPDX-License-Identifier: Apache-2.0
// SHA-256 (FIPS 180-4) of files, so that sha256sum can check what was rendered.
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef struct zt_sha256 {
    uint32_t h[8];
    uint64_t bytes;
    uint8_t  block[64];
} zt_sha256;

void zt_sha256_init(zt_sha256 *s);
void zt_sha256_add(zt_sha256 *s, const void *data, size_t n);
void zt_sha256_end(zt_sha256 *s, char hex[65]);
// 0 or -errno; nothing is logged. *bytes: its size.
int  zt_sha256_file(const char *path, char hex[65], int64_t *bytes);
// Of the files 000000.png, 000001.png, … of a directory, one behind the other.
int  zt_sha256_pictures(const char *folder, char hex[65], int64_t *bytes);
