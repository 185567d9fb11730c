// SPDX-License-Identifier: Apache-2.0
// Between the readers of one file and the table of all tensors.
#pragma once

#include <sys/types.h>
#include <time.h>

#include "diffusion/weights.h"

#ifdef __cplusplus
extern "C" {
#endif

// One file's tensors. Owns w and names.
struct zt_weights_part {
    zt_weight *w;
    int        n;
    char      *names;
};

// Fills p from the bytes, to which the tensors point. 0, -EINVAL (logged), -ENOMEM; p is untouched on failure.
typedef int zt_weights_read_fn(struct zt_weights_part *p, const void *bytes, size_t n, const char *label);
zt_weights_read_fn zt_safetensors_read, zt_torch_read, zt_gguf_read;
// The reader for these bytes: by how they begin, else by the label's ending, else safetensors.
zt_weights_read_fn *zt_weights_reader(const void *bytes, size_t n, const char *label);

// Does the same with the reader for these bytes, in a confined child (apart.h).
zt_weights_read_fn zt_weights_read_apart;
// Is what the tensor says of itself consistent, and do its bytes lie within the n bytes of the file?
bool zt_weight_fits(const zt_weight *w, const void *file, size_t n);
// The name of a stored type as a string that lasts, or NULL.
const char *zt_dtype_name(const char *name);

// An open file. Owns what it points to.
struct zt_weights_file {
    char  *path;
    void  *bytes;
    size_t n;
    bool   owned;               // the bytes; else they are borrowed or mapped
    int    fd;                  // of a mapped file, else -1
    struct zt_weights_map *map; // or NULL
    dev_t  device;              // what was opened
    ino_t  inode;
    off_t  size;
    struct timespec changed;
    struct zt_weights_part part;
};

// Reads or maps the file and finds its tensors. 0, -errno or -EINVAL (logged). Close it on failure, too.
int  zt_weights_file_open(struct zt_weights_file *f, const char *path);
void zt_weights_file_close(struct zt_weights_file *f);
// Is the file still what was opened? 0, -EINVAL (logged): what was read from it meanwhile is not to be used.
int  zt_weights_file_check(const struct zt_weights_file *f);

#ifdef __cplusplus
}
#endif
