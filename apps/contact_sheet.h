// SPDX-License-Identifier: Apache-2.0
// A contact sheet: pictures spread evenly over a clip, in one PNG.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/frame.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_sheet zt_sheet;

// Up to 4 x 4 of `frames` pictures of w x h. 0 or -ENOMEM.
int  zt_sheet_create(zt_sheet **out, int w, int h, int64_t frames);
void zt_sheet_destroy(zt_sheet **s);                // takes NULL inside
void zt_sheet_add(zt_sheet *s, const zt_frame *f);  // every picture, in order
// What it has so far, as bytes: returns how many, with NULL too. Restore takes them in a sheet of the same pictures; false:
// they are of another.
size_t zt_sheet_save(const zt_sheet *s, void *out);
bool zt_sheet_restore(zt_sheet *s, const void *data, size_t bytes);
int  zt_sheet_write(zt_sheet *s, const char *path); // 0 or -errno (logged); replaces path at once or not at all

#ifdef __cplusplus
}
#endif
