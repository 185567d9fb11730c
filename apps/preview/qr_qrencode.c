// SPDX-License-Identifier: Apache-2.0
// QR codes through libqrencode: whole pixels, so that edges stay sharp.
#include <qrencode.h>

#include "apps/preview/qr.h"
#include "base/base.h"

bool zt_qr_draw(cairo_t *cr, int w, int h, const char *text)
{
    QRcode *code = QRcode_encodeString(text, 0, QR_ECLEVEL_M, QR_MODE_8, 1);
    if (!code)
        return false;
    const int n = code->width, one = ZT_MAX(ZT_MIN(w, h) / n, 1), left = (w - one * n) / 2, top = (h - one * n) / 2;
    cairo_set_source_rgb(cr, 0, 0, 0);
    for (int i = 0; i < n * n; i++)
        if (code->data[i] & 1)
            cairo_rectangle(cr, left + i % n * one, top + i / n * one, one, one);
    cairo_fill(cr);
    QRcode_free(code);
    return true;
}

bool zt_qr_is_there(void)
{
    return true;
}
