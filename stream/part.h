// SPDX-License-Identifier: Apache-2.0
// Inside stream/: a file that gets its name when it is complete. Until then it is NAME.part.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// Zeroed is closed and valid. One thread at a time.
typedef struct zt_part {
    int   fd;           // while name is not NULL
    bool  direct;       // stdout, a pipe or a device: written as it is, no .part
    bool  overwrite;
    bool  waits;        // direct, and a reader decides when a write returns
    int   err;          // the first failed write
    const int *hurry;   // set after open, or NULL: once not 0 (atomic), such a reader is waited for 2 s at the most
    char *name, *part;  // part NULL when direct
} zt_part;

// "-" is stdout. 0, -EEXIST (a file is there and no overwrite), -EBUSY (another process writes it), -EISDIR,
// -ENOENT, … (logged).
int  zt_part_open(zt_part *p, const char *name, bool overwrite);
// Writes all or fails (logged once); after a failure it does nothing and fails again. -EINTR: in a hurry, and the
// reader took nothing. The thread must block SIGPIPE.
int  zt_part_write(zt_part *p, const void *data, size_t bytes);
// To the disk, then under its name. 0 or the first error (logged; the .part stays).
int  zt_part_commit(zt_part *p);
void zt_part_close(zt_part *p);         // what is not committed stays NAME.part

#ifdef __cplusplus
}
#endif
