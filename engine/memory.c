// SPDX-License-Identifier: Apache-2.0
// How many bytes are left: of the machine, and of the control group that this process is in.
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "engine/internal.h"

// The number that stands in a file, or -1: none there ("max" included).
static int64_t number_in(const char *path)
{
    long long n = -1;
    FILE *f = fopen(path, "re");
    if (f && fscanf(f, "%lld", &n) != 1)
        n = -1;
    if (f)
        fclose(f);
    return n;
}

static int64_t left_in(const char *folder, const char *limit, const char *used)
{
    char path[4096 + 64];
    snprintf(path, sizeof(path), "%s/%s", folder, limit);
    const int64_t most = number_in(path);
    snprintf(path, sizeof(path), "%s/%s", folder, used);
    const int64_t now = number_in(path);
    return most < 0 || now < 0 ? INT64_MAX : ZT_MAX(most - now, 0);
}

// Version 2, then 1: the group itself, and the root as a container sees it.
static int64_t group_left(void)
{
    char line[4096], folder[4096];
    int64_t left = ZT_MIN(left_in("/sys/fs/cgroup", "memory.max", "memory.current"),
                          left_in("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"));
    FILE *f = fopen("/proc/self/cgroup", "re");
    while (f && fgets(line, sizeof(line), f)) {
        line[strcspn(line, "\n")] = 0;
        if (strncmp(line, "0::/", 4) || snprintf(folder, sizeof(folder), "/sys/fs/cgroup%s", line + 3) >= 4096)
            continue;
        left = ZT_MIN(left, left_in(folder, "memory.max", "memory.current"));
    }
    if (f)
        fclose(f);
    return left;
}

int64_t zt_memory_left(void)
{
    char line[256];
    long long kib = -1;
    FILE *f = fopen("/proc/meminfo", "re");
    while (f && kib < 0 && fgets(line, sizeof(line), f))
        if (sscanf(line, "MemAvailable: %lld kB", &kib) != 1)
            kib = -1;
    if (f)
        fclose(f);
    return ZT_MIN(kib < 0 ? INT64_MAX : (int64_t)kib * 1024, group_left());
}
