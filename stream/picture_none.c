// SPDX-License-Identifier: Apache-2.0
// No pictures from files: built without libavcodec.
#include <errno.h>

#include "base/log.h"
#include "stream/picture.h"

int zt_picture_read(const char *path, int w, int h, float *rgb)
{
    (void)w, (void)h, (void)rgb;
    zt_error("%s: this build cannot read pictures (it lacks libavcodec, libavformat and libswscale)", path);
    return -ENOTSUP;
}
