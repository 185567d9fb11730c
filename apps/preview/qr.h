// SPDX-License-Identifier: Apache-2.0
// A text as a QR code.
#pragma once

#include <cairo.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

// Draws it black, as large as w x h allows. False: it is too long, or built without libqrencode; nothing is drawn.
bool zt_qr_draw(cairo_t *cr, int w, int h, const char *text);
bool zt_qr_is_there(void);

#ifdef __cplusplus
}
#endif
