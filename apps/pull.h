// SPDX-License-Identifier: Apache-2.0
// Gets a model's files from a hub that speaks as Hugging Face's does.
#pragma once

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_pull_params {
    const char *repo;           // OWNER/NAME or OWNER/NAME@REVISION (main)
    const char *pattern;        // of the files' paths, * ? [] as in a shell, * takes slashes too; NULL: all
    const char *dir;            // NULL: NAME
    bool        dry_run;        // prints what would be got, as JSON (doc/formats.md)
    bool        overwrite;      // files that are there with another size
    bool        quiet;
} zt_pull_params;

// Files are written as PATH.part, begun again where they broke off, and renamed when size and SHA-256 are right. The hub is
// $HF_ENDPOINT (https://huggingface.co), $HF_TOKEN goes there over https or to this machine only. Returns the exit code.
int zt_pull(const zt_pull_params *p);

#ifdef __cplusplus
}
#endif
