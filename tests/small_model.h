// SPDX-License-Identifier: Apache-2.0
// A random model for a test: written by make_model into a folder of the test's own, removed at its end.
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// `tool` is make_model; flags as it takes them. Exits when that fails.
static inline char *small_model(const char *tool, const char *flags)
{
    char folder[] = "/tmp/zt-model-XXXXXX", command[2048];
    if (!mkdtemp(folder))
        exit(1);
    snprintf(command, sizeof(command), "%s --dim 64 --heads 2 --layers 2 --experts 4 --inter 40 --size 96x64 %s %s",
             tool, flags, folder);
    if (system(command) != 0) {
        fprintf(stderr, "failed: %s\n", command);
        exit(1);
    }
    return strdup(folder);
}

static inline void small_model_remove(char *folder)
{
    char command[2048];
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    if (system(command) != 0)
        fprintf(stderr, "failed: %s\n", command);
    free(folder);
}
