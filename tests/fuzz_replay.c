// SPDX-License-Identifier: Apache-2.0
// Feeds a fuzz target files and folders of files, where there is no libFuzzer.
#include <ftw.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

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
