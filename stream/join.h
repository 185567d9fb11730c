// SPDX-License-Identifier: Apache-2.0
// Inside stream/: puts files of the same kind one behind the other; nothing is decoded.
#pragma once

#include "stream/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

int zt_join_av(const zt_join_params *p, int64_t *frames);       // mp4 mkv webm mov, through libavformat
int zt_join_y4m(const zt_join_params *p, int64_t *frames);

#ifdef __cplusplus
}
#endif
