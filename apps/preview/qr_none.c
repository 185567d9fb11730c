// SPDX-License-Identifier: Apache-2.0
// Built without libqrencode (Debian: libqrencode-dev).
#include "apps/preview/qr.h"

bool zt_qr_draw(cairo_t *cr, int w, int h, const char *text)
{
    (void)cr, (void)w, (void)h, (void)text;
    return false;
}

bool zt_qr_is_there(void)
{
    return false;
}
