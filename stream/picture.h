// SPDX-License-Identifier: Apache-2.0
// A picture from a file.
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

// The first picture of `path` (PNG, JPEG, whatever libavcodec reads), scaled to cover w x h and cut at the sides that stick
// out: rgb f32 [3][h][w] in [-1, 1]. 0, -ENOENT, -EINVAL (content: logged), -ENOMEM, -ENOTSUP (built without libavcodec).
int zt_picture_read(const char *path, int w, int h, float *rgb);

#ifdef __cplusplus
}
#endif
