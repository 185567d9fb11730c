// SPDX-License-Identifier: Apache-2.0
// Fuzz target: any bytes as a weights file and as a config.json. Without libFuzzer the program replays files and
// folders of files.
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "diffusion/config.h"
#include "diffusion/weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void quiet(void *cookie, enum zt_level level, const char *line)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    zt_weights *w = NULL;
    zt_config c;
    zt_log_set(quiet, NULL);
    if (zt_weights_parse(&w, data, n, "fuzz") == 0) {
        float x;
        for (int i = 0; i < zt_weights_count(w); i++) {         // whatever was accepted can be read to its end
            const zt_weight *const t = zt_weights_at(w, i);
            if (t->usable && t->elements > 0)
                zt_weight_read(t, t->elements - 1, 1, &x);
        }
        zt_weights_hash(w);
    }
    zt_weights_close(&w);
    if (n > 0 && zt_config_parse(&c, data, n, "fuzz") == 0)
        zt_config_finish(&c);
    return 0;
}

#ifndef ZT_LIBFUZZER
#include <ftw.h>

static int replayed;

static int replay(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    if (kind != FTW_F)
        return 0;
    FILE *const f = fopen(path, "rb");
    uint8_t *const data = malloc((size_t)st->st_size + 1);
    if (!f || !data)
        return 1;
    const size_t n = fread(data, 1, (size_t)st->st_size, f);
    fclose(f);
    uint8_t *const exact = malloc(n ? n : 1);           // so that a sanitizer sees one byte too far
    for (size_t i = 0; exact && i < n; i++)
        exact[i] = data[i];
    if (exact)
        LLVMFuzzerTestOneInput(exact, n);
    free(exact);
    free(data);
    replayed++;
    return 0;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (nftw(argv[i], replay, 16, FTW_PHYS) != 0)
            return 1;
    }
    printf("%d inputs\n", replayed);
    return replayed > 0 ? 0 : 1;
}
#endif
