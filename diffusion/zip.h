// SPDX-License-Identifier: Apache-2.0
// The records of a zip file of unknown origin that holds them uncompressed, as torch.save writes it.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_zip_entry {
    const char *name;           // not terminated
    size_t      name_bytes;
    const void *data;
    size_t      bytes;
} zt_zip_entry;

// Entries in order of name; they point into the file.
typedef struct zt_zip {
    zt_zip_entry *entry;
    int           n;
} zt_zip;

// 0, -EINVAL (logged), -ENOMEM. On 0 finish with zt_zip_finish().
int  zt_zip_read(zt_zip *z, const void *bytes, size_t n, const char *label);
void zt_zip_finish(zt_zip *z);
const zt_zip_entry *zt_zip_find(const zt_zip *z, const char *name, size_t name_bytes);      // or NULL

#ifdef __cplusplus
}
#endif
