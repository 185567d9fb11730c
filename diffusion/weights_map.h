// SPDX-License-Identifier: Apache-2.0
// Mapped files that somebody else may cut off: reading beyond their new end gives zeros and a mark, not SIGBUS.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_weights_map zt_weights_map;

// Maps n > 0 bytes of fd for reading. 0 or -errno (-EMFILE: 1024 maps are open). From any thread. Puts a handler of
// SIGBUS before the one that is there; it passes on what is not its own.
int  zt_weights_map_open(zt_weights_map **out, int fd, size_t n);
void zt_weights_map_close(zt_weights_map **m);
const void *zt_weights_map_bytes(const zt_weights_map *m);
// Has something been read that is no longer there?
bool zt_weights_map_broken(const zt_weights_map *m);
// Lets the system take back the pages of [from, from + n); they are read again when needed.
void zt_weights_map_drop(const void *from, size_t n);

#ifdef __cplusplus
}
#endif
