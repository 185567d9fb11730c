// SPDX-License-Identifier: Apache-2.0
// Finds and opens the module of a GPU.
#include "kernels/backend.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODULE "libzt_cuda.so"

static struct {
    pthread_mutex_t   lock;
    const zt_backend *found;
} module = { .lock = PTHREAD_MUTEX_INITIALIZER };

// The folder of the build this program runs from. False: it cannot be known.
static bool beside_program(char *path, size_t room)
{
    char exe[3072];
    const ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    if (n <= 0)
        return false;
    exe[n] = 0;
    char *const slash = strrchr(exe, '/');
    if (!slash)
        return false;
    *slash = 0;
    return snprintf(path, room, "%s/../kernels/" MODULE, exe) < (int)room;
}

static const zt_backend *check(void *library, const char *path, char *why, size_t room)
{
    zt_backend_get_fn *get = NULL;
    void *const symbol = dlsym(library, "zt_backend_get");
    memcpy(&get, &symbol, sizeof(get));
    const zt_backend *const b = get ? get(zt_log) : NULL;
    if (b && b->abi == ZT_BACKEND_ABI && b->device_bytes == sizeof(zt_device) && b->kernels_bytes == sizeof(zt_kernels))
        return b;
    snprintf(why, room, "%s is of another version", path);
    return NULL;
}

// One that is there and does not open is an answer; one that is not there is not.
static const zt_backend *try_path(const char *path, bool *there, char *why, size_t room)
{
    if (access(path, F_OK) < 0)
        return NULL;
    *there = true;
    void *const library = dlopen(path, RTLD_NOW | RTLD_LOCAL);      // stays: its threads outlive any device
    if (library)
        return check(library, path, why, room);
    snprintf(why, room, "%s", dlerror());
    return NULL;
}

static const zt_backend *find(char *why, size_t room)
{
    char path[4096];
    bool there = false;
    const zt_backend *b = NULL;
    const char *const set = getenv("ZOETROPE_MODULES");
    if (set && *set) {
        snprintf(path, sizeof(path), "%s/" MODULE, set);
        b = try_path(path, &there, why, room);
    } else {
        if (beside_program(path, sizeof(path)))
            b = try_path(path, &there, why, room);
        if (!there)
            b = try_path(ZT_MODULE_DIR "/" MODULE, &there, why, room);
    }
    if (!there)
        snprintf(why, room, MODULE " is not installed%s%s", set && *set ? " in " : "", set ? set : "");
    return b;
}

const zt_backend *zt_backend_find(char *why, size_t room)
{
    pthread_mutex_lock(&module.lock);
    if (!module.found)
        module.found = find(why, room);
    const zt_backend *const b = module.found;
    pthread_mutex_unlock(&module.lock);
    return b;
}
